"""Distances between two pictures through deep features, each as a function and as a module.

Functions take ``x`` and ``y`` of shape ``(N, 3, H, W)`` in [0, 1] and give one number a picture,
``(N,)``, the sum over layers. Modules hold the network and the options and reduce over the batch.
Only the perceptual distance compares position by position; the others compare distributions.
"""

import numbers
from collections.abc import Callable, Iterable
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dsd_lib.backbones import LARGE_PICTURE, Backbone
from dsd_lib.descriptor import DEFAULT_LAYERS, check_descriptor, unchecked_dsd
from dsd_lib.gram import feature_grams, full_precision
from dsd_lib.images import check_pair
from dsd_lib.resize import imresize

Description = dict[str, Tensor]  # what stands for a picture at each layer: maps, Grams or DSDs


def perceptual_distance(
    x: Tensor,
    y: Tensor,
    net: Backbone,
    layers: Iterable[str] | None = None,
    *,
    check_range: bool = True,
) -> Tensor:
    """Mean absolute difference of the feature maps, ``‖φ(x) - φ(y)‖₁``, summed over layers.

    Args:
        x: pictures ``(N, 3, H, W)`` in [0, 1].
        y: pictures of the same shape.
        net: the feature network.
        layers: names out of ``net.layers``; None is the deepest convolution, as in Eq. (6).
        check_range: False leaves out the check of the values, for training.

    Returns:
        ``(N,)``, 0 or more; lower is more alike.

    Raises:
        TypeError, ValueError: ``x`` and ``y`` are no such batches, or a layer is unknown.

    Source: section 3.4; chapter 5 of the book.

    >>> from dsd_lib import load_backbone, sample_images
    >>> x = sample_images()["coffee"]
    >>> perceptual_distance(x, 0.7 * x, load_backbone())
    tensor([0.2546])
    """
    layers = net.check_layers(net.last_conv if layers is None else layers)
    _check(x, y, net, layers, check_range)
    a, b = _describe_pair(lambda z: net(z, layers, check_range=False), x, y)
    return _mean_absolute_difference(a, b)


def style_distance(
    x: Tensor,
    y: Tensor,
    net: Backbone,
    layers: Iterable[str] = DEFAULT_LAYERS,
    *,
    tile: int | None = None,
    check_range: bool = True,
) -> Tensor:
    """Style distance ``‖G(x) - G(y)‖₁``: mean absolute difference of the Grams, summed over layers.

    Arguments, errors and result are those of :func:`dsd_distance`, without alpha.

    Source: section 3.4, Fig. 5 left; chapter 5 of the book.

    >>> from dsd_lib import load_backbone, sample_images
    >>> x = sample_images()["coffee"]
    >>> style_distance(x, 0.7 * x, load_backbone(), layers=["relu3_1"])
    tensor([0.0433])
    """
    layers = net.check_layers(layers)
    _check(x, y, net, layers, check_range)
    a, b = _describe_pair(lambda z: feature_grams(z, net, layers, tile), x, y)
    return _mean_absolute_difference(a, b)


def multiscale_style_distance(
    x: Tensor,
    y: Tensor,
    net: Backbone,
    layers: Iterable[str] = DEFAULT_LAYERS,
    alpha: float = 2,
    *,
    tile: int | None = None,
    check_range: bool = True,
) -> Tensor:
    """Style distance at both scales, ``‖G(x) - G(y)‖₁ + ‖G(x↓α) - G(y↓α)‖₁``, summed over layers.

    Arguments, errors and result are those of :func:`dsd_distance`. The authors' released code adds
    only the first term up, by the place of its loop; here both count, as the paper says.

    Source: section 3.4, Fig. 5 middle; chapter 5 of the book.

    >>> from dsd_lib import load_backbone
    >>> x = torch.rand(1, 3, 32, 32)
    >>> multiscale_style_distance(x, x, load_backbone())
    tensor([0.])
    """
    layers = check_descriptor(net, layers, alpha)
    _check(x, y, net, layers, check_range, alpha)

    def both_scales(z: Tensor) -> Description:
        fine = feature_grams(z, net, layers, tile)
        coarse = feature_grams(imresize(z, scale=1 / alpha), net, layers, tile)
        return fine | {f"{layer}↓": gram for layer, gram in coarse.items()}

    return _mean_absolute_difference(*_describe_pair(both_scales, x, y))


def dsd_distance(
    x: Tensor,
    y: Tensor,
    net: Backbone,
    layers: Iterable[str] = DEFAULT_LAYERS,
    alpha: float = 2,
    *,
    tile: int | None = None,
    check_range: bool = True,
) -> Tensor:
    """DSD distance ``‖DSD_α(x) - DSD_α(y)‖₁``: the mean absolute difference, summed over layers.

    Args:
        x: pictures ``(N, 3, H, W)`` in [0, 1].
        y: pictures of the same shape.
        net: the feature network.
        layers: names out of ``net.layers``.
        alpha: the factor between the two scales, above 1; the paper uses 2 and 4.
        tile: side in pixels of the tiles over which Grams are summed; see :func:`dsd_lib.dsd`.
        check_range: False leaves out the check of the values, for training.

    Returns:
        ``(N,)``, 0 or more; lower is more alike.

    Raises:
        TypeError, ValueError: ``x`` and ``y`` are no such batches or too small, a layer is unknown,
            or alpha is not above 1.

    Source: Eq. (4), Fig. 5 right; chapter 5 of the book.

    >>> from dsd_lib import load_backbone, sample_images
    >>> x = sample_images()["coffee"]
    >>> dsd_distance(x, 0.7 * x, load_backbone())
    tensor([0.0634])
    """
    layers = check_descriptor(net, layers, alpha)
    _check(x, y, net, layers, check_range, alpha)
    a, b = _describe_pair(lambda z: unchecked_dsd(z, net, layers, alpha, tile), x, y)
    return _mean_absolute_difference(a, b)


def projected_distribution_distance(
    x: Tensor,
    y: Tensor,
    net: Backbone,
    layers: Iterable[str] = DEFAULT_LAYERS,
    *,
    check_range: bool = True,
) -> Tensor:
    """Projected distribution distance: mean squared difference of each channel's sorted values.

    The squared 2-Wasserstein distance between the two pictures' values of a channel, averaged over
    channels and summed over layers. The projections are the channels themselves, as in the authors'
    code. Arguments, errors and result are those of :func:`perceptual_distance`.

    Source: section 3.4 (PDL); chapter 5 of the book.

    >>> from dsd_lib import load_backbone, sample_images
    >>> x = sample_images()["coffee"]
    >>> projected_distribution_distance(x, 0.7 * x, load_backbone(), layers=["relu3_1"])
    tensor([5.8701])
    """
    layers = net.check_layers(layers)
    _check(x, y, net, layers, check_range)
    a, b = _describe_pair(lambda z: net(z, layers, check_range=False), x, y)

    def sort(f: Tensor) -> Tensor:
        return full_precision(f).flatten(2).sort(dim=2).values

    return sum((sort(a[k]) - sort(b[k])).square().mean(dim=(1, 2)) for k in a)


def contextual_distance(
    x: Tensor,
    y: Tensor,
    net: Backbone,
    layers: Iterable[str] = ("relu4_1",),
    *,
    bandwidth: float = 0.5,
    check_range: bool = True,
) -> Tensor:
    """Contextual distance: how well every feature vector of ``y`` is matched by one of ``x``.

    Not symmetric. Time grows with the square of the number of positions, hence the deep default.
    Arguments, errors and result are otherwise those of :func:`perceptual_distance`.

    Args:
        bandwidth: h of the contextual loss, above 0.

    Source: Table 3 (CX, after Mechrez et al. 2018); chapter 5 of the book.

    >>> from dsd_lib import load_backbone, sample_images
    >>> x = sample_images()["coffee"]
    >>> contextual_distance(0.7 * x, x, load_backbone())
    tensor([0.0543])
    """
    layers = net.check_layers(layers)
    if not (isinstance(bandwidth, numbers.Real) and bandwidth > 0):
        raise ValueError(f"bandwidth: expected a number above 0, got {bandwidth!r}")
    _check(x, y, net, layers, check_range)
    a, b = _describe_pair(lambda z: net(z, layers, check_range=False), x, y)
    return sum(_contextual(a[k], b[k], bandwidth) for k in a)


def _contextual(f: Tensor, g: Tensor, bandwidth: float, eps: float = 1e-5) -> Tensor:
    with torch.autocast(f.device.type, enabled=False):
        f, g = full_precision(f).flatten(2), full_precision(g).flatten(2)  # (N, C, positions)
        mean = g.mean(dim=2, keepdim=True)
        f, g = F.normalize(f - mean, dim=1), F.normalize(g - mean, dim=1)
        best = []
        for rows in f.mT.split(4096, dim=1):  # the matrix of all pairs is never held whole
            distance = 1 - rows @ g  # cosine distance, (N, rows, positions)
            relative = distance / (distance.amin(dim=2, keepdim=True) + eps)
            best.append(torch.softmax((1 - relative) / bandwidth, dim=2).amax(dim=1))
        similarity = torch.stack(best).amax(dim=0).mean(dim=1)
        return -torch.log((similarity + eps).clamp(max=1))  # so that it is not below 0


def _check(
    x: Tensor,
    y: Tensor,
    net: Backbone,
    layers: tuple[str, ...],
    check_range: bool,
    alpha: float = 1,
) -> None:
    min_side, why = net.min_side(layers, alpha)
    check_pair(x, y, min_side=min_side, why=why, check_range=check_range)


def _describe_pair(
    describe: Callable[[Tensor], Description], x: Tensor, y: Tensor
) -> tuple[Description, Description]:
    """``describe(x), describe(y)`` by the cheaper way.

    Together in one batch; but where only one of the two is being learned, the other (the target)
    goes alone and builds no graph, which spares its backward pass. Large pictures go one by one.
    """
    one_is_learned = torch.is_grad_enabled() and x.requires_grad != y.requires_grad
    if one_is_learned or x[0, 0].numel() > LARGE_PICTURE:
        return describe(x), describe(y)
    n = x.shape[0]
    both = describe(torch.cat([x, y]))
    return {k: v[:n] for k, v in both.items()}, {k: v[n:] for k, v in both.items()}


def _mean_absolute_difference(a: Description, b: Description) -> Tensor:
    return sum(
        (full_precision(a[k]) - full_precision(b[k])).abs().flatten(1).mean(dim=1) for k in a
    )


class _Distance(nn.Module):
    """What the modules share: the network, the options, the reduction over the batch."""

    higher_is_better: ClassVar[bool] = False
    value_range: ClassVar[tuple[float, float]] = (0.0, float("inf"))
    function: ClassVar[Callable[..., Tensor]]

    def __init__(self, net: Backbone, reduction: str, **options: object) -> None:
        super().__init__()
        if options["layers"] is not None:
            options["layers"] = net.check_layers(options["layers"])
        if reduction not in ("mean", "sum", "none"):
            raise ValueError(f"reduction: expected 'mean', 'sum' or 'none', got {reduction!r}")
        self.net = net
        self.reduction = reduction
        self.options = options

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """The distance of ``x`` from ``y``, reduced as asked."""
        distance = type(self).function(x, y, self.net, **self.options)
        return distance if self.reduction == "none" else getattr(distance, self.reduction)()

    def extra_repr(self) -> str:
        return ", ".join(f"{k}={v!r}" for k, v in self.options.items())


class PerceptualLoss(_Distance):
    """:func:`perceptual_distance` as a module; ``reduction`` over the batch.

    >>> from dsd_lib import load_backbone
    >>> PerceptualLoss(load_backbone())(*torch.rand(2, 1, 3, 32, 32)).ndim
    0
    """

    function = staticmethod(perceptual_distance)

    def __init__(
        self,
        net: Backbone,
        layers: Iterable[str] | None = None,
        *,
        reduction: str = "mean",
        check_range: bool = True,
    ) -> None:
        super().__init__(net, reduction, layers=layers, check_range=check_range)


class StyleLoss(_Distance):
    """:func:`style_distance` as a module; ``reduction`` over the batch.

    >>> from dsd_lib import load_backbone
    >>> StyleLoss(load_backbone())(*torch.rand(2, 1, 3, 32, 32)).ndim
    0
    """

    function = staticmethod(style_distance)

    def __init__(
        self,
        net: Backbone,
        layers: Iterable[str] = DEFAULT_LAYERS,
        *,
        tile: int | None = None,
        reduction: str = "mean",
        check_range: bool = True,
    ) -> None:
        super().__init__(net, reduction, layers=layers, tile=tile, check_range=check_range)


class MultiScaleStyleLoss(_Distance):
    """:func:`multiscale_style_distance` as a module; ``reduction`` over the batch.

    >>> from dsd_lib import load_backbone
    >>> MultiScaleStyleLoss(load_backbone())(*torch.rand(2, 1, 3, 32, 32)).ndim
    0
    """

    function = staticmethod(multiscale_style_distance)

    def __init__(
        self,
        net: Backbone,
        layers: Iterable[str] = DEFAULT_LAYERS,
        alpha: float = 2,
        *,
        tile: int | None = None,
        reduction: str = "mean",
        check_range: bool = True,
    ) -> None:
        options = {"layers": layers, "alpha": alpha, "tile": tile, "check_range": check_range}
        super().__init__(net, reduction, **options)


class DSDLoss(_Distance):
    """:func:`dsd_distance` as a module; ``reduction`` over the batch.

    >>> from dsd_lib import load_backbone
    >>> DSDLoss(load_backbone(), reduction="none")(*torch.rand(2, 4, 3, 32, 32)).shape
    torch.Size([4])
    """

    function = staticmethod(dsd_distance)

    def __init__(
        self,
        net: Backbone,
        layers: Iterable[str] = DEFAULT_LAYERS,
        alpha: float = 2,
        *,
        tile: int | None = None,
        reduction: str = "mean",
        check_range: bool = True,
    ) -> None:
        options = {"layers": layers, "alpha": alpha, "tile": tile, "check_range": check_range}
        super().__init__(net, reduction, **options)


class ProjectedDistributionLoss(_Distance):
    """:func:`projected_distribution_distance` as a module; ``reduction`` over the batch.

    >>> from dsd_lib import load_backbone
    >>> ProjectedDistributionLoss(load_backbone())(*torch.rand(2, 1, 3, 32, 32)).ndim
    0
    """

    function = staticmethod(projected_distribution_distance)

    def __init__(
        self,
        net: Backbone,
        layers: Iterable[str] = DEFAULT_LAYERS,
        *,
        reduction: str = "mean",
        check_range: bool = True,
    ) -> None:
        super().__init__(net, reduction, layers=layers, check_range=check_range)


class ContextualLoss(_Distance):
    """:func:`contextual_distance` as a module; ``reduction`` over the batch.

    >>> from dsd_lib import load_backbone
    >>> ContextualLoss(load_backbone())(*torch.rand(2, 1, 3, 32, 32)).ndim
    0
    """

    function = staticmethod(contextual_distance)

    def __init__(
        self,
        net: Backbone,
        layers: Iterable[str] = ("relu4_1",),
        *,
        bandwidth: float = 0.5,
        reduction: str = "mean",
        check_range: bool = True,
    ) -> None:
        options = {"layers": layers, "bandwidth": bandwidth, "check_range": check_range}
        super().__init__(net, reduction, **options)
