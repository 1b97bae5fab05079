"""Measure ‖DSD₄‖ of every photo of a data set, and what goes along with it, for chapter 4.

    python -m data_scripts.dsd_extremes bsds500
    python -m data_scripts.dsd_extremes imagenette

Photos come from ``$DSD_DATA/bsds500/{train,val,test}/`` or ``$DSD_DATA/imagenette/<class>/``, the
two photos of the paper's extreme classes from ``$DSD_DATA/imagenet_two/``. The layer is relu3_1.
Writes ``book/results/dsd_norms_<data>.json`` and ``book/results/dsd_extremes_<data>.jpg``, the
photos with the lowest and the highest value; for BSDS500 also ``dsd_balance_bsds500.jpg``, those
where the small or the full picture has the stronger Gram matrix. ``--network vgg19`` measures with
the paper's network, where torchvision can get it, and adds ``_vgg19`` to the names.
"""

import argparse
import io
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

import dsd_lib as dsd
from data_scripts.shared.results import RESULTS, begin, rounded, write_result
from dsd_lib.book import plots
from dsd_lib.files import data_folder, list_images, write_atomically
from dsd_lib.quality.agreement import spearman
from dsd_lib.quality.luma import gray

LAYER, ALPHA = "relu3_1", 4
BORDER = 3  # positions of the small map that see its padding: the reach of 10 px at a stride of 4
LOOKS = ("gradient", "fine_detail", "contrast", "color", "brightness")
DATA = {
    "bsds500": "BSDS500, 500 photos, 481×321 or 321×481",
    "imagenette": "imagenette, 200 photos in 10 classes, 224×224, and one photo of two more",
}
CLASSES = {  # the names that imagenette gives its ten ImageNet classes
    "n01440764": "tench",
    "n02102040": "English springer",
    "n02979186": "cassette player",
    "n03000684": "chain saw",
    "n03028079": "church",
    "n03394916": "French horn",
    "n03417042": "garbage truck",
    "n03425413": "gas pump",
    "n03445777": "golf ball",
    "n03888257": "parachute",
}
SHOWN, THUMB = 6, 112
DRAWS, SEED = 1000, 0


def smoothed(x: Tensor, alpha: float) -> Tensor:
    """``x`` without the detail that ``x↓alpha`` has lost: downscaled and brought back to size."""
    return dsd.imresize(dsd.imresize(x, scale=1 / alpha), size=tuple(x.shape[2:]))


def looks(x: Tensor) -> dict[str, float]:
    """What can be said of one picture ``(1, 3, H, W)`` without a network, all in units of [0, 1].

    ``gradient``: mean absolute difference of neighboring pixels; ``fine_detail``: root mean square
    of what ↓4 loses; ``contrast``: standard deviation; these three of the brightness. ``color``:
    root mean square distance from gray; ``brightness``: the mean.

    >>> looks(torch.full((1, 3, 16, 16), 0.5))["brightness"]
    0.5
    """
    y = gray(x)
    down, right = y[..., 1:, :] - y[..., :-1, :], y[..., 1:] - y[..., :-1]
    values = {
        "gradient": (down.abs().mean() + right.abs().mean()) / 2,
        "fine_detail": (y - smoothed(y, ALPHA)).square().mean().sqrt(),
        "contrast": y.std(correction=0),
        "color": (x - y).square().mean().sqrt(),
        "brightness": y.mean(),
    }
    return {name: value.item() for name, value in values.items()}


def measure(x: Tensor, net: dsd.Backbone) -> dict[str, float]:
    """‖DSD₄‖ at relu3_1 of one picture, what it is made of, and the picture's looks.

    ``norm`` is ``dsd_norm``; ``gram`` and ``gram_small`` are ‖G(x)‖₁ and ‖G(x↓4)‖₁; ``norm_inside``
    leaves out the rim of the picture that the padding of the small map reaches, at both scales.
    """
    fine = net(x, [LAYER])[LAYER]
    small = net(dsd.imresize(x, scale=1 / ALPHA), [LAYER], check_range=False)[LAYER]
    rim = ALPHA * BORDER
    inside = dsd.gram_matrix(fine[..., rim:-rim, rim:-rim]) - dsd.gram_matrix(
        small[..., BORDER:-BORDER, BORDER:-BORDER]
    )
    g, h = dsd.gram_matrix(fine), dsd.gram_matrix(small)
    values = {"norm": g - h, "norm_inside": inside, "gram": g, "gram_small": h}
    return {name: m.abs().mean().item() for name, m in values.items()} | looks(x)


def balance(gram: np.ndarray, gram_small: np.ndarray) -> np.ndarray:
    """Which scale has the stronger Gram: 1 only the full one, 0 both, -1 only the small one.

    >>> balance(np.array([3.0]), np.array([1.0]))
    array([0.5])
    """
    return (gram - gram_small) / (gram + gram_small)


def correlation(a: np.ndarray, b: np.ndarray) -> list[float]:
    """``[ρ, low, high]``: Spearman's ρ, and 95 % of the values when photos are drawn anew."""
    generator = np.random.default_rng(SEED)
    draws = generator.integers(0, len(a), (DRAWS, len(a)))
    low, high = np.percentile([spearman(a[i], b[i]) for i in draws], (2.5, 97.5))
    return [round(float(v), 4) for v in (spearman(a, b), low, high)]


def summary(photos: dict[str, list[float]]) -> dict:
    """How ‖DSD‖ and the balance go along with the looks, over all photos."""
    columns = {name: np.array(values) for name, values in photos.items()}
    tilt = balance(columns["gram"], columns["gram_small"])
    return {
        "norm": {name: correlation(columns["norm"], columns[name]) for name in LOOKS},
        "balance": {name: correlation(tilt, columns[name]) for name in LOOKS},
        "norm_and_norm_inside": correlation(columns["norm"], columns["norm_inside"]),
    }


def strip(files: list[Path], values: np.ndarray, *, close_up: bool) -> bytes:
    """A JPEG of the photos of lowest value and, below, of highest, with the values above them.

    Each is the whole photo made small; ``close_up`` adds its central 112×112 pixels as they are.
    """
    order = np.argsort(values)
    shown, titles = [], []
    for some in (order[:SHOWN], order[-SHOWN:]):
        pictures = [dsd.load_image(files[i]) for i in some]
        shown += [thumbnail(x) for x in pictures]
        titles += [f"{values[i]:.3f}" for i in some]
        if close_up:
            shown += [middle(x) for x in pictures]
            titles += [""] * SHOWN
    figure = plots.show_images(shown, titles, columns=SHOWN)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="jpeg", pil_kwargs={"quality": 75, "optimize": True})
    plt.close(figure)
    return buffer.getvalue()


def thumbnail(x: Tensor) -> Tensor:
    """The whole picture with a longer side of 112 pixels, centered on a white square.

    >>> thumbnail(torch.rand(1, 3, 321, 481)).shape
    torch.Size([1, 3, 112, 112])
    """
    small = dsd.imresize(x, scale=THUMB / max(x.shape[2:]))[..., :THUMB, :THUMB].clamp(0, 1)
    out = torch.ones(1, 3, THUMB, THUMB)
    top, left = ((THUMB - s) // 2 for s in small.shape[2:])
    out[..., top : top + small.shape[2], left : left + small.shape[3]] = small
    return out


def middle(x: Tensor) -> Tensor:
    """The central 112×112 pixels."""
    top, left = ((s - THUMB) // 2 for s in x.shape[2:])
    return x[..., top : top + THUMB, left : left + THUMB]


def main() -> None:
    """Measure one data set."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", choices=DATA)
    parser.add_argument("--network", choices=("vgg16", "vgg19"), default="vgg16")
    args = parser.parse_args()
    started = begin()
    net = dsd.load_backbone(args.network)
    folder = data_folder(args.data)
    files = list_images(folder)
    with torch.no_grad():
        measured = [rounded(measure(dsd.load_image(f), net), 5) for f in tqdm(files)]
    photos = {name: [m[name] for m in measured] for name in measured[0]}
    out = {
        "layer": LAYER,
        "alpha": ALPHA,
        "names": [f.relative_to(folder).as_posix() for f in files],
        "photos": photos,
        "spearman": summary(photos),
    }
    if args.data == "imagenette":
        out["classes"] = CLASSES
        two = data_folder("imagenet_two")
        with torch.no_grad():
            out["two"] = {
                name: rounded(measure(dsd.load_image(two / f"{name}.jpg"), net), 5)
                for name in ("sandbar", "window_screen")
            }
    end = "" if args.network == "vgg16" else f"_{args.network}"
    large = args.data == "bsds500"  # imagenette's photos are hardly larger than a thumbnail
    picture = strip(files, np.array(photos["norm"]), close_up=large)
    write_atomically(RESULTS / f"dsd_extremes_{args.data}{end}.jpg", picture)
    if large:
        tilt = balance(np.array(photos["gram"]), np.array(photos["gram_small"]))
        picture = strip(files, tilt, close_up=True)
        write_atomically(RESULTS / f"dsd_balance_{args.data}{end}.jpg", picture)
    write_result(
        f"dsd_norms_{args.data}{end}",
        out,
        data=DATA[args.data],
        network=args.network,
        started=started,
        seed=SEED,
    )


if __name__ == "__main__":
    main()
