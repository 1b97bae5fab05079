"""The book's look: one style, one meaning for each color, pictures at their true pixels."""

import json
import math
from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
from cycler import cycler
from matplotlib.figure import Figure
from torch import Tensor

from dsd_lib.checks import check_images
from dsd_lib.images import to_array

# Okabe and Ito's palette, which color-blind readers can tell apart.
OKABE_ITO = {
    "black": "#000000",
    "orange": "#E69F00",
    "sky": "#56B4E9",
    "green": "#009E73",
    "yellow": "#F0E442",
    "blue": "#0072B2",
    "vermillion": "#D55E00",
    "purple": "#CC79A7",
}
# A color means the same in every chapter, as it does in the paper.
COLORS = {
    "self": OKABE_ITO["green"],  # a picture against itself at another scale
    "random": OKABE_ITO["blue"],  # pairs of different pictures
    "same_class": OKABE_ITO["vermillion"],  # pairs of pictures of one class
    "dsd": OKABE_ITO["vermillion"],  # models and measures of ours with DSD
    "other": OKABE_ITO["blue"],  # the same with another distribution loss
    "published": OKABE_ITO["black"],  # published systems
}
DPI = 100


def use_book_style() -> None:
    """Set the book's matplotlib style, and keep Jupyter from trimming figures (it shifts pixels).

    >>> use_book_style()
    >>> mpl.rcParams["figure.dpi"]
    100.0
    """
    mpl.rcParams.update(
        {
            "figure.dpi": DPI,
            "savefig.dpi": DPI,
            "figure.figsize": (6.4, 3.6),
            "figure.constrained_layout.use": True,
            "figure.facecolor": "white",
            "font.size": 10,
            "axes.titlesize": 10,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.grid": True,
            "axes.grid.axis": "y",
            "axes.axisbelow": True,
            "grid.color": "#dddddd",
            "legend.frameon": False,
            "image.interpolation": "none",
            "axes.prop_cycle": cycler(
                color=[
                    OKABE_ITO[c] for c in ("blue", "vermillion", "green", "purple", "sky", "orange")
                ]
            ),
        }
    )
    try:
        from IPython import get_ipython  # only in notebooks
    except ImportError:
        return
    if get_ipython() is not None:
        get_ipython().run_line_magic(
            "config", "InlineBackend.print_figure_kwargs = {'bbox_inches': None}"
        )


def show_images(
    images: Sequence[Tensor],
    titles: Sequence[str] | None = None,
    *,
    columns: int | None = None,
    zoom: int = 1,
    text: Sequence[str] | None = None,
) -> Figure:
    """Pictures side by side, each of their pixels ``zoom`` × ``zoom`` pixels of the figure.

    Args:
        images: pictures ``(1, 3, H, W)`` in [0, 1]; they may differ in size.
        titles: a line above each picture.
        columns: pictures a row; all in one row unless told.
        zoom: whole number of figure pixels a pixel.
        text: a line below each picture.

    Returns:
        The figure; nothing is resampled when it is drawn at its own dpi.

    Raises:
        ValueError: no picture, ``zoom`` not a positive whole number, or a number of titles or texts
            other than that of the pictures.

    >>> figure = show_images([Tensor(1, 3, 20, 30).fill_(0.5)] * 2, ["left", "right"], zoom=2)
    >>> len(figure.axes)
    2
    """
    images = list(images)
    if not images:
        raise ValueError("images: expected at least one picture, got none")
    for x in images:
        check_images(x, name="images", check_range=False)
    if int(zoom) != zoom or zoom < 1:
        raise ValueError(f"zoom: expected a positive whole number, got {zoom}")
    for name, lines in (("titles", titles), ("text", text)):
        if lines is not None and len(lines) != len(images):
            raise ValueError(f"{name}: expected {len(images)} of them, got {len(lines)}")
    columns = min(columns or len(images), len(images))
    rows = math.ceil(len(images) / columns)
    gap, line = 10, 18  # figure pixels
    above = line * max((t.count("\n") + 1 for t in titles or () if t), default=0)
    below = line * max((t.count("\n") + 1 for t in text or () if t), default=0)
    cell_height = max(x.shape[2] for x in images) * zoom + above + below + gap
    cell_width = max(x.shape[3] for x in images) * zoom + gap
    width, height = columns * cell_width + gap, rows * cell_height + gap
    figure = plt.figure(figsize=(width / DPI, height / DPI), dpi=DPI, layout="none")
    for index, x in enumerate(images):
        row, column = divmod(index, columns)
        left = gap + column * cell_width
        top = gap + row * cell_height + above
        h, w = x.shape[2] * zoom, x.shape[3] * zoom
        axes = figure.add_axes((left / width, 1 - (top + h) / height, w / width, h / height))
        axes.imshow(to_array(x), interpolation="none", aspect="auto")
        axes.set_axis_off()
        if titles is not None:
            axes.set_title(titles[index], fontsize=9, pad=4)
        if text is not None:
            axes.text(0.5, -5 / h, text[index], transform=axes.transAxes, fontsize=9, ha="center",
                      va="top")  # fmt: skip
    return figure


def load_result(path: str | Path) -> dict:
    """A stored result of the book, ``{"provenance": {...}, "results": ...}``.

    Raises:
        FileNotFoundError: there is no such result.
        ValueError: the file is not such a result.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no stored result at {path}")
    result = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(result, dict) or set(result) != {"provenance", "results"}:
        raise ValueError(f"{path}: expected an object with the keys provenance and results")
    return result


def provenance(result: dict) -> str:
    """Where a stored result comes from, in one line to print below it.

    >>> provenance({"provenance": {"command": "python -m data_scripts.x", "data": "10 photos",
    ...     "network": "vgg16", "device": "cpu", "seed": 0, "date": "2026-01-31", "duration_s": 12},
    ...     "results": []})
    'Measured by `python -m data_scripts.x` on 10 photos with vgg16 (cpu, seed 0, 12 s, 2026-01-31)'
    """
    p = result["provenance"]
    network = f" with {p['network']}" if p.get("network") else ""
    seed = f"seed {p['seed']}, " if p.get("seed") is not None else ""
    return (
        f"Measured by `{p['command']}` on {p['data']}{network} "
        f"({p['device']}, {seed}{p['duration_s']} s, {p['date']})"
    )
