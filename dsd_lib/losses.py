"""Distances between two images through deep features, each as a function and as a module.

Functions take ``x`` and ``y`` of shape ``(N, 3, H, W)`` in [0, 1] and return one number for each
pair, ``(N,)``, summed over layers. Modules hold the network and the options and reduce over the
batch. Only the perceptual distance compares position by position; the others compare distributions.
"""

import numbers
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dsd_lib.backbones import LARGE_IMAGE, Backbone, check_backbone
from dsd_lib.checks import check_pair
from dsd_lib.descriptor import DEFAULT_LAYERS, check_descriptor, self_dissimilarity
from dsd_lib.gram import feature_grams, full_precision, window_grams
from dsd_lib.resize import imresize

Maps = dict[str, Tensor]  # layer -> feature map (N, C, H', W')
Description = dict[str, Tensor]  # what represents an image: layer -> map, Gram matrix or DSD


def dsd_distance(
    x: Tensor,
    y: Tensor,
    net: Backbone,
    layers: Iterable[str] = DEFAULT_LAYERS,
    alpha: float = 2,
    *,
    windows: int = 1,
    tile: int | None = None,
    check_range: bool = True,
) -> Tensor:
    """DSD distance ``‖DSD_α(x) - DSD_α(y)‖₁``: the mean absolute difference, summed over layers.

    Args:
        x: images ``(N, 3, H, W)`` in [0, 1].
        y: images of the same shape.

    The other arguments are those of :func:`dsd_lib.dsd`; with more than one window the distance is
    the mean over the windows.

    Returns:
        ``(N,)``, 0 or more; lower is more alike.

    Raises:
        TypeError, ValueError: as :func:`dsd_lib.dsd`, for ``x`` and ``y``, or the two differ in
            shape, type or device.

    Source: Eq. (4), Fig. 5 right; chapter 5 of the book.

    >>> from dsd_lib import load_backbone, sample_images
    >>> x = sample_images()["coffee"]
    >>> dsd_distance(x, 0.7 * x, load_backbone())
    tensor([0.0634])
    """
    return _distance("dsd", x, y, net, layers, alpha, windows, tile, check_range)


def style_distance(
    x: Tensor,
    y: Tensor,
    net: Backbone,
    layers: Iterable[str] = DEFAULT_LAYERS,
    *,
    windows: int = 1,
    tile: int | None = None,
    check_range: bool = True,
) -> Tensor:
    """Style distance ``‖G(x) - G(y)‖₁``: the mean absolute difference, summed over layers.

    Arguments, errors and result are those of :func:`dsd_distance`.

    Source: section 3.4, Fig. 5 left; chapter 5 of the book.

    >>> from dsd_lib import load_backbone, sample_images
    >>> x = sample_images()["coffee"]
    >>> style_distance(x, 0.7 * x, load_backbone(), layers=["relu3_1"])
    tensor([0.0433])
    """
    return _distance("style", x, y, net, layers, 2, windows, tile, check_range)


def multiscale_style_distance(
    x: Tensor,
    y: Tensor,
    net: Backbone,
    layers: Iterable[str] = DEFAULT_LAYERS,
    alpha: float = 2,
    *,
    windows: int = 1,
    tile: int | None = None,
    check_range: bool = True,
) -> Tensor:
    """Style distance at both scales, ``‖G(x) - G(y)‖₁ + ‖G(x↓α) - G(y↓α)‖₁``, summed over layers.

    Arguments, errors and result are those of :func:`dsd_distance`. The authors' released code adds
    up only the first term, because of where its loop is; here both count, as the paper says.

    Source: section 3.4, Fig. 5 middle; chapter 5 of the book.

    >>> from dsd_lib import load_backbone
    >>> x = torch.rand(1, 3, 32, 32)
    >>> multiscale_style_distance(x, x, load_backbone())
    tensor([0.])
    """
    return _distance("multiscale_style", x, y, net, layers, alpha, windows, tile, check_range)


def perceptual_distance(
    x: Tensor,
    y: Tensor,
    net: Backbone,
    layers: Iterable[str] | None = None,
    *,
    check_range: bool = True,
) -> Tensor:
    """Mean absolute difference of the feature maps, ``‖φ(x) - φ(y)‖₁``, summed over layers.

    ``layers=None`` is the deepest convolution, as in Eq. (6). Arguments, errors and result are
    otherwise those of :func:`dsd_distance`.

    Source: section 3.4; chapter 5 of the book.

    >>> from dsd_lib import load_backbone, sample_images
    >>> x = sample_images()["coffee"]
    >>> perceptual_distance(x, 0.7 * x, load_backbone())
    tensor([0.2546])
    """
    layers = check_backbone(net).last_conv if layers is None else layers
    return _distance("perceptual", x, y, net, layers, check_range=check_range)


def projected_distribution_distance(
    x: Tensor,
    y: Tensor,
    net: Backbone,
    layers: Iterable[str] = DEFAULT_LAYERS,
    *,
    check_range: bool = True,
) -> Tensor:
    """Projected distribution distance: mean squared difference of each channel's sorted values.

    The squared 2-Wasserstein distance between the two images' values of a channel, averaged over
    channels and summed over layers. The projections are the channels themselves, as in the authors'
    code. Arguments, errors and result are those of :func:`dsd_distance`.

    Source: section 3.4 (PDL); chapter 5 of the book.

    >>> from dsd_lib import load_backbone, sample_images
    >>> x = sample_images()["coffee"]
    >>> projected_distribution_distance(x, 0.7 * x, load_backbone(), layers=["relu3_1"])
    tensor([5.8701])
    """
    return _distance("projected_distribution", x, y, net, layers, check_range=check_range)


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
    Arguments, errors and result are otherwise those of :func:`dsd_distance`.

    Args:
        bandwidth: h of the contextual loss, above 0.

    Source: Table 3 (CX, after Mechrez et al. 2018); chapter 5 of the book.

    >>> from dsd_lib import load_backbone, sample_images
    >>> x = sample_images()["coffee"]
    >>> contextual_distance(0.7 * x, x, load_backbone())
    tensor([0.0543])
    """
    check_bandwidth(bandwidth)
    return _distance("contextual", x, y, net, layers, check_range=check_range, bandwidth=bandwidth)


def check_bandwidth(bandwidth: float) -> None:
    """Raise a ValueError unless ``bandwidth`` is a number above 0."""
    if not (isinstance(bandwidth, numbers.Real) and bandwidth > 0):
        raise ValueError(f"bandwidth: expected a number above 0, got {bandwidth!r}")


# How two descriptions are compared at one layer: each (N, …), (N, …) -> (N,)


def _mean_absolute_difference(a: Tensor, b: Tensor) -> Tensor:
    """``‖a - b‖₁``: the mean over all entries; of windows, the mean over them too."""
    return (full_precision(a) - full_precision(b)).abs().flatten(1).mean(dim=1)


def _squared_difference_when_sorted(a: Tensor, b: Tensor) -> Tensor:
    a, b = (full_precision(f).flatten(2).sort(dim=2).values for f in (a, b))  # (N, C, H·W)
    return (a - b).square().mean(dim=(1, 2))


def _unmatched(a: Tensor, b: Tensor, bandwidth: float = 0.5, eps: float = 1e-5) -> Tensor:
    """The contextual loss of two feature maps."""
    with torch.autocast(a.device.type, enabled=False):
        f, g = full_precision(a).flatten(2), full_precision(b).flatten(2)  # (N, C, positions)
        mean = g.mean(dim=2, keepdim=True)  # (N, C, 1)
        f, g = F.normalize(f - mean, dim=1), F.normalize(g - mean, dim=1)
        best = []
        for rows in f.mT.split(4096, dim=1):  # the matrix of all pairs is never held whole
            distance = 1 - rows @ g  # cosine distance, (N, rows, positions)
            relative = distance / (distance.amin(dim=2, keepdim=True) + eps)
            best.append(torch.softmax((1 - relative) / bandwidth, dim=2).amax(dim=1))
        similarity = torch.stack(best).amax(dim=0).mean(dim=1)  # (N,)
        return -torch.log((similarity + eps).clamp(max=1))  # so that it is not below 0


@dataclass(frozen=True)
class Distance:
    """One row of the table of distances: how images are described, how descriptions are compared.

    Attributes:
        compare: two descriptions at one layer, and options -> ``(N,)``.
        combine: the features at each scale, as dictionaries -> the description.
        scales: 1 for x alone, 2 for x and x↓α.
        grams: the features are Gram matrices, and not the feature maps themselves.
    """

    compare: Callable[..., Tensor] = _mean_absolute_difference
    combine: Callable[..., Description] = lambda features: features
    scales: int = 1
    grams: bool = False

    def images(self, x: Tensor, alpha: float) -> list[Tensor]:
        """The image batch at each scale."""
        return [x] if self.scales == 1 else [x, imresize(x, scale=1 / alpha)]

    def min_side(
        self, net: Backbone, layers: tuple[str, ...], alpha: float, windows: int
    ) -> tuple[int, str]:
        """:meth:`Backbone.min_side` at the coarsest scale that the distance looks at."""
        return net.min_side(layers, alpha if self.scales == 2 else 1, windows)

    def describe(
        self,
        x: Tensor,
        net: Backbone,
        layers: tuple[str, ...],
        alpha: float,
        windows: int,
        tile: int | None,
    ) -> Description:
        """The description of images already checked: one network pass for each scale."""

        def features(z: Tensor) -> Description:
            if self.grams:
                return feature_grams(z, net, layers, windows=windows, tile=tile)
            return net(z, layers, check_range=False)

        return self.combine(*map(features, self.images(x, alpha)))

    def describe_maps(self, *maps: Maps, windows: int = 1) -> Description:
        """The same description from feature maps at each scale, where these exist already."""
        if self.grams:
            maps = tuple({k: window_grams(f, windows) for k, f in m.items()} for m in maps)
        return self.combine(*maps)

    def between(self, a: Description, b: Description, **options: float) -> Tensor:
        """The distance of two descriptions, summed over layers: ``(N,)``."""
        return torch.stack([self.compare(a[k], b[k], **options) for k in a]).sum(dim=0)


def _side_by_side(fine: Description, coarse: Description) -> Description:
    return fine | {f"{layer}↓": gram for layer, gram in coarse.items()}


DISTANCES = {
    "perceptual": Distance(),
    "style": Distance(grams=True),
    "multiscale_style": Distance(grams=True, scales=2, combine=_side_by_side),
    "dsd": Distance(grams=True, scales=2, combine=self_dissimilarity),
    "projected_distribution": Distance(_squared_difference_when_sorted),
    "contextual": Distance(_unmatched),
}


def _distance(
    name: str,
    x: Tensor,
    y: Tensor,
    net: Backbone,
    layers: Iterable[str],
    alpha: float = 2,
    windows: int = 1,
    tile: int | None = None,
    check_range: bool = True,
    **options: float,
) -> Tensor:
    """What the public functions share: the checks, the descriptions, the comparison."""
    distance = DISTANCES[name]
    layers = check_descriptor(net, layers, alpha, windows)
    min_side, why = distance.min_side(net, layers, alpha, windows)
    check_pair(x, y, min_side=min_side, why=why, check_range=check_range)

    def describe(z: Tensor) -> Description:
        return distance.describe(z, net, layers, alpha, windows, tile)

    a, b = describe_pair(describe, x, y)
    return distance.between(a, b, **options)


def describe_pair(
    describe: Callable[[Tensor], Description], x: Tensor, y: Tensor
) -> tuple[Description, Description]:
    """``describe(x), describe(y)`` in the cheaper way.

    Together in one batch, except where only one of the two is being learned: then the other (the
    target) goes alone and builds no graph, which saves its backward pass. Large images go one by
    one.
    """
    one_is_learned = torch.is_grad_enabled() and x.requires_grad != y.requires_grad
    if one_is_learned or x[0, 0].numel() > LARGE_IMAGE:
        return describe(x), describe(y)
    n = x.shape[0]
    both = describe(torch.cat([x, y]))
    return {k: v[:n] for k, v in both.items()}, {k: v[n:] for k, v in both.items()}


class _Loss(nn.Module):
    """A distance as a module: the network, the options, the reduction over the batch.

    ``layers=None`` takes those of the function.
    """

    higher_is_better: ClassVar[bool] = False
    value_range: ClassVar[tuple[float, float]] = (0.0, float("inf"))
    function: ClassVar[Callable[..., Tensor]]

    def __init__(
        self,
        net: Backbone,
        layers: Iterable[str] | None = None,
        *,
        reduction: str = "mean",
        check_range: bool = True,
    ) -> None:
        super().__init__()
        self.net = check_backbone(net)
        self.options: dict[str, Any] = {"check_range": check_range}
        if layers is not None:
            self.options["layers"] = net.check_layers(layers)
        if reduction not in ("mean", "sum", "none"):
            raise ValueError(f"reduction: expected 'mean', 'sum' or 'none', got {reduction!r}")
        self.reduction = reduction

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """The distance of ``x`` from ``y``, reduced as asked."""
        distance = type(self).function(x, y, self.net, **self.options)
        return distance if self.reduction == "none" else getattr(distance, self.reduction)()

    def extra_repr(self) -> str:
        """The options."""
        return ", ".join(f"{k}={v!r}" for k, v in self.options.items())


class _TwoScaleLoss(_Loss):
    """A distance of Gram matrices at two scales."""

    def __init__(
        self,
        net: Backbone,
        layers: Iterable[str] | None = None,
        alpha: float = 2,
        *,
        windows: int = 1,
        tile: int | None = None,
        reduction: str = "mean",
        check_range: bool = True,
    ) -> None:
        super().__init__(net, layers, reduction=reduction, check_range=check_range)
        self.options |= {"alpha": alpha, "windows": windows, "tile": tile}


class DSDLoss(_TwoScaleLoss):
    """:func:`dsd_distance` as a module; ``reduction`` over the batch.

    >>> from dsd_lib import load_backbone
    >>> DSDLoss(load_backbone(), reduction="none")(*torch.rand(2, 4, 3, 32, 32)).shape
    torch.Size([4])
    """

    function = staticmethod(dsd_distance)


class MultiScaleStyleLoss(_TwoScaleLoss):
    """:func:`multiscale_style_distance` as a module; ``reduction`` over the batch.

    >>> from dsd_lib import load_backbone
    >>> MultiScaleStyleLoss(load_backbone())(*torch.rand(2, 1, 3, 32, 32)).ndim
    0
    """

    function = staticmethod(multiscale_style_distance)


class StyleLoss(_Loss):
    """:func:`style_distance` as a module; ``reduction`` over the batch.

    >>> from dsd_lib import load_backbone
    >>> StyleLoss(load_backbone())(*torch.rand(2, 1, 3, 32, 32)).ndim
    0
    """

    function = staticmethod(style_distance)

    def __init__(
        self,
        net: Backbone,
        layers: Iterable[str] | None = None,
        *,
        windows: int = 1,
        tile: int | None = None,
        reduction: str = "mean",
        check_range: bool = True,
    ) -> None:
        super().__init__(net, layers, reduction=reduction, check_range=check_range)
        self.options |= {"windows": windows, "tile": tile}


class PerceptualLoss(_Loss):
    """:func:`perceptual_distance` as a module; ``reduction`` over the batch.

    >>> from dsd_lib import load_backbone
    >>> PerceptualLoss(load_backbone())(*torch.rand(2, 1, 3, 32, 32)).ndim
    0
    """

    function = staticmethod(perceptual_distance)


class ProjectedDistributionLoss(_Loss):
    """:func:`projected_distribution_distance` as a module; ``reduction`` over the batch.

    >>> from dsd_lib import load_backbone
    >>> ProjectedDistributionLoss(load_backbone())(*torch.rand(2, 1, 3, 32, 32)).ndim
    0
    """

    function = staticmethod(projected_distribution_distance)


class ContextualLoss(_Loss):
    """:func:`contextual_distance` as a module; ``reduction`` over the batch.

    >>> from dsd_lib import load_backbone
    >>> ContextualLoss(load_backbone())(*torch.rand(2, 1, 3, 32, 32)).ndim
    0
    """

    function = staticmethod(contextual_distance)

    def __init__(
        self,
        net: Backbone,
        layers: Iterable[str] | None = None,
        *,
        bandwidth: float = 0.5,
        reduction: str = "mean",
        check_range: bool = True,
    ) -> None:
        super().__init__(net, layers, reduction=reduction, check_range=check_range)
        self.options["bandwidth"] = bandwidth
