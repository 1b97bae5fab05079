"""Table 2: the script that measures it, and the stored results."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import stats

import dsd_lib as dsd
from data_scripts import evaluate_no_reference as script
from data_scripts import psi_predictors
from data_scripts.evaluate_full_reference import Cache
from data_scripts.shared.results import RESULTS
from dsd_lib.book.plots import load_result
from dsd_lib.files import data_folder
from dsd_lib.no_reference import PSI_LAYERS, NoReferenceDSD, Psi
from dsd_lib.quality import agreement, rated_sets
from dsd_lib.quality.deep_niqe import deep_niqe
from dsd_lib.quality.natural_scenes import brisque, niqe
from dsd_lib.quality.rated_sets import RatedImage, RatedPair, RatedSet

needs_data = pytest.mark.skipif(
    "DSD_DATA" not in os.environ, reason="DSD_DATA is not set: no rated images"
)
STORED = {"live": 133, "livewild": 627}
SIMPLE = ("mean", "line", "log_linear")


@pytest.fixture(scope="module")
def simple(net):
    """Predictors whose answers can be told: 0.1, then 1 + 2·‖DSD₂(x↓)‖, then all 1."""
    fits = {"mean": [[0.1]] * 4, "line": [[1.0, 2.0]] * 4, "log_linear": [[0.0] * 10] * 4}
    return {
        alpha: {k: psi_predictors.SimplePredictor(k, alpha, fits[k], net) for k in SIMPLE}
        for alpha in script.ALPHAS
    }


def made_up(norm: float, psi: float, quality: float) -> script.Values:
    """Values of an image with the same norm and prediction at all layers."""
    values = {"niqe": [quality], "brisque": [-quality], "deep_niqe": [quality**2]}
    for alpha in script.ALPHAS:
        values |= {f"norms{alpha}": [norm] * 4, f"psi{alpha}": [psi] * 4}
        values |= {f"known{alpha}": [0.1] * 9}
    return values


@pytest.fixture
def rated():
    """Two references with six versions each, and what was "measured" of them: the worse, the
    larger the norm; ψ is off by 0.01 and does not move.
    """
    images, values = [], {}
    for reference in (Path("sea.png"), Path("hill.png")):
        base = 0.2 if reference.stem == "sea" else 0.3
        values[reference] = made_up(base, base - 0.01, 1.0)
        for level in range(1, 7):
            path = Path(f"{reference.stem}{level}.png")
            kind = "noise" if level % 2 else "blur"
            images.append(RatedImage(path, reference, kind, 10.0 * level, 5.0))
            values[path] = made_up(base + 0.02 * level, base - 0.01, 1.0 + level**2)
    return RatedSet("made up", tuple(images), higher_is_better=False), values


def test_raw_values_are_the_librarys(net, astronaut):
    x = astronaut[..., 20:116, 20:212]
    with torch.no_grad():
        got = script.raw_values(x, net)
        for alpha in (2, 4):
            norms = dsd.dsd_norm(x, net, PSI_LAYERS, alpha)[0].tolist()
            assert got[f"norms{alpha}"] == pytest.approx(norms, rel=1e-5)
            small = dsd.imresize(x, scale=1 / alpha)
            known = psi_predictors.statistics(small, net)[0].tolist()
            assert got[f"known{alpha}"] == pytest.approx(known, rel=1e-5)
    assert got["niqe"] == pytest.approx([niqe(x).item()])
    assert got["brisque"] == pytest.approx([brisque(x).item()])
    assert got["deep_niqe"] == pytest.approx([deep_niqe(x, net).item()], rel=1e-4)


def test_the_measure_is_the_librarys(net, simple, astronaut):
    """Eq. (5) from the stored norms and predictions, with ψ and with a simple predictor."""
    x, image = astronaut[..., 20:116, 20:212], Path("a.png")
    psis = {alpha: Psi(alpha).eval() for alpha in (2, 4)}
    with torch.no_grad():
        values = {image: script.raw_values(x, net)}
        for alpha, psi in psis.items():
            values[image] |= script.psi_values(x, alpha, psi)
        found = script.measures(values, script.predictions(values, simple, {}))
        for alpha in (2, 4):
            for name, predictor in [("psi", psis[alpha]), ("line", simple[alpha]["line"])]:
                q = NoReferenceDSD(net=net, psi=predictor)(x).item()
                assert found[f"q_dsd{alpha}/{name}"][image] == pytest.approx(q, rel=1e-4)
    assert not any("reference" in name for name in found)


def test_measures_of_made_up_images(rated, simple):
    rated_set, values = rated
    references = script.references_of(rated_set)
    predicted = script.predictions(values, simple, references)
    found = script.measures(values, predicted)
    at = Path("hill3.png")  # norm 0.36, ψ 0.29, reference 0.3
    expected = {
        "q_dsd4/psi": 0.28,
        "signed_dsd4/psi": 0.28,
        "norm_dsd4": 1.44,
        "q_dsd4/reference": 0.24,
        "q_dsd4/mean": 1.04,
        "q_dsd4/line": 4 * (1.2 - 0.36),
        "q_dsd4/log_linear": 4 * (1 - 0.36),
        "niqe": 10,
        "brisque": -10,
    }
    for name, value in expected.items():
        assert found[name][at] == pytest.approx(value)
    assert found["q_dsd2/reference"][Path("sea.png")] == 0
    assert list(found) == [
        *(f"{q}{alpha}{end}" for alpha in (2, 4) for q, end in COLUMNS),
        *script.OTHERS,
    ]


COLUMNS = [("q_dsd", f"/{name}") for name in ("psi", *SIMPLE, "reference")]
COLUMNS += [("signed_dsd", "/psi"), ("norm_dsd", "")]


def test_analysis_of_a_set_with_references(rated, simple):
    rated_set, values = rated
    got = script.analyze(rated_set, values, simple, draws=5)
    json.dumps(got, allow_nan=False)
    assert got["counts"]["all"] == {"pictures": 12, "pairs": 30}
    assert got["counts"]["noise"] == {"pictures": 6, "pairs": 6}
    table = got["measures"]
    assert table["q_dsd4/reference"]["all"]["srocc"][0] == pytest.approx(1, abs=0.01)
    assert table["niqe"]["all"]["srocc"][0] == pytest.approx(1)
    assert table["brisque"]["all"]["srocc"][0] == pytest.approx(-1)
    assert table["brisque"]["noise"]["preference_pearson"][0] < -0.8
    squares = [1 + level**2 for level in range(1, 7)]
    expected = stats.pearsonr(squares, range(1, 7)).statistic
    assert table["niqe"]["all"]["pearson"][0] == pytest.approx(expected, abs=1e-4)
    assert table["niqe"]["all"]["plcc"][0] >= table["niqe"]["all"]["pearson"][0]
    assert got["srocc_differences"]["q_dsd4/psi - brisque"] == pytest.approx([2, 2, 2], abs=0.02)
    assert got["srocc_by_layer"]["q_dsd2/psi"]["blur"] == pytest.approx([1] * 4, abs=0.1)
    moves = got["what_moves"]["dsd4/blur"]  # levels 2, 4 and 6 of both
    assert moves["norm"][0] == pytest.approx((0.08 / 0.2 + 0.08 / 0.3) / 2, abs=1e-4)
    assert moves["prediction"] == [0] * 4
    assert moves["error"][0] == pytest.approx((0.01 / 0.2 + 0.01 / 0.3) / 2, abs=1e-4)
    kept = got["pictures"]
    assert kept["name"][:2] == ["sea1", "sea2"] and kept["clean"]["name"] == ["hill", "sea"]
    assert kept["clean"]["norms"]["2"] == [[0.3] * 4, [0.2] * 4]
    assert kept["psi"]["4"][0] == [0.19] * 4 and kept["norms"]["4"][0] == [0.22] * 4


@pytest.mark.parametrize("references", [True, False])
def test_a_measure_that_is_added_later_gives_the_same(rated, simple, references):
    """All at once, or the last measure joined to a stored result: only ``kept_from`` differs."""
    rated_set, values = rated
    if not references:
        rows = [RatedImage(r.image, None, "", r.score, 5.0) for r in rated_set.images]
        rated_set = RatedSet("alone", tuple(rows), higher_is_better=False)
        values = {r.image: values[r.image] for r in rows}
    whole = json.loads(json.dumps(script.analyze(rated_set, values, simple, draws=5)))
    kept = json.loads(json.dumps(whole))
    del kept["measures"]["deep_niqe"], kept["pictures"]["values"]["deep_niqe"]
    if references:
        del kept["pictures"]["clean"]["values"]["deep_niqe"]
    for name in [k for k in kept["srocc_differences"] if k.endswith("- deep_niqe")]:
        del kept["srocc_differences"][name]
    kept["kept_from"] = {"commit": "earlier"}
    found = script.others(values, ["deep_niqe"])
    got = script.added(kept, rated_set, found, draws=5)
    assert got.pop("kept_from") == {"commit": "earlier"}
    got = json.loads(json.dumps(got))
    differences, expected = got.pop("srocc_differences"), whole.pop("srocc_differences")
    assert got == whole and differences.keys() == expected.keys()
    for name, triple in differences.items():  # of stored values, rounded: ties come and go
        assert triple == pytest.approx(expected[name], abs=5e-3)
    kept["pictures"]["score"][0] += 1
    with pytest.raises(ValueError, match="the stored result is of other images"):
        script.added(kept, rated_set, found, draws=5)


def test_where_kept_values_come_from_is_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(script.results, "RESULTS", tmp_path)
    results, run = {"measures": {"niqe": {}}}, {"commit": "second"}
    file = tmp_path / "no_reference_live.json"
    file.write_text(json.dumps({"provenance": run, "results": results}))
    kept = script.stored("live")
    assert kept == results | {"kept_from": {"measures": ["niqe"], "commit": "second"}}
    file.write_text(json.dumps({"provenance": {"commit": "third"}, "results": kept}))
    again = script.stored("live")["kept_from"]
    assert again == {"measures": ["niqe"], "commit": "third", "kept_from": kept["kept_from"]}


def test_a_set_without_references_turned_round(rated, simple):
    """The same with opinions that rise with quality, and no reference: the same agreement."""
    rated_set, values = rated
    rows = [RatedImage(r.image, None, "", 100 - r.score, 5.0) for r in rated_set.images]
    alone = RatedSet("alone", tuple(rows), higher_is_better=True)
    assert script.all_images(alone) == [r.image for r in rows]
    some = {r.image: values[r.image] for r in rows}
    with_references = script.analyze(rated_set, values, simple, draws=5)
    got = script.analyze(alone, some, simple, draws=5)
    json.dumps(got, allow_nan=False)
    assert got["counts"] == {"all": {"pictures": 12, "pairs": 0}}
    assert set(got["measures"]) == {
        k for k in with_references["measures"] if not k.endswith("/reference")
    }
    for name, entry in got["measures"].items():
        for statistic in ("pearson", "srocc", "krocc"):
            expected = with_references["measures"][name]["all"][statistic][0]
            assert entry["all"][statistic][0] == pytest.approx(expected, abs=1e-4)
    assert got["what_moves"] == {} and "clean" not in got["pictures"]


def test_a_set_of_pairs_only(rated, simple):
    rated_set, values = rated
    images = [RatedImage(r.image, r.reference, "", None, None) for r in rated_set.images]
    pairs = [
        RatedPair(Path("sea.png"), Path("sea.png"), Path("sea4.png"), 1.0),  # with the reference
        RatedPair(Path("sea.png"), Path("sea2.png"), Path("sea3.png"), 0.6),
        RatedPair(Path("hill.png"), Path("hill5.png"), Path("hill1.png"), 0.0),
        RatedPair(Path("hill.png"), Path("hill2.png"), Path("hill1.png"), 0.4),
    ]
    only_pairs = RatedSet("pairs", tuple(images), higher_is_better=True, pairs=tuple(pairs))
    assert set(script.all_images(only_pairs)) == set(values)
    got = script.analyze(only_pairs, values, simple, draws=5)
    json.dumps(got, allow_nan=False)
    assert got["counts"] == {"all": {"pictures": 0, "pairs": 4}}
    entry = got["measures"]["niqe"]["all"]
    assert set(entry) == {"preference_pearson", "preference_logistic_fitted"}
    assert entry["preference_pearson"][0] > 0.9
    assert got["measures"]["brisque"]["all"]["preference_pearson"][0] < -0.9
    assert got["srocc_differences"] == {} and got["pictures"] == {}


def test_finished_images_are_not_measured_again(tmp_path):
    files = []
    for index in range(3):
        files.append(tmp_path / f"{index}.png")
        script_image = torch.full((1, 3, 8, 8), index / 4)
        Image.fromarray(dsd.to_array(script_image)).save(files[-1])
    seen = []

    def measure(x):
        seen.append(x.mean().item())
        if len(seen) == 3:
            raise ValueError("no texture")
        return {"niqe": [x.mean().item()]}

    path = tmp_path / "cache.jsonl"
    with pytest.raises(ValueError, match=r"2\.png: no texture"):
        script.measure_images(files, tmp_path, Cache(path), measure, "cpu")
    got = script.measure_images(files, tmp_path, Cache(path), measure, "cpu")
    assert len(seen) == 4 and list(got) == files
    assert got[files[1]]["niqe"] == pytest.approx([64 / 255])


def test_correlations_of_constants_are_undefined():
    x = np.array([1.0, 2.0, 2.0, 4.0])
    assert np.isnan(agreement.pearson(x, np.ones(4))) and np.isnan(
        agreement.spearman(np.ones(4), x)
    )
    assert agreement.spearman(x, x**3) == pytest.approx(1)


# The stored results


@pytest.fixture(params=STORED)
def stored(request):
    return request.param, load_result(RESULTS / f"no_reference_{request.param}.json")["results"]


def test_stored_results_are_of_the_packaged_psi(stored):
    name, results = stored
    assert results["psi_files"] == {
        str(alpha): script.fingerprint(script.psi_file(alpha)) for alpha in (2, 4)
    }
    assert results["counts"]["all"]["pictures"] == STORED[name]
    assert (RESULTS / f"no_reference_{name}.json").stat().st_size < 300_000


def test_stored_agreement_follows_from_the_stored_values(stored):
    name, results = stored
    sign = -1 if name == "livewild" else 1
    score = np.array(results["pictures"]["score"])
    for measure, column in results["pictures"]["values"].items():
        entry = results["measures"][measure]["all"]
        x = np.array(column)
        assert entry["srocc"][0] == pytest.approx(sign * agreement.spearman(x, score), abs=2e-3)
        assert entry["pearson"][0] == pytest.approx(sign * agreement.pearson(x, score), abs=2e-3)
        for value, low, high in entry.values():
            assert -1 <= low <= high <= 1 and low - 0.1 <= value <= high + 0.1


@needs_data
def test_stored_values_can_be_measured_again(stored, net):
    """Every measure of three images."""
    name, results = stored
    rated_set = getattr(rated_sets, f"read_{name}")(data_folder(name))
    rows = script.rated_rows(rated_set)
    kept = results["pictures"]
    assert kept["name"] == [r.image.stem for r in rows]
    assert kept["score"] == [r.score for r in rows]
    predictors = {alpha: psi_predictors.load_predictors(alpha, net) for alpha in script.ALPHAS}
    psis = {alpha: p.pop("psi") for alpha, p in predictors.items()}
    for index in (0, len(rows) // 2, len(rows) - 1):
        image = rows[index].image
        x = dsd.load_image(image)
        with torch.no_grad():
            values = {image: script.raw_values(x, net)}
            for alpha, psi in psis.items():
                values[image] |= script.psi_values(x, alpha, psi)
            found = script.measures(values, script.predictions(values, predictors, {}))
        for measure in found.keys() & kept["values"].keys():
            value, again = kept["values"][measure][index], found[measure][image]
            assert value == pytest.approx(again, rel=2e-3, abs=2e-3), measure
