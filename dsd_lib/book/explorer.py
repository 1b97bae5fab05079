"""Live exploration in Jupyter and Colab: an image, a distortion, and what ‖DSD‖ makes of it."""

import io
from collections.abc import Mapping

import torch
from PIL import Image
from torch import Tensor

from dsd_lib.backbones import Backbone
from dsd_lib.book.plots import COLORS
from dsd_lib.descriptor import dsd_norm
from dsd_lib.extras import needs
from dsd_lib.images import to_array
from dsd_lib.resize import imresize


def distort(x: Tensor, kind: str, strength: float) -> Tensor:
    """A distorted image, for exploration: ``"none"``, ``"noise"``, ``"blur"`` or ``"darken"``.

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
        return imresize(small, size=(x.shape[2], x.shape[3])).clamp(0, 1)
    if kind == "darken":
        return (1 - strength) * x
    if kind == "none":
        return x
    raise ValueError(f"kind: expected none, noise, blur or darken, got {kind!r}")


class DSDExplorer:
    """Live widgets: an image, a distortion, a layer and α; the distorted image and its ‖DSD‖."""

    def __init__(self, net: Backbone, images: Mapping[str, Tensor]) -> None:
        with needs("book"):
            import ipywidgets as widgets  # only in notebooks

        self.net = net
        self.images = dict(images)
        self.name = widgets.Dropdown(options=list(self.images), description="Image")
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
        controls = [self.name, self.kind, self.strength, self.layer, self.alpha]
        for control in controls:
            control.observe(self.update, names="value")
        self.box = widgets.HBox([widgets.VBox([*controls, self.bars]), self.view])
        self.update()

    def update(self, _change: object = None) -> tuple[float, float]:
        """Measure and draw again; returns ‖DSD‖ of the image and of the distorted one."""
        x = self.images[self.name.value]
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


def dsd_explorer(net: Backbone, images: Mapping[str, Tensor]) -> DSDExplorer:
    """Widgets to explore ‖DSD‖ live in Jupyter or Colab.

    Args:
        net: the feature network.
        images: name -> ``(1, 3, H, W)`` in [0, 1], as from :func:`dsd_lib.sample_images`.

    Returns:
        The explorer, which shows itself; its ``update`` method is what the controls call.

    Raises:
        ImportError: ipywidgets is not installed.

    Source: chapters 3 and 4 of the book.
    """
    return DSDExplorer(net, images)
