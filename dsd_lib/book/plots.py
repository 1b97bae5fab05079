"""The book's look, one style and one meaning for each color, and its stored results."""

import json
from pathlib import Path

import matplotlib as mpl
from cycler import cycler

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
    "self": OKABE_ITO["green"],  # an image against itself at another scale
    "random": OKABE_ITO["blue"],  # pairs of different images
    "same_class": OKABE_ITO["vermillion"],  # pairs of images of one class
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
