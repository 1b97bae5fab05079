"""Measure ‖DSD₄‖ of every photo of a data set, and what correlates with it, for chapter 4.

    python -m data_scripts.dsd_extremes bsds500
    python -m data_scripts.dsd_extremes imagenette

Photos come from ``$DSD_DATA/bsds500/{train,val,test}/`` or ``$DSD_DATA/imagenette/<class>/``, the
two photos of the paper's extreme classes from ``$DSD_DATA/imagenet_two/``. The layer is relu3_1.
Writes ``book/results/dsd_norms_<data>.json`` and ``book/results/dsd_extremes_<data>.webp``, the
photos with the lowest and the highest value; for BSDS500 also ``dsd_balance_bsds500.webp``, those
where the small or the full image has the stronger Gram matrix, and of both the middle at full size.
``--network vgg19`` measures with the paper's network, where torchvision can get it, and adds
``_vgg19`` to the names. ``--sheets`` only draws the photos again, from the stored values.
"""

import argparse
import io
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from tqdm import tqdm

import dsd_lib as dsd
from data_scripts.shared.results import RESULTS, begin, rounded, write_result
from dsd_lib.book.plots import load_result
from dsd_lib.descriptor import matrix_norms, self_dissimilarity
from dsd_lib.files import data_folder, list_images, write_atomically
from dsd_lib.images import to_array
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
SHOWN, SQUARE, MIDDLE = 6, 224, 112
DRAWS, SEED = 1000, 0


def smoothed(x: Tensor, alpha: float) -> Tensor:
    """``x`` without the detail that ``x↓alpha`` has lost: downscaled and brought back to size."""
    return dsd.imresize(dsd.imresize(x, scale=1 / alpha), size=tuple(x.shape[2:]))


def looks(x: Tensor) -> dict[str, float]:
    """What can be said of one image ``(1, 3, H, W)`` without a network, all in units of [0, 1].

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
    """‖DSD₄‖ at relu3_1 of one image, what it is made of, and the image's looks.

    ``norm`` is ``dsd_norm``; ``gram`` and ``gram_small`` are ‖G(x)‖₁ and ‖G(x↓4)‖₁; ``norm_inside``
    leaves out the rim of the image that the padding of the small map reaches, at both scales.
    """
    fine = net(x, [LAYER])[LAYER]
    small = net(dsd.imresize(x, scale=1 / ALPHA), [LAYER], check_range=False)[LAYER]
    rim = ALPHA * BORDER
    inside = (fine[..., rim:-rim, rim:-rim], small[..., BORDER:-BORDER, BORDER:-BORDER])
    g, h = dsd.gram_matrix(fine), dsd.gram_matrix(small)
    g_inside, h_inside = map(dsd.gram_matrix, inside)
    differences = self_dissimilarity(  # Eq. (2)
        {"norm": g, "norm_inside": g_inside}, {"norm": h, "norm_inside": h_inside}
    )
    matrices = differences | {"gram": g, "gram_small": h}
    return dict(zip(matrices, matrix_norms(matrices)[0].tolist(), strict=True)) | looks(x)


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
    """How ‖DSD‖ and the balance correlate with the looks, over all photos."""
    columns = {name: np.array(values) for name, values in photos.items()}
    tilt = balance(columns["gram"], columns["gram_small"])
    return {
        "norm": {name: correlation(columns["norm"], columns[name]) for name in LOOKS},
        "balance": {name: correlation(tilt, columns[name]) for name in LOOKS},
        "norm_and_norm_inside": correlation(columns["norm"], columns["norm_inside"]),
    }


def write_extremes(data: str, photos: dict[str, list[float]], end: str) -> None:
    """Write the photos with the lowest and highest norm and, of BSDS500, balance."""
    files = list_images(data_folder(data))
    columns = {name: np.array(values) for name, values in photos.items()}
    large = data == "bsds500"  # imagenette's photos are 224×224
    write_sheets(f"dsd_extremes_{data}{end}", files, columns["norm"], close_up=large)
    if large:
        tilt = balance(columns["gram"], columns["gram_small"])
        write_sheets(f"dsd_balance_{data}{end}", files, tilt, close_up=True)


def write_sheets(name: str, files: list[Path], values: np.ndarray, *, close_up: bool) -> None:
    """Two rows of photos: those of lowest and those of highest value, as ``<name>.webp``.

    Each is the photo's central square, at most 224×224 pixels. ``close_up`` also writes
    ``<name>_middle.webp`` with the central 112×112 pixels of each at their own size.
    """
    order = np.argsort(values)
    rows = [[dsd.load_image(files[i]) for i in some] for some in (order[:SHOWN], order[-SHOWN:])]
    for end, view in (("", square), ("_middle", middle)):
        if view is square or close_up:
            sheet = torch.cat([torch.cat([view(x) for x in row], dim=3) for row in rows], dim=2)
            write_atomically(RESULTS / f"{name}{end}.webp", webp(sheet))


def webp(x: Tensor) -> bytes:
    """One image as WebP."""
    buffer = io.BytesIO()
    Image.fromarray(to_array(x)).save(buffer, "webp", quality=85)
    return buffer.getvalue()


def square(x: Tensor) -> Tensor:
    """The central square of an image, with sides of 224 pixels.

    >>> square(torch.rand(1, 3, 321, 481)).shape
    torch.Size([1, 3, 224, 224])
    """
    side = min(x.shape[2:])
    return dsd.imresize(central(x, side), size=(SQUARE, SQUARE)).clamp(0, 1)


def middle(x: Tensor) -> Tensor:
    """The central 112×112 pixels."""
    return central(x, MIDDLE)


def central(x: Tensor, side: int) -> Tensor:
    """The central ``side`` × ``side`` pixels."""
    top, left = ((s - side) // 2 for s in x.shape[2:])
    return x[..., top : top + side, left : left + side]


def main() -> None:
    """Measure one data set."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", choices=DATA)
    parser.add_argument("--network", choices=("vgg16", "vgg19"), default="vgg16")
    parser.add_argument("--sheets", action="store_true", help="only draw the photos again")
    args = parser.parse_args()
    end = "" if args.network == "vgg16" else f"_{args.network}"
    if args.sheets:
        stored = load_result(RESULTS / f"dsd_norms_{args.data}{end}.json")["results"]
        write_extremes(args.data, stored["photos"], end)
        return
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
    write_extremes(args.data, photos, end)
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
