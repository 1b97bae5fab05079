"""Chapter 4: the scripts behind its stored results, and the results themselves."""

import os

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

import dsd_lib as dsd
from data_scripts import dsd_extremes, fingerprint
from data_scripts.shared.results import RESULTS
from dsd_lib.book.plots import load_result
from dsd_lib.files import data_folder, list_images
from dsd_lib.quality import agreement

needs_data = pytest.mark.skipif(
    "DSD_DATA" not in os.environ, reason="DSD_DATA is not set: no photos"
)
COUNT = {"bsds500": 500, "imagenette": 200}


def stored(name: str) -> dict:
    return load_result(RESULTS / f"{name}.json")["results"]


# Norms and looks of photos


def test_measure_agrees_with_the_library(net: dsd.Backbone, coffee: Tensor) -> None:
    with torch.no_grad():
        got = dsd_extremes.measure(coffee, net)
        expected = dsd.dsd_norm(coffee, net, ["relu3_1"], alpha=4).item()
        gram = dsd.gram_matrix(net(coffee, ["relu3_1"])["relu3_1"]).abs().mean().item()
    assert got["norm"] == pytest.approx(expected, rel=1e-4)
    assert got["gram"] == pytest.approx(gram, rel=1e-4)
    assert abs(got["gram"] - got["gram_small"]) <= got["norm"]  # triangle inequality


def test_the_inside_does_not_see_the_padding(net: dsd.Backbone) -> None:
    """A gray image is the same at both scales, except for the zeros around it."""
    with torch.no_grad():
        got = dsd_extremes.measure(torch.full((1, 3, 160, 160), 0.5), net)
    assert got["norm_inside"] < 1e-3 * got["norm"]


def test_looks_of_known_images() -> None:
    stripes = torch.zeros(1, 3, 32, 32)
    stripes[..., 1::2] = 1
    got = dsd_extremes.looks(stripes)
    assert got["gradient"] == pytest.approx(0.5)  # 1 across, 0 down
    assert got["contrast"] == pytest.approx(0.5)
    assert got["fine_detail"] == pytest.approx(0.5, rel=0.05)
    assert got["color"] == pytest.approx(0, abs=1e-6)
    red = torch.zeros(1, 3, 32, 32)
    red[:, 0] = 1
    got = dsd_extremes.looks(red)
    assert got["brightness"] == pytest.approx(0.299)
    assert got["fine_detail"] == pytest.approx(0, abs=1e-5)
    assert got["color"] == pytest.approx(((0.701**2 + 2 * 0.299**2) / 3) ** 0.5)


def test_spearman_of_ranks_with_ties() -> None:
    a = np.array([1.0, 2, 2, 3])
    assert agreement.spearman(a, np.exp(a)) == pytest.approx(1)
    assert agreement.spearman(a, -a) == pytest.approx(-1)
    # ranks 1, 2.5, 2.5, 4 and 1, 3, 2, 4, by hand
    assert agreement.spearman(a, np.array([1.0, 3, 2, 4])) == pytest.approx(0.9486833)
    rho, low, high = dsd_extremes.correlation(np.arange(40.0), np.arange(40.0) ** 2)
    assert rho == low == high == 1


def test_balance_is_signed_and_bounded() -> None:
    got = dsd_extremes.balance(np.array([2.0, 1, 0]), np.array([2.0, 3, 1]))
    assert got.tolist() == [0, -0.5, -1]


def test_sheets_show_the_extremes(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(dsd_extremes, "RESULTS", tmp_path)
    files = []
    for i in range(13):
        files.append(tmp_path / f"{i}.png")
        Image.new("RGB", (150, 120), (20 * i, 0, 0)).save(files[-1])
    values = np.arange(13)[::-1].astype(float)
    dsd_extremes.write_sheets("sheet", files, values, close_up=True)
    for name, side in (("sheet", dsd_extremes.SQUARE), ("sheet_middle", dsd_extremes.MIDDLE)):
        sheet = 255 * dsd.load_image(tmp_path / f"{name}.webp")
        assert sheet.shape[2:] == (2 * side, 6 * side)
        lowest, highest = sheet[0, 0, side // 2, side // 2], sheet[0, 0, -side // 2, -side // 2]
        assert abs(lowest - 240) < 8 and abs(highest - 0) < 8


@pytest.mark.parametrize("data", COUNT)
def test_stored_norms(data: str) -> None:
    out = stored(f"dsd_norms_{data}")
    photos = {name: np.array(values) for name, values in out["photos"].items()}
    assert len(out["names"]) == len(set(out["names"])) == COUNT[data]
    for name in (*dsd_extremes.LOOKS, "norm", "norm_inside", "gram", "gram_small"):
        assert len(photos[name]) == COUNT[data] and (photos[name] > 0).all()
    gap = np.abs(photos["gram"] - photos["gram_small"])
    assert (gap <= photos["norm"] * (1 + 1e-4)).all()
    assert out["spearman"] == dsd_extremes.summary(out["photos"])
    if data == "imagenette":
        members = [name.split("/")[0] for name in out["names"]]
        assert {c: members.count(c) for c in out["classes"]} == dict.fromkeys(members, 20)


@pytest.mark.parametrize("name", ["extremes_bsds500", "balance_bsds500", "extremes_imagenette"])
def test_stored_sheets(name: str) -> None:
    ends = {"": dsd_extremes.SQUARE, "_middle": dsd_extremes.MIDDLE}
    for end, side in ends.items():
        if "imagenette" in name and end:
            continue
        path = RESULTS / f"dsd_{name}{end}.webp"
        assert path.stat().st_size < 250_000
        with Image.open(path) as sheet:
            assert sheet.size == (dsd_extremes.SHOWN * side, 2 * side)


@needs_data
@pytest.mark.parametrize("data", COUNT)
def test_stored_norms_come_from_the_data(net: dsd.Backbone, data: str) -> None:
    """Four photos spread over the data set, and the order of all of them."""
    out = stored(f"dsd_norms_{data}")
    folder = data_folder(data)
    files = list_images(folder)
    assert [f.relative_to(folder).as_posix() for f in files] == out["names"]
    for index in range(3, len(files), len(files) // 4):
        with torch.no_grad():
            got = dsd_extremes.measure(dsd.load_image(files[index]), net)
        for name, value in got.items():
            assert value == pytest.approx(out["photos"][name][index], rel=1e-3), name


@needs_data
@pytest.mark.parametrize("name", ["sandbar", "window_screen"])
def test_the_two_photos_come_from_the_data(net: dsd.Backbone, name: str) -> None:
    with torch.no_grad():
        got = dsd_extremes.measure(dsd.load_image(data_folder("imagenet_two") / f"{name}.jpg"), net)
    assert got == pytest.approx(stored("dsd_norms_imagenette")["two"][name], rel=1e-3)


# Fingerprints


@pytest.fixture
def small_pair(pictures: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    return pictures["astronaut"][..., 16:80, 96:160], pictures["gravel"][..., :64, :64]


def test_fingerprints_agree_with_the_library(net: dsd.Backbone, coffee: Tensor) -> None:
    with torch.no_grad():
        found = fingerprint.fingerprints(fingerprint.pyramid(coffee, net))
        pair = dsd.dsd(coffee, net, alpha=2)
    assert len(found["dsd"]) == 6 and len(found["style"]) == 9
    for got, expected in zip(found["dsd"], pair.values(), strict=False):
        torch.testing.assert_close(got, expected)


def test_equal_styles_are_equal_dsds_and_not_the_other_way_round(
    net: dsd.Backbone, small_pair: tuple[Tensor, Tensor]
) -> None:
    with torch.no_grad():
        grams = fingerprint.pyramid(small_pair[0], net)
    shifted = [{k: g + 0.1 for k, g in level.items()} for level in grams]
    a, b = fingerprint.fingerprints(grams), fingerprint.fingerprints(shifted)
    assert fingerprint.distance(a["dsd"], b["dsd"]).item() < 1e-6
    assert fingerprint.distance(a["style"], b["style"]).item() == pytest.approx(0.9, rel=1e-4)


@pytest.mark.parametrize("objective", fingerprint.OBJECTIVES)
def test_matching_starts_at_the_content_and_comes_nearer(
    net: dsd.Backbone, small_pair: tuple[Tensor, Tensor], objective: str
) -> None:
    content, reference = small_pair
    path, distances = fingerprint.match(content, reference, net, objective, steps=12)
    assert torch.equal(path[0], content) and len(path) == len(distances) == 13
    assert distances[-1][objective] < 0.8 * distances[0][objective]
    assert all(x.min() >= 0 and x.max() <= 1 for x in path)
    with torch.no_grad():
        expected = sum(
            dsd.style_distance(
                *(dsd.imresize(x, scale=1 / a) if a > 1 else x for x in small_pair),
                net,
                check_range=False,
            ).item()
            for a in (1, 2, 4)
        )
    assert distances[0]["style"] == pytest.approx(expected, rel=1e-3)


def test_bands_split_a_change_by_scale() -> None:
    stripes = torch.zeros(1, 3, 64, 64)
    stripes[..., ::2] = 0.5
    stripes -= 0.25
    fine, middle, coarse = fingerprint.bands(stripes)
    assert fine > 0.9 * 0.25**2 and middle < 1e-2 * fine and coarse < 1e-2 * fine
    wave = torch.sin(2 * torch.pi * torch.arange(64) / 32).expand(1, 3, 64, 64)
    fine, middle, coarse = fingerprint.bands(wave)
    assert coarse > 0.9 * 0.5 and fine < 1e-2 * coarse


def test_experiment_keeps_what_was_asked(
    net: dsd.Backbone, small_pair: tuple[Tensor, Tensor]
) -> None:
    out, kept = fingerprint.experiment(*small_pair, net, steps=3, shots=(0, 3))
    for objective in fingerprint.OBJECTIVES:
        start, end = out[objective]["path"]
        assert (start["step"], end["step"]) == (0, 3)
        assert start["change"] == 0 and start["perceptual"] == 0
        assert sum(end["shares"]) == pytest.approx(1) and end["change"] > 0
        assert len(out[objective]["left"]["dsd"]) == 4
        assert len(kept[objective]) == 2


def test_stored_fingerprints() -> None:
    out = stored("fingerprint")
    assert list(out["pairs"]) == list(fingerprint.PAIRS)
    assert tuple(out["shots"]) == fingerprint.SHOTS
    for run in out["pairs"].values():
        for objective in fingerprint.OBJECTIVES:
            left = run[objective]["left"]
            assert left["dsd"][0] == left["style"][0] == 1
            assert left[objective][-1] < 0.5
            steps = [at["step"] for at in run[objective]["path"]]
            assert tuple(steps) == fingerprint.SHOTS


def test_stored_fingerprints_begin_as_the_script_does(net: dsd.Backbone) -> None:
    """The first steps of one pair once more; later steps may drift with the CPU's rounding."""
    name = "astronaut to gravel"
    content, reference = fingerprint.pairs()[name]
    run = stored("fingerprint")["pairs"][name]
    with torch.no_grad():
        assert run["content"]["finest"] == pytest.approx(fingerprint.finest(content), rel=1e-3)
        assert run["reference"]["finest"] == pytest.approx(fingerprint.finest(reference), rel=1e-3)
    steps = fingerprint.SHOTS[-1]
    path, distances = fingerprint.match(content, reference, net, "dsd", steps, stop=2)
    left = [d["dsd"] / distances[0]["dsd"] for d in distances]
    assert left == pytest.approx(run["dsd"]["left"]["dsd"][:3], rel=5e-3)
    with torch.no_grad():
        got = fingerprint.describe(path[2], content, net)
    assert got["change"] == pytest.approx(run["dsd"]["path"][1]["change"], rel=1e-2)


@pytest.mark.parametrize(("name", "tiles"), [("path", (2, 12)), ("results", (4, 4))])
def test_stored_images(name: str, tiles: tuple[int, int]) -> None:
    sheet = dsd.load_image(RESULTS / f"fingerprint_{name}.webp")
    assert sheet.shape[2:] == tuple(fingerprint.SHOWN * n for n in tiles)
    for row, (content, _) in enumerate(fingerprint.pairs().values()):
        rim = (fingerprint.SIDE - fingerprint.SHOWN) // 2
        middle = content[..., rim:-rim, rim:-rim]
        tile = sheet[..., row * 128 : (row + 1) * 128, :128]
        assert (tile - middle).abs().mean() < 0.03  # both sheets begin with the content
        if name == "path":
            break
