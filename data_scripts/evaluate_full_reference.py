"""Measure Table 1: how well full-reference measures agree with people.

    python -m data_scripts.evaluate_full_reference live

Data sets: live, pieapp, tid2013, kadid10k, csiq, each from ``$DSD_DATA/<name>/``. The result is
``book/results/full_reference_<name>.json``, which chapter 5 reads.

Every image goes through the network once a scale, for all measures together, and once more with
L2 pooling for DISTS' form; a reference is described once for all its versions. Finished images are
kept under ``runs/``, so that an interrupted run resumes where it stopped; a change of the code that
measures starts anew. ``--add`` keeps what the stored result holds and measures what it lacks.
"""

import argparse
import functools
import hashlib
import inspect
import json
import math
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

import dsd_lib as dsd
from data_scripts.shared import results
from dsd_lib import losses
from dsd_lib.files import data_folder, write_atomically
from dsd_lib.gram import window_grams
from dsd_lib.quality import agreement, baselines, measures, rated_sets, rivals
from dsd_lib.quality.agreement import spearman
from dsd_lib.quality.rated_sets import RatedSet

LAYERS = ("relu2_1", "relu3_1", "relu4_1", "relu5_1")  # Table 1
# Its time grows with the square of the positions: relu3_1 would take 16 times relu4_1's.
CONTEXTUAL_LAYERS = ("relu4_1", "relu5_1")
SCALES = (1, 2, 4)
SLICED_LAYERS = ("relu3_1", "relu4_1", "relu5_1")  # relu2_1 would take as long as all of them
WINDOWS = (2, 4, 8)  # a side, of local DSD; the paper has one, which is dsd2
LOCAL_LAYERS = ("relu2_1", "relu3_1", "relu4_1")
PIXEL_MEASURES = ("psnr", "psnr_y", "ssim", "ssim_y", "ms_ssim", "lpips", "st_lpips")
# What the authors' job list gives to 1 / (1 + exp(b (L_a - L_b))).
AUTHORS_BANDWIDTHS = {
    "perceptual": 1,
    "pdl": 10,  # a weight of 10 and a bandwidth of 1
    "style": 500,
    "multiscale_style": 1000,
    "dsd2": 1000,
    "contextual": 1,
}
COMPARED = ("perceptual", "pdl", "style", "multiscale_style", "dsd4")  # with dsd2, layer by layer
BEST_PSNR = 100.0  # dB, in place of the infinity of two equal images
KEPT_IMAGES = 1000  # a set with more keeps its statistics and not its images' values
DEQUANTIZED = 4  # images of one reference, spread over its versions
DRAWS = 500  # of the bootstrap; seven references give 1716 different draws
DATA = {
    "live": "LIVE release 2, 7 references (JPEG, white noise, blur, fast fading)",
    "pieapp": "PieAPP, the test set",
    "tid2013": "TID2013",
    "kadid10k": "KADID-10k",
    "csiq": "CSIQ",
}


class Description:
    """What the measures need to know of one image, each part computed when it is first asked for.

    Attributes:
        image: ``(1, 3, H, W)``.
    """

    def __init__(self, image: Tensor, net: dsd.Backbone) -> None:
        self.image, self.net = image, net
        self._grams: dict[tuple[int, int], dict[str, Tensor]] = {}

    @functools.cached_property
    def maps(self) -> dict[str, Tensor]:
        """Layer -> map at full scale: those of ``LAYERS`` and the last of each block."""
        layers = dict.fromkeys((*LAYERS, *rivals.block_ends(self.net)))
        return self.net(self.image, layers, check_range=False)

    @functools.cached_property
    def block_maps(self) -> list[Tensor]:
        """The maps at the last ReLU of each block."""
        return [self.maps[layer] for layer in rivals.block_ends(self.net)]

    @functools.cached_property
    def l2_pooled(self) -> list[Tensor]:
        """The image and the same maps, with L2 pooling."""
        return list(rivals.l2_pooled_maps(self.image, self.net).values())

    @functools.cached_property
    def windows(self) -> list[Tensor]:
        """The sorted windows of the image and of the block maps."""
        return [rivals.sort_windows(f) for f in (self.image, *self.block_maps)]

    @functools.cached_property
    def ordered(self) -> dict[str, Tensor]:
        """Layer -> the values of each channel in order."""
        return {layer: self.maps[layer].flatten(2).sort(dim=2).values for layer in LAYERS}

    @functools.cached_property
    def projected(self) -> dict[str, Tensor]:
        """Layer -> the values along random directions in order."""
        return {layer: rivals.sort_projections(self.maps[layer]) for layer in SLICED_LAYERS}

    @functools.cached_property
    def coarse(self) -> dict[int, dict[str, Tensor]]:
        """The maps of the image at half and quarter size."""
        small = {scale: dsd.imresize(self.image, scale=1 / scale) for scale in SCALES[1:]}
        return {scale: self.net(x, LAYERS, check_range=False) for scale, x in small.items()}

    def grams(self, scale: int, windows: int) -> dict[str, Tensor]:
        """Layer -> the Gram matrices of windows × windows parts of the image at a scale."""
        if (scale, windows) not in self._grams:
            maps = self.maps if scale == 1 else self.coarse[scale]
            layers = LAYERS if windows == 1 else LOCAL_LAYERS
            grams = {layer: window_grams(maps[layer], windows) for layer in layers}
            self._grams[scale, windows] = grams
        return self._grams[scale, windows]


Distance = Callable[[Description, Description], Tensor]  # of an image and its reference


def distances() -> dict[str, Distance]:
    """Every distance between deep features: ``"dsd2/relu4_1"`` and so on.

    They are the public functions, put together from what two descriptions hold.
    """
    found: dict[str, Distance] = {}
    for layer in LAYERS:
        found[f"perceptual/{layer}"] = lambda x, y, k=layer: losses.DISTANCES["perceptual"].compare(
            x.maps[k], y.maps[k]
        )
        found[f"pdl/{layer}"] = lambda x, y, k=layer: _mean_square(x.ordered[k] - y.ordered[k])
        found[f"style/{layer}"] = _of_grams("style", layer, (1,))
        found[f"multiscale_style/{layer}"] = _of_grams("multiscale_style", layer, (1, 2))
        found[f"dsd2/{layer}"] = _of_grams("dsd", layer, (1, 2))
        found[f"dsd4/{layer}"] = _of_grams("dsd", layer, (1, 4))
    for layer in CONTEXTUAL_LAYERS:
        found[f"contextual/{layer}"] = lambda x, y, k=layer: losses.DISTANCES["contextual"].compare(
            x.maps[k], y.maps[k], bandwidth=0.5
        )
    for windows in WINDOWS:
        for layer in LOCAL_LAYERS:
            found[f"dsd2_windows{windows}/{layer}"] = _of_grams("dsd", layer, (1, 2), windows)
    for layer in SLICED_LAYERS:
        found[f"sliced_wasserstein/{layer}"] = lambda x, y, k=layer: _mean_square(
            x.projected[k] - y.projected[k]
        )
    found["dists_form"] = lambda x, y: rivals.compare_dists(x.l2_pooled, y.l2_pooled)
    found["lpips_form"] = lambda x, y: rivals.compare_lpips(x.block_maps, y.block_maps)
    found["deep_wsd_form"] = lambda x, y: sum(
        (a - b).abs().mean() for a, b in zip(x.windows, y.windows, strict=True)
    )
    return found


def _of_grams(key: str, layer: str, scales: tuple[int, ...], windows: int = 1) -> Distance:
    """A row of the library's table of distances, at one layer."""
    distance = losses.DISTANCES[key]

    def describe(z: Description) -> dict[str, Tensor]:
        return distance.combine(*({layer: z.grams(scale, windows)[layer]} for scale in scales))

    return lambda x, y: distance.between(describe(x), describe(y))


def _mean_square(difference: Tensor) -> Tensor:
    return difference.square().mean()


def measure_pair(x: Description, y: Description, names: Iterable[str]) -> dict[str, float]:
    """The measures of those names; an infinite PSNR becomes ``BEST_PSNR``."""
    table, found = distances(), {}
    for name in names:
        of_images = measures.MEASURES.get(name)
        value = table[name](x, y) if name in table else of_images(x.image, y.image)
        found[name] = min(float(value), BEST_PSNR) if name.startswith("psnr") else float(value)
    return found


def usable_measures(keys: Iterable[str]) -> tuple[list[str], dict[str, str]]:
    """Those of the registry's measures that work here, and what the others lack."""
    keys = list(keys)
    working, missing = measures.usable(keys)
    for key, why in missing.items():
        print(f"without {measures.MEASURES[key].title}: {why}")
    return working, {
        key: f"its weights are not available here: {measures.MEASURES[key].weights}"
        for key in missing
    }


def versions(rated_set: RatedSet) -> dict[Path, list[Path]]:
    """Reference -> every version of it that was rated or compared, in the set's order."""
    found: dict[Path, dict[Path, None]] = {}
    for rated in rated_set.images:
        found.setdefault(rated.reference, {})[rated.image] = None
    for pair in rated_set.pairs:
        found.setdefault(pair.reference, {}).update({pair.a: None, pair.b: None})
    return {reference: list(images) for reference, images in found.items()}


class Cache:
    """Finished images as lines of JSON; a line that was cut off is dropped."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.values: dict[str, dict[str, float]] = {}
        if not path.is_file():
            path.parent.mkdir(parents=True, exist_ok=True)
            return
        whole = []
        for line in path.read_text(encoding="utf-8").splitlines(keepends=True):
            if line.endswith("\n"):
                whole.append(line)
                entry = json.loads(line)
                self.values[entry["key"]] = entry["values"]
        write_atomically(path, "".join(whole))

    def get(self, key: str, measure: Callable[[], dict[str, float]]) -> dict[str, float]:
        """The values kept under ``key``, or measured now and kept."""
        if key not in self.values:
            self.values[key] = measure()
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps({"key": key, "values": self.values[key]}) + "\n")
        return self.values[key]


def settings_key(names: Iterable[str], *more: object) -> str:
    """A name for the code that measures: another code, another cache."""
    modules = (dsd.backbones, dsd.gram, dsd.resize, dsd.losses, baselines, rivals)
    code = [Path(m.__file__).read_text(encoding="utf-8") for m in modules]
    code += [inspect.getsource(f) for f in (Description, distances, _of_grams, measure_pair)]
    text = json.dumps(
        [LAYERS, CONTEXTUAL_LAYERS, SLICED_LAYERS, list(names), [str(m) for m in more], code]
    )
    return hashlib.sha256(text.encode()).hexdigest()[:10]


def measure(
    groups: dict[Path, list[Path]],
    net: dsd.Backbone,
    names: Iterable[str],
    cache: Cache,
    root: Path,
    change: Callable[[Tensor], Tensor] = lambda x: x,
) -> dict[tuple[Path, Path], dict[str, float]]:
    """``(reference, image)`` -> measure -> value.

    Args:
        groups: reference -> its versions.
        net: the feature network.
        names: what to measure: names in :func:`distances`, or keys of the registry.
        cache: where finished images are kept.
        root: the data set's folder, which the cache's keys leave out.
        change: done to every image before it is measured.
    """
    device = next(net.buffers()).device
    found = {}
    progress = tqdm(total=sum(map(len, groups.values())), unit="image")
    for reference, images in groups.items():
        y = functools.lru_cache(lambda r=reference: Description(_load(r, device, change), net))
        for image in images:

            def measured(image: Path = image, y: Callable[[], Description] = y) -> dict:
                x = _load(image, device, change)
                if x.shape != y().image.shape:
                    raise ValueError(
                        f"{image}: expected the reference's size {tuple(y().image.shape)}, "
                        f"got {tuple(x.shape)}"
                    )
                return measure_pair(Description(x, net), y(), names)

            key = " ".join(
                f"{path.relative_to(root)} {path.stat().st_size}" for path in (reference, image)
            )
            found[reference, image] = cache.get(key, measured)
            progress.update()
    progress.close()
    return found


def _load(path: Path, device: torch.device, change: Callable[[Tensor], Tensor]) -> Tensor:
    return change(dsd.load_image(path)).to(device)


def dequantize(x: Tensor) -> Tensor:
    """``(255 x + U) / 256`` with uniform U in [0, 1], as the authors' evaluation does."""
    return (255 * x + torch.rand(x.shape, generator=torch.Generator().manual_seed(0))) / 256


def statistics(
    rated_set: RatedSet, values: dict[tuple[Path, Path], dict[str, float]], draws: int
) -> dict:
    """Every measure's agreement with people, over all images and for each kind of distortion."""
    pairs = agreement.rated_pairs(rated_set)
    distortion = {(r.reference, r.image): r.distortion for r in rated_set.images}
    kinds = ["all", *sorted({d for d in distortion.values() if d})]
    names = list(next(iter(values.values())))
    table: dict = {name: {} for name in names}
    counts = {}
    for kind in kinds:
        some = [r for r in rated_set.images if kind in ("all", r.distortion)]
        among = [
            p
            for p in pairs
            if kind == "all"
            or kind == distortion.get((p.reference, p.a)) == distortion.get((p.reference, p.b))
        ]
        counts[kind] = {"pictures": len(some), "pairs": len(among)}
        for name in tqdm(names, desc=kind):
            better = measures.of_stored(name).higher_is_better
            entry = agreement_of(among, values, name, better, draws)
            if some and all(r.score is not None for r in some):
                entry |= agreement.agreement_with_scores(
                    [values[r.reference, r.image][name] for r in some],
                    [r.score for r in some],
                    [r.reference for r in some],
                    same_direction=better == rated_set.higher_is_better,
                    draws=draws,
                )
            table[name][kind] = {k: rounded(v) for k, v in entry.items()}
    return {
        "counts": counts,
        "measures": table,
    }


def advantages(pairs: tuple, values: dict, name: str) -> np.ndarray:
    """How much better a measure finds a than b, for each pair."""
    a, b = ([values[p.reference, getattr(p, k)][name] for p in pairs] for k in "ab")
    better = measures.of_stored(name).higher_is_better
    return agreement.advantage(a, b, higher_is_better=better)


def agreement_of(pairs: list, values: dict, name: str, better: bool, draws: int) -> dict:
    """One measure's agreement with preferences."""
    return agreement.agreement_with_preferences(
        advantages(pairs, values, name),
        [p.preference for p in pairs],
        [p.reference for p in pairs],
        bandwidth=AUTHORS_BANDWIDTHS.get(name.partition("/")[0]),
        draws=draws,
    )


def differences(pairs: tuple, values: dict, draws: int) -> dict:
    """By how much DSD₂'s Pearson correlation is above that of the others, in the same draws."""
    found = {}
    for layer in LAYERS:
        first = advantages(pairs, values, f"dsd2/{layer}")
        others = [f"{name}/{layer}" for name in COMPARED]
        others += [
            k for k in ("ssim_y", "ms_ssim", "st_lpips") if (k in next(iter(values.values())))
        ]
        for other in others:
            found[f"dsd2/{layer} - {other}"] = rounded(
                agreement.pearson_difference(
                    first,
                    advantages(pairs, values, other),
                    [p.preference for p in pairs],
                    [p.reference for p in pairs],
                    draws=draws,
                )
            )
    return found


def srocc_differences(rated_set: RatedSet, values: dict, draws: int) -> dict:
    """By how much the SROCC of local DSD is above that of DSD₂, in the same draws."""
    rows = rated_set.images
    if not rows or any(r.score is None for r in rows):
        return {}
    scores = np.array([r.score for r in rows]) * (-1 if rated_set.higher_is_better else 1)

    def column(name: str) -> np.ndarray:
        return np.array([values[r.reference, r.image][name] for r in rows])

    def difference(first: str, second: str) -> agreement.Estimate:
        a, b = column(first), column(second)
        return agreement.bootstrap(
            lambda i: spearman(a[i], scores[i]) - spearman(b[i], scores[i]),
            [r.reference for r in rows],
            draws=draws,
        )

    return {
        f"dsd2_windows{n}/{layer} - dsd2/{layer}": rounded(
            difference(f"dsd2_windows{n}/{layer}", f"dsd2/{layer}")
        )
        for n in WINDOWS
        for layer in LOCAL_LAYERS
    }


def rounded(estimate: agreement.Estimate) -> list[float | None]:
    """``[value, low, high]`` to 4 decimals; None for a bound that is not defined."""
    triple = (estimate.value, estimate.low, estimate.high)
    return [None if math.isnan(v) else round(v, 4) for v in triple]


def image_values(rated_set: RatedSet, values: dict) -> dict:
    """What the chapter draws: every image's rating and values, to 5 digits."""
    rows = rated_set.images
    if not rows or len(rows) > KEPT_IMAGES or any(r.score is None for r in rows):
        return {}
    own = [values[r.reference, r.image] for r in rows]
    return {
        "name": [r.image.stem for r in rows],
        "reference": [r.reference.stem for r in rows],
        "distortion": [r.distortion for r in rows],
        "score": [r.score for r in rows],
        "std": [r.std for r in rows],
        "values": {k: results.rounded([v[k] for v in own], 5) for k in own[0]},
    }


def compare_dequantized(values: dict, changed: dict) -> dict[str, list[float]]:
    """Measure -> the largest relative change of a value, and Pearson's r between both.

    A reference that was rated as a version of itself, at distance 0, is left out.
    """
    found = {}
    for name in next(iter(changed.values())):
        both = np.array([(values[key][name], changed[key][name]) for key in changed])
        before, after = both[(both != 0).all(axis=1)].T
        if len(before) > 1 and np.ptp(before) > 0 and np.ptp(after) > 0:
            change = np.abs(after / before - 1).max()
            r = float(np.corrcoef(before, after)[0, 1])
            found[name] = [float(f"{change:.3g}"), round(r, 5)]
    return found


def evaluate(name: str, draws: int, add: bool) -> None:
    """Measure one data set and write its result.

    Args:
        name: of the data set.
        draws: of the bootstrap.
        add: keep what the stored result holds, and measure only what it lacks.
    """
    started = results.begin()
    folder = data_folder(name)
    rated_set = getattr(rated_sets, f"read_{name}")(folder)
    groups = versions(rated_set)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    net = dsd.load_backbone("vgg16").to(device)
    kept = stored(name) if add else {}
    usable, left_out = usable_measures(PIXEL_MEASURES)
    names = [n for n in (*distances(), *usable) if n not in kept.get("measures", {})]
    with torch.no_grad():
        runs = results.ROOT / "runs"
        cache = Cache(runs / f"full_reference_{name}_{settings_key(names)}.jsonl")
        values = measure(groups, net, names, cache, folder)
        first = next(iter(groups))
        some = {first: groups[first][:: max(1, len(groups[first]) // DEQUANTIZED)][:DEQUANTIZED]}
        key = settings_key(names, "dequantized")
        again = Cache(runs / f"full_reference_{name}_{key}.jsonl")
        changed = measure(some, net, names, again, folder, dequantize)
    measured = {
        "references": len(groups),
        "draws": draws,
        "left_out": left_out,
        **statistics(rated_set, values, draws),
        "dequantized": compare_dequantized(values, changed),
        "pictures": image_values(rated_set, values),
    }
    if add:
        measured = added(kept, measured)
        values = stored_values(rated_set, measured["pictures"])
    measured["differences"] = differences(agreement.rated_pairs(rated_set), values, draws)
    measured["srocc_differences"] = srocc_differences(rated_set, values, draws)
    results.write_result(
        f"full_reference_{name}",
        measured,
        data=f"{DATA[name]}: {sum(map(len, groups.values()))} images",
        network="vgg16",
        started=started,
        seed=0,
        device=device,
    )


def stored(name: str) -> dict:
    """The stored result of a data set, with where it comes from under ``kept_from``."""
    file = results.RESULTS / f"full_reference_{name}.json"
    content = json.loads(file.read_text(encoding="utf-8"))
    return content["results"] | {"kept_from": content["provenance"]}


def added(kept: dict, measured: dict) -> dict:
    """A stored result with more measures, and the provenance of those that were there."""
    both = {k: kept[k] | measured[k] for k in ("measures", "dequantized")}
    values = kept["pictures"]["values"] | measured["pictures"]["values"]
    for key in ("name", "score"):
        if kept["pictures"][key] != measured["pictures"][key]:
            raise ValueError("the stored result is of other images; measure all of them anew")
    return {
        **measured,
        **both,
        "pictures": kept["pictures"] | {"values": values},
        "kept_from": {"measures": list(kept["measures"]), **kept["kept_from"]},
    }


def stored_values(rated_set: RatedSet, images: dict) -> dict[tuple[Path, Path], dict[str, float]]:
    """``(reference, image)`` -> measure -> value, from the values that a result holds."""
    return {
        (r.reference, r.image): {name: column[i] for name, column in images["values"].items()}
        for i, r in enumerate(rated_set.images)
    }


def main() -> None:
    """Measure one data set."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", choices=DATA)
    parser.add_argument("--draws", type=int, default=DRAWS, help="of the bootstrap")
    parser.add_argument("--add", action="store_true", help="only what the stored result lacks")
    arguments = parser.parse_args()
    evaluate(arguments.data, arguments.draws, arguments.add)


if __name__ == "__main__":
    main()
