"""Draw the picture on the book's first page, ``book/_static/cover.png``: what DSD is.

    python -m data_scripts.make_cover

An embedded picture at two scales, its Gram matrices over pixel patches and over deep features, and
their differences. Every number in the picture is printed as well.
"""

from pathlib import Path

import matplotlib.pyplot as plt
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor

import dsd_lib as dsd
from dsd_lib.book import plots

OUTPUT = Path(__file__).parent.parent / "book" / "_static" / "cover.png"
PICTURE, LAYER, PATCH, ALPHA = "coffee", "relu3_1", 5, 4
CHANNELS = 50  # shown of the deep features, the most active ones; the numbers are of all
WIDTH, HEIGHT = 1440, 900  # pixels; twice those of the page, for sharp screens
SIDE = 300  # pixels of a matrix, a multiple of its entries


def main() -> None:
    """Measure, draw, save."""
    rows = measure()
    for name, (fine, coarse) in rows.items():
        print(f"{name}: the difference is {share(fine, coarse):.1%} of the Gram matrix")
    draw(rows).savefig(OUTPUT)
    # A palette fitted to the drawing and its photo: half the bytes, and no difference to the eye.
    drawing = Image.open(OUTPUT).convert("RGB")
    drawing.quantize(256, Image.Quantize.MAXCOVERAGE, kmeans=2).save(OUTPUT, optimize=True)
    print(f"{OUTPUT.name}: {OUTPUT.stat().st_size / 1000:.0f} kB")


def scales() -> tuple[Tensor, Tensor]:
    """The picture and the picture downscaled."""
    x = dsd.sample_images()[PICTURE]
    return x, dsd.imresize(x, scale=1 / ALPHA).clamp(0, 1)


def measure() -> dict[str, tuple[Tensor, Tensor]]:
    """Gram matrices ``(C, C)`` of both scales, of pixel patches and of deep features."""
    net = dsd.load_backbone("vgg16")
    patches = tuple(dsd.patch_gram(z, PATCH)[0] for z in scales())
    features = tuple(dsd.gram_matrix(net(z, [LAYER])[LAYER])[0] for z in scales())
    return {"pixel patches": patches, "deep features": features}


def share(fine: Tensor, coarse: Tensor) -> float:
    """Mean absolute difference of two Grams over the mean absolute entry of the first."""
    return ((fine - coarse).abs().mean() / fine.abs().mean()).item()


def draw(rows: dict[str, tuple[Tensor, Tensor]]) -> Figure:
    """The figure, ``WIDTH`` by ``HEIGHT`` pixels."""
    plots.use_book_style()
    figure = plt.figure(figsize=(WIDTH / plots.DPI, HEIGHT / plots.DPI), layout="none")
    x, small = scales()
    place(figure, 20, 120, 320, 240).imshow(dsd.to_array(x))
    place(figure, 140, 560, 80, 60).imshow(dsd.to_array(small))
    write(figure, 180, 380, "an image $x$")
    write(figure, 180, 640, f"and $x\\!\\downarrow_{ALPHA}$, the same\nin 1/{ALPHA} of the size")
    lefts = [400, 756, 1112]
    tops = [84, 528]
    heads = {
        "pixel patches": f"Gram matrices of {PATCH}×{PATCH} pixel patches: the scales agree",
        "deep features": f"Gram matrices of deep features ({LAYER}): they do not",
    }
    ends = {"pixel patches": "next to nothing", "deep features": "DSD, its fingerprint"}
    for top, (name, (fine, coarse)) in zip(tops, rows.items(), strict=True):
        left_over = f"{ends[name]}: {share(fine, coarse):.0%}"
        if name == "deep features":
            order = arrange(fine, coarse)
            fine, coarse = fine[order][:, order], coarse[order][:, order]
        limit = torch.cat([fine, coarse]).quantile(0.98).item()  # one scale for all three
        write(figure, lefts[0], top - 62, heads[name], ha="left", weight="bold", size=20)
        matrices = {
            "$G(x)$": fine,
            f"$G(x\\!\\downarrow_{ALPHA})$": coarse,
            left_over: fine - coarse,
        }
        for left, (words, matrix) in zip(lefts, matrices.items(), strict=True):
            signed = words == left_over
            place(figure, left, top, SIDE, SIDE).imshow(
                matrix,
                cmap="RdBu_r" if signed else "viridis",
                vmin=-limit if signed else 0,
                vmax=limit,
            )
            write(figure, left + SIDE / 2, top + SIDE + 12, words)
        write(figure, lefts[1] - 28, top + SIDE / 2 - 30, "−", size=30)
        write(figure, lefts[2] - 28, top + SIDE / 2 - 30, "=", size=30)
    return figure


def arrange(fine: Tensor, coarse: Tensor) -> Tensor:
    """The most active channels, those that change together side by side."""
    active = (fine + coarse).diagonal().argsort(descending=True)[:CHANNELS]
    change = (fine - coarse)[active][:, active]
    return active[torch.linalg.eigh(change).eigenvectors[:, 0].argsort()]


def place(figure: Figure, left: float, top: float, width: float, height: float) -> Axes:
    """Axes without frame at this place, in pixels from the top left."""
    axes = figure.add_axes(
        (left / WIDTH, 1 - (top + height) / HEIGHT, width / WIDTH, height / HEIGHT)
    )
    axes.set_axis_off()
    return axes


def write(
    figure: Figure,
    left: float,
    top: float,
    words: str,
    *,
    ha: str = "center",
    size: float = 18,
    weight: str = "normal",
) -> None:
    """Words whose top is at this place, in pixels from the top left."""
    figure.text(
        left / WIDTH,
        1 - top / HEIGHT,
        words,
        ha=ha,
        va="top",
        size=size,
        weight=weight,
        linespacing=1.3,
    )


if __name__ == "__main__":
    main()
