"""The script behind chapter 3: its pieces on embedded pictures, its stored results, the data."""

import os

import numpy as np
import pytest
import torch
from torch import Tensor

import dsd_lib as dsd
from data_scripts import self_dissimilarity as script
from data_scripts.shared.results import RESULTS
from dsd_lib.book.plots import load_result
from dsd_lib.files import data_folder, list_images

DATA = ("imagenette", "caltech101")


@pytest.fixture
def photos(pictures: dict[str, Tensor]) -> list[Tensor]:
    return [
        script.central(pictures[name], side=128)
        for name in ("astronaut", "cat", "rocket", "temple")
    ]


def test_packed_l1_distance_is_the_mean_absolute_entry() -> None:
    a, b = (dsd.gram_matrix(torch.rand(1, 7, 4, 5)) for _ in range(2))
    assert torch.isclose(
        (script.packed(a) - script.packed(b)).abs().sum(), (a - b).abs().mean(), rtol=1e-5
    )


@pytest.mark.parametrize("n", script.PATCHES.values())
def test_patches_as_a_map_have_the_library_patch_gram(coffee: Tensor, n: int) -> None:
    x = coffee[:, :, :40, :50]
    f = script.patch_map(x, n)
    assert f.shape == (1, 3 * n * n, 41 - n, 51 - n)
    torch.testing.assert_close(dsd.gram_matrix(f), dsd.patch_gram(x, n))


def test_centered_is_the_covariance() -> None:
    f = torch.rand(2, 5, 6, 7) + 1
    means = f.mean(dim=(2, 3))
    got = script.centered(script.packed(dsd.gram_matrix(f)), means)
    expected = torch.stack([torch.cov(m.flatten(1), correction=0) / 5 for m in f])
    torch.testing.assert_close(got, script.packed(expected), rtol=1e-4, atol=1e-7)


def test_unit_has_trace_one_and_forgets_strength() -> None:
    g = dsd.gram_matrix(torch.rand(2, 5, 6, 7))
    got = script.unit(script.packed(g))
    expected = g / g.diagonal(dim1=1, dim2=2).sum(dim=1)[:, None, None]
    torch.testing.assert_close(got, script.packed(expected))
    torch.testing.assert_close(script.unit(script.packed(3 * g)), got)


def test_mirrored_maps_see_no_border(net: dsd.Backbone) -> None:
    gray = torch.full((1, 3, 56, 56), 0.5)
    plain, mirrored = net(gray, script.LAYERS), script.mirrored_maps(gray, net)
    for layer, f in mirrored.items():
        assert f.shape == plain[layer].shape
        assert f.std(dim=(2, 3)).max() < 1e-3 * f.max()
        assert plain[layer].std(dim=(2, 3)).max() > 0.1 * plain[layer].max()


def test_mirrored_maps_agree_inside(net: dsd.Backbone, photos: list[Tensor]) -> None:
    plain, mirrored = net(photos[0], script.LAYERS), script.mirrored_maps(photos[0], net)
    for layer in ("relu1_2", "relu3_1", "relu4_1"):
        edge = -(-net.reach(layer) // net.stride(layer))
        inside = (..., slice(edge, -edge), slice(edge, -edge))
        torch.testing.assert_close(
            mirrored[layer][inside], plain[layer][inside], rtol=1e-3, atol=1e-4
        )


def test_too_small_to_cut() -> None:
    with pytest.raises(ValueError, match="at least 224 pixels"):
        script.central(torch.rand(1, 3, 223, 300))


def test_means_over_pairs() -> None:
    means = script.Means(np.array([0, 0, 1, 1]), draws=50)
    distances = np.array([[9, 1, 3, 4], [1, 9, 5, 6], [3, 5, 9, 2], [4, 6, 2, 9]], dtype=float)
    assert means.pairs(distances, "same_class")[0] == 1.5
    assert means.pairs(distances, "random")[0] == 4.5
    assert means.photos(np.array([1.0, 2, 3, 6]))[0] == 3
    assert (means.weights.sum(axis=1) == 4).all()
    assert len(np.unique(means.weights, axis=0)) > 5


def test_bars_of_known_distances() -> None:
    means = script.Means(np.array([0, 0, 1, 1]), draws=50)
    fine = torch.tensor([[0.0], [1], [10], [12]])
    found = script.bars(*_tables(fine, fine + 0.25), means)
    assert found["self"] == [0.25, 0.25, 0.25]
    assert found["random"][0] == 10.5
    assert found["same_class"][0] == 1.5
    assert found["found"] == [1, 1, 1]
    assert found["self_to_same_class"][0] == pytest.approx(0.25 / 1.5, rel=1e-4)
    lost = script.bars(*_tables(fine, fine.flip(0)), means)
    assert lost["found"] == [0, 0, 0]


def _tables(fine: Tensor, coarse: Tensor) -> tuple[np.ndarray, np.ndarray]:
    return torch.cdist(fine, fine, p=1).numpy(), torch.cdist(fine, coarse, p=1).numpy()


def test_measure_on_embedded_pictures(net: dsd.Backbone, photos: list[Tensor]) -> None:
    with torch.no_grad():
        out = script.measure(photos, np.array([0, 0, 1, 1]), net)
        expected = torch.stack(
            [dsd.dsd_norm(x, net, script.LAYERS, alpha=4)[0] for x in photos]
        ).mean(dim=0)
    plain = out["bars"]["plain"]
    assert list(plain) == list(script.KEYS)
    for layer, value in zip(script.LAYERS, expected, strict=True):
        assert plain[layer]["self"][0] == pytest.approx(value.item(), rel=1e-3)
    a, b = (dsd.patch_gram(x, 5) for x in photos[:2])
    c, d = (dsd.patch_gram(x, 5) for x in photos[2:])
    same = ((a - b).abs().mean() + (c - d).abs().mean()) / 2
    assert plain["patch5"]["same_class"][0] == pytest.approx(same.item(), rel=1e-3)
    _check(out)


@pytest.mark.parametrize("data", DATA)
def test_stored_result(data: str) -> None:
    stored = load_result(RESULTS / f"self_dissimilarity_{data}.json")["results"]
    assert stored["photos"] == {"imagenette": 200, "caltech101": 396}[data]
    _check(stored)


def _check(out: dict) -> None:
    """What must hold in any result of the script."""
    for groups in (*out["bars"].values(), *out["controls"].values()):
        for group in groups.values():
            for mean, low, high in group.values():
                assert np.isfinite([mean, low, high]).all()
                assert 0 <= low <= high
    for key in script.KEYS:
        plain = out["bars"]["plain"][key]
        # The same distances by another way, and what a distance must obey.
        assert out["controls"]["resize_matlab"][key]["self"][0] == pytest.approx(
            plain["self"][0], rel=1e-3
        )
        histogram = out["histograms"][key]
        assert sorted(histogram["edges"]) == histogram["edges"]
        for kind in ("self", "random", "same_class"):
            assert sum(histogram[kind]) == pytest.approx(1, abs=2e-3)


@pytest.mark.skipif("DSD_DATA" not in os.environ, reason="DSD_DATA is not set: no photos")
def test_stored_result_comes_from_the_data(net: dsd.Backbone) -> None:
    """3×3 patches of all 200 photos with their intervals; every key of the first three photos."""
    stored = load_result(RESULTS / "self_dissimilarity_imagenette.json")["results"]
    files = list_images(data_folder("imagenette"))
    names, classes = np.unique([f.parent.name for f in files], return_inverse=True)
    assert names.tolist() == stored["classes"]
    photos = [dsd.load_image(f) for f in files]
    fine, coarse = (
        torch.cat([script.packed(dsd.patch_gram(x, 3)) for x in some])
        for some in (photos, [dsd.imresize(x, scale=1 / 4) for x in photos])
    )
    got = script.bars(*_tables(fine, coarse), script.Means(classes))
    expected = stored["bars"]["plain"]["patch3"]
    assert got.keys() == expected.keys()
    for name, value in got.items():
        np.testing.assert_allclose(value, expected[name], rtol=1e-3, err_msg=name)
    for alpha, control in ((4, "resize_matlab"), (2, "alpha2")):
        first = stored["first_photos"][control]
        for index, x in enumerate(photos[: script.FIRST]):
            small = dsd.imresize(x, scale=1 / alpha)
            with torch.no_grad():
                norms = dsd.dsd_norm(x, net, script.LAYERS, alpha=alpha)[0].tolist()
            for key, n in script.PATCHES.items():
                change = dsd.patch_gram(x, n) - dsd.patch_gram(small, n)
                assert change.abs().mean().item() == pytest.approx(first[key][index], rel=1e-3)
            for layer, norm in zip(script.LAYERS, norms, strict=True):
                assert norm == pytest.approx(first[layer][index], rel=1e-3)
