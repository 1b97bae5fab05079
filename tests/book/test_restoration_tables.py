"""Tables and intervals from stored results of restoration."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import stats

from dsd_lib.book.restoration_tables import RestorationResults


def method(name: str, kind: str, *runs: dict) -> dict:
    record = {"steps": 1000, "batch": 16, "seed": 0, "layers": None, "weights": [1, 0.5, 0],
              "seconds": 60}  # fmt: skip
    return {
        "name": name,
        "label": name.upper(),
        "kind": kind,
        "runs": [
            {"seed": seed, "record": record | {"seed": seed}, "values": {"set5": values}}
            for seed, values in enumerate(runs)
        ],
    }


@pytest.fixture
def results(tmp_path):
    rng = np.random.default_rng(0)
    strip = rng.integers(0, 256, (8, 24, 3), dtype=np.uint8)
    Image.fromarray(strip).save(tmp_path / "crops.png")

    def values(shift):
        return {
            "psnr_y": list(25 + shift + rng.normal(0, 0.1, 30)),
            "ssim_y": list(0.8 + 0.01 * shift + rng.normal(0, 0.001, 30)),
            "niqe": list(5 - shift + rng.normal(0, 0.1, 30)),
        }

    stored = {
        "provenance": {},
        "results": {
            "methods": [
                method("bicubic", "interpolation", values(0)),
                method("dsd", "trained", values(1), values(1.5)),
                method("l1", "trained", values(0.001)),
            ],
            "truth": {"set5": {"niqe": [3.9, 4.1]}},
            "crops": [
                {"picture": "set5/bird", "box": [0, 0, 8, 8], "file": "crops.png",
                 "methods": ["truth", "bicubic", "dsd"]},
            ],
        },
    }  # fmt: skip
    path = tmp_path / "results.json"
    path.write_text(json.dumps(stored))
    return RestorationResults(path)


def test_means_are_over_images_and_runs(results):
    values = results.values("dsd", "set5", "psnr_y")
    assert values.shape == (2, 30)
    assert results.mean("dsd", "set5", "psnr_y") == pytest.approx(values.mean())
    assert results.values("dsd", "set14", "psnr_y") is None
    with pytest.raises(ValueError, match="dsd was not measured by psnr_y on set14"):
        results.mean("dsd", "set14", "psnr_y")


def test_the_interval_of_a_difference_is_that_of_paired_images(results):
    value, low, high = results.difference("dsd", "bicubic", "set5", "psnr_y")
    ours, theirs = (results.values(m, "set5", "psnr_y").mean(axis=0) for m in ("dsd", "bicubic"))
    assert value == pytest.approx((ours - theirs).mean())
    t_test = stats.ttest_rel(ours, theirs).confidence_interval(0.95)
    assert (low, high) == pytest.approx(tuple(t_test), abs=0.01)
    assert low < value < high


def test_verdicts_know_the_direction(results):
    assert results.verdict("dsd", "bicubic", "set5", "psnr_y") == "better"
    assert results.verdict("dsd", "bicubic", "set5", "niqe") == "better"
    assert results.verdict("bicubic", "dsd", "set5", "niqe") == "worse"
    assert results.verdict("l1", "bicubic", "set5", "psnr_y") == "undecided"


def test_the_table_shows_runs_and_the_best(results):
    text = repr(results.table("set5", number="Table 0.1", caption="DSD leads."))
    assert "PSNR-Y ↑" in text and "NIQE ↓" in text
    row = next(line for line in text.splitlines() if line.startswith("DSD"))
    assert row.count("*") == 6  # best in all three columns
    means = results.values("dsd", "set5", "psnr_y").mean(axis=1)
    assert f"({means.min():.2f}–{means.max():.2f})" in row


def test_niqe_is_compared_with_that_of_the_true_images(results):
    measures = ["psnr_y", "niqe", "niqe_gap"]
    text = repr(results.table("set5", measures=measures, number="Table 0.1", caption="Near."))
    assert "NIQE to truth's ↓" in text and "NIQE ↓" not in text
    assert results.niqe_of_truth("set5") == pytest.approx(4)
    rows = {line.split()[0]: line for line in text.splitlines()}
    gap = abs(results.mean("bicubic", "set5", "niqe") - 4)
    assert rows["BICUBIC"].rstrip().endswith(f"{gap:.2f}")
    gaps = abs(results.values("dsd", "set5", "niqe").mean(axis=1) - 4)  # of runs on both sides
    assert f"*{gaps.mean():.2f}* ({gaps.min():.2f}–{gaps.max():.2f})" in rows["DSD"]
    assert "4.00" in rows["Truth"]
    with pytest.raises(ValueError, match="true images of set14 were not measured"):
        results.niqe_of_truth("set14")


def test_regions_are_cut_from_the_strip(results):
    regions = results.regions("set5/bird")
    assert list(regions) == ["truth", "bicubic", "dsd"]
    assert all(region.shape == (1, 3, 8, 8) for region in regions.values())
    assert not torch.equal(regions["truth"], regions["dsd"])
    with pytest.raises(KeyError, match=r"one of \['set5/bird'\], got 'set5/cat'"):
        results.regions("set5/cat")


def test_the_plane_holds_the_methods_with_a_region(results):
    plane = results.plane("set5", "set5/bird", alt="DSD is lowest", image_alt="A bird by")
    assert repr(plane) == "NIQE against SSIM on Set5 (a plane of 2 points with an image each)"


def test_settings_name_every_seed(results):
    text = repr(results.settings(number="Table 0.2", caption="Training."))
    assert "0, 1" in text and "1,000" in text and "1, 0.5, 0" in text


def test_differences_fit_a_dot_plot(results):
    from dsd_lib.book import charts

    found = results.differences("dsd", ["bicubic", "l1"], "set5", ["psnr_y", "niqe"])
    panels = charts._panels(found)
    assert list(panels) == ["PSNR-Y", "NIQE"] and list(panels["NIQE"]) == ["BICUBIC", "L1"]


def test_another_file_is_refused(tmp_path):
    path = tmp_path / "other.json"
    path.write_text('{"provenance": {}, "results": {}}')
    with pytest.raises(ValueError, match="expected results of restoration"):
        RestorationResults(path)
