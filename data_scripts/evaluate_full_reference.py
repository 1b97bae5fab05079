"""Measure Table 1: how well full-reference measures agree with people.

    python -m data_scripts.evaluate_full_reference live

Data sets: live, pieapp, tid2013, kadid10k, csiq, each from ``$DSD_DATA/<name>/``. The result is
``book/results/full_reference_<name>.json``, which chapter 5 reads.

Every image goes through the network once a scale, for all measures together; the reference of a
group is described once. Finished images are kept under ``runs/``, so that a run that was broken
off goes on where it stopped; a change of the code that measures starts anew.
"""

import argparse
import functools
import hashlib
import inspect
import json
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

import dsd_lib as dsd
from data_scripts.shared import results
from dsd_lib import losses
from dsd_lib.files import data_folder, write_atomically
from dsd_lib.quality import agreement, baselines, measures, rated_sets
from dsd_lib.quality.rated_sets import RatedSet

LAYERS = ("relu2_1", "relu3_1", "relu4_1", "relu5_1")  # Table 1
# Its time grows with the square of the positions: relu3_1 would take 16 times relu4_1's.
CONTEXTUAL_LAYERS = ("relu4_1", "relu5_1")
SCALES = {1: "", 2: "↓2", 4: "↓4"}
FEATURE_MEASURES = ("perceptual", "pdl", "style", "multiscale_style", "dsd2", "dsd4")
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


@dataclass
class Description:
    """What every measure needs to know of one image.

    Attributes:
        image: ``(1, 3, H, W)``.
        maps: layer -> feature map at full scale.
        ordered: layer -> the values of each channel in order.
        grams: ``(scale, layer)`` -> Gram matrix; scale is 1, 2 or 4.
    """

    image: Tensor
    maps: dict[str, Tensor]
    ordered: dict[str, Tensor]
    grams: dict[tuple[int, str], Tensor]


def describe(x: Tensor, net: dsd.Backbone) -> Description:
    """Everything about ``x`` ``(1, 3, H, W)``, from one network pass a scale."""
    maps, grams = {}, {}
    for scale in SCALES:
        small = x if scale == 1 else dsd.imresize(x, scale=1 / scale)
        found = net(small, LAYERS, check_range=False)
        maps = maps or found
        grams |= {(scale, layer): dsd.gram_matrix(f) for layer, f in found.items()}
    ordered = {layer: f.flatten(2).sort(dim=2).values for layer, f in maps.items()}
    return Description(x, maps, ordered, grams)


def feature_distances(x: Description, y: Description) -> dict[str, float]:
    """All distances between deep features, ``"dsd2/relu4_1"`` and so on; y is the reference."""
    found = {}

    def gram_difference(layer: str, scale: int) -> Tensor:
        return x.grams[scale, layer] - y.grams[scale, layer]

    for layer in LAYERS:
        full, half, quarter = (gram_difference(layer, scale) for scale in SCALES)
        found[f"perceptual/{layer}"] = (x.maps[layer] - y.maps[layer]).abs().mean()
        found[f"pdl/{layer}"] = (x.ordered[layer] - y.ordered[layer]).square().mean()
        found[f"style/{layer}"] = full.abs().mean()
        found[f"multiscale_style/{layer}"] = full.abs().mean() + half.abs().mean()
        # (G(x) - G(x↓)) - (G(y) - G(y↓)), with the terms of each scale together
        found[f"dsd2/{layer}"] = (full - half).abs().mean()
        found[f"dsd4/{layer}"] = (full - quarter).abs().mean()
    for layer in CONTEXTUAL_LAYERS:
        # The inner function of dsd.contextual_distance, which would run the network again.
        found[f"contextual/{layer}"] = losses.DISTANCES["contextual"].compare(
            x.maps[layer], y.maps[layer], bandwidth=0.5
        )
    return {name: float(value) for name, value in found.items()}


def pixel_distances(x: Tensor, y: Tensor, names: Iterable[str]) -> dict[str, float]:
    """The measures of those names; an infinite PSNR becomes ``BEST_PSNR``."""
    found = {name: float(measures.MEASURES[name](x, y)) for name in names}
    return {k: min(v, BEST_PSNR) if k.startswith("psnr") else v for k, v in found.items()}


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
    modules = (dsd.backbones, dsd.gram, dsd.resize, dsd.losses, baselines)
    code = [Path(m.__file__).read_text(encoding="utf-8") for m in modules]
    code += [inspect.getsource(f) for f in (describe, feature_distances, pixel_distances)]
    text = json.dumps([LAYERS, CONTEXTUAL_LAYERS, list(names), [str(m) for m in more], code])
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
        names: measures of the registry besides the distances between features.
        cache: where finished images are kept.
        root: the data set's folder, which the cache's keys leave out.
        change: done to every image before it is measured.
    """
    device = next(net.buffers()).device
    found = {}
    progress = tqdm(total=sum(map(len, groups.values())), unit="picture")
    for reference, images in groups.items():
        y = functools.lru_cache(lambda r=reference: describe(_load(r, device, change), net))
        for image in images:

            def distances(image: Path = image, y: Callable[[], Description] = y) -> dict:
                x = _load(image, device, change)
                if x.shape != y().image.shape:
                    raise ValueError(
                        f"{image}: expected the reference's size {tuple(y().image.shape)}, "
                        f"got {tuple(x.shape)}"
                    )
                return feature_distances(describe(x, net), y()) | pixel_distances(
                    x, y().image, names
                )

            key = " ".join(
                f"{path.relative_to(root)} {path.stat().st_size}" for path in (reference, image)
            )
            found[reference, image] = cache.get(key, distances)
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
        "differences": differences(pairs, values, draws),
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


def evaluate(name: str, draws: int) -> None:
    """Measure one data set and write its result."""
    started = results.begin()
    folder = data_folder(name)
    rated_set = getattr(rated_sets, f"read_{name}")(folder)
    groups = versions(rated_set)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    net = dsd.load_backbone("vgg16").to(device)
    names, left_out = usable_measures(PIXEL_MEASURES)
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
    results.write_result(
        f"full_reference_{name}",
        measured,
        data=f"{DATA[name]}: {sum(map(len, groups.values()))} images",
        network="vgg16",
        started=started,
        seed=0,
        device=device,
    )


def main() -> None:
    """Measure one data set."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", choices=DATA)
    parser.add_argument("--draws", type=int, default=DRAWS, help="of the bootstrap")
    arguments = parser.parse_args()
    evaluate(arguments.data, arguments.draws)


if __name__ == "__main__":
    main()
