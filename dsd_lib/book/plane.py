"""A scatter plot whose points show an image each."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from matplotlib.ticker import MaxNLocator
from torch import Tensor

from dsd_lib.book.component import Html, component, data_uri, whole_zoom
from dsd_lib.book.plots import COLORS

_GROUPS = {  # group -> what the legend calls it, and its mark around (0, 0)
    "dsd": ("ours, DSD", "M7,0 A7,7 0 1 1 -7,0 A7,7 0 1 1 7,0 Z"),
    "other": ("ours, another loss", "M-6,-6 H6 V6 H-6 Z"),
    "published": ("others", "M0,-8 L8,0 L0,8 L-8,0 Z"),
}
_SIZE = (520, 420)  # of the drawing, in its own units; a phone shows it at about two thirds
_AREA = (60, 14, 506, 332)  # left, top, right, bottom of the axes


@dataclass(frozen=True)
class PlanePoint:
    """A point of :func:`image_plane`.

    Attributes:
        label: its name, written beside it.
        x: its place, horizontally.
        y: its place, vertically.
        image: ``(1, 3, H, W)`` in [0, 1]; all points' images have one size.
        group: "dsd", "other" or "published", which give color and shape.
        note: more words for the line under the image; may be empty.
    """

    label: str
    x: float
    y: float
    image: Tensor
    group: str = "other"
    note: str = ""


def image_plane(
    points: Sequence[PlanePoint],
    *,
    x_name: str,
    y_name: str,
    x_better: str = "higher",
    y_better: str = "lower",
    title: str,
    alt: str,
    image_alt: str,
    digits: tuple[int, int] = (3, 2),
    start: int = 0,
    zoom: int = 2,
    quality: int = 100,
) -> Html:
    """A scatter plot whose points show an image each, by pointer, tap or keyboard.

    One point is chosen; its image, name and numbers are beside the plot. Hovering near a point or
    tapping it chooses it, and so do the arrow keys, which go through the points from left to right.
    A click, Enter or space opens the image large. Without JavaScript the plot stays, with the names
    beside the points.

    Args:
        points: the points.
        x_name: what is measured horizontally, such as "SSIM".
        y_name: what is measured vertically.
        x_better: "higher" or "lower", whichever is better; the axis says so.
        y_better: the same, vertically.
        title: what the plane is about, in a few words.
        alt: what the plot shows, with its message.
        image_alt: what the images show; each point's label is added to it.
        digits: after the decimal point, of x and of y.
        start: index of the point that is chosen first.
        zoom: screen pixels per pixel, a positive whole number.
        quality: of the stored images, 1 to 99; 100 keeps every pixel.

    Returns:
        A figure that Jupyter shows as HTML.

    Raises:
        ValueError: no points, images of different sizes, an unknown group, a coordinate that is not
            finite, an empty text, or another option out of range.

    Source: Fig. 9; chapters 8 and 9 of the book.

    >>> gray = Tensor(1, 3, 8, 8).fill_(0.5)
    >>> image_plane([PlanePoint("A", 0.7, 4.1, gray), PlanePoint("B", 0.8, 6.0, gray, "dsd")],
    ...             x_name="SSIM", y_name="NIQE", title="Two methods", alt="A has the lower NIQE",
    ...             image_alt="A gray square by")
    Two methods (a plane of 2 points with an image each)
    """
    texts = {"x_name": x_name, "y_name": y_name, "title": title, "alt": alt}
    for name, text in (texts | {"image_alt": image_alt}).items():
        if not text:
            raise ValueError(f"{name}: expected a text, got an empty one")
    _check(points, (x_better, y_better), start)
    order = sorted(range(len(points)), key=lambda i: (points[i].x, points[i].y))
    start, points = order.index(start), [points[i] for i in order]
    captions = []
    for point in points:
        numbers = f"{x_name} {point.x:.{digits[0]}f}, {y_name} {point.y:.{digits[1]}f}"
        captions.append(f"{point.label}: {numbers}" + (f", {point.note}" if point.note else ""))
    left, top, right, bottom = _AREA
    x_ticks, x_place = _axis([p.x for p in points], left, right)
    y_ticks, y_place = _axis([p.y for p in points], bottom, top)
    places = [(round(x_place(p.x), 1), round(y_place(p.y), 1)) for p in points]
    sources = [data_uri(p.image, quality) for p in points]
    alts = [f"{image_alt} {p.label}" for p in points]
    return component(
        "plane",
        f"{title} (a plane of {len(points)} points with an image each)",
        scripts=("large", "plane"),
        styles=("images", "plane"),
        title=title,
        alt=alt,
        size=_SIZE,
        area=_AREA,
        x_ticks=[(text, round(x_place(t), 1)) for text, t in x_ticks],
        y_ticks=[(text, round(y_place(t), 1)) for text, t in y_ticks],
        x_name=f"{x_name} ({x_better} is better)",
        y_name=f"{y_name} ({y_better} is better)",
        legend=list(_legend(points)),
        marks=[
            {"place": place, "point": point, "caption": caption, "label": label,
             "color": COLORS[point.group], "shape": _GROUPS[point.group][1]}
            for place, point, caption, label in zip(
                places, points, captions, place_labels(places, [p.label for p in points]),
                strict=True,
            )
        ],
        image={"source": sources[start], "alt": alts[start], "caption": captions[start],
               "width": points[0].image.shape[3], "height": points[0].image.shape[2]},
        zoom=whole_zoom(zoom),
        data={
            # The one shown first is in the page already.
            "sources": ["" if i == start else source for i, source in enumerate(sources)],
            "captions": captions,
            "alts": alts,
            "places": places,
            "start": start,
        },
    )  # fmt: skip


def _check(points: Sequence[PlanePoint], better: tuple[str, str], start: int) -> None:
    if not points:
        raise ValueError("points: expected at least one, got none")
    for point in points:
        if not (point.label and math.isfinite(point.x) and math.isfinite(point.y)):
            raise ValueError(
                f"points: expected a label and two finite numbers, got {point.label!r} at "
                f"({point.x}, {point.y})"
            )
        if point.group not in _GROUPS:
            raise ValueError(f"group: expected one of {list(_GROUPS)}, got {point.group!r}")
    sizes = {tuple(point.image.shape) for point in points}
    if len(sizes) > 1:
        raise ValueError(f"points: expected images of one size, got {sorted(sizes)}")
    if not set(better) <= {"higher", "lower"}:
        raise ValueError(f"x_better, y_better: expected 'higher' or 'lower', got {better}")
    if not 0 <= start < len(points):
        raise ValueError(f"start: expected 0 to {len(points) - 1}, got {start}")


def _legend(points: Sequence[PlanePoint]) -> Iterator[dict[str, object]]:
    place = _AREA[0] + 4.0
    for group, (name, shape) in _GROUPS.items():
        if any(point.group == group for point in points):
            yield {"x": round(place, 1), "name": name, "shape": shape, "color": COLORS[group]}
            place += 30 + 9.6 * len(name)  # in the large letters of a phone too


def _axis(
    values: Sequence[float], start: float, end: float
) -> tuple[list[tuple[str, float]], Callable[[float], float]]:
    """Ticks of an axis that holds the values with room, and the way from a value to its place."""
    low, high = min(values), max(values)
    room = 0.08 * (high - low) or 0.05 * abs(high) or 1.0
    low, high = low - room, high + room
    ticks = [
        t
        for t in MaxNLocator(6, steps=[1, 2, 2.5, 5, 10]).tick_values(low, high)
        if low <= t <= high
    ]
    step = ticks[1] - ticks[0] if len(ticks) > 1 else 1.0
    decimals = next((d for d in range(10) if abs(round(step, d) - step) < 1e-6 * step), 10)
    return (
        [(f"{t:.{decimals}f}", float(t)) for t in ticks],
        lambda value: start + (end - start) * (value - low) / (high - low),
    )


def place_labels(
    places: Sequence[tuple[float, float]], labels: Sequence[str]
) -> list[tuple[float, float, str]]:
    """Where each label is written, from its point: where it covers least and is nearest its own.

    Returns the offset of each label and its anchor: which end of the text the offset is for. Widths
    are estimated, with the anchor at the point's side so that an error does not show. A label that
    has to go farther off than ``NEAR`` needs a line to its point.
    """
    chosen: list[tuple[float, float, str]] = []
    taken = [(x - 9, y - 9, x + 9, y + 9) for x, y in places]
    left, top, right, bottom = _AREA
    for (x, y), label in zip(places, labels, strict=True):
        width = sum(10 if letter.isupper() else 7.2 for letter in label)
        boxes, costs = [], []
        for rank, (dx, dy, anchor) in enumerate(_OFFSETS):
            start = x + dx - width * {"start": 0, "middle": 0.5, "end": 1}[anchor]
            boxes.append((start, y + dy - 12, start + width, y + dy + 4))
            outside = start < left or start + width > right + 12 or not top <= y + dy < bottom
            away = [_distance(boxes[-1], place) for place in places]
            near = math.hypot(dx, dy) < NEAR
            wrong = near and min(away) < _distance(boxes[-1], (x, y))  # it seems another's name
            covered = sum(_overlap(boxes[-1], b) for b in taken)
            costs.append(2 * covered + 1e5 * outside + 1e3 * wrong + rank)
        best = costs.index(min(costs))
        chosen.append(_OFFSETS[best])
        taken.append(boxes[best])
    return chosen


NEAR = 30.0  # a label nearer than this needs no line to its point
_OFFSETS = [(13, 5, "start"), (-13, 5, "end"), (0, -14, "middle"), (0, 24, "middle")]
_OFFSETS += [(9, -9, "start"), (9, 19, "start"), (-9, -9, "end"), (-9, 19, "end")]
_OFFSETS += [
    (
        round(radius * math.cos(angle)),
        round(radius * math.sin(angle)) + 5,
        "middle" if abs(math.cos(angle)) < 0.3 else "start" if math.cos(angle) > 0 else "end",
    )
    for radius in (40, 60, 80)
    for angle in (2 * math.pi * k / 16 for k in range(16))
]


def _overlap(a: tuple[float, ...], b: tuple[float, ...]) -> float:
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    return max(width, 0) * max(height, 0)


def _distance(box: tuple[float, ...], place: tuple[float, float]) -> float:
    x, y = (min(max(place[i], box[i]), box[i + 2]) - place[i] for i in (0, 1))
    return math.hypot(x, y)
