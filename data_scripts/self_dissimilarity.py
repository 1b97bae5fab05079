"""Measure Fig. 2: how far apart Gram matrices are between scales of a photo and between photos.

    python -m data_scripts.self_dissimilarity imagenette
    python -m data_scripts.self_dissimilarity caltech101

Photos come from ``$DSD_DATA/<data>/<class>/``; the result is
``book/results/self_dissimilarity_<data>.json``, which chapter 3 reads. Every photo is cut to its
central 224×224 pixels: imagenette's already have that size, and the photos of Caltech-101 lose
a rim but keep their aspect. All pairs of photos are measured, so nothing is drawn at random but
the bootstrap behind the error bars.
"""

import argparse
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm import tqdm

import dsd_lib as dsd
from data_scripts.shared import results
from dsd_lib.files import data_folder, list_images

LAYERS = ("relu1_2", "relu2_1", "relu2_2", "relu3_1", "relu4_1", "relu5_1")
PATCHES = {f"patch{n}": n for n in (3, 5, 7, 9)}
KEYS = (*PATCHES, *LAYERS)
ALPHA = 4
SIDE = 224
FIRST = 3
MIRROR = 64  # a multiple of relu5_1's stride, and more than its reach of 58 pixels
DATA = {
    "imagenette": "imagenette, 200 photos in 10 classes, 224×224",
    "caltech101": "Caltech-101, 396 photos in 20 classes, central 224×224 pixels",
}
# What a reader who types F.interpolate gets instead of MATLAB's antialiased cubic.
RESIZES: dict[str, Callable[[Tensor], Tensor]] = {
    "matlab": lambda x: dsd.imresize(x, scale=1 / ALPHA),
    "bicubic": lambda x: interpolate(x, "bicubic"),
    "bicubic_antialias": lambda x: interpolate(x, "bicubic", antialias=True),
    "bilinear": lambda x: interpolate(x, "bilinear"),
    "area": lambda x: interpolate(x, "area"),
}


def interpolate(x: Tensor, mode: str, **options: bool) -> Tensor:
    """``x↓4`` by PyTorch's own resize; x ``(N, C, H, W)`` -> ``(N, C, H/4, W/4)``.

    >>> interpolate(torch.ones(1, 3, 8, 8), "area").shape
    torch.Size([1, 3, 2, 2])
    """
    return F.interpolate(x, scale_factor=1 / ALPHA, mode=mode, **options)


def central(x: Tensor, side: int = SIDE) -> Tensor:
    """The central ``side``×``side`` pixels of pictures ``(N, C, H, W)`` that are no smaller.

    >>> central(torch.rand(1, 3, 224, 300)).shape
    torch.Size([1, 3, 224, 224])
    """
    top, left = ((s - side) // 2 for s in x.shape[2:])
    if min(top, left) < 0:
        raise ValueError(f"expected sides of at least {side} pixels, got {tuple(x.shape)}")
    return x[:, :, top : top + side, left : left + side]


def patch_map(x: Tensor, n: int) -> Tensor:
    """The n×n patches of ``x`` as a feature map ``(N, C·n·n, H-n+1, W-n+1)``.

    Its Gram matrix is ``dsd.patch_gram(x, n)``.
    """
    height, width = x.shape[2:]
    return F.unfold(x, n).unflatten(2, (height - n + 1, width - n + 1))


def feature_maps(x: Tensor, net: dsd.Backbone) -> dict[str, Tensor]:
    """Every key of ``KEYS`` -> its map of ``x``: the patches, then the layers."""
    return {key: patch_map(x, n) for key, n in PATCHES.items()} | net(x, LAYERS, check_range=False)


def mirrored_maps(x: Tensor, net: dsd.Backbone) -> dict[str, Tensor]:
    """The network's maps of ``x`` when it goes on beyond its borders as its own mirror image.

    No position returned sees the zeros that the convolutions pad with.
    """
    axes = []
    for side in x.shape[2:]:
        period = torch.cat([torch.arange(side), torch.arange(side).flip(0)])
        axes.append(period[torch.arange(-MIRROR, side + MIRROR) % (2 * side)])
    wide = x[:, :, axes[0]][:, :, :, axes[1]]
    cut = {}
    for layer, f in net(wide, LAYERS, check_range=False).items():
        start = MIRROR // net.stride(layer)
        height, width = (side // net.stride(layer) for side in x.shape[2:])
        cut[layer] = f[:, :, start : start + height, start : start + width]
    return cut


def packed(gram: Tensor) -> Tensor:
    """Symmetric ``(N, C, C)`` -> ``(N, C(C+1)/2)``, weighted so that l1 distances become ‖·‖₁.

    ‖·‖₁ is the mean absolute entry; an entry off the diagonal stands for itself and its twin.

    >>> g = torch.tensor([[[1.0, -2.0], [-2.0, 3.0]]])
    >>> packed(g).abs().sum(), g.abs().mean()
    (tensor(2.), tensor(2.))
    """
    rows, columns, weights = _upper_triangle(gram.shape[-1])
    return gram[:, rows, columns] * weights


@lru_cache
def _upper_triangle(channels: int) -> tuple[Tensor, Tensor, Tensor]:
    rows, columns = torch.triu_indices(channels, channels)
    return rows, columns, torch.where(rows == columns, 1.0, 2.0) / channels**2


def centered(grams: Tensor, means: Tensor) -> Tensor:
    """Packed Gram matrices of maps whose channel means are taken off: their covariances."""
    out = torch.empty_like(grams)
    for row, gram, mean in zip(out, grams, means, strict=True):  # one at a time bounds the memory
        row.copy_(gram - packed((mean[:, None] * mean / len(mean))[None])[0])
    return out


def unit(grams: Tensor) -> Tensor:
    """Packed matrices ``(N, K)`` scaled to a trace of 1, so that only their pattern is compared.

    >>> unit(packed(torch.tensor([[[1.0, -2.0], [-2.0, 3.0]]]))).sum() == packed(
    ...     torch.tensor([[[0.25, -0.5], [-0.5, 0.75]]])).sum()
    tensor(True)
    """
    channels = int((2 * grams.shape[1]) ** 0.5)  # K = C(C+1)/2
    rows, columns, _ = _upper_triangle(channels)
    return grams / (grams[:, rows == columns].sum(dim=1, keepdim=True) * channels**2)


def bootstrap_weights(classes: np.ndarray, draws: int, seed: int) -> np.ndarray:
    """How often each photo is drawn, ``(draws, N)``: classes with replacement, then photos of each.

    >>> bootstrap_weights(np.array([0, 0, 1, 1]), draws=3, seed=0).sum(axis=1)
    array([4., 4., 4.])
    """
    generator = np.random.default_rng(seed)
    names = np.unique(classes)
    weights = np.zeros((draws, len(classes)))
    for row in weights:
        for name in generator.choice(names, len(names)):
            members = np.flatnonzero(classes == name)
            np.add.at(row, generator.choice(members, len(members)), 1)
    return weights


def interval(values: np.ndarray) -> list[float]:
    """``[mean, low, high]`` to 5 digits from ``(1 + draws,)``: all photos, 95 % of the draws.

    NaN stands for a draw with no pair of the kind asked for, as a few classes can give; those are
    left out.
    """
    low, high = np.nanpercentile(values[1:], (2.5, 97.5))
    return [float(f"{v:.5g}") for v in (values[0], low, high)]


class Means:
    """Means over photos and over pairs of photos, over all of them and over bootstrap draws."""

    def __init__(self, classes: np.ndarray, draws: int = 1000, seed: int = 0) -> None:
        # The first row is the data as it is.
        self.weights = np.concatenate(
            [np.ones((1, len(classes))), bootstrap_weights(classes, draws, seed)]
        )
        same = classes[:, None] == classes
        self.masks = {
            "random": (~same).astype(float),
            "same_class": (same & ~np.eye(len(classes), dtype=bool)).astype(float),
        }

    def photos(self, values: np.ndarray) -> np.ndarray:
        """Mean of a value a photo, ``(N,)`` -> ``(1 + draws,)``."""
        return self.weights @ values / self.weights.sum(axis=1)

    def pairs(self, distances: np.ndarray, kind: str) -> np.ndarray:
        """Mean over the pairs of one kind, ``(N, N)`` -> ``(1 + draws,)``; NaN without a pair."""
        mask, w = self.masks[kind], self.weights
        with np.errstate(invalid="ignore"):
            return ((w @ (distances * mask)) * w).sum(axis=1) / ((w @ mask) * w).sum(axis=1)


def bars(cross: np.ndarray, across: np.ndarray, means: Means) -> dict[str, list[float]]:
    """The three bars of one group of Fig. 2, with what belongs to them, as :func:`interval` has it.

    Args:
        cross: ``(N, N)``, entry (i, j) the distance of photo i to photo j.
        across: ``(N, N)``, entry (i, j) the distance of photo i to photo j downscaled.
        means: how to average.
    """
    own = np.diagonal(across)
    values = {
        "self": means.photos(own),
        "random": means.pairs(cross, "random"),
        "same_class": means.pairs(cross, "same_class"),
        "random_across_scales": means.pairs(across, "random"),
        # The share of small photos whose nearest photo at full size is the one they come from.
        "found": means.photos((across.argmin(axis=0) == np.arange(len(own))).astype(float)),
    }
    values["self_to_random"] = values["self"] / values["random"]
    values["self_to_same_class"] = values["self"] / values["same_class"]
    return {name: interval(v) for name, v in values.items()}


def histogram(distances: dict[str, np.ndarray], bins: int = 30) -> dict:
    """Shares of the distances in bins of equal width on a logarithmic axis."""
    everything = np.concatenate(list(distances.values()))
    edges = np.geomspace(everything.min(), everything.max() * (1 + 1e-6), bins + 1)
    return {
        "edges": [float(f"{e:.4g}") for e in edges],
        **{
            k: np.round(np.histogram(v, edges)[0] / len(v), 4).tolist()
            for k, v in distances.items()
        },
    }


def measure(photos: Iterable[Tensor], classes: np.ndarray, net: dsd.Backbone) -> dict:
    """Everything that chapter 3 shows, from photos ``(1, 3, 224, 224)`` and their class numbers."""
    kept: dict[str, dict[str, list[Tensor]]] = {key: {} for key in KEYS}
    own: dict[str, dict[str, list[float]]] = {key: {} for key in KEYS}
    for x in photos:
        _measure_photo(x, net, kept, own)
    means = Means(classes)
    out: dict = {"bars": {}, "histograms": {}, "controls": {}, "first_photos": {}}
    for key in KEYS:
        stack = {name: torch.stack(values) for name, values in kept.pop(key).items()}
        for variant, (fine, coarse) in variants(stack):
            cross = torch.cdist(fine, fine, p=1).numpy()
            across = torch.cdist(fine, coarse, p=1).numpy()
            out["bars"].setdefault(variant, {})[key] = bars(cross, across, means)
            if variant != "plain":
                continue
            pairs = {kind: cross[np.triu(mask) > 0] for kind, mask in means.masks.items()}
            out["histograms"][key] = histogram({"self": np.diagonal(across), **pairs})
            random = means.pairs(cross, "random")
            for control, values in own[key].items():
                mean = means.photos(np.array(values))
                out["controls"].setdefault(control, {})[key] = {
                    "self": interval(mean),
                    "self_to_random": interval(mean / random),
                }
                # A few single values, which a test can measure again within seconds.
                first = [float(f"{v:.5g}") for v in values[:FIRST]]
                out["first_photos"].setdefault(control, {})[key] = first
    return out


def _measure_photo(x: Tensor, net: dsd.Backbone, kept: dict, own: dict) -> None:
    """Add one photo's statistics to ``kept`` and its distances to itself to ``own``."""

    def keep(name: str, values: dict[str, Tensor]) -> None:
        for key, value in values.items():
            kept[key].setdefault(name, []).append(value[0])

    def compare(name: str, some: dict[str, Tensor], others: dict[str, Tensor]) -> None:
        for key, g in some.items():
            own[key].setdefault(name, []).append((g - others[key]).abs().mean().item())

    maps = feature_maps(x, net)
    fine = grams(maps)
    keep("fine", {key: packed(g) for key, g in fine.items()})
    keep("fine_means", {key: f.mean(dim=(2, 3)) for key, f in maps.items()})
    # As many positions as x↓4 has, spread over the whole photo, but at the same scale.
    compare("fewer_positions", fine, grams({k: f[..., 2::4, 2::4] for k, f in maps.items()}))
    halves = {key: f.tensor_split(2, dim=3) for key, f in maps.items()}
    compare("halves", *(grams({k: pair[side] for k, pair in halves.items()}) for side in (0, 1)))
    compare("alpha2", fine, grams(feature_maps(dsd.imresize(x, scale=0.5), net)))
    maps = feature_maps(torch.cat([resize(x) for resize in RESIZES.values()]), net)
    for index, name in enumerate(RESIZES):
        small = {key: f[index : index + 1] for key, f in maps.items()}
        compare(f"resize_{name}", fine, grams(small))
        if name == "matlab":
            keep("coarse", {key: packed(g) for key, g in grams(small).items()})
            keep("coarse_means", {key: f.mean(dim=(2, 3)) for key, f in small.items()})
    for name, picture in (("fine", x), ("coarse", dsd.imresize(x, scale=1 / ALPHA))):
        mirrored = grams(mirrored_maps(picture, net))
        keep(f"{name}_mirrored", {key: packed(g) for key, g in mirrored.items()})


def grams(maps: dict[str, Tensor]) -> dict[str, Tensor]:
    """The Gram matrix of every map."""
    return {key: dsd.gram_matrix(f) for key, f in maps.items()}


def variants(stack: dict[str, Tensor]) -> Iterator[tuple[str, tuple[Tensor, Tensor]]]:
    """The matrices compared, at the two scales: Gram matrices as they are, and three relatives."""
    fine, coarse = stack["fine"], stack["coarse"]
    yield "plain", (fine, coarse)
    covariances = tuple(centered(stack[s], stack[f"{s}_means"]) for s in ("fine", "coarse"))
    yield "centered", covariances
    yield "unit", tuple(unit(v) for v in (fine, coarse))
    yield "centered_unit", tuple(unit(v) for v in covariances)
    if "fine_mirrored" in stack:  # patches that lie inside the photo know no border
        yield "mirrored", (stack["fine_mirrored"], stack["coarse_mirrored"])


def main() -> None:
    """Measure one data set."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", choices=DATA)
    data = parser.parse_args().data
    started = results.begin()
    files = list_images(data_folder(data))
    names, classes = np.unique([f.parent.name for f in files], return_inverse=True)
    photos = tqdm((central(dsd.load_image(f)) for f in files), total=len(files))
    with torch.no_grad():
        measured = measure(photos, classes, dsd.load_backbone("vgg16"))
    settings = {
        "alpha": ALPHA,
        "photos": len(files),
        "classes": names.tolist(),
        "pairs": {kind: int(mask.sum()) // 2 for kind, mask in Means(classes, 0).masks.items()},
    }
    results.write_result(
        f"self_dissimilarity_{data}",
        {**settings, **measured},
        data=DATA[data],
        network="vgg16",
        started=started,
        seed=0,
    )


if __name__ == "__main__":
    main()
