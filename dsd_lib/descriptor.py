"""Deep self-dissimilarity (Eq. 2): the difference of an image's Gram matrices at two scales."""

from collections.abc import Iterable

import torch
from torch import Tensor

from dsd_lib.backbones import Backbone, check_backbone
from dsd_lib.checks import check_alpha, check_images, check_whole_number
from dsd_lib.gram import Grams, feature_grams
from dsd_lib.resize import imresize

DEFAULT_LAYERS = ("relu2_1", "relu2_2", "relu3_1")  # the paper's loss layers, sections 3.3 and 4


def dsd(
    x: Tensor,
    net: Backbone,
    layers: Iterable[str] = DEFAULT_LAYERS,
    alpha: float = 2,
    *,
    windows: int = 1,
    tile: int | None = None,
    check_range: bool = True,
) -> Grams:
    """Deep self-dissimilarity ``DSD_α(x) = G(x) - G(x↓α)`` at each layer, signed.

    With ``windows=n`` it is local: one Gram matrix for each of n × n windows of the image, the same
    windows at both scales. At each layer and scale the windows of a side end at
    ``round(i·side/n)`` of the feature map, halves rounded up, and each Gram matrix is divided by
    its own window's C·h·w. The paper uses one window.

    Args:
        x: images ``(N, 3, H, W)`` in [0, 1].
        net: the feature network.
        layers: names from ``net.layers``.
        alpha: the factor between the two scales, above 1; the paper uses 2 and 4.
        windows: windows per side; 1 is the paper's.
        tile: side in pixels of the tiles over which Gram matrices are summed. None takes the image
            whole up to 4 megapixels and tiles of 512 above. Tiles bound the memory when no
            gradient is taken; the result is the same.
        check_range: False skips the check of the values, for training.

    Returns:
        layer -> ``(N, C, C)``; with more than one window ``(N, windows², C, C)``, row by row.

    Raises:
        TypeError: ``x`` is not a floating-point tensor, or ``net`` not a backbone.
        ValueError: ``x`` is not a valid image batch or too small, a layer is unknown, or alpha,
            windows or tile is out of range.

    Source: Eq. (2); chapter 3 of the book. Windows are ours; chapter 8.

    >>> from dsd_lib import load_backbone, sample_images
    >>> x = sample_images()["coffee"]
    >>> dsd(x, load_backbone(), layers=["relu3_1"])["relu3_1"].shape
    torch.Size([1, 256, 256])
    """
    layers = check_descriptor(net, layers, alpha, windows)
    min_side, why = net.min_side(layers, alpha, windows)
    check_images(x, min_side=min_side, why=why, check_range=check_range)
    fine = feature_grams(x, net, layers, windows=windows, tile=tile)
    small = imresize(x, scale=1 / alpha)  # (N, 3, ⌈H/α⌉, ⌈W/α⌉)
    coarse = feature_grams(small, net, layers, windows=windows, tile=tile)
    return self_dissimilarity(fine, coarse)


def self_dissimilarity(fine: Grams, coarse: Grams) -> Grams:
    """Eq. (2) from Gram matrices at two scales: ``G(x) - G(x↓α)`` at each layer of ``fine``.

    Args:
        fine: layer -> Gram matrices of x, of any shape.
        coarse: the same of x↓α.

    >>> self_dissimilarity({"relu1_1": torch.eye(2)}, {"relu1_1": torch.ones(2, 2)})
    {'relu1_1': tensor([[ 0., -1.],
            [-1.,  0.]])}
    """
    return {layer: gram - coarse[layer] for layer, gram in fine.items()}


def dsd_norm(
    x: Tensor,
    net: Backbone,
    layers: Iterable[str] = DEFAULT_LAYERS,
    alpha: float = 2,
    *,
    windows: int = 1,
    tile: int | None = None,
    check_range: bool = True,
) -> Tensor:
    """``‖DSD_α(x)‖₁`` at each layer: the mean absolute entry, the one-number fingerprint.

    With more than one window it is the mean over the windows too. Arguments and errors are those of
    :func:`dsd`.

    Returns:
        ``(N, len(layers))``, not negative.

    Source: sections 3.2 and 3.5, Figs. 3, 6 and 7; chapters 4 and 6 of the book.

    >>> from dsd_lib import load_backbone, sample_images
    >>> dsd_norm(sample_images()["coffee"], load_backbone(), layers=["relu2_1", "relu3_1"])
    tensor([[0.0336, 0.0523]])
    """
    matrices = dsd(x, net, layers, alpha, windows=windows, tile=tile, check_range=check_range)
    return matrix_norms(matrices)


def matrix_norms(matrices: Grams) -> Tensor:
    """``‖·‖₁`` of each layer's matrices, the mean absolute entry: ``(N, len(matrices))``.

    >>> matrix_norms({"relu1_1": torch.tensor([[[1.0, -3.0], [0.0, 0.0]]])})
    tensor([[1.]])
    """
    return torch.stack([m.abs().flatten(1).mean(dim=1) for m in matrices.values()], dim=1)


def check_descriptor(
    net: Backbone, layers: Iterable[str], alpha: float, windows: int = 1
) -> tuple[str, ...]:
    """The layers as a tuple, after checking the network, the layers, alpha and windows."""
    layers = check_backbone(net).check_layers(layers)
    check_alpha(alpha)
    check_whole_number(windows, name="windows")
    return layers
