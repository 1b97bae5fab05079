"""Distances of later years that need no download: their form on our VGG, without learned weights.

DISTS and LPIPS weigh channels by numbers that were learned with torchvision's VGG-16. Ours is
Oxford's, to which these weights do not belong; so every channel counts alike here, and the titles
say "form, unlearned". With torchvision's weights at hand, torchmetrics has the exact measures.

Functions take ``x`` and ``y`` of shape ``(N, 3, H, W)`` in [0, 1] and return ``(N,)``. Each comes
in two parts: which feature maps it compares, and how it compares two lists of maps.
"""

from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor

from dsd_lib.backbones import Backbone, check_backbone
from dsd_lib.checks import check_pair
from dsd_lib.descriptor import DEFAULT_LAYERS
from dsd_lib.gram import full_precision
from dsd_lib.losses import describe_pair

DISTS_CONSTANT = 1e-6  # keeps DISTS' ratios defined where a map is flat
WINDOW = 4  # positions a side of DeepWSD's windows


def dists_form(x: Tensor, y: Tensor, net: Backbone, *, check_range: bool = True) -> Tensor:
    """DISTS' form: structure and texture of VGG maps with L2 pooling, all channels alike.

    For every channel of the image and of the last ReLU of each block, with mean μ, variance σ² and
    covariance σ_xy over positions and c = 10⁻⁶::

        texture   = (2 μ_x μ_y + c) / (μ_x² + μ_y² + c)
        structure = (2 σ_xy + c) / (σ_x² + σ_y² + c)

    The distance is 1 minus the mean of both over all channels. In DISTS the mean is weighted by
    learned numbers, and large images are made smaller first; here neither is done.

    Args:
        x: images ``(N, 3, H, W)`` in [0, 1].
        y: images of the same shape.
        net: the feature network.
        check_range: False skips the check of the values, for training.

    Returns:
        ``(N,)`` in [0, 2]; lower is more alike.

    Raises:
        TypeError: ``x`` or ``y`` is not a floating-point tensor, or ``net`` not a backbone.
        ValueError: ``x`` or ``y`` is not a valid image batch, has a side below 16 pixels, or the
            two differ in shape, type or device.

    Source: Ding, Ma, Wang, Simoncelli, *Image quality assessment: unifying structure and texture
    similarity*, IEEE TPAMI 2022; chapter 5 of the book.

    >>> from dsd_lib import load_backbone, sample_images
    >>> x = sample_images()["coffee"]
    >>> dists_form(x, x, load_backbone()).abs() < 1e-6
    tensor([True])
    """
    _check(x, y, net, block_ends(net), check_range)
    return compare_dists(*_maps_of_pair(l2_pooled_maps, x, y, net))


def lpips_form(x: Tensor, y: Tensor, net: Backbone, *, check_range: bool = True) -> Tensor:
    """LPIPS' form: squared differences of feature vectors of length 1, all channels alike.

    At the last ReLU of each block every position's feature vector is divided by its length; the
    squared distance of two such vectors is averaged over positions and summed over layers.
    Arguments and errors are those of :func:`dists_form`.

    Returns:
        ``(N,)`` in [0, 10], 2 for each of five layers; lower is more alike.

    Source: Zhang, Isola, Efros, Shechtman, Wang, *The unreasonable effectiveness of deep features
    as a perceptual metric*, CVPR 2018; chapter 5 of the book.

    >>> from dsd_lib import load_backbone, sample_images
    >>> x = sample_images()["coffee"]
    >>> lpips_form(x, x, load_backbone())
    tensor([0.])
    """
    _check(x, y, net, block_ends(net), check_range)
    return compare_lpips(*_maps_of_pair(block_maps, x, y, net))


def deep_wsd_form(x: Tensor, y: Tensor, net: Backbone, *, check_range: bool = True) -> Tensor:
    """DeepWSD's form: the 1-D Wasserstein distance of VGG maps, window by window.

    The image and the maps at the last ReLU of each block are cut into windows of 4×4 positions; in
    each window the values of each channel are sorted, and their mean absolute difference is the
    1-Wasserstein distance. It is averaged over windows and channels, and summed over the six maps.
    DeepWSD itself adds a weight for each window, which is left out. Positions beyond the last whole
    window do not count; where a map is smaller than a window, the map is the window. Arguments and
    errors are those of :func:`dists_form`.

    Returns:
        ``(N,)``, 0 or more; lower is more alike.

    Source: Liao, Chen, Zhu, Wang, Zhou, Kwong, *DeepWSD: Projecting degradations in perceptual
    space to Wasserstein distance in deep feature space*, ACM Multimedia 2022; chapter 5 of the
    book.

    >>> from dsd_lib import load_backbone, sample_images
    >>> x = sample_images()["coffee"]
    >>> deep_wsd_form(x, x, load_backbone())
    tensor([0.])
    """
    _check(x, y, net, block_ends(net), check_range)
    a, b = _maps_of_pair(block_maps, x, y, net)
    return compare_deep_wsd([x, *a], [y, *b])


def sliced_wasserstein_distance(
    x: Tensor,
    y: Tensor,
    net: Backbone,
    layers: Iterable[str] = DEFAULT_LAYERS,
    *,
    seed: int = 0,
    check_range: bool = True,
) -> Tensor:
    """Sliced Wasserstein distance of the feature vectors: along random directions, sorted.

    At each layer the C-dimensional feature vectors of all positions are projected onto C random
    directions of length 1. Along each, both images' values are sorted, and the mean squared
    difference is the squared 2-Wasserstein distance; it is averaged over directions and summed over
    layers. The directions come from ``seed``: the same in every call.
    :func:`dsd_lib.projected_distribution_distance` is the same along the channels' own axes.

    Args:
        x: images ``(N, 3, H, W)`` in [0, 1].
        y: images of the same shape.
        net: the feature network.
        layers: names out of ``net.layers``.
        seed: of the directions.
        check_range: False skips the check of the values, for training.

    Returns:
        ``(N,)``, 0 or more; lower is more alike.

    Raises:
        TypeError: ``x`` or ``y`` is not a floating-point tensor, or ``net`` not a backbone.
        ValueError: ``x`` or ``y`` is not a valid image batch, the two differ in shape, type or
            device, or a layer is unknown.

    Source: Heitz, Vanhoey, Chambon, Belcour, *A sliced Wasserstein loss for neural texture
    synthesis*, CVPR 2021; chapter 5 of the book.

    >>> from dsd_lib import load_backbone, sample_images
    >>> x = sample_images()["coffee"]
    >>> sliced_wasserstein_distance(x, x, load_backbone())
    tensor([0.])
    """
    layers = check_backbone(net).check_layers(layers)
    _check(x, y, net, layers, check_range)
    a, b = describe_pair(lambda z: net(z, layers, check_range=False), x, y)
    return torch.stack([compare_sliced(a[k], b[k], seed) for k in layers]).sum(dim=0)


# Which maps


def block_maps(x: Tensor, net: Backbone) -> dict[str, Tensor]:
    """The maps at the last ReLU of each block, from images already checked."""
    return net(x, block_ends(net), check_range=False)


def l2_pooled_maps(x: Tensor, net: Backbone) -> dict[str, Tensor]:
    """The image and the maps at the last ReLU of each block, with L2 pooling between blocks."""
    maps = {"image": x}
    f = (x - net.mean) / net.std
    for name, stage in net.stages.items():
        f = l2_pool(f) if name.startswith("pool") else stage(f)
        if name in block_ends(net):
            maps[name] = f
        if name == block_ends(net)[-1]:
            break
    return maps


def l2_pool(f: Tensor) -> Tensor:
    """The root of the local mean of squares, at every second position: ``(N, C, ⌈H/2⌉, ⌈W/2⌉)``.

    The mean is under Hann's window of 3×3 positions.

    >>> l2_pool(torch.ones(1, 1, 6, 6))[..., 1, 1]
    tensor([[1.]])
    """
    side = f.new_tensor([0.25, 0.5, 0.25])
    window = torch.outer(side, side).expand(f.shape[1], 1, 3, 3)
    mean = F.conv2d(f.square(), window, stride=2, padding=1, groups=f.shape[1])
    return (mean + 1e-12).sqrt()  # a root of exactly 0 has no gradient


def block_ends(net: Backbone) -> tuple[str, ...]:
    """relu1_2, relu2_2, and so on: the last ReLU of each block."""
    names = check_backbone(net).layers
    return tuple(a for a, b in pairwise(names) if b.startswith("pool"))


def _check(x: Tensor, y: Tensor, net: Backbone, layers: tuple[str, ...], check_range: bool) -> None:
    min_side, why = net.min_side(layers)
    check_pair(x, y, min_side=min_side, why=why, check_range=check_range)


def _maps_of_pair(
    describe: Callable[[Tensor, Backbone], dict[str, Tensor]], x: Tensor, y: Tensor, net: Backbone
) -> tuple[list[Tensor], list[Tensor]]:
    a, b = describe_pair(lambda z: describe(z, net), x, y)
    return list(a.values()), list(b.values())


# How two lists of maps, each (N, C, H', W'), are compared: (N,)


def compare_dists(a: Sequence[Tensor], b: Sequence[Tensor]) -> Tensor:
    """1 minus the mean texture and structure similarity over all channels of all maps."""
    similarities = []
    for f, g in zip(a, b, strict=True):
        f, g = full_precision(f).flatten(2), full_precision(g).flatten(2)  # (N, C, positions)
        mean_f, mean_g = f.mean(dim=2, keepdim=True), g.mean(dim=2, keepdim=True)  # (N, C, 1)
        f, g = f - mean_f, g - mean_g
        mean_f, mean_g = mean_f[..., 0], mean_g[..., 0]  # (N, C)
        texture = _ratio(mean_f * mean_g, mean_f.square() + mean_g.square())
        structure = _ratio((f * g).mean(dim=2), (f.square() + g.square()).mean(dim=2))
        similarities += [texture, structure]
    return 1 - torch.cat(similarities, dim=1).mean(dim=1)


def _ratio(product: Tensor, squares: Tensor) -> Tensor:
    return (2 * product + DISTS_CONSTANT) / (squares + DISTS_CONSTANT)


def compare_lpips(a: Sequence[Tensor], b: Sequence[Tensor]) -> Tensor:
    """Squared distances of feature vectors of length 1, averaged over positions, summed."""
    total = torch.zeros(())
    for f, g in zip(a, b, strict=True):
        f, g = (F.normalize(full_precision(h), dim=1, eps=1e-10) for h in (f, g))
        total = total + (f - g).square().sum(dim=1).mean(dim=(1, 2))
    return total


def compare_deep_wsd(a: Sequence[Tensor], b: Sequence[Tensor]) -> Tensor:
    """Mean absolute difference of each window's sorted values, averaged, summed over maps."""
    total = torch.zeros(())
    for f, g in zip(a, b, strict=True):
        total = total + (sort_windows(f) - sort_windows(g)).abs().flatten(1).mean(dim=1)
    return total


def sort_windows(f: Tensor) -> Tensor:
    """The sorted values of each whole window: ``(N, C, rows, columns, positions)``."""
    height, width = (min(WINDOW, side) for side in f.shape[2:])
    windows = full_precision(f).unfold(2, height, height).unfold(3, width, width)
    return windows.flatten(-2).sort(dim=-1).values


def compare_sliced(f: Tensor, g: Tensor, seed: int = 0) -> Tensor:
    """Mean squared difference of the sorted values along as many directions as channels."""
    return (sort_projections(f, seed) - sort_projections(g, seed)).square().mean(dim=(1, 2))


def sort_projections(f: Tensor, seed: int = 0) -> Tensor:
    """A map's values along the random directions, sorted: ``(N, directions, positions)``."""
    with torch.autocast(f.device.type, enabled=False):
        f = full_precision(f).flatten(2)  # (N, C, positions)
        return (_directions(f.shape[1], seed).to(f) @ f).sort(dim=2).values


@lru_cache(maxsize=16)
def _directions(channels: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return F.normalize(torch.randn(channels, channels, generator=generator), dim=1)  # (C, C)
