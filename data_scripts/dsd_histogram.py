"""How ‖DSD‖ differs from image to image (Fig. 7), and from a clean to a damaged one, for chapter 6.

    python -m data_scripts.dsd_histogram

Measures ‖DSD₂‖ and ‖DSD₄‖ of all 500 photos of BSDS500 (``$DSD_DATA/bsds500``), whole, at relu1_2,
relu2_1, relu2_2 and relu3_1; and those of the 100 photos of ``val`` once more after a visible blur,
noise and JPEG compression. Then it asks what a constant would be worth as the "right" value: how
often a spoiled photo is farther from it than the clean one. Writes
``book/results/dsd_histogram_bsds500.json``; takes some ten minutes on one core.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

import dsd_lib as dsd
from data_scripts.shared.results import RESULTS, begin, rounded, write_result
from dsd_lib.book.damage import gaussian_blur, jpeg
from dsd_lib.descriptor import matrix_norms, self_dissimilarity
from dsd_lib.files import data_folder, list_images

LAYERS = ("relu1_2", "relu2_1", "relu2_2", "relu3_1")
ALPHAS = (2, 4)
BLUR, NOISE, JPEG = 2.0, 25 / 255, 10  # pixels; standard deviation in [0, 1]; quality
DISTORTIONS = {
    "blur": f"Gaussian blur, σ = {BLUR:g} pixels",
    "noise": "white Gaussian noise, σ = 25/255",
    "jpeg": f"JPEG of quality {JPEG}",
    "scale": "bicubic ↓4 and back",
}
SPOILED = "val"  # the part of BSDS500 measured under distortions; the others set the constant
SEED = 0
Norms = dict[str, list[float]]  # "2" or "4" -> a number a layer


def spoil(x: Tensor, kind: str, seed: int = SEED) -> Tensor:
    """``x`` (1, 3, H, W) under one of ``DISTORTIONS``, clamped to [0, 1].

    >>> y = spoil(torch.full((1, 3, 32, 32), 0.5), "noise")
    >>> round(float(y.std() * 255))
    25
    """
    if kind == "blur":
        y = gaussian_blur(x, BLUR)
    elif kind == "noise":
        y = x + NOISE * torch.randn(x.shape, generator=torch.Generator().manual_seed(seed))
    elif kind == "jpeg":
        y = jpeg(x, JPEG)
    elif kind == "scale":
        y = dsd.imresize(dsd.imresize(x, scale=1 / 4), size=tuple(x.shape[2:]))
    else:
        raise ValueError(f"kind: expected one of {list(DISTORTIONS)}, got {kind!r}")
    return y.clamp(0, 1)


@torch.no_grad()
def norms(x: Tensor, net: dsd.Backbone) -> Norms:
    """``dsd_norm`` of one picture at ``LAYERS`` for both α, with one pass of the full picture."""
    sizes = (x, *(dsd.imresize(x, scale=1 / alpha) for alpha in ALPHAS))
    full, *small = (net(z, LAYERS, check_range=False) for z in sizes)
    grams = {k: dsd.gram_matrix(f) for k, f in full.items()}
    result = {}
    for alpha, maps in zip(ALPHAS, small, strict=True):
        coarse = {k: dsd.gram_matrix(f) for k, f in maps.items()}
        result[str(alpha)] = matrix_norms(self_dissimilarity(grams, coarse))[0].tolist()
    return result


def spread(values: np.ndarray) -> dict[str, float]:
    """How widely positive numbers differ: quantiles and three ways to say it in one number.

    ``ratio``: the 95 % quantile over the 5 % one; ``variation``: standard deviation over mean;
    ``log_std``: standard deviation of the natural logarithm, a typical factor as a difference.

    >>> float(spread(np.ones(5))["ratio"])
    1.0
    """
    low, quarter, median, three_quarters, high = np.percentile(values, (5, 25, 50, 75, 95))
    return {
        "mean": values.mean(),
        "5%": low,
        "25%": quarter,
        "50%": median,
        "75%": three_quarters,
        "95%": high,
        "ratio": high / low,
        "variation": values.std(ddof=1) / values.mean(),
        "log_std": np.log(values).std(ddof=1),
    }


def found_by_constant(clean: np.ndarray, spoiled: np.ndarray, constant: np.ndarray) -> float:
    """Share of photos whose spoiled version is farther from ``constant`` than the clean one.

    Args:
        clean, spoiled: ``(photos, layers)``; distances are summed over layers, as in Eq. (5).
        constant: ``(layers,)``.

    0.5 is what tossing a coin gives.

    >>> found_by_constant(np.array([[1.0], [3.0]]), np.array([[4.0], [2.5]]), np.array([2.0]))
    0.5
    """
    far = [np.abs(values - constant).sum(axis=1) for values in (clean, spoiled)]
    return float((far[1] > far[0]).mean())


def interval(share: float, count: int) -> list[float]:
    """Wilson's 95 % interval of a share measured on ``count`` photos.

    >>> interval(0.5, 100)
    [0.4038, 0.5962]
    """
    z = 1.96
    center = (share + z**2 / (2 * count)) / (1 + z**2 / count)
    half = z / (1 + z**2 / count) * np.sqrt(share * (1 - share) / count + (z / (2 * count)) ** 2)
    return [round(float(center - half), 4), round(float(center + half), 4)]


def summary(names: list[str], clean: list[Norms], spoiled: dict[str, list[Norms]]) -> dict:
    """Spread over all photos, movement under each distortion, and what a constant is worth."""
    inside = np.array([name.startswith(f"{SPOILED}/") for name in names])
    out = {}
    for alpha in map(str, ALPHAS):
        every = np.array([n[alpha] for n in clean])
        here, constant = every[inside], np.median(every[~inside], axis=0)
        out[alpha] = {"spread": {k: spread(every[:, i]) for i, k in enumerate(LAYERS)}}
        out[alpha]["moved"] = {
            kind: {
                k: dict(
                    zip(("5%", "50%", "95%"), np.percentile(ratio[:, i], (5, 50, 95)), strict=True)
                )
                for i, k in enumerate(LAYERS)
            }
            for kind, values in spoiled.items()
            for ratio in [np.array([n[alpha] for n in values]) / here]
        }
        out[alpha]["found"] = {}
        for kind, values in spoiled.items():
            there = np.array([n[alpha] for n in values])
            shares = {
                k: found_by_constant(here[:, [i]], there[:, [i]], constant[[i]])
                for i, k in enumerate(LAYERS)
            }
            shares["all four"] = found_by_constant(here, there, constant)
            out[alpha]["found"][kind] = {
                k: [share, *interval(share, len(here))] for k, share in shares.items()
            }
    return rounded(out)


def run(folder: Path, net: dsd.Backbone) -> dict:
    """Measure the photos below ``folder``, those of ``val`` also under each distortion."""
    files = list_images(folder)
    names = [f.relative_to(folder).as_posix() for f in files]
    clean, spoiled = [], {kind: [] for kind in DISTORTIONS}
    for index, (name, file) in enumerate(tqdm(list(zip(names, files, strict=True)))):
        x = dsd.load_image(file)
        clean.append(rounded(norms(x, net)))
        if name.startswith(f"{SPOILED}/"):
            for kind in DISTORTIONS:
                spoiled[kind].append(rounded(norms(spoil(x, kind, seed=SEED + index), net)))
    return {
        "layers": LAYERS,
        "names": names,
        "norms": {a: [n[a] for n in clean] for a in map(str, ALPHAS)},
        "distortions": DISTORTIONS,
        "spoiled": {
            kind: {a: [n[a] for n in values] for a in map(str, ALPHAS)}
            for kind, values in spoiled.items()
        },
        "summary": summary(names, clean, spoiled),
    }


def main() -> None:
    """Measure BSDS500."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=RESULTS, help="folder of the result")
    args = parser.parse_args()
    started = begin()
    write_result(
        "dsd_histogram_bsds500",
        run(data_folder("bsds500"), dsd.load_backbone("vgg16")),
        data="BSDS500, 500 photos, 481×321 or 321×481, whole",
        network="vgg16",
        started=started,
        seed=SEED,
        folder=args.output,
    )


if __name__ == "__main__":
    main()
