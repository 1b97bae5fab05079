"""Measure beyond Fig. 1: how often a classifier keeps its decision when a photo changes its size.

    python -m data_scripts.classifier_scales

Photos come from ``$DSD_DATA/imagenette/<wnid>/``, 224×224 pixels and labeled; the result is
``book/results/classifier_scales_imagenette.json``, which chapter 1 reads. The classifier is VGG-19
where torchvision can download it and EfficientNet-Lite0 elsewhere; ``--network`` insists on one.
"""

import argparse
from collections.abc import Callable, Iterator, Sequence
from statistics import NormalDist

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm import tqdm

import dsd_lib as dsd
from data_scripts.shared import results
from dsd_lib.book.classifier import Classifier, load_classifier
from dsd_lib.files import data_folder, list_images

LABELS = {  # ImageNet's identifier of the class -> its place among the 1000 classes
    "n01440764": 0,  # tench
    "n02102040": 217,  # English springer
    "n02979186": 482,  # cassette player
    "n03000684": 491,  # chain saw
    "n03028079": 497,  # church
    "n03394916": 566,  # French horn
    "n03417042": 569,  # garbage truck
    "n03425413": 571,  # gas pump
    "n03445777": 574,  # golf ball
    "n03888257": 701,  # parachute
}
SCALES = tuple(2 ** (k / 2) for k in range(1, -7, -1))  # 1.4 to 1/8, two steps an octave
PAPER_SCALES = (1, 1 / 2, 1 / 4, 1 / 8)
RESIZERS: dict[str, Callable[[Tensor, float], Tensor]] = {
    "imresize": lambda x, s: dsd.imresize(x, scale=s),
    "bicubic": lambda x, s: F.interpolate(x, scale_factor=s, mode="bicubic"),
    "bicubic, antialias": lambda x, s: F.interpolate(
        x, scale_factor=s, mode="bicubic", antialias=True
    ),
    "bilinear": lambda x, s: F.interpolate(x, scale_factor=s, mode="bilinear"),
    "area": lambda x, s: F.interpolate(x, scale_factor=s, mode="area"),
    "nearest": lambda x, s: F.interpolate(x, scale_factor=s, mode="nearest"),
}


def resized(x: Tensor, scale: float) -> Tensor:
    """x↓: pictures at another size, limited to [0, 1]."""
    return dsd.imresize(x, scale=scale).clamp(0, 1)


def restored(x: Tensor, scale: float) -> Tensor:
    """x↓↑: shrunk and brought back to its size, so that only the fine detail is gone."""
    return dsd.imresize(resized(x, scale), size=tuple(x.shape[2:])).clamp(0, 1)


def mirrored(x: Tensor, scale: float) -> Tensor:
    """x↓ laid out with its mirror images until the old size is filled: small, but no fewer pixels.

    >>> mirrored(torch.rand(1, 3, 16, 16), 0.25).shape
    torch.Size([1, 3, 16, 16])
    """
    small = resized(x, scale)
    for axis in (2, 3):
        period = torch.cat([small, small.flip(axis)], dim=axis)
        index = torch.arange(x.shape[axis], device=x.device) % period.shape[axis]
        small = period.index_select(axis, index)
    return small


def wilson(successes: int, trials: int, level: float = 0.95) -> list[float]:
    """``[share, low, high]``: a share and Wilson's interval of it, sound near 0 and 1 too.

    >>> wilson(0, 200)
    [0.0, 0.0, 0.0188]
    """
    z = NormalDist().inv_cdf((1 + level) / 2)
    share = successes / trials
    center = (share + z**2 / (2 * trials)) / (1 + z**2 / trials)
    half = z * (share * (1 - share) / trials + (z / (2 * trials)) ** 2) ** 0.5 / (1 + z**2 / trials)
    return [round(v, 4) for v in (share, max(center - half, 0), min(center + half, 1))]


def bootstrap(values: np.ndarray, draws: int = 2000, seed: int = 0) -> list[float]:
    """``[mean, low, high]``: a mean over photos and its 95 % interval from drawing photos anew.

    >>> bootstrap(np.array([1.0, 1.0, 1.0]))
    [1.0, 1.0, 1.0]
    """
    drawn = np.random.default_rng(seed).choice(values, (draws, len(values))).mean(axis=1)
    low, high = np.percentile(drawn, (2.5, 97.5))
    return [round(float(v), 4) for v in (values.mean(), low, high)]


def batches(classifier: Classifier, photos: Sequence[Tensor]) -> Iterator[Tensor]:
    """Photos of one size, four at a time, where the classifier is."""
    for x in torch.cat(list(photos)).split(4):
        yield x.to(classifier.mean.device)


class Answers:
    """What the classifier says to one version of every photo."""

    def __init__(self, classifier: Classifier, photos: Sequence[Tensor]) -> None:
        p = torch.cat([classifier(x).softmax(dim=1) for x in batches(classifier, photos)]).double()
        self.side = photos[0].shape[2]
        self.top1 = p.argmax(dim=1).cpu().numpy()
        self.confidence = p.amax(dim=1).cpu().numpy()
        self.entropy = -torch.special.xlogy(p, p).sum(dim=1).cpu().numpy()

    def summary(self, full: "Answers", labels: np.ndarray) -> dict:
        """The rates and means that chapter 1 plots, each with its interval."""
        n = len(labels)
        right = self.top1 == labels
        sure = self.confidence >= 0.9
        return {
            "side": self.side,
            "agreement": wilson(int((self.top1 == full.top1).sum()), n),
            "accuracy": wilson(int(right.sum()), n),
            "confidence": bootstrap(self.confidence),
            "entropy": bootstrap(self.entropy),
            "sure": int(sure.sum()),
            "sure_and_right": int((sure & right).sum()),
            "different_answers": len(np.unique(self.top1)),
        }


def measure(photos: Sequence[Tensor], labels: np.ndarray, classifier: Classifier) -> dict:
    """What chapter 1 shows, from photos ``(1, 3, H, W)`` of one size and their classes."""
    shortest = min(photos[0].shape[2:])
    scales = [s for s in SCALES if shortest * s >= classifier.min_side]
    full = Answers(classifier, photos)
    out: dict = {"curves": {"resized": [], "restored": [], "mirrored": []}}
    kept: dict[str, dict] = {}
    for scale in tqdm(scales):
        for name, change in (("resized", resized), ("restored", restored), ("mirrored", mirrored)):
            if scale > 1 and name != "resized":
                continue
            changed = [change(x, scale) for x in photos]
            answers = Answers(classifier, changed)
            point = {"scale": round(scale, 4), **answers.summary(full, labels)}
            if name == "resized":
                maps = (classifier.features(x) for x in batches(classifier, changed))
                means = torch.cat([f.mean(dim=(1, 2, 3)) for f in maps])
                point["activation"] = bootstrap(means.cpu().double().numpy())
            out["curves"][name].append(point)
            if scale in PAPER_SCALES:
                kept.setdefault(f"{scale:g}", {})[name] = {
                    "top1": answers.top1.tolist(),
                    "confidence": answers.confidence.round(4).tolist(),
                }
    out["photos"] = {"label": labels.tolist(), "answers": kept}
    out["resizers"] = {}
    for scale in (s for s in PAPER_SCALES[1:] if s in scales):
        versions = {
            name: Answers(classifier, [resize(x, scale).clamp(0, 1) for x in photos])
            for name, resize in RESIZERS.items()
        }
        reference = versions["imresize"]
        out["resizers"][f"{scale:g}"] = {
            name: {
                **answers.summary(full, labels),
                "same_as_imresize": wilson(
                    int((answers.top1 == reference.top1).sum()), len(labels)
                ),
            }
            for name, answers in versions.items()
        }
    return out


def main() -> None:
    """Measure the photos of imagenette."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--network", choices=("vgg19", "efficientnet-lite0"))
    network = parser.parse_args().network
    started = results.begin()
    folder = data_folder("imagenette")
    files = [f for wnid in LABELS for f in list_images(folder / wnid)]
    labels = np.array([LABELS[f.parent.name] for f in files])
    device = "cuda" if torch.cuda.is_available() else "cpu"
    classifier = load_classifier(*([network] if network else [])).to(device)
    if classifier.unavailable:
        print(f"{', '.join(classifier.unavailable)} cannot be had; measuring {classifier.name}")
    with torch.no_grad():
        measured = measure([dsd.load_image(f) for f in files], labels, classifier)
    names = {str(i): classifier.classes[i] for i in LABELS.values()}
    results.write_result(
        "classifier_scales_imagenette",
        {"photos_count": len(files), "classes": names, **measured},
        data=f"imagenette, {len(files)} photos in {len(LABELS)} classes, 224×224",
        network=classifier.name,
        started=started,
        seed=0,
        device=device,
    )


if __name__ == "__main__":
    main()
