"""Chapter 6's measurements: how ‖DSD‖ spreads over photos, and what driving it does to a picture.

A small part of every stored result is measured again; where the data sets lie, from the data.
"""

import io
import json
import os

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

import dsd_lib as dsd
from data_scripts import dsd_histogram, minimize_dsd
from data_scripts.shared.results import RESULTS
from dsd_lib.book.damage import gaussian_blur
from dsd_lib.files import data_folder, list_images

needs_data = pytest.mark.skipif(not os.environ.get("DSD_DATA"), reason="DSD_DATA is not set")


def stored(name: str) -> dict:
    return json.loads((RESULTS / f"{name}.json").read_text())["results"]


@pytest.fixture
def small(pictures: dict[str, Tensor]) -> Tensor:
    return pictures["astronaut"][..., 16:80, 96:160]


# Fig. 7


def test_norms_are_those_of_the_library(net: dsd.Backbone, coffee: Tensor) -> None:
    got = dsd_histogram.norms(coffee, net)
    for alpha in dsd_histogram.ALPHAS:
        with torch.no_grad():
            expected = dsd.dsd_norm(coffee, net, dsd_histogram.LAYERS, alpha)[0].tolist()
        assert got[str(alpha)] == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("kind", dsd_histogram.DISTORTIONS)
def test_spoiled_pictures(coffee: Tensor, kind: str) -> None:
    y = dsd_histogram.spoil(coffee, kind, seed=3)
    assert y.shape == coffee.shape and y.min() >= 0 and y.max() <= 1
    assert torch.equal(y, dsd_histogram.spoil(coffee, kind, seed=3))
    assert 0.01 < (y - coffee).abs().mean() < 0.1  # visible, and still the same picture


def test_unknown_distortion(coffee: Tensor) -> None:
    with pytest.raises(ValueError, match=r"expected one of .*blur.*got 'fog'"):
        dsd_histogram.spoil(coffee, "fog")


def test_spread_of_known_numbers() -> None:
    got = dsd_histogram.spread(np.arange(1.0, 102))
    assert (got["5%"], got["50%"], got["95%"]) == (6, 51, 96)
    assert got["ratio"] == 16
    assert got["variation"] == pytest.approx(np.arange(101).std(ddof=1) / 51)
    factors = np.exp(np.array([-1.0, 1, -1, 1]))
    assert dsd_histogram.spread(factors)["log_std"] == pytest.approx((4 / 3) ** 0.5)


def test_a_constant_finds_what_moves_away_from_it() -> None:
    clean = np.array([[1.0, 1.0], [2.0, 2.0], [3.0, 3.0], [2.0, 2.0]])
    moved = clean + np.array([[1.0, 0], [1, 0], [1, 0], [0, 0]])
    # towards the constant, away, away, and not at all
    assert dsd_histogram.found_by_constant(clean, moved, np.array([2.0, 2.0])) == 0.5


def test_interval_by_hand() -> None:
    low, high = dsd_histogram.interval(0.9, 50)  # Wilson: (0.9 + 1.96²/100) / (1 + 1.96²/50) ± …
    assert (low, high) == pytest.approx((0.7864, 0.9565), abs=1e-4)


def test_stored_histogram_is_its_own_summary() -> None:
    out = stored("dsd_histogram_bsds500")
    names = out["names"]
    assert len(names) == len(set(names)) == 500
    alphas = list(map(str, dsd_histogram.ALPHAS))

    def per_photo(values: dict) -> list:
        return [
            dict(zip(alphas, rows, strict=True))
            for rows in zip(*(values[a] for a in alphas), strict=True)
        ]

    again = dsd_histogram.summary(
        names, per_photo(out["norms"]), {k: per_photo(v) for k, v in out["spoiled"].items()}
    )
    assert again == out["summary"]
    for values in out["spoiled"].values():
        assert all(np.array(values[a]).shape == (100, 4) for a in alphas)


def test_stored_histogram_agrees_with_chapter_4() -> None:
    """The same photos, layer and α were measured there by another script."""
    here, there = stored("dsd_histogram_bsds500"), stored("dsd_norms_bsds500")
    assert here["names"] == there["names"]
    column = list(here["layers"]).index(there["layer"])
    got = [values[column] for values in here["norms"][str(there["alpha"])]]
    assert got == pytest.approx(there["photos"]["norm"], rel=1e-3)


@needs_data
def test_stored_histogram_comes_from_the_data(net: dsd.Backbone) -> None:
    out = stored("dsd_histogram_bsds500")
    folder = data_folder("bsds500")
    files = list_images(folder)
    assert [f.relative_to(folder).as_posix() for f in files] == out["names"]
    for index in (7, 260, 499):
        got = dsd_histogram.norms(dsd.load_image(files[index]), net)
        for alpha, values in got.items():
            assert values == pytest.approx(out["norms"][alpha][index], rel=2e-3)
    inside = [i for i, n in enumerate(out["names"]) if n.startswith(f"{dsd_histogram.SPOILED}/")]
    index = inside[42]
    x = dsd.load_image(files[index])
    for kind in ("blur", "noise", "scale"):  # JPEG may differ a little between libraries
        y = dsd_histogram.spoil(x, kind, seed=dsd_histogram.SEED + index)
        for alpha, values in dsd_histogram.norms(y, net).items():
            assert values == pytest.approx(out["spoiled"][kind][alpha][42], rel=2e-3)


# Fig. 6


def test_descent_is_gradient_descent(net: dsd.Backbone, small: Tensor) -> None:
    """The first step against a gradient taken in float32 without autocast."""
    (_, value, start), (_, _, x) = minimize_dsd.descend(small, net, 1, step_size=5.0)
    assert torch.equal(start, small)
    y = small.clone().requires_grad_()
    expected = dsd.dsd_norm(y, net, ["relu3_1"], 4)[0, 0]
    (gradient,) = torch.autograd.grad(expected, y)
    assert value == pytest.approx(expected.item(), rel=2e-3)
    inside = (small > 0.02) & (small < 0.98)  # where nothing was clamped
    moved = (x - small)[inside]
    wanted = -5 * gradient[inside]
    assert torch.dot(moved, wanted) > 0.999 * moved.norm() * wanted.norm()
    assert moved.norm().item() == pytest.approx(wanted.norm().item(), rel=0.02)


@pytest.mark.parametrize("up", [False, True])
def test_descent_and_ascent(net: dsd.Backbone, small: Tensor, up: bool) -> None:
    path = list(minimize_dsd.descend(small, net, 8, up=up))
    assert [step for step, _, _ in path] == list(range(9))
    values = [value for _, value, _ in path]
    assert values == sorted(values, reverse=not up) and values[0] != values[-1]
    assert all(x.min() >= 0 and x.max() <= 1 and not x.requires_grad for _, _, x in path)


def test_reach_stops_at_the_first_picture_past_the_target(net: dsd.Backbone, small: Tensor) -> None:
    with torch.no_grad():
        value = minimize_dsd.norm(small, net).item()
    targets = [m * value for m in (0.9, 0.8, 1.1, 0.001)]
    found = minimize_dsd.reach(small, net, targets, most=12)
    assert set(found) == set(targets[:3])  # the last is out of reach in 12 steps
    assert 0 < found[targets[0]][0] < found[targets[1]][0]
    size = minimize_dsd.LEVEL_STEP_SIZE
    path = {up: list(minimize_dsd.descend(small, net, 12, up=up, step_size=size)) for up in (0, 1)}
    for target, (step, x) in found.items():
        up = target > value
        assert torch.equal(x, path[up][step][2])
        past = [(v >= target) if up else (v <= target) for _, v, _ in path[up]]
        assert past.index(True) == step


@pytest.fixture
def smooth_pair(pictures: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    """A smooth picture with more ‖DSD₄‖ than its truth, and the truth, 96×192."""
    truth = pictures["tissue"][..., 64:160, 32:224].contiguous()
    return dsd.imresize(dsd.imresize(truth, scale=1 / 3), size=(96, 192)).clamp(0, 1), truth


def test_noise_brings_the_number_and_not_the_picture(
    net: dsd.Backbone, smooth_pair: tuple[Tensor, Tensor]
) -> None:
    smooth, truth = smooth_pair
    with torch.no_grad():
        target, start = (minimize_dsd.norm(x, net).item() for x in (truth, smooth))
        assert start > target
        level, noisy = minimize_dsd.noise_to(smooth, net, target)
        assert 0 < level <= 0.1
        assert minimize_dsd.norm(noisy, net).item() == pytest.approx(target, rel=0.02)
        assert minimize_dsd.noise_to(truth, net, 2 * target) is None  # already below
        assert minimize_dsd.noise_to(truth, net, 1e-6) is None  # out of reach


@pytest.fixture
def tiny_set(tmp_path, small: Tensor):
    """One picture in the layout of the data set: a truth, and 'outputs', two of them alike."""
    for system, sigma in (("HR", 0), ("SRGAN", 0.7), ("SRResNet", 1.5), ("EDSR", 1.5)):
        x = gaussian_blur(small, sigma) if sigma else small
        if system == "SRGAN":
            x = 0.9 * x + 0.05  # less contrast, as in the published outputs
        (tmp_path / system).mkdir()
        Image.fromarray(dsd.to_array(x)).save(tmp_path / system / "face.webp", lossless=True)
    return tmp_path


def test_standing_of_known_pictures(net: dsd.Backbone, tiny_set) -> None:
    out = minimize_dsd.standing(["face"], tiny_set, net)
    assert list(out["norms"]) == ["2", "4"]
    assert list(out["norms"]["4"]) == ["HR", *minimize_dsd.SYSTEMS]
    with torch.no_grad():
        x = dsd.load_image(tiny_set / "HR" / "face.webp")
        expected = dsd.dsd_norm(x, net, ["relu2_1"], 2).item()
    assert out["norms"]["2"]["HR"]["relu2_1"] == [pytest.approx(expected, rel=1e-4)]
    assert out["norms"]["2"]["EDSR"] == out["norms"]["2"]["SRResNet"]
    assert out["norms"]["2"]["EDSR"] != out["norms"]["2"]["SRGAN"]
    assert out["slopes"]["SRGAN"] == [pytest.approx(0.9, abs=0.03)]
    assert out["slopes"][minimize_dsd.GAN] == [pytest.approx(1, abs=0.01)]


def test_contrast_is_restored(pictures: dict[str, Tensor]) -> None:
    truth = pictures["cat"]
    slope, offset = minimize_dsd.line(0.9 * truth + 0.05, truth)
    assert (slope, offset) == (pytest.approx(0.9, rel=1e-4), pytest.approx(0.05, rel=1e-3))
    noisy = 0.8 * truth + 0.05 * torch.randn(truth.shape)  # too fine to matter after ↓4
    assert minimize_dsd.line(noisy, truth)[0] == pytest.approx(0.8, abs=0.01)


def test_middle_of_odd_sizes() -> None:
    x = torch.arange(7.0).expand(1, 3, 9, 7)
    assert minimize_dsd.middle(x, 3)[0, 0, 0].tolist() == [2, 3, 4]


def test_path_measures_at_marks_and_where_it_passes_the_truth(
    net: dsd.Backbone, smooth_pair: tuple[Tensor, Tensor]
) -> None:
    pytest.importorskip("stlpips_pytorch", reason="the measures need stlpips-pytorch")
    start, truth = smooth_pair
    steps, kept = minimize_dsd.path(start, truth, net, (0, 2, 24))
    target = minimize_dsd.measure(truth, truth, net)["norm"]
    assert steps[0]["norm"] > target > steps[-1]["norm"]
    passing = [s for s in steps if s.get("truth's value")]
    assert len(passing) == 1 and passing[0]["norm"] == pytest.approx(target, rel=0.02)
    assert {0, 2, 24} <= {s["step"] for s in steps} == set(kept)
    expected = -10 * (start - truth).square().mean().log10().item()
    assert steps[0]["psnr"] == pytest.approx(expected, rel=1e-4)


def test_levels_measures_start_targets_and_control(
    net: dsd.Backbone, smooth_pair: tuple[Tensor, Tensor]
) -> None:
    pytest.importorskip("stlpips_pytorch", reason="the measures need stlpips-pytorch")
    start, truth = smooth_pair
    target = minimize_dsd.measure(truth, truth, net)["norm"]
    out, kept = minimize_dsd.levels(start, truth, net, (1.3, 1.0, 0.1), most=12)
    assert list(out["at"]) == ["1.3", "1"] and list(kept) == [1.3, 1.0]
    for multiple, entry in out["at"].items():
        assert entry["norm"] == pytest.approx(float(multiple) * target, rel=0.06)
        assert entry["step"] > 0
    assert out["start"]["lpips"] > 0 and out["start"]["psnr"] < 100
    assert out["noise"]["norm"] == pytest.approx(target, rel=0.02)


def test_sheet_is_rows_of_middles() -> None:
    rows = [[torch.full((1, 3, 192, 192), v) for v in row] for row in ((0.0, 0.5), (1.0, 0.2))]
    picture = np.asarray(Image.open(io.BytesIO(minimize_dsd.sheet(rows))))
    assert picture.shape == (256, 256, 3)
    corners = [picture[i, j, 0] for i in (64, 192) for j in (64, 192)]
    assert np.allclose(corners, [0, 128, 255, 51], atol=3)


def test_stored_standing() -> None:
    out = stored("minimize_dsd_standing")
    assert len(out["names"]) == 19
    for systems in out["norms"].values():
        assert list(systems) == ["HR", *minimize_dsd.SYSTEMS]
        assert list(out["slopes"]) == list(minimize_dsd.SYSTEMS)
        for layers in systems.values():
            assert list(layers) == list(minimize_dsd.LAYERS)
            assert all(len(v) == 19 and min(v) > 0 for v in layers.values())


def test_stored_path() -> None:
    out = stored("minimize_dsd_path")
    for system, steps in out["paths"].items():
        at = [s["step"] for s in steps if not s.get("truth's value")]
        assert at == [m for m in minimize_dsd.MARKS if m <= minimize_dsd.STEPS[system]]
        norms = [s["norm"] for s in steps]
        assert norms == sorted(norms, reverse=True)
    picture = dsd.load_image(RESULTS / "minimize_dsd_path.webp")
    columns = 1 + len(minimize_dsd.SHOTS)
    assert picture.shape[2:] == (2 * minimize_dsd.SHOWN, columns * minimize_dsd.SHOWN)


def test_stored_levels() -> None:
    out = stored("minimize_dsd_levels")
    assert len(out["pictures"]) == 19
    for entry in out["pictures"].values():
        truth = entry["truth"]["norm"]
        for system in minimize_dsd.STARTS:
            run = entry[system]
            for multiple, at in run["at"].items():
                past = at["norm"] / (float(multiple) * truth)
                assert past == pytest.approx(1, abs=0.1)
            if "noise" in run:
                assert run["noise"]["norm"] == pytest.approx(truth, rel=0.02)
    picture = dsd.load_image(RESULTS / "minimize_dsd_levels.webp")
    tiles = (len(out["rows"]), 2 + len(out["multiples"]))
    assert picture.shape[2:] == tuple(minimize_dsd.SHOWN * n for n in tiles)


@needs_data
def test_stored_standing_comes_from_the_data(net: dsd.Backbone) -> None:
    out = stored("minimize_dsd_standing")
    folder = data_folder("sr_outputs")
    assert [f.stem for f in list_images(folder / "HR")] == out["names"]
    index = out["names"].index("butterfly")
    got = minimize_dsd.standing(["butterfly"], folder, net)
    for alpha, systems in got["norms"].items():
        for system, layers in systems.items():
            for layer, (value,) in layers.items():
                expected = out["norms"][alpha][system][layer][index]
                assert value == pytest.approx(expected, rel=2e-3)


@needs_data
def test_stored_paths_begin_as_the_script_does(net: dsd.Backbone) -> None:
    """The start and the first ten steps; later ones may drift with the CPU's rounding."""
    pytest.importorskip("stlpips_pytorch", reason="the measures need stlpips-pytorch")
    out = stored("minimize_dsd_path")
    x = minimize_dsd.pictures(out["picture"], data_folder("sr_outputs"))
    truth, start = (minimize_dsd.middle(x[s], out["side"]) for s in ("HR", minimize_dsd.GAN))
    steps, _ = minimize_dsd.path(start, truth, net, minimize_dsd.MARKS[:2])
    for got, expected in zip(steps, out["paths"][minimize_dsd.GAN], strict=False):
        for name in ("norm", "dsd_distance", "psnr", "lpips", "niqe", "contrast"):
            assert got[name] == pytest.approx(expected[name], rel=1e-2), name


@needs_data
def test_stored_levels_come_from_the_data(net: dsd.Backbone) -> None:
    pytest.importorskip("stlpips_pytorch", reason="the measures need stlpips-pytorch")
    x = minimize_dsd.pictures("zebra", data_folder("sr_outputs"))
    truth, start = (minimize_dsd.middle(x[s], minimize_dsd.SIDE) for s in ("HR", "SRResNet"))
    run = stored("minimize_dsd_levels")["pictures"]["zebra"]
    assert minimize_dsd.measure(truth, truth, net)["norm"] == pytest.approx(
        run["truth"]["norm"], rel=2e-3
    )
    got, _ = minimize_dsd.levels(start, truth, net, (1.1, 1.0), most=30)
    for name, entry in [("start", got["start"]), *got["at"].items()]:
        expected = run["SRResNet"]["start"] if name == "start" else run["SRResNet"]["at"][name]
        for what in ("norm", "dsd_distance", "psnr", "lpips"):
            assert entry[what] == pytest.approx(expected[what], rel=2e-2), (name, what)
