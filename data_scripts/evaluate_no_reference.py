"""Measure Table 2: how well measures that need no reference agree with people.

    python -m data_scripts.evaluate_no_reference live

Data sets: live, livewild, pieapp, tid2013, kadid10k, csiq, each from ``$DSD_DATA/<name>/``. The
result is ``book/results/no_reference_<name>.json``, which chapter 7 reads.

Next to Q_DSD (Eq. 5) with the trained ψ are the same with simpler predictors in place of ψ
(``data_scripts.psi_predictors``), with the true ‖DSD‖ of the reference where there is one, ‖DSD‖
alone, and the measures of others in ``OTHERS``. Finished images are kept under ``runs/``, so that
an interrupted run resumes where it stopped, and another ψ costs only its own pass; a change of the
code that measures starts anew. ``--prepare`` stops before ψ. ``--add`` keeps the stored result and
measures only those of ``OTHERS`` that it lacks.
"""

import argparse
import hashlib
import inspect
import json
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

import dsd_lib as dsd
from data_scripts import psi_predictors
from data_scripts.evaluate_full_reference import Cache, rounded
from data_scripts.shared import results
from dsd_lib.descriptor import matrix_norms, self_dissimilarity
from dsd_lib.files import data_folder
from dsd_lib.gram import feature_grams
from dsd_lib.no_reference import PSI_LAYERS
from dsd_lib.quality import agreement, deep_niqe, natural_scenes, rated_sets
from dsd_lib.quality.agreement import pearson, spearman
from dsd_lib.quality.measures import MEASURES
from dsd_lib.quality.rated_sets import RatedImage, RatedSet

ALPHAS = (2, 4)
OTHERS = ("niqe", "brisque", "deep_niqe")  # keys of the registry
KEPT_IMAGES = 1000  # a set with more keeps its statistics and not its images' values
LAYERS_KEPT = 200  # a set with more keeps no values of single layers
FEWEST = 3  # images or pairs, for a correlation
FIRST = ("q_dsd2/psi", "q_dsd4/psi")  # compared with all others, in the same draws
DATA = {
    "live": "LIVE release 2, 7 references (JPEG, white noise, blur, fast fading)",
    "livewild": "LIVE In the Wild",
    "pieapp": "PieAPP, the test set",
    "tid2013": "TID2013",
    "kadid10k": "KADID-10k",
    "csiq": "CSIQ",
}

Values = dict[str, list[float]]  # of one image: name -> numbers
Predictor = Callable[[Tensor], Tensor]  # x↓α -> norms at the four layers


def raw_values(x: Tensor, net: dsd.Backbone) -> Values:
    """What can be measured of one image ``(1, 3, H, W)`` before there is a ψ.

    ``norms2``, ``norms4``: ‖DSD_α‖₁ at the four layers; ``known2``, ``known4``: what the simple
    predictors know of the downscaled image; the measures of others.
    """
    values = {}
    fine = feature_grams(x, net, PSI_LAYERS)
    for alpha in ALPHAS:
        small = dsd.imresize(x, scale=1 / alpha)
        coarse = feature_grams(small, net, PSI_LAYERS)
        values[f"norms{alpha}"] = matrix_norms(self_dissimilarity(fine, coarse))[0].tolist()
        values[f"known{alpha}"] = psi_predictors.statistics(small, net)[0].tolist()
    return values | other_values(x, OTHERS)


def other_values(x: Tensor, keys: Iterable[str]) -> Values:
    """Measures of others of one image ``(1, 3, H, W)``, by their keys in the registry."""
    return {key: MEASURES[key](x).tolist() for key in keys}


def psi_values(x: Tensor, alpha: int, psi: Predictor) -> Values:
    """ψ's prediction of the clean image's norms, ``psi2`` or ``psi4``."""
    return {f"psi{alpha}": psi(dsd.imresize(x, scale=1 / alpha))[0].tolist()}


def measure_images(
    images: Iterable[Path],
    root: Path,
    cache: Cache,
    measure: Callable[[Tensor], Values],
    device: str,
) -> dict[Path, Values]:
    """``measure`` of every image that the cache does not hold yet."""
    found = {}
    for image in tqdm(images, desc=cache.path.stem):
        key = f"{image.relative_to(root)} {image.stat().st_size}"
        try:
            found[image] = cache.get(key, lambda p=image: measure(dsd.load_image(p).to(device)))
        except ValueError as error:
            raise ValueError(f"{image}: {error}") from error
    return found


def all_images(rated_set: RatedSet) -> list[Path]:
    """Every rated or compared image and every reference, once."""
    found: dict[Path | None, None] = {}
    for rated in rated_set.images:
        found |= {rated.reference: None, rated.image: None}
    for pair in rated_set.pairs:
        found |= {pair.reference: None, pair.a: None, pair.b: None}
    return [path for path in found if path is not None]


def references_of(rated_set: RatedSet) -> dict[Path, Path]:
    """Image -> its reference, for the images that have one; a reference is its own."""
    found = {r.image: r.reference for r in rated_set.images if r.reference is not None}
    for pair in rated_set.pairs:
        found |= {pair.a: pair.reference, pair.b: pair.reference}
    return found | {reference: reference for reference in found.values()}


def predictions(
    values: dict[Path, Values],
    simple: dict[int, dict[str, nn.Module]],
    references: dict[Path, Path],
) -> dict[str, dict[Path, np.ndarray]]:
    """``"dsd4/psi"`` and so on -> image -> the norms that a clean version of it should have.

    ``simple`` holds the simple predictors by alpha and name. ``reference`` is no prediction: the
    true norms of the undistorted image, for sets in which every image has one.
    """
    found = {}
    for alpha in ALPHAS:
        found[f"dsd{alpha}/psi"] = {p: np.array(v[f"psi{alpha}"]) for p, v in values.items()}
        known = torch.tensor([v[f"known{alpha}"] for v in values.values()])
        for name, predictor in simple[alpha].items():
            rows = predictor.predict(known).numpy()
            found[f"dsd{alpha}/{name}"] = dict(zip(values, rows, strict=True))
        if references.keys() >= values.keys():
            found[f"dsd{alpha}/reference"] = {
                p: np.array(values[references[p]][f"norms{alpha}"]) for p in values
            }
    return found


def measures(
    values: dict[Path, Values], predicted: dict[str, dict[Path, np.ndarray]]
) -> dict[str, dict[Path, float]]:
    """Measure -> image -> value; all as if lower were better.

    ``q_dsd4/psi`` is Eq. (5), ``signed_dsd4/psi`` the same without the absolute value (‖DSD‖ above
    the prediction is positive), ``norm_dsd4`` the sum of ‖DSD₄‖ over layers.
    """
    found = {}
    for alpha in ALPHAS:
        norms = {p: np.array(v[f"norms{alpha}"]) for p, v in values.items()}
        for name, expected in predicted.items():
            if name.startswith(f"dsd{alpha}/"):
                found[f"q_{name}"] = {p: float(np.abs(expected[p] - norms[p]).sum()) for p in norms}
        psi = predicted[f"dsd{alpha}/psi"]
        found[f"signed_dsd{alpha}/psi"] = {p: float((norms[p] - psi[p]).sum()) for p in norms}
        found[f"norm_dsd{alpha}"] = {p: float(norms[p].sum()) for p in norms}
    return found | others(values, OTHERS)


def others(values: dict[Path, Values], keys: Iterable[str]) -> dict[str, dict[Path, float]]:
    """The same of the measures of others."""
    return {key: {p: v[key][0] for p, v in values.items()} for key in keys}


def with_scores(
    found: dict[Path, float], rows: list[RatedImage], higher_is_better: bool, draws: int
) -> dict[str, list]:
    """PLCC, SROCC, KROCC and Table 2's plain Pearson correlation with the ratings.

    +1 is a measure that falls as people's opinion rises. Intervals are over references, or over
    images where there are none.
    """
    x = np.array([found[r.image] for r in rows])
    y = np.array([r.score for r in rows])
    groups = [r.reference or r.image for r in rows]
    estimates = agreement.agreement_with_scores(
        x, y, groups, same_direction=not higher_is_better, draws=draws
    )
    sign = -1 if higher_is_better else 1
    estimates["pearson"] = agreement.bootstrap(
        lambda i: sign * pearson(x[i], y[i]), groups, draws=draws
    )
    return {k: rounded(v) for k, v in estimates.items()}


def with_preferences(found: dict[Path, float], pairs: list, draws: int) -> dict[str, list]:
    """Table 1's protocol: Pearson's correlation with preferences over pairs of one reference."""
    a, b = ([found[getattr(p, side)] for p in pairs] for side in "ab")
    estimates = agreement.agreement_with_preferences(
        agreement.advantage(a, b, higher_is_better=False),
        [p.preference for p in pairs],
        [p.reference for p in pairs],
        draws=draws,
    )
    return {f"preference_{k}": rounded(estimates[k]) for k in ("pearson", "logistic_fitted")}


def agreement_table(
    rated_set: RatedSet, found: dict[str, dict[Path, float]], draws: int
) -> tuple[dict, dict]:
    """How many images and pairs, and every measure's agreement, in all and by distortion."""
    has_references = all(r.reference is not None for r in rated_set.images)
    pairs = agreement.rated_pairs(rated_set) if has_references else ()
    distortion = {r.image: r.distortion for r in rated_set.images}
    counts, table = {}, {name: {} for name in found}
    for kind in ["all", *sorted({d for d in distortion.values() if d})]:
        rows = rated_rows(rated_set, kind)
        some = [
            p for p in pairs if kind == "all" or kind == distortion.get(p.a) == distortion.get(p.b)
        ]
        counts[kind] = {"pictures": len(rows), "pairs": len(some)}
        for name in tqdm(found, desc=kind):
            entry = {}
            if len(rows) >= FEWEST:
                entry = with_scores(found[name], rows, rated_set.higher_is_better, draws)
            if len(some) >= FEWEST:
                entry |= with_preferences(found[name], some, draws)
            table[name][kind] = entry
    return counts, table


def rated_rows(rated_set: RatedSet, kind: str = "all") -> list[RatedImage]:
    """The images with a rating, of one distortion or of all."""
    return [r for r in rated_set.images if r.score is not None and kind in ("all", r.distortion)]


def differences(
    rated_set: RatedSet, found: dict[str, dict[Path, float]], draws: int
) -> dict[str, list]:
    """By how much Q_DSD's SROCC is above that of every other measure, in the same draws."""
    rows = rated_rows(rated_set)
    if not rows:
        return {}
    y = np.array([r.score for r in rows]) * (-1 if rated_set.higher_is_better else 1)
    groups = [r.reference or r.image for r in rows]
    x = {name: np.array([v[r.image] for r in rows]) for name, v in found.items()}
    return {
        f"{first} - {other}": rounded(
            agreement.bootstrap(
                lambda i, a=x[first], b=x[other]: spearman(a[i], y[i]) - spearman(b[i], y[i]),
                groups,
                draws=draws,
            )
        )
        for first in FIRST
        for other in found
        if other != first
    }


def by_layer(
    rated_set: RatedSet, values: dict[Path, Values], predicted: dict[str, dict[Path, np.ndarray]]
) -> dict[str, dict[str, list[float]]]:
    """SROCC of Q_DSD with ψ at each single layer: measure -> distortion -> four numbers."""
    sign = -1 if rated_set.higher_is_better else 1
    kinds = ["all", *sorted({r.distortion for r in rated_set.images if r.distortion})]
    found: dict = {}
    for alpha in ALPHAS:
        expected = predicted[f"dsd{alpha}/psi"]
        for kind in kinds:
            if rows := rated_rows(rated_set, kind):
                norms = np.array([values[r.image][f"norms{alpha}"] for r in rows])
                q = np.abs(norms - np.array([expected[r.image] for r in rows]))
                y = np.array([r.score for r in rows])
                found.setdefault(f"q_dsd{alpha}/psi", {})[kind] = [
                    round(sign * spearman(column, y), 4) for column in q.T
                ]
    return found


def what_moves(
    rated_set: RatedSet, values: dict[Path, Values], predicted: dict[str, dict[Path, np.ndarray]]
) -> dict[str, dict[str, list[float]]]:
    """What a distortion does to ‖DSD‖ and to ψ's prediction, relative to the reference's ‖DSD‖.

    ``"dsd4/jpeg"`` -> ``"norm"``: mean of (‖DSD(y)‖ - ‖DSD(x)‖) / ‖DSD(x)‖ at each layer, the
    change to be noticed; ``"prediction"``: mean of (ψ(y↓) - ψ(x↓)) / ‖DSD(x)‖, which Eq. (5) takes
    to be 0; ``"error"``: mean of |ψ(x↓) - ‖DSD(x)‖| / ‖DSD(x)‖, what ψ misses by on the reference.
    """
    rows = [r for r in rated_set.images if r.reference is not None]
    found = {}
    for alpha in ALPHAS:
        psi = predicted[f"dsd{alpha}/psi"]
        for kind in sorted({r.distortion for r in rows}):
            some = [r for r in rows if r.distortion == kind]
            x, y = (
                np.array([values[getattr(r, side)][f"norms{alpha}"] for r in some])
                for side in ("reference", "image")
            )
            psi_x, psi_y = (
                np.array([psi[getattr(r, side)] for r in some]) for side in ("reference", "image")
            )
            ratios = {
                "norm": (y - x) / x,
                "prediction": (psi_y - psi_x) / x,
                "error": np.abs(psi_x - x) / x,
            }
            found[f"dsd{alpha}/{kind}"] = {
                k: [round(float(n), 4) for n in v.mean(axis=0)] for k, v in ratios.items()
            }
    return found


def image_values(
    rated_set: RatedSet,
    values: dict[Path, Values],
    found: dict[str, dict[Path, float]],
    *,
    layers: bool = True,
) -> dict:
    """What the chapter draws: ratings and values of the rated images, values of the clean ones.

    Small sets also keep ‖DSD_α‖₁ and ψ's predictions at every layer, by alpha, unless ``layers`` is
    False.
    """
    rows = rated_rows(rated_set)
    if not rows or len(rows) > KEPT_IMAGES:
        return {}
    references = sorted({r.reference for r in rows if r.reference is not None})
    columns = {
        "score": [r.score for r in rows],
        "std": [r.std for r in rows],
        **_columns([r.image for r in rows], values, found, layers),
    }
    if references:
        columns["reference"] = [r.reference.stem for r in rows]
        columns["distortion"] = [r.distortion for r in rows]
        columns["clean"] = _columns(references, values, found, layers)
    return columns


def _columns(
    images: list[Path],
    values: dict[Path, Values],
    found: dict[str, dict[Path, float]],
    layers: bool,
) -> dict:
    columns = {
        "name": [p.stem for p in images],
        "values": {k: results.rounded([v[p] for p in images], 5) for k, v in found.items()},
    }
    if layers and len(images) <= LAYERS_KEPT:
        for name in ("norms", "psi"):
            columns[name] = {
                str(alpha): [results.rounded(values[p][f"{name}{alpha}"], 5) for p in images]
                for alpha in ALPHAS
            }
    return columns


def fingerprint(*parts: object) -> str:
    """A short name for code, files and settings: others, another cache."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part.read_bytes() if isinstance(part, Path) else str(part).encode())
    return digest.hexdigest()[:10]


def psi_file(alpha: int) -> Path:
    """Where the package keeps ψ's weights."""
    return Path(dsd.__file__).parent / "weights" / f"psi_alpha{alpha}.safetensors"


def raw_fingerprint() -> str:
    """Names the code of :func:`raw_values`."""
    modules = (dsd.backbones, dsd.gram, dsd.resize, natural_scenes, deep_niqe)
    functions = (raw_values, psi_predictors.statistics)
    return fingerprint(*(Path(m.__file__) for m in modules), *map(inspect.getsource, functions))


def others_fingerprint(keys: Iterable[str]) -> str:
    """Names the code of :func:`other_values`."""
    modules = (dsd.backbones, dsd.resize, natural_scenes, deep_niqe)
    return fingerprint(*keys, *(Path(m.__file__) for m in modules))


def psi_fingerprint(alpha: int) -> str:
    """Names ψ's weights and the code of :func:`psi_values`."""
    modules = (dsd.no_reference, dsd.resize)
    return fingerprint(psi_file(alpha), *(Path(m.__file__) for m in modules))


def analyze(
    rated_set: RatedSet,
    values: dict[Path, Values],
    simple: dict[int, dict[str, nn.Module]],
    draws: int,
) -> dict:
    """Everything that is said about a data set, from what was measured of its images."""
    predicted = predictions(values, simple, references_of(rated_set))
    found = measures(values, predicted)
    counts, table = agreement_table(rated_set, found, draws)
    return {
        "layers": PSI_LAYERS,
        "draws": draws,
        "counts": counts,
        "measures": table,
        "srocc_differences": differences(rated_set, found, draws),
        "srocc_by_layer": by_layer(rated_set, values, predicted),
        "what_moves": what_moves(rated_set, values, predicted),
        "pictures": image_values(rated_set, values, found),
    }


def evaluate(name: str, draws: int, prepare: bool) -> None:
    """Measure one data set and write its result."""
    started = results.begin()
    folder = data_folder(name)
    rated_set = getattr(rated_sets, f"read_{name}")(folder)
    images = all_images(rated_set)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    net = dsd.load_backbone("vgg16").to(device)
    runs = results.ROOT / "runs"
    with torch.no_grad():
        cache = Cache(runs / f"no_reference_{name}_{raw_fingerprint()}.jsonl")
        raw = measure_images(images, folder, cache, lambda x: raw_values(x, net), device)
        if prepare:
            return
        values = {image: dict(raw[image]) for image in images}
        simple = {}
        for alpha in ALPHAS:
            simple[alpha] = psi_predictors.load_predictors(alpha, net)
            psi = simple[alpha].pop("psi").to(device)
            cache = Cache(runs / f"psi{alpha}_{name}_{psi_fingerprint(alpha)}.jsonl")
            found = measure_images(
                images, folder, cache, lambda x, a=alpha, f=psi: psi_values(x, a, f), device
            )
            for image in images:
                values[image] |= found[image]
    results.write_result(
        f"no_reference_{name}",
        {
            "psi_files": {alpha: fingerprint(psi_file(alpha)) for alpha in ALPHAS},
            **analyze(rated_set, values, simple, draws),
        },
        data=f"{DATA[name]}: {len(images)} images",
        network="vgg16",
        started=started,
        seed=0,
        device=device,
    )


def add(name: str, draws: int) -> None:
    """Join the measures of others that a stored result lacks to those it holds."""
    started = results.begin()
    folder = data_folder(name)
    rated_set = getattr(rated_sets, f"read_{name}")(folder)
    images = all_images(rated_set)
    kept = stored(name)
    keys = [key for key in OTHERS if key not in kept["measures"]]
    if not keys:
        raise SystemExit(f"the stored result of {name} has all of {', '.join(OTHERS)}")
    path = results.ROOT / "runs" / f"others_{name}_{others_fingerprint(keys)}.jsonl"
    with torch.no_grad():
        values = measure_images(
            images, folder, Cache(path), lambda x: other_values(x, keys), device="cpu"
        )
    results.write_result(
        f"no_reference_{name}",
        added(kept, rated_set, others(values, keys), draws),
        data=f"{DATA[name]}: {len(images)} images",
        network="vgg16",
        started=started,
        seed=0,
        device="cpu",
    )


def stored(name: str) -> dict:
    """The stored result of a data set, with where it comes from under ``kept_from``."""
    file = results.RESULTS / f"no_reference_{name}.json"
    content = json.loads(file.read_text(encoding="utf-8"))
    earlier = content["results"].pop("kept_from", None)
    kept_from = {"measures": list(content["results"]["measures"]), **content["provenance"]}
    if earlier:
        kept_from["kept_from"] = earlier
    return content["results"] | {"kept_from": kept_from}


def added(kept: dict, rated_set: RatedSet, found: dict[str, dict[Path, float]], draws: int) -> dict:
    """A stored result with the measures in ``found`` too; all that it holds stays as it is.

    Raises:
        ValueError: the stored result is of other images, or keeps no values of images.
    """
    rows, images = rated_rows(rated_set), dict(kept["pictures"])
    same = images and images["name"] == [r.image.stem for r in rows]
    if not (same and images["score"] == [r.score for r in rows]):
        raise ValueError("the stored result is of other images; measure all of them anew")
    first = {
        name: dict(zip((r.image for r in rows), images["values"][name], strict=True))
        for name in FIRST
    }
    new = image_values(rated_set, {}, found, layers=False)
    images["values"] = images["values"] | new["values"]
    if "clean" in images:
        clean = images["clean"]
        images["clean"] = clean | {"values": clean["values"] | new["clean"]["values"]}
    return kept | {
        "draws": draws,
        "measures": kept["measures"] | agreement_table(rated_set, found, draws)[1],
        "srocc_differences": differences(rated_set, first | found, draws)
        | kept["srocc_differences"],
        "pictures": images,
    }


def main() -> None:
    """Measure one data set."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", choices=DATA)
    parser.add_argument("--draws", type=int, default=agreement.DRAWS, help="of the bootstrap")
    parser.add_argument("--prepare", action="store_true", help="only what needs no ψ")
    parser.add_argument("--add", action="store_true", help="only what the stored result lacks")
    arguments = parser.parse_args()
    if arguments.add:
        return add(arguments.data, arguments.draws)
    evaluate(arguments.data, arguments.draws, arguments.prepare)


if __name__ == "__main__":
    main()
