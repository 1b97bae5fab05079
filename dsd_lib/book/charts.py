"""Charts that are drawn twice, for a wide page and for a phone, and dot plots of estimates."""

import io
from collections.abc import Callable, Mapping

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from dsd_lib.book.component import Html, component, data_uri
from dsd_lib.book.plots import DPI, OKABE_ITO

Interval = tuple[float, float, float]  # a value, and the lower and upper end of its interval
Estimate = float | Interval
Rows = Mapping[str, Estimate] | Mapping[str, Mapping[str, Estimate]]

NARROW = 3.6  # inches: what a phone of 390 pixels leaves of its width
_DENSITY = 2  # stored pixels per pixel of the page, for sharp letters on today's screens


def chart(
    draw: Callable[[Figure, bool], None],
    *,
    alt: str,
    size: tuple[float, float] = (7.4, 3.6),
    narrow_size: tuple[float, float] = (NARROW, 3.6),
) -> Html:
    """A chart that stays readable on a phone: drawn once for each width, not shrunk.

    Args:
        draw: called with an empty figure and whether it is the narrow one; stack what stands side
            by side in the wide one.
        alt: the text for readers who do not see the chart, with its message.
        size: of the wide figure in inches of 100 pixels; at most 7.6 wide.
        narrow_size: of the one for pages up to 600 pixels wide; at most 3.6 wide.

    Returns:
        The chart, which Jupyter shows as HTML.

    Raises:
        ValueError: an empty ``alt``, or a figure wider than its page.

    >>> def draw(figure, narrow):
    ...     left, right = figure.subplots(*((2, 1) if narrow else (1, 2)))
    ...     _ = left.plot([1, 2]), right.plot([2, 1])
    >>> chart(draw, alt="Two lines, one rising, one falling", narrow_size=(3.6, 5))
    A chart: Two lines, one rising, one falling
    """
    if not alt:
        raise ValueError("alt: expected a text, got an empty one")
    for name, width, widest in (("size", size[0], 7.6), ("narrow_size", narrow_size[0], NARROW)):
        if width > widest:
            raise ValueError(f"{name}: expected at most {widest} inches wide, got {width}")
    wide, narrow = (_draw(draw, s, is_narrow) for s, is_narrow in ((size, 0), (narrow_size, 1)))
    return component("chart", f"A chart: {alt}", alt=alt, wide=wide, narrow=narrow)


def _draw(
    draw: Callable[[Figure, bool], None], size: tuple[float, float], narrow: int
) -> dict[str, object]:
    figure = plt.figure(figsize=size)
    try:
        draw(figure, bool(narrow))
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=DPI * _DENSITY)
    finally:
        plt.close(figure)
    drawn = np.asarray(Image.open(buffer).convert("RGB"))
    width, height = (round(side * DPI) for side in size)
    return {"source": data_uri(drawn), "width": width, "height": height}


_MARKERS = "osD^vPX"


def dot_plot(
    estimates: Rows | Mapping[str, Rows],
    *,
    xlabel: str,
    alt: str,
    reference: float | None = None,
    colors: Mapping[str, str] | None = None,
    xlim: tuple[float, float] | None = None,
    log: bool = False,
    share_x: bool = True,
) -> Html:
    """Estimates as dots with their intervals as lines: one row for each, best read downward.

    Args:
        estimates: row -> estimate; or row -> series -> estimate; or panel -> row -> series ->
            estimate. An estimate is ``(value, low, high)``, or a bare number without an interval.
            Panels stand side by side, and below each other on a phone.
        xlabel: what is measured, with its unit and which direction is better.
        alt: the text for readers who do not see the chart, with its message.
        reference: where a vertical line is drawn, such as 0 for differences.
        colors: series -> color; the book's colors in turn unless given.
        xlim: the range of the axis.
        log: whether the axis is logarithmic.
        share_x: whether panels have one axis; False where they differ in unit.

    Returns:
        The chart, which Jupyter shows as HTML.

    Raises:
        ValueError: no estimates, an estimate that is not a number or interval, or an empty ``alt``.

    Source: the intervals of chapters 5, 7 and 8.

    >>> dot_plot({"PSNR": (0.87, 0.84, 0.90), "SSIM": (0.91, 0.88, 0.94)},
    ...          xlabel="SROCC (higher is better)", alt="SSIM agrees better than PSNR")
    A chart: SSIM agrees better than PSNR
    """
    panels = _panels(estimates)
    series = list(dict.fromkeys(s for rows in panels.values() for r in rows.values() for s in r))
    palette = [OKABE_ITO[c] for c in ("vermillion", "blue", "green", "purple", "orange", "black")]
    look = {
        name: {
            "color": (colors or {}).get(name, palette[i % len(palette)]),
            "marker": _MARKERS[i % len(_MARKERS)],
        }
        for i, name in enumerate(series)
    }
    count = max(len(rows) for rows in panels.values())
    row_height = 0.14 + 0.13 * max(len(series), 1)
    legend = 0.3 if len(series) > 1 else 0.0

    def draw(figure: Figure, narrow: bool) -> None:
        shape = (len(panels), 1) if narrow else (1, len(panels))
        axes = figure.subplots(*shape, sharex=share_x, sharey=not narrow, squeeze=False).flat
        for index, (ax, (title, rows)) in enumerate(zip(axes, panels.items(), strict=True)):
            _draw_rows(ax, rows, look, names_inside=narrow)
            if reference is not None:
                ax.axvline(reference, color="black", linewidth=1, zorder=0)
            ax.set(title=title, xscale="log" if log else "linear")
            if xlim:
                ax.set_xlim(xlim)
            if len(panels) > 2 and not (log or narrow):
                ax.locator_params(axis="x", nbins=3)  # so that their labels do not touch
            if not narrow or index == len(panels) - 1:
                ax.set_xlabel(xlabel, wrap=True)
        if len(series) > 1:
            figure.legend(
                *axes[0].get_legend_handles_labels(),
                loc="outside upper center",
                ncols=2 if narrow else min(len(series), 4),
            )

    stacked = sum(len(rows) for rows in panels.values())
    legend_lines = -(-len(series) // 2)
    return chart(
        draw,
        alt=alt,
        size=(7.4, 0.8 + legend + count * (row_height + 0.06)),
        narrow_size=(
            NARROW,
            0.6 + 0.35 * len(panels) + legend * legend_lines + stacked * (row_height + 0.3),
        ),
    )


def _panels(estimates: Mapping) -> dict[str, dict[str, dict[str, Interval]]]:
    """Any nesting that :func:`dot_plot` takes as panel -> row -> series -> interval."""
    if not estimates:
        raise ValueError("estimates: expected at least one, got none")
    depth, level = 1, next(iter(estimates.values()))
    while isinstance(level, Mapping) and level:
        depth, level = depth + 1, next(iter(level.values()))
    if depth > 3:
        raise ValueError(f"estimates: expected panel -> row -> series at most, got {depth} levels")
    panels = estimates if depth == 3 else {"": estimates}
    return {
        panel: {
            row: {
                name: _interval(e)
                for name, e in (of if isinstance(of, Mapping) else {"": of}).items()
            }
            for row, of in rows.items()
        }
        for panel, rows in panels.items()
    }


def _interval(estimate: Estimate) -> Interval:
    if isinstance(estimate, tuple | list) and len(estimate) == 3:
        value, low, high = (float(v) for v in estimate)
        if low <= value <= high:
            return value, low, high
    elif isinstance(estimate, int | float | np.floating):
        return (float(estimate),) * 3
    raise ValueError(f"estimates: expected a number or low <= value <= high, got {estimate!r}")


def _draw_rows(
    ax: Axes, rows: Mapping[str, Mapping[str, Interval]], look: Mapping, *, names_inside: bool
) -> None:
    """Dots and intervals; the rows' names at the left, or above each row where it is narrow."""
    shift = 0.22 if names_inside else 0.0
    spread = (0.4 if names_inside else 0.6) / max(len(look) - 1, 1)
    for k, (name, style) in enumerate(look.items()):
        offset = (k - (len(look) - 1) / 2) * min(spread, 0.22)
        places = [i + shift + offset for i, of in enumerate(rows.values()) if name in of]
        found = np.array([of[name] for of in rows.values() if name in of]).reshape(-1, 3)
        value, low, high = found.T
        ax.errorbar(value, places, xerr=[value - low, high - value], fmt=style["marker"],
                    color=style["color"], markersize=5.5, elinewidth=1.5, label=name)  # fmt: skip
    ax.set_ylim(len(rows) - 0.5, -0.5)
    ax.grid(visible=True, axis="x")
    ax.grid(visible=False, axis="y")
    if names_inside:
        ax.set_yticks([])
        for i, name in enumerate(rows):
            ax.text(
                0.01, i - 0.12, name, transform=ax.get_yaxis_transform(), va="bottom", fontsize=9
            )
            ax.axhline(i - 0.5, color="#dddddd", linewidth=0.6)
    else:
        ax.set_yticks(range(len(rows)), list(rows))
        ax.tick_params(axis="y", length=0)
