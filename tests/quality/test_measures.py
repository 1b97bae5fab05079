"""The registry of measures: names, options, and what stored results call them."""

import json
from pathlib import Path

import pytest
import torch

import dsd_lib as dsd
from dsd_lib.quality import measures
from dsd_lib.quality.measures import FULL_REFERENCE, MEASURES, NO_REFERENCE

RESULTS = Path(__file__).parents[2] / "book" / "results"


def test_every_measure_is_either_with_or_without_reference():
    assert {**FULL_REFERENCE, **NO_REFERENCE} == MEASURES
    for measure in NO_REFERENCE.values():
        assert measure.identical is None and measure.symmetric is None
    for measure in FULL_REFERENCE.values():
        assert measure.identical is not None
    titles = [measure.title for measure in MEASURES.values()]
    assert len(set(titles)) == len(titles)


def test_names_with_hyphens_and_older_names():
    found = measures.find(["psnr-y", "stlpips", "pdl", "multiscale-style"])
    assert [m.key for m in found] == [
        "psnr_y",
        "st_lpips",
        "projected_distribution",
        "multiscale_style",
    ]


@pytest.mark.parametrize(
    ("names", "table"),
    [
        ([], MEASURES),
        (["psnr", "psnr"], MEASURES),
        (["psnr_y", "psnr-y"], MEASURES),
        (["nothing"], MEASURES),
        ("niqe", FULL_REFERENCE),
        ("psnr", NO_REFERENCE),
    ],
)
def test_bad_names(names, table):
    with pytest.raises(ValueError, match="measures: expected different names out of"):
        measures.find(names, table)


def test_options_reach_the_function(net, pair):
    x, y = pair
    chosen = MEASURES["dsd"].prepare(net=net, layers="relu2_1", alpha=4)
    assert chosen.settings == {"network": "vgg16", "layers": ["relu2_1"], "alpha": 4}
    torch.testing.assert_close(chosen(x, y), dsd.dsd_distance(x, y, net, ["relu2_1"], 4))
    torch.testing.assert_close(MEASURES["dsd"](x, y), dsd.dsd_distance(x, y, net))
    assert MEASURES["perceptual"].prepare(net=net).settings["layers"] == [net.last_conv]
    with pytest.raises(TypeError, match="psnr: expected options out of"):
        MEASURES["psnr"].prepare(alpha=2)
    with pytest.raises(ValueError, match="alpha: expected a number above 1"):
        MEASURES["dsd"].prepare(net=net, alpha=1)


def test_what_is_missing_is_said(monkeypatch):
    def absent(x, y):
        raise ImportError("no such package")

    monkeypatch.setitem(MEASURES, "absent", measures.Measure("absent", "", "", absent))
    assert measures.usable(["psnr", "absent"]) == (["psnr"], {"absent": "no such package"})


@pytest.mark.parametrize(
    "file", sorted(RESULTS.glob("full_reference_*.json")), ids=lambda f: f.stem
)
def test_every_stored_name_is_a_measure(file):
    names = json.loads(file.read_text())["results"]["measures"]
    assert len({measures.stored_title(name) for name in names}) == len(names)
    for name in names:
        measure = measures.of_stored(name)
        assert measure.needs_reference
        assert ("/" in name) == ("layers" in measure.options)
