"""Table 1's measurement: the shared passes, the cache, the stored result, a part of it measured."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

import dsd_lib as dsd
from data_scripts import evaluate_full_reference as script
from data_scripts.shared import results
from dsd_lib.files import data_folder
from dsd_lib.quality import agreement, baselines, rivals
from dsd_lib.quality.measures import MEASURES, of_stored
from dsd_lib.quality.rated_sets import RatedImage, RatedPair, RatedSet

FEATURES = ("perceptual", "pdl", "style", "multiscale_style", "dsd2", "dsd4")
STORED = results.RESULTS / "full_reference_live.json"
PUBLIC = {
    "perceptual": dsd.perceptual_distance,
    "pdl": dsd.projected_distribution_distance,
    "style": dsd.style_distance,
    "multiscale_style": lambda x, y, net, layers: dsd.multiscale_style_distance(x, y, net, layers),
    "dsd2": dsd.dsd_distance,
    "dsd4": lambda x, y, net, layers: dsd.dsd_distance(x, y, net, layers, alpha=4),
    "contextual": dsd.contextual_distance,
    "sliced_wasserstein": rivals.sliced_wasserstein_distance,
}


@pytest.fixture(scope="module")
def live():
    return json.loads(STORED.read_text(encoding="utf-8"))["results"]


@pytest.fixture
def two(coffee):
    x = coffee[:, :, 40:168, 40:184].contiguous()
    return (x + 0.05 * torch.randn(x.shape)).clamp(0, 1), x


def test_shared_passes_equal_the_public_functions(net, two):
    x, y = two
    shared = script.measure_pair(
        script.Description(x, net), script.Description(y, net), script.distances()
    )
    assert len(shared) == 6 * 4 + 2 + 3 * 3 + 3 + 3
    for key, value in shared.items():
        name, _, layer = key.partition("/")
        if layer:
            name, _, windows = name.partition("_windows")
            options = {"windows": int(windows)} if windows else {}
            expected = PUBLIC[name](x, y, net, [layer], **options).item()
        else:
            expected = MEASURES[name](x, y).item()
        assert value == pytest.approx(expected, rel=2e-4), key


def test_measures_of_the_registry(two, net):
    x, y = (script.Description(z, net) for z in two)
    found = script.measure_pair(x, y, ["psnr", "ssim"])
    assert found["ssim"] == pytest.approx(baselines.ssim(*two).item())
    assert script.measure_pair(y, y, ["psnr", "psnr_y", "ssim"]) == pytest.approx(
        {"psnr": 100, "psnr_y": 100, "ssim": 1}
    )


def test_directions():
    assert of_stored("psnr").higher_is_better and of_stored("ms_ssim").higher_is_better
    assert not of_stored("dsd2/relu4_1").higher_is_better
    assert not of_stored("lpips").higher_is_better


def test_dequantize():
    x = torch.tensor([0.0, 1.0]).view(1, 1, 1, 2).expand(1, 3, 50, 2)
    y = script.dequantize(x)
    assert 0 <= y.min() < y[..., 0].max() <= 1 / 256
    assert 255 / 256 <= y[..., 1].min() < y.max() <= 1
    torch.testing.assert_close(script.dequantize(x), y)


class TestCache:
    def test_what_is_finished_is_not_measured_again(self, tmp_path):
        path = tmp_path / "runs" / "x.jsonl"
        assert script.Cache(path).get("a", lambda: {"m": 1.5}) == {"m": 1.5}
        again = script.Cache(path)
        assert again.get("a", lambda: pytest.fail("measured again")) == {"m": 1.5}
        assert again.get("b", lambda: {"m": 2.0}) == {"m": 2.0}
        assert script.Cache(path).values == {"a": {"m": 1.5}, "b": {"m": 2.0}}

    def test_a_line_that_was_cut_off_is_measured_again(self, tmp_path):
        path = tmp_path / "x.jsonl"
        script.Cache(path).get("a", lambda: {"m": 1.5})
        with path.open("a") as file:
            file.write('{"key": "b", "val')
        again = script.Cache(path)
        assert again.get("b", lambda: {"m": 2.0}) == {"m": 2.0}
        assert script.Cache(path).values == {"a": {"m": 1.5}, "b": {"m": 2.0}}

    def test_an_interruption_loses_nothing(self, tmp_path):
        cache = script.Cache(tmp_path / "x.jsonl")
        cache.get("a", lambda: {"m": 1.0})
        with pytest.raises(KeyboardInterrupt):
            cache.get("b", self.interrupt)
        assert script.Cache(tmp_path / "x.jsonl").values == {"a": {"m": 1.0}}

    @staticmethod
    def interrupt():
        raise KeyboardInterrupt

    def test_another_selection_is_another_cache(self):
        assert script.settings_key(["psnr"]) != script.settings_key(["psnr", "ssim"])
        assert script.settings_key(["psnr"]) != script.settings_key(["psnr"], "dequantized")
        assert script.settings_key(["psnr"]) == script.settings_key(["psnr"])


class TestMeasure:
    @pytest.fixture
    def small_set(self, tmp_path, coffee, astronaut):
        """Two references with four versions each, rated by how much noise they have."""
        from PIL import Image

        rated = []
        for name, x in (("coffee", coffee), ("astronaut", astronaut)):
            x = x[:, :, 40:136, 40:136]
            reference = tmp_path / f"{name}.png"
            Image.fromarray(dsd.to_array(x)).save(reference)
            for level in range(1, 5):
                path = tmp_path / f"{name}_{level}.png"
                noisy = (x + 0.03 * level * torch.randn(x.shape)).clamp(0, 1)
                Image.fromarray(dsd.to_array(noisy)).save(path)
                rated.append(RatedImage(path, reference, "noise", 20.0 * level, 15.0))
        return RatedSet("small", tuple(rated), higher_is_better=False)

    def test_from_images_to_statistics(self, net, tmp_path, small_set, monkeypatch):
        described = []
        inner = script.Description

        def counted(x, net):
            described.append(1)
            return inner(x, net)

        monkeypatch.setattr(script, "Description", counted)
        names = ["psnr", "ssim", "dsd2/relu3_1", "perceptual/relu2_1"]
        groups = script.versions(small_set)
        assert [len(images) for images in groups.values()] == [4, 4]
        path = tmp_path / "cache.jsonl"
        with torch.no_grad():
            values = script.measure(groups, net, names, script.Cache(path), tmp_path)
            assert len(described) == 8 + 2  # every image once, every reference once
            again = script.measure(groups, net, names, script.Cache(path), tmp_path)
        assert again == values
        assert len(described) == 10

        found = script.statistics(small_set, values, draws=20)
        assert found["counts"] == {
            "all": {"pictures": 8, "pairs": 12},
            "noise": {"pictures": 8, "pairs": 12},
        }
        for name in names:
            of = found["measures"][name]["all"]
            assert of["srocc"][0] > 0.8, name
            assert of["pearson"][0] > 0.8, name
            assert ("logistic_given" in of) == ("/" in name)
            for value, low, high in of.values():
                assert -1 <= low <= value + 1e-4 and value - 1e-4 <= high <= 1
        kept = script.image_values(small_set, values)
        assert kept["name"][0] == "coffee_1" and len(kept["values"]["psnr"]) == 8

    def test_another_size_names_the_image(self, net, tmp_path, small_set):
        from PIL import Image

        bad = small_set.images[2].image
        Image.new("RGB", (96, 90)).save(bad)
        with pytest.raises(ValueError, match=r"coffee_3\.png: expected the reference's size"):
            script.measure(
                script.versions(small_set), net, ["psnr"], script.Cache(tmp_path / "c"), tmp_path
            )

    def test_pairs_bring_their_own_images(self):
        r, a, b = (Path(name) for name in "rab")
        pairs = (RatedPair(r, a, b, 0.3), RatedPair(r, r, b, 0.9))
        only_pairs = RatedSet("pieapp", (), True, pairs)
        assert script.versions(only_pairs) == {r: [a, b, r]}
        assert script.image_values(only_pairs, {}) == {}


def test_a_set_of_pairs_alone():
    """PieAPP's shape: no ratings, and a reference that stands among its own versions."""
    rng = np.random.default_rng(0)
    names = [
        "psnr",
        "ssim_y",
        *(f"{n}/{x}" for n in FEATURES for x in script.LAYERS),
    ]
    values, pairs, rated = {}, [], []
    for r in (Path("sea"), Path("hill"), Path("wood")):
        images = [r, *(Path(f"{r}_{i}") for i in range(4))]
        rated += [RatedImage(p, r, "", None, None) for p in images[1:]]
        for level, image in enumerate(images):
            spread = rng.uniform(0.9, 1.1, len(names))
            values[r, image] = {
                n: 50.0 - 5 * level * s if of_stored(n).higher_is_better else level * s
                for n, s in zip(names, spread, strict=True)
            }
        for i in range(5):
            for k in range(i + 1, 5):
                pairs.append(RatedPair(r, images[i], images[k], 1 - 0.4 ** (k - i)))
    rated_set = RatedSet("pieapp", tuple(rated), True, tuple(pairs))
    assert {len(v) for v in script.versions(rated_set).values()} == {5}
    found = script.statistics(rated_set, values, draws=20)
    assert found["counts"] == {"all": {"pictures": 12, "pairs": 30}}
    for name in names:
        of = found["measures"][name]["all"]
        assert {"plcc", "srocc", "krocc"}.isdisjoint(of)
        assert of["pearson"][0] > 0.8, name
    assert script.image_values(rated_set, values) == {}
    first = {key: value for key, value in values.items() if key[0] == Path("sea")}
    compared = script.compare_dequantized(values, first)
    assert compared["dsd2/relu4_1"] == [0.0, 1.0]
    assert json.dumps([found, compared], allow_nan=False)


class TestStored:
    """The committed result agrees with itself; no data set needed."""

    def test_size_and_counts(self, live):
        assert STORED.stat().st_size < 300_000
        assert live["references"] == 7
        assert live["counts"]["all"] == {"pictures": 133, "pairs": 1204}
        assert live["draws"] >= 500
        kinds = ("fastfading", "gblur", "jpeg", "wnoise")
        assert sum(live["counts"][kind]["pictures"] for kind in kinds) == 133
        names = {f"{n}/{layer}" for n in FEATURES for layer in script.LAYERS}
        assert names <= set(live["measures"])

    def test_statistics_follow_from_the_images(self, live):
        rated_set = rebuilt(live["pictures"])
        pairs = agreement.rated_pairs(rated_set)
        assert len(pairs) == 1204
        for name in ("dsd2/relu4_1", "style/relu2_1", "psnr", "ssim_y"):
            values = live["pictures"]["values"][name]
            of = {r.image: v for r, v in zip(rated_set.images, values, strict=True)}
            d = agreement.advantage(
                [of[p.a] for p in pairs],
                [of[p.b] for p in pairs],
                higher_is_better=of_stored(name).higher_is_better,
            )
            found = agreement.agreement_with_preferences(
                d, [p.preference for p in pairs], [p.reference for p in pairs], draws=5
            )
            scores = agreement.agreement_with_scores(
                values,
                live["pictures"]["score"],
                live["pictures"]["reference"],
                same_direction=not of_stored(name).higher_is_better,
                draws=5,
            )
            for key, estimate in (found | scores).items():
                stored = live["measures"][name]["all"][key]
                assert stored[0] == pytest.approx(estimate.value, abs=2e-3), (name, key)
                assert stored[1] <= stored[0] + 0.02 and stored[0] - 0.02 <= stored[2]


def rebuilt(kept):
    """The rated set behind the stored result."""
    rows = zip(*(kept[k] for k in ("name", "reference", "distortion", "score", "std")), strict=True)
    return RatedSet(
        "live",
        tuple(RatedImage(Path(n), Path(r), d, score, std) for n, r, d, score, std in rows),
        higher_is_better=False,
    )


def test_a_part_measured_again(live, net):
    """One reference's first JPEG image at relu2_1 and relu3_1, from the data set itself."""
    try:
        folder = data_folder("live")
    except FileNotFoundError as error:
        pytest.skip(str(error))
    from dsd_lib.quality.rated_sets import read_live

    rated = next(
        image
        for image in read_live(folder).images
        if (image.reference.stem, image.distortion) == ("buildings", "jpeg")
    )
    x, y = dsd.load_image(rated.image), dsd.load_image(rated.reference)
    index = live["pictures"]["name"].index(rated.image.stem)
    assert live["pictures"]["score"][index] == rated.score
    measured = {"psnr": baselines.psnr(x, y), "ssim_y": baselines.ssim_y(x, y)}
    for name in ("dsd2", "style", "perceptual"):
        for layer in ("relu2_1", "relu3_1"):
            measured[f"{name}/{layer}"] = PUBLIC[name](x, y, net, [layer])
    for name, value in measured.items():
        stored = live["pictures"]["values"][name][index]
        assert value.item() == pytest.approx(stored, rel=1e-3), (rated.image.stem, name)


def test_every_data_set_has_a_reader():

    for name in script.DATA:
        assert callable(getattr(script.rated_sets, f"read_{name}"))


def test_compare_dequantized():
    values = {k: {"m": float(v)} for k, v in zip("abc", (1, 2, 4), strict=True)}
    changed = {k: {"m": 1.1 * values[k]["m"]} for k in "abc"}
    change, r = script.compare_dequantized(values, changed)["m"]
    assert change == pytest.approx(0.1)
    assert r == pytest.approx(1)
    assert np.isfinite([change, r]).all()
