"""Figures a reader can move: precomputed frames under a slider, and a live explorer for Jupyter.

The slider is plain HTML and JavaScript in the cell's output: it works in the built book, on Colab
and in Jupyter, without a kernel and without a network. Without JavaScript its first picture stays.
"""

import base64
import html
import io
import json
import uuid
from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor

from dsd_lib.backbones import Backbone
from dsd_lib.descriptor import dsd_norm
from dsd_lib.images import to_array
from dsd_lib.plots import COLORS
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


class FrameSlider:
    """Precomputed frames under a slider; shows itself as HTML. Made by :func:`frame_slider`."""

    def __init__(self, html_text: str, title: str, count: int) -> None:
        self._html = html_text
        self._text = f"{title} (a slider over {count} pictures)"

    def _repr_html_(self) -> str:
        return self._html

    def __repr__(self) -> str:
        return self._text


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
    sources = [f"data:image/webp;base64,{base64.b64encode(data).decode()}" for data, _ in shots]
    alts = [f"{alt} {label}" for label in labels]
    body = _SLIDER.format(
        # The id is drawn from the content so that a notebook run again gives the same file.
        id=f"dsd-{uuid.uuid5(uuid.NAMESPACE_OID, title + ''.join(sources)).hex[:12]}",
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
    return FrameSlider(body, title, len(frames))


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
