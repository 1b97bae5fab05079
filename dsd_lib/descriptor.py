"""The deep self-dissimilarity of a picture (Eq. 2): its Gram matrices at two scales, subtracted."""

import math
import numbers
from collections.abc import Iterable

import torch
from torch import Tensor

from dsd_lib.backbones import Backbone
from dsd_lib.gram import feature_grams
from dsd_lib.images import check_images
from dsd_lib.resize import imresize

DEFAULT_LAYERS = ("relu2_1", "relu2_2", "relu3_1")  # the paper's loss layers, sections 3.3 and 4


def dsd(
    x: Tensor,
    net: Backbone,
    layers: Iterable[str] = DEFAULT_LAYERS,
    alpha: float = 2,
    *,
    tile: int | None = None,
    check_range: bool = True,
) -> dict[str, Tensor]:
    """Deep self-dissimilarity ``DSD_α(x) = G(x) - G(x↓α)`` at each layer, signed.

    Args:
        x: pictures ``(N, 3, H, W)`` in [0, 1].
        net: the feature network.
        layers: names out of ``net.layers``.
        alpha: the factor between the two scales, above 1; the paper uses 2 and 4.
        tile: side in pixels of the tiles over which Grams are summed. None takes the picture whole
            up to 4 megapixels and tiles of 1024 above. Tiles bound the memory when no gradient is
            taken.
        check_range: False leaves out the check of the values, for training.

    Returns:
        layer -> ``(N, C, C)``.

    Raises:
        TypeError, ValueError: ``x`` is no such batch or too small, a layer is unknown, or alpha is
            not above 1.

    Source: Eq. (2); chapter 3 of the book.

    >>> from dsd_lib import load_backbone, sample_images
    >>> x = sample_images()["coffee"]
    >>> dsd(x, load_backbone(), layers=["relu3_1"])["relu3_1"].shape
    torch.Size([1, 256, 256])
    """
    layers = check_descriptor(net, layers, alpha)
    min_side, why = net.min_side(layers, alpha)
    check_images(x, min_side=min_side, why=why, check_range=check_range)
    return unchecked_dsd(x, net, layers, alpha, tile)


def dsd_norm(
    x: Tensor,
    net: Backbone,
    layers: Iterable[str] = DEFAULT_LAYERS,
    alpha: float = 2,
    *,
    tile: int | None = None,
    check_range: bool = True,
) -> Tensor:
    """``‖DSD_α(x)‖₁`` at each layer: the mean absolute entry, the one-number fingerprint.

    Arguments and errors are those of :func:`dsd`.

    Returns:
        ``(N, len(layers))``, not negative.

    Source: sections 3.2 and 3.5, Figs. 3, 6 and 7; chapters 4 and 6 of the book.

    >>> from dsd_lib import load_backbone, sample_images
    >>> dsd_norm(sample_images()["coffee"], load_backbone(), layers=["relu2_1", "relu3_1"])
    tensor([[0.0336, 0.0523]])
    """
    matrices = dsd(x, net, layers, alpha, tile=tile, check_range=check_range)
    return torch.stack([m.abs().mean(dim=(1, 2)) for m in matrices.values()], dim=1)


def check_descriptor(net: Backbone, layers: Iterable[str], alpha: float) -> tuple[str, ...]:
    """The layers as a tuple, after checking them and alpha."""
    if not (isinstance(alpha, numbers.Real) and math.isfinite(alpha) and alpha > 1):
        raise ValueError(f"alpha: expected a number above 1, got {alpha!r}")
    return net.check_layers(layers)


def unchecked_dsd(
    x: Tensor, net: Backbone, layers: tuple[str, ...], alpha: float, tile: int | None
) -> dict[str, Tensor]:
    """:func:`dsd` of pictures already checked: one network pass for each of the two scales."""
    fine = feature_grams(x, net, layers, tile)
    coarse = feature_grams(imresize(x, scale=1 / alpha), net, layers, tile)
    return {layer: fine[layer] - coarse[layer] for layer in layers}
