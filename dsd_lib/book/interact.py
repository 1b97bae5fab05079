"""Figures a reader can move: frames under a slider, a plane of pictures, and live widgets.

Slider and plane are plain HTML and JavaScript in the cell's output: they work in the built book, on
Colab and in Jupyter, without a kernel and without a network. Without JavaScript the slider's first
picture stays, and the plane is a plain scatter plot. The live explorer needs a kernel.
"""

import base64
import html
import io
import json
import math
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from PIL import Image
from torch import Tensor

from dsd_lib.backbones import Backbone
from dsd_lib.book.plots import COLORS
from dsd_lib.descriptor import dsd_norm
from dsd_lib.images import to_array
from dsd_lib.resize import imresize

_SLIDER = """\
<div class="dsd-frames" id="{id}" role="group" aria-label="{title}" \
style="max-width:100%;margin:1em 0">
<figure style="margin:0"><img src="{first}" alt="{alt}" style="max-width:100%;{rendering}">
<figcaption aria-live="polite">{label}</figcaption></figure>
<input type="range" min="0" max="{last}" value="{start}" step="1" hidden aria-label="{title}" \
aria-valuetext="{label}" style="width:100%;max-width:{width}px">
<script>
(function () {{
  const box = document.getElementById("{id}");
  const picture = box.querySelector("img"), caption = box.querySelector("figcaption");
  const slider = box.querySelector("input");
  const sources = {sources}, labels = {labels}, alts = {alts};
  slider.hidden = false;
  slider.addEventListener("input", function () {{
    picture.src = sources[slider.value];
    picture.alt = alts[slider.value];
    caption.textContent = labels[slider.value];
    slider.setAttribute("aria-valuetext", labels[slider.value]);
  }});
}})();
</script></div>"""


class _Html:
    """What shows itself as HTML in a notebook and as one line elsewhere."""

    def __init__(self, html_text: str, text: str) -> None:
        self._html, self._text = html_text, text

    def _repr_html_(self) -> str:
        return self._html

    def __repr__(self) -> str:
        return self._text


class FrameSlider(_Html):
    """Precomputed frames under a slider; shows itself as HTML. Made by :func:`frame_slider`."""


class PicturePlane(_Html):
    """A scatter plot whose points show pictures, as HTML. Made by :func:`picture_plane`."""


def frame_slider(
    frames: Sequence[Tensor | Figure],
    labels: Sequence[str],
    *,
    title: str,
    alt: str,
    start: int = 0,
    zoom: int = 1,
    quality: int = 90,
) -> FrameSlider:
    """Frames under a slider that works by pointer and keyboard, with no kernel and no network.

    Args:
        frames: pictures ``(1, 3, H, W)`` in [0, 1], all of one size, or matplotlib figures, which
            are closed after they are drawn.
        labels: the line below each frame, which a screen reader speaks as the slider moves.
        title: what the slider moves through.
        alt: the text that stands for the pictures; the frame's label is added to it.
        start: index of the frame shown first.
        zoom: whole number of screen pixels a pixel, for tensors.
        quality: of the pictures, 1 to 100, for tensors at zoom 1; others are kept without loss.

    Returns:
        An object that Jupyter shows as HTML.

    Raises:
        ValueError: no frame, another number of labels, an empty alt or title, or ``start`` or
            ``quality`` outside.

    >>> frame_slider([torch.zeros(1, 3, 8, 8), torch.ones(1, 3, 8, 8)], ["dark", "light"],
    ...              title="Brightness", alt="A plain square")
    Brightness (a slider over 2 pictures)
    """
    if not frames or len(labels) != len(frames):
        raise ValueError(
            f"expected one label for each of 1 or more frames, got {len(labels)} and {len(frames)}"
        )
    if not title or not alt:
        raise ValueError("title and alt: expected a text, got an empty one")
    if not 0 <= start < len(frames):
        raise ValueError(f"start: expected 0 to {len(frames) - 1}, got {start}")
    if not 1 <= quality <= 100:
        raise ValueError(f"quality: expected 1 to 100, got {quality}")
    shots = [_draw(frame, zoom, quality) for frame in frames]
    sources = [_source(data) for data, _ in shots]
    alts = [f"{alt} {label}" for label in labels]
    body = _SLIDER.format(
        # The id is drawn from the content so that a notebook run again gives the same file.
        id=_content_id(title, *sources),
        title=html.escape(title),
        first=sources[start],
        alt=html.escape(alts[start]),
        label=html.escape(labels[start]),
        last=len(frames) - 1,
        start=start,
        width=shots[0][1],
        rendering="image-rendering:pixelated" if zoom > 1 else "",
        sources=_script_list(sources),
        labels=_script_list(labels),
        alts=_script_list(alts),
    )
    return FrameSlider(body, f"{title} (a slider over {len(frames)} pictures)")


def _content_id(*texts: str) -> str:
    return f"dsd-{uuid.uuid5(uuid.NAMESPACE_OID, ''.join(texts)).hex[:12]}"


def _source(data: bytes) -> str:
    return f"data:image/webp;base64,{base64.b64encode(data).decode()}"


def _script_list(texts: Sequence[str]) -> str:
    """A JavaScript array literal that cannot end the script it stands in."""
    return json.dumps(list(texts)).replace("<", "\\u003c")


def _draw(frame: Tensor | Figure, zoom: int, quality: int) -> tuple[bytes, int]:
    """A frame as WebP, and its width on the screen."""
    if isinstance(frame, Figure):
        buffer = io.BytesIO()
        frame.savefig(buffer, format="png")
        plt.close(frame)
        picture = Image.open(buffer).convert("RGB")
        options = {"lossless": True}
    else:
        picture = Image.fromarray(np.repeat(np.repeat(to_array(frame), zoom, 0), zoom, 1))
        options = {"quality": quality} if zoom == 1 else {"lossless": True}
    buffer = io.BytesIO()
    picture.save(buffer, format="webp", method=6, **options)
    return buffer.getvalue(), picture.width


@dataclass(frozen=True)
class PlanePoint:
    """A point of :func:`picture_plane`.

    Attributes:
        label: its name, written beside it.
        x: its place, horizontally.
        y: its place, vertically.
        picture: ``(1, 3, H, W)`` in [0, 1]; all points' pictures have one size.
        group: "dsd", "other" or "published", which give color and shape.
        note: more words for the line under the picture; may be empty.
    """

    label: str
    x: float
    y: float
    picture: Tensor
    group: str = "other"
    note: str = ""


_PLANE = """\
<div class="dsd-plane" id="{id}" role="group" aria-label="{title}" \
style="max-width:100%;margin:1em 0;display:flex;flex-wrap:wrap;gap:1em;align-items:flex-start">
<svg viewBox="0 0 {width} {height}" role="img" aria-label="{alt}" \
style="flex:1 1 300px;min-width:0;max-width:{width}px;background:#fff;color:#222;cursor:crosshair" \
font-family="sans-serif" font-size="14" fill="#222">
{drawing}
</svg>
<figure style="margin:0;flex:0 1 {picture_width}px;min-width:0"><img src="{first}" \
alt="{first_alt}" width="{picture_width}" height="{picture_height}" \
style="max-width:100%;height:auto;image-rendering:pixelated">
<figcaption aria-live="polite">{caption}</figcaption></figure>
<script>
(function () {{
  const box = document.getElementById("{id}");
  const plane = box.querySelector("svg"), picture = box.querySelector("img");
  const caption = box.querySelector("figcaption");
  const marks = Array.from(plane.querySelectorAll("[data-point]"));
  const sources = {sources}, captions = {captions}, alts = {alts}, places = {places};
  function choose(chosen) {{
    marks.forEach(function (mark, i) {{
      mark.setAttribute("aria-checked", i === chosen);
      mark.setAttribute("tabindex", i === chosen ? 0 : -1);
      mark.querySelector(".ring").setAttribute("visibility", i === chosen ? "visible" : "hidden");
    }});
    if (picture.src === sources[chosen] && caption.textContent === captions[chosen]) return;
    picture.src = sources[chosen];
    picture.alt = alts[chosen];
    caption.textContent = captions[chosen];
  }}
  function nearest(event, reach) {{
    const at = new DOMPoint(event.clientX, event.clientY)
      .matrixTransform(plane.getScreenCTM().inverse());
    let best = -1, closest = reach;
    places.forEach(function (place, i) {{
      const away = Math.hypot(place[0] - at.x, place[1] - at.y);
      if (away < closest) {{ best = i; closest = away; }}
    }});
    return best;
  }}
  plane.setAttribute("role", "radiogroup");
  plane.addEventListener("pointermove", function (event) {{
    const found = nearest(event, 30);
    if (found >= 0) choose(found);
  }});
  plane.addEventListener("click", function (event) {{
    const found = nearest(event, 60);
    if (found >= 0) marks[found].focus({{preventScroll: true}});
  }});
  marks.forEach(function (mark, i) {{
    mark.setAttribute("role", "radio");
    mark.addEventListener("focus", function () {{ choose(i); }});
    mark.addEventListener("keydown", function (event) {{
      const count = marks.length, to = {{
        ArrowRight: (i + 1) % count, ArrowDown: (i + 1) % count, End: count - 1,
        ArrowLeft: (i + count - 1) % count, ArrowUp: (i + count - 1) % count, Home: 0,
      }}[event.key];
      if (to === undefined) return;
      event.preventDefault();
      marks[to].focus();
    }});
  }});
  choose({start});
}})();
</script></div>"""

_PLANE_GROUPS = {  # group -> what the legend calls it, and its mark around (0, 0)
    "dsd": ("ours, DSD", '<circle r="7"/>'),
    "other": ("ours, another loss", '<rect x="-6" y="-6" width="12" height="12"/>'),
    "published": ("others", '<path d="M0,-8 L8,0 L0,8 L-8,0 Z"/>'),
}
_PLANE_SIZE = (520, 420)  # of the drawing, in its own units; a phone shows it at about two thirds
_PLANE_AREA = (60, 14, 506, 332)  # left, top, right, bottom of the axes


def picture_plane(
    points: Sequence[PlanePoint],
    *,
    x_name: str,
    y_name: str,
    x_better: str = "higher",
    y_better: str = "lower",
    title: str,
    alt: str,
    picture_alt: str,
    digits: tuple[int, int] = (3, 2),
    start: int = 0,
    zoom: int = 2,
    quality: int = 90,
) -> PicturePlane:
    """A scatter plot whose points show a picture each, by pointer, tap or keyboard.

    One point is chosen; its picture, name and numbers stand beside the plot. Hovering near a point
    or tapping it chooses it, and so do the arrow keys, which go through the points from left to
    right. Without JavaScript the plot stays, with the names beside the points.

    Args:
        points: the points.
        x_name: what is measured horizontally, such as "SSIM".
        y_name: what is measured vertically.
        x_better: "higher" or "lower", whichever is better; the axis says so.
        y_better: the same, vertically.
        title: what the plane is about, in a few words.
        alt: the text that stands for the plot, with its message.
        picture_alt: what the pictures show; the point's label is added to it.
        digits: after the decimal point, of x and of y.
        start: index of the point that is chosen first.
        zoom: whole number of screen pixels a pixel.
        quality: of the pictures, 1 to 100; 100 keeps them without loss.

    Returns:
        An object that Jupyter shows as HTML.

    Raises:
        ValueError: no point, pictures of different sizes, an unknown group, a coordinate that is
            not finite, an empty text, or another option out of range.

    Source: Fig. 9; chapters 8 and 9 of the book.

    >>> gray = torch.full((1, 3, 8, 8), 0.5)
    >>> picture_plane([PlanePoint("A", 0.7, 4.1, gray), PlanePoint("B", 0.8, 6.0, gray, "dsd")],
    ...               x_name="SSIM", y_name="NIQE", title="Two methods", alt="A has the lower NIQE",
    ...               picture_alt="A gray square by")
    Two methods (a plane of 2 points with a picture each)
    """
    texts = {"x_name": x_name, "y_name": y_name, "title": title, "alt": alt}
    for name, text in (texts | {"picture_alt": picture_alt}).items():
        if not text:
            raise ValueError(f"{name}: expected a text, got an empty one")
    _check_plane(points, (x_better, y_better), start, zoom, quality)
    order = sorted(range(len(points)), key=lambda i: (points[i].x, points[i].y))
    start, points = order.index(start), [points[i] for i in order]
    sources, captions, alts = [], [], []
    for point in points:
        buffer = io.BytesIO()
        options = {"lossless": True} if quality == 100 else {"quality": quality}
        Image.fromarray(to_array(point.picture)).save(buffer, format="webp", method=6, **options)
        sources.append(_source(buffer.getvalue()))
        numbers = f"{x_name} {point.x:.{digits[0]}f}, {y_name} {point.y:.{digits[1]}f}"
        captions.append(f"{point.label}: {numbers}" + (f", {point.note}" if point.note else ""))
        alts.append(f"{picture_alt} {point.label}")
    names = (f"{x_name} ({x_better} is better)", f"{y_name} ({y_better} is better)")
    drawing, places = _draw_plane(points, captions, names, start)
    body = _PLANE.format(
        id=_content_id(title, *sources, *captions),
        title=html.escape(title),
        alt=html.escape(alt),
        width=_PLANE_SIZE[0],
        height=_PLANE_SIZE[1],
        drawing=drawing,
        first=sources[start],
        first_alt=html.escape(alts[start]),
        caption=html.escape(captions[start]),
        picture_width=points[0].picture.shape[3] * zoom,
        picture_height=points[0].picture.shape[2] * zoom,
        sources=_script_list(sources),
        captions=_script_list(captions),
        alts=_script_list(alts),
        places=json.dumps(places),
        start=start,
    )
    return PicturePlane(body, f"{title} (a plane of {len(points)} points with a picture each)")


def _check_plane(
    points: Sequence[PlanePoint], better: tuple[str, str], start: int, zoom: int, quality: int
) -> None:
    if not points:
        raise ValueError("points: expected at least one, got none")
    for point in points:
        if not (point.label and math.isfinite(point.x) and math.isfinite(point.y)):
            raise ValueError(
                f"points: expected a label and two finite numbers, got {point.label!r} at "
                f"({point.x}, {point.y})"
            )
        if point.group not in _PLANE_GROUPS:
            raise ValueError(f"group: expected one of {list(_PLANE_GROUPS)}, got {point.group!r}")
    sizes = {tuple(point.picture.shape) for point in points}
    if len(sizes) > 1:
        raise ValueError(f"points: expected pictures of one size, got {sorted(sizes)}")
    if not set(better) <= {"higher", "lower"}:
        raise ValueError(f"x_better, y_better: expected 'higher' or 'lower', got {better}")
    if not 0 <= start < len(points):
        raise ValueError(f"start: expected 0 to {len(points) - 1}, got {start}")
    if int(zoom) != zoom or zoom < 1:
        raise ValueError(f"zoom: expected a positive whole number, got {zoom}")
    if not 1 <= quality <= 100:
        raise ValueError(f"quality: expected 1 to 100, got {quality}")


def _draw_plane(
    points: Sequence[PlanePoint], captions: Sequence[str], names: tuple[str, str], start: int
) -> tuple[str, list[tuple[float, float]]]:
    """The inside of the SVG: axes, legend and marks; and where the points lie in it."""
    left, top, right, bottom = _PLANE_AREA
    x_ticks, x_place = _plane_axis([p.x for p in points], left, right)
    y_ticks, y_place = _plane_axis([p.y for p in points], bottom, top)
    lines = []
    for text, tick in x_ticks:
        x = x_place(tick)
        lines.append(f'<path d="M{x:.1f},{top} V{bottom}" stroke="#ddd"/>')
        lines.append(f'<text x="{x:.1f}" y="{bottom + 18}" text-anchor="middle">{text}</text>')
    for text, tick in y_ticks:
        y = y_place(tick)
        lines.append(f'<path d="M{left},{y:.1f} H{right}" stroke="#ddd"/>')
        lines.append(f'<text x="{left - 7}" y="{y + 5:.1f}" text-anchor="end">{text}</text>')
    lines.append(f'<path d="M{left},{top} V{bottom} H{right}" stroke="#222" fill="none"/>')
    middle = (left + right) / 2, (top + bottom) / 2
    across = f'<text x="{middle[0]}" y="{bottom + 40}" text-anchor="middle">'
    upward = f'<text transform="translate(15 {middle[1]}) rotate(-90)" text-anchor="middle">'
    lines += [
        f"{way}{html.escape(n)}</text>" for way, n in zip((across, upward), names, strict=True)
    ]
    place = left + 4
    for group, (name, mark) in _PLANE_GROUPS.items():
        if any(point.group == group for point in points):
            color = COLORS[group]
            lines.append(f'<g transform="translate({place} {bottom + 68})" fill="{color}">{mark}')
            lines.append(f'<text x="13" y="5" fill="#222">{name}</text></g>')
            place += 36 + 7.4 * len(name)
    places = [(round(x_place(p.x), 1), round(y_place(p.y), 1)) for p in points]
    labels = _place_labels(places, [point.label for point in points])
    for i, (point, (x, y), label) in enumerate(zip(points, places, labels, strict=True)):
        dx, dy, anchor = label
        ring = "visible" if i == start else "hidden"
        lines.append(
            f'<g data-point="{i}" transform="translate({x} {y})" aria-label='
            f'"{html.escape(point.label)}"><title>{html.escape(captions[i])}</title>'
            f'<circle class="ring" r="12" fill="none" stroke="#222" stroke-width="2" '
            f'visibility="{ring}"/><g fill="{COLORS[point.group]}" stroke="#fff">'
            f'{_PLANE_GROUPS[point.group][1]}</g><text x="{dx}" y="{dy}" '
            f'text-anchor="{anchor}">'
            f"{html.escape(point.label)}</text></g>"
        )
    return "\n".join(lines), places


def _plane_axis(
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


def _place_labels(
    places: Sequence[tuple[float, float]], labels: Sequence[str]
) -> list[tuple[float, float, str]]:
    """Where each label stands, from its point: where it covers least and is nearest to its own.

    Returns the offset of each and its anchor: which end of the text the offset is for. Widths are
    estimated, with the anchor at the point's side so that an error does not show.
    """
    chosen: list[tuple[float, float, str]] = []
    taken = [(x - 9, y - 9, x + 9, y + 9) for x, y in places]
    left, top, right, bottom = _PLANE_AREA
    sides = [(13, 5, "start"), (-13, 5, "end"), (0, -14, "middle"), (0, 24, "middle")]
    corners = [(9, -9, "start"), (9, 19, "start"), (-9, -9, "end"), (-9, 19, "end")]
    far = [(0, -32, "middle"), (0, 42, "middle"), (24, -24, "start"), (24, 34, "start")]
    far += [(-24, -24, "end"), (-24, 34, "end")]
    for (x, y), label in zip(places, labels, strict=True):
        width = sum(10 if letter.isupper() else 7.2 for letter in label)
        boxes, costs = [], []
        for rank, (dx, dy, anchor) in enumerate(sides + corners + far):
            start = x + dx - width * {"start": 0, "middle": 0.5, "end": 1}[anchor]
            boxes.append((start, y + dy - 12, start + width, y + dy + 4))
            outside = start < left or start + width > right + 12 or not top <= y + dy < bottom
            away = [_distance(boxes[-1], place) for place in places]
            wrong = min(away) < _distance(boxes[-1], (x, y))  # it would seem to name another point
            covered = sum(_overlap(boxes[-1], b) for b in taken)
            costs.append(covered + 1e4 * outside + 1e3 * wrong + rank)
        best = costs.index(min(costs))
        chosen.append((sides + corners + far)[best])
        taken.append(boxes[best])
    return chosen


def _overlap(a: tuple[float, ...], b: tuple[float, ...]) -> float:
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    return max(width, 0) * max(height, 0)


def _distance(box: tuple[float, ...], place: tuple[float, float]) -> float:
    x, y = (min(max(place[i], box[i]), box[i + 2]) - place[i] for i in (0, 1))
    return math.hypot(x, y)


def distort(x: Tensor, kind: str, strength: float) -> Tensor:
    """A picture distorted, for exploration: ``"none"``, ``"noise"``, ``"blur"`` or ``"darken"``.

    Args:
        x: ``(1, 3, H, W)`` in [0, 1].
        kind: the distortion.
        strength: 0 (none) to 1.

    Raises:
        ValueError: unknown kind, or a strength outside [0, 1].

    >>> distort(torch.ones(1, 3, 4, 4), "darken", 0.5).max()
    tensor(0.5000)
    """
    if not 0 <= strength <= 1:
        raise ValueError(f"strength: expected 0 to 1, got {strength}")
    if kind == "noise":
        noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(0)).to(x)
        return (x + 0.3 * strength * noise).clamp(0, 1)
    if kind == "blur":
        small = imresize(x, scale=1 / (1 + 7 * strength))
        return imresize(small, size=tuple(x.shape[2:])).clamp(0, 1)
    if kind == "darken":
        return (1 - strength) * x
    if kind == "none":
        return x
    raise ValueError(f"kind: expected none, noise, blur or darken, got {kind!r}")


class DSDExplorer:
    """Live widgets: a picture, a distortion, a layer and α; its look and its ‖DSD‖."""

    def __init__(self, net: Backbone, pictures: Mapping[str, Tensor]) -> None:
        import ipywidgets as widgets  # only in notebooks

        self.net = net
        self.pictures = dict(pictures)
        self.picture = widgets.Dropdown(options=list(self.pictures), description="Picture")
        self.kind = widgets.Dropdown(
            options=["none", "noise", "blur", "darken"], description="Distortion"
        )
        self.strength = widgets.FloatSlider(
            value=0.3, min=0, max=1, step=0.05, description="Strength", continuous_update=False
        )
        self.layer = widgets.Dropdown(
            options=["relu1_2", "relu2_1", "relu3_1", "relu4_1"],
            value="relu3_1",
            description="Layer",
        )
        self.alpha = widgets.Dropdown(options=[2, 4], description="alpha")
        self.view = widgets.Image(format="png")
        self.bars = widgets.HTML()
        controls = [self.picture, self.kind, self.strength, self.layer, self.alpha]
        for control in controls:
            control.observe(self.update, names="value")
        self.box = widgets.HBox([widgets.VBox([*controls, self.bars]), self.view])
        self.update()

    def update(self, _change: object = None) -> tuple[float, float]:
        """Measure and draw again; returns ‖DSD‖ of the picture and of the distorted one."""
        x = self.pictures[self.picture.value]
        y = distort(x, self.kind.value, self.strength.value)
        device = next(self.net.parameters()).device
        with torch.no_grad():
            both = torch.cat([x, y]).to(device)
            norms = dsd_norm(both, self.net, [self.layer.value], self.alpha.value)[:, 0].tolist()
        buffer = io.BytesIO()
        Image.fromarray(to_array(y)).save(buffer, format="png")
        self.view.value = buffer.getvalue()
        rows = zip(("original", "distorted"), norms, (COLORS["self"], COLORS["dsd"]), strict=True)
        self.bars.value = "".join(
            f"<div>{name}: ‖DSD‖ = {value:.4f}</div><div style='background:{color};height:12px;"
            f"width:{260 * value / max(*norms, 1e-12):.0f}px'></div>"
            for name, value, color in rows
        )
        return norms[0], norms[1]

    def _ipython_display_(self) -> None:
        from IPython.display import display

        display(self.box)


def dsd_explorer(net: Backbone, pictures: Mapping[str, Tensor]) -> DSDExplorer:
    """Widgets to explore ‖DSD‖ live in Jupyter or Colab.

    Args:
        net: the feature network.
        pictures: name -> ``(1, 3, H, W)`` in [0, 1], as from :func:`dsd_lib.sample_images`.

    Returns:
        The explorer, which shows itself; its ``update`` method is what the controls call.

    Raises:
        ImportError: ipywidgets is not installed.

    Source: chapters 3 and 4 of the book.
    """
    return DSDExplorer(net, pictures)
