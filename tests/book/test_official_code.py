"""Chapter 10: the bench, the variants that the official code computes, and the stored result."""

import math
import random

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import dsd_lib as dsd
from data_scripts import official_differences
from data_scripts.shared.results import RESULTS
from dsd_lib.book import bench, official, printed_values
from dsd_lib.book.plots import load_result
from dsd_lib.descriptor import self_dissimilarity
from dsd_lib.no_reference import ResidualBlock
from dsd_lib.quality.luma import luma


@pytest.fixture
def photo(coffee: Tensor) -> Tensor:
    return bench.center(coffee, 64)


@pytest.fixture(autouse=True)
def without_gradients():
    with torch.no_grad():
        yield


# The bench


def test_versions_are_the_photo_and_seven_files(photo: Tensor) -> None:
    x = bench.versions(photo)
    assert x.shape == (8, 3, 64, 64)
    assert torch.allclose((255 * x).round(), 255 * x, atol=1e-3)
    assert torch.allclose(x[0], photo[0], atol=0.5 / 255 + 1e-6)
    errors = (x[1:] - x[:1]).square().mean(dim=(1, 2, 3))
    assert errors[1] > errors[0] > 0 and errors[4] > errors[3] > errors[2]  # noise, JPEG


@pytest.mark.parametrize("kind", ["dsd", "style"])
def test_distances_of_the_bench_are_the_library_s(
    net: dsd.Backbone, photo: Tensor, kind: str
) -> None:
    x = bench.versions(photo)
    fine, small = bench.grams([x], net), bench.grams([x], net, alpha=2)
    matrices = self_dissimilarity(fine, small) if kind == "dsd" else fine
    measure = dsd.dsd_distance if kind == "dsd" else dsd.style_distance
    expected = measure(x[1:], x[:1].expand(7, -1, -1, -1), net)
    assert torch.allclose(bench.distance(matrices)[0], expected, rtol=1e-3)


def test_reordered_sees_only_the_order() -> None:
    a = torch.rand(5, 7, generator=torch.Generator().manual_seed(0))
    assert not bench.reordered(a, 3 * a**2 + 1).any()
    assert bench.reordered(a, -a).all()
    assert not bench.reordered(a, torch.zeros_like(a)).any()  # ties
    assert bench.reordered(a, -a).shape == (5, 21)


def test_share_is_wide_with_few_photos_and_narrow_with_many() -> None:
    flags = torch.rand(400, 20, generator=torch.Generator().manual_seed(0)) < 0.05
    few, many = bench.share(flags[:8]), bench.share(flags)
    assert many.value == pytest.approx(flags.double().mean().item())
    assert few.low <= few.value <= few.high and many.low < many.value < many.high
    assert many.high - many.low < few.high - few.low


def test_the_rule_is_one_threshold() -> None:
    t = bench.THRESHOLD
    for ends, verdict in (
        ((2 * t, 3 * t), "yes"),
        ((0, t / 2), "no"),
        ((t / 2, 2 * t), "undecided"),
    ):
        assert bench.Share(sum(ends) / 2, *ends).verdict == verdict


# What the official code computes


def test_dequantize_stays_in_the_range_and_near_the_image(photo: Tensor) -> None:
    for x in (torch.zeros_like(photo), torch.ones_like(photo), photo):
        y = official.dequantize(x, seed=1)
        assert y.min() >= 0 and y.max() <= 1
        assert (y - 255 / 256 * x).min() >= 0 and (y - 255 / 256 * x).max() <= 1 / 256
    assert not torch.equal(official.dequantize(photo, 1), official.dequantize(photo, 2))


def test_rounding_down_differs_for_odd_sides_only(photo: Tensor) -> None:
    even = official.imresize_rounded_down(photo, 1 / 2)
    assert torch.equal(even, dsd.imresize(photo, scale=1 / 2))
    odd = photo[..., :63, :63]
    assert official.imresize_rounded_down(odd, 1 / 2).shape[2:] == (31, 31)
    assert dsd.imresize(odd, scale=1 / 2).shape[2:] == (32, 32)


def test_sorted_differences_are_the_library_s_along_channels(
    net: dsd.Backbone, photo: Tensor
) -> None:
    x = bench.versions(photo)
    difference = official.sorted_differences(net(x, ["relu2_1"])["relu2_1"])
    expected = dsd.projected_distribution_distance(
        x[1:], x[:1].expand(7, -1, -1, -1), net, ["relu2_1"]
    )
    assert torch.allclose(difference.square().mean(dim=(1, 2)), expected, rtol=1e-4)
    f = torch.rand(3, 4, 5, 5)
    along = official.sorted_differences(f, torch.eye(4))
    assert torch.equal(along, official.sorted_differences(f))


def test_contextual_around_its_own_mean_is_the_library_s(net: dsd.Backbone, photo: Tensor) -> None:
    x = bench.versions(photo)[[5, 0]]
    f = net(x, ["relu3_1"])["relu3_1"]
    own = f[1].mean(dim=(1, 2))
    expected = dsd.contextual_distance(x[:1], x[1:], net, ["relu3_1"])
    assert torch.allclose(official.contextual(f[:1], f[1:], own), expected, rtol=1e-3)
    assert not torch.allclose(official.contextual(f[:1], f[1:], 0 * own), expected, rtol=1e-3)


def test_an_image_that_is_its_own_partner_gets_equation_5(
    net: dsd.Backbone, coffee: Tensor
) -> None:
    x = torch.cat([bench.center(coffee, 96), bench.center(coffee.flip(3), 96) * 0.7])
    scores = official.partner_scores(x, dsd.load_psi(alpha=4), net)
    assert torch.allclose(scores.diagonal(), dsd.naturalness(x), atol=1e-4)
    assert not torch.allclose(scores, scores.diagonal().expand(2, 2), rtol=1e-2)


def test_equation_5_changes_no_verdict() -> None:
    own = torch.rand(6, generator=torch.Generator().manual_seed(0))
    scores = own.expand(6, 6)  # the score of B does not depend on A
    assert official.changed_verdicts(scores).shape == (30,)
    assert not official.changed_verdicts(scores).any()


def test_loss_terms_are_the_library_s_distances(net: dsd.Backbone, photo: Tensor) -> None:
    x, y = bench.versions(photo)[[7]], photo
    terms = official.loss_terms(x, y, net)
    for name, measure in (
        ("DSD", dsd.dsd_distance),
        ("style", dsd.style_distance),
        ("MSS", dsd.multiscale_style_distance),
        ("PDL", dsd.projected_distribution_distance),
    ):
        for layer, value in terms[name].items():
            assert value == pytest.approx(measure(x, y, net, [layer]).item(), rel=1e-3), name
    expected = dsd.perceptual_distance(x, y, net).item()
    assert terms["perceptual"][net.last_conv] == pytest.approx(expected, rel=1e-3)


def test_rounding_the_luma_changes_psnr_a_little(photo: Tensor) -> None:
    y = (photo + 0.05).clamp(0, 1)
    exact, rounded = (official.psnr_y(photo, y, rounded=r).item() for r in (False, True))
    error = (luma(photo) - luma(y)).square().mean().item()
    assert exact == pytest.approx(-10 * math.log10(error), rel=1e-4)
    assert 0 < abs(exact - rounded) < 0.2


def test_gates_on_the_shortcut_halve_the_signal() -> None:
    class GatedShortcut(ResidualBlock):
        def forward(self, f: Tensor) -> Tensor:
            shortcut = self.shortcut(f)
            return F.relu(self.body(f) + self.gate(shortcut) * shortcut)

    common, gated = (official.signal_in_psi(block) for block in (ResidualBlock, GatedShortcut))
    assert len(common) == len(gated) == 12
    assert all(0.5 < v < 0.7 for v in common)
    assert all(0.4 < b / a < 0.6 for a, b in zip(gated[::2], gated[1::2], strict=True))


def test_recurring_states_are_those_on_circles() -> None:
    generator = random.Random(0)
    steps = {state: generator.randrange(500) for state in range(500)}
    circles = official.recurring(range(500), steps.get)
    assert {steps[s] for s in circles} == circles
    for start in range(500):
        for _ in range(500):
            start = steps[start]
        assert start in circles


# What the printed values say


def test_a_network_s_times_as_large_moves_every_range_by_s() -> None:
    """All three numbers are about the same unknown, so all must follow it."""
    natural = load_result(RESULTS / "gram_normalization_natural.json")["results"]
    content = (2.0, 50.0)
    before = printed_values.scale_ranges(natural, content, by_channels=True)
    s = 4.0  # our network's activations, s times as large
    larger = {
        "imagenette": {
            a: [s**2 * v for v in values] for a, values in natural["imagenette"].items()
        },
        "super_resolution": {
            method: {k: (s if k == "perceptual" else s**2) * v for k, v in losses.items()}
            for method, losses in natural["super_resolution"].items()
        },
    }
    after = printed_values.scale_ranges(larger, (2.0 * s**2, 50.0 * s**2), by_channels=True)
    for evidence, (low, high) in before.items():
        assert after[evidence] == pytest.approx((low / s, high / s)), evidence


def test_only_one_division_fits_all_printed_values() -> None:
    natural = load_result(RESULTS / "gram_normalization_natural.json")["results"]
    content = (4.24 / 0.7**2, 2.50 / 0.1**2)
    both = [printed_values.scale_ranges(natural, content, by_channels=b) for b in (True, False)]
    assert printed_values.common(both[0]) is not None
    assert printed_values.common(both[1]) is None


# The stored result


def test_the_script_measures_what_the_library_measures(net: dsd.Backbone) -> None:
    x = dsd.sample_images()["coffee"]
    got = official_differences.measure(x, net, seed=0)
    versions = bench.versions(bench.center(x, 128))
    expected = dsd.dsd_distance(versions[1:], versions[:1].expand(7, -1, -1, -1), net)
    total = sum(got[f"dsd/{layer}"] for layer in ("relu2_1", "relu2_2", "relu3_1"))
    assert torch.allclose(total, expected, rtol=1e-3)
    assert all(v.shape == (7,) and v.isfinite().all() for v in got.values())


def test_the_stored_result_is_complete() -> None:
    out = load_result(RESULTS / "official_differences_bsds500.json")["results"]
    for name, values in out["values"].items():
        v = torch.tensor(values)
        assert v.shape == (official_differences.PHOTOS, 7), name
        lowest = -2e-5 if name.startswith("contextual") else 0  # -log(1 + 1e-5): seen as the same
        assert (v > lowest).all(), name
    partners = torch.tensor(out["partners"])
    assert partners.shape == (official_differences.PHOTOS, 8, 8) and (partners > 0).all()
    style, meant = (
        sum(torch.tensor(out["values"][f"{kind}/relu3_1"]) for kind in kinds)
        for kinds in (("style",), ("style", "style_small"))
    )
    dsd_ = torch.tensor(out["values"]["dsd/relu3_1"])
    assert (dsd_ <= meant * (1 + 1e-4)).all()  # triangle inequality
    assert bench.reordered(style, meant).any()
