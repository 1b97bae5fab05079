"""Distances between two pictures through deep features, each as a function and as a module.

Functions take ``x`` and ``y`` of shape ``(N, 3, H, W)`` in [0, 1] and give one number a picture,
``(N,)``, the sum over layers. Modules hold the network and the options and reduce over the batch.
Only the perceptual distance compares position by position; the others compare distributions.
"""

import math
import numbers
from collections.abc import Callable, Iterable
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dsd_lib.backbones import LARGE_PICTURE, Backbone
from dsd_lib.descriptor import DEFAULT_LAYERS, check_descriptor, unchecked_dsd
from dsd_lib.gram import feature_grams, full_precision, gram_matrix
from dsd_lib.images import check_images, check_pair
from dsd_lib.resize import imresize
from dsd_lib.shared_pass import shared_pass

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
    return _projected(a, b)


def _projected(a: Description, b: Description) -> Tensor:
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
    _check_bandwidth(bandwidth)
    _check(x, y, net, layers, check_range)
    a, b = _describe_pair(lambda z: net(z, layers, check_range=False), x, y)
    return sum(_contextual(a[k], b[k], bandwidth) for k in a)


def _check_bandwidth(bandwidth: float) -> None:
    if not (isinstance(bandwidth, numbers.Real) and bandwidth > 0):
        raise ValueError(f"bandwidth: expected a number above 0, got {bandwidth!r}")


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


class RestorationLoss(nn.Module):
    """What trains a restoration network: reconstruction, perceptual and distribution terms (Eq. 6).

    ``w₁·‖x̂ - x‖₁ + w₂·perceptual_distance(x̂, x) + w₃·distribution(x̂, x)``, each the mean over the
    batch and equal to the public function's. They come from one network pass a scale for prediction
    and target together, and the target has no graph. A term of weight 0 is not computed.

    Args:
        net: the feature network.
        distribution: "dsd", "style", "multiscale_style", "projected_distribution", "contextual" or
            None.
        layers: the distribution term's layers.
        alpha: the factor between the two scales of "dsd" and "multiscale_style".
        bandwidth: h of "contextual".
        weights: of reconstruction, perceptual and distribution term, 0 or more. The paper's 100 is
            for DSD with VGG-19; :meth:`calibrate` finds the weight for another term or network.

    Attributes:
        weights: the three weights; may be set.

    Raises:
        ValueError: an unknown distribution or layer, or options or weights out of range.

    Source: Eq. (6); chapters 8 and 9 of the book.

    >>> from dsd_lib import load_backbone
    >>> loss = RestorationLoss(load_backbone(), "style", layers=["relu2_1"])
    >>> prediction, target = torch.rand(2, 1, 3, 32, 32)
    >>> sorted(loss(prediction.requires_grad_(), target))
    ['distribution', 'perceptual', 'reconstruction', 'total']
    """

    higher_is_better = False
    value_range = (0.0, float("inf"))

    def __init__(
        self,
        net: Backbone,
        distribution: str | None = "dsd",
        *,
        layers: Iterable[str] = DEFAULT_LAYERS,
        alpha: float = 2,
        bandwidth: float = 0.5,
        weights: tuple[float, float, float] = (1.0, 1.0, 100.0),
    ) -> None:
        super().__init__()
        if distribution is not None and distribution not in _DISTRIBUTIONS:
            raise ValueError(
                f"distribution: expected one of {', '.join(_DISTRIBUTIONS)} or None, "
                f"got {distribution!r}"
            )
        _check_bandwidth(bandwidth)
        self.net, self.distribution = net, distribution
        self.layers = check_descriptor(net, layers, alpha)
        self.alpha, self.bandwidth, self.weights = alpha, bandwidth, weights

    @property
    def weights(self) -> tuple[float, float, float]:
        """The weights of reconstruction, perceptual and distribution term."""
        return self._weights

    @weights.setter
    def weights(self, weights: tuple[float, float, float]) -> None:
        numeric = all(isinstance(w, numbers.Real) and 0 <= w < math.inf for w in weights)
        if len(weights) != 3 or not numeric:
            raise ValueError(f"weights: expected three numbers of 0 or more, got {weights!r}")
        self._weights = tuple(float(w) for w in weights)

    def forward(self, prediction: Tensor, target: Tensor) -> dict[str, Tensor]:
        """The terms, not yet weighted, and their weighted sum ``"total"``; each a single number.

        Args:
            prediction: ``(N, 3, H, W)``, about in [0, 1]; its values are not checked.
            target: of the same shape, in [0, 1]; gets no gradient.

        Raises:
            TypeError, ValueError: the two are no such batches, too small, or differ in shape or
                device.
        """
        _, perceptual, distribution = self.weights
        terms = self._terms(prediction, target, perceptual > 0, distribution > 0)
        total = sum(w * term for w, term in zip(self.weights, terms.values(), strict=True))
        return {**terms, "total": total}

    def _terms(
        self, prediction: Tensor, target: Tensor, perceptual: bool, distribution: bool
    ) -> dict[str, Tensor]:
        """The terms, those not asked for 0."""
        distribution = distribution and self.distribution is not None
        scaled = distribution and self.distribution in _SCALED
        layers = (self.layers if distribution else ()) + (self.net.last_conv,) * perceptual
        layers = tuple(dict.fromkeys(layers))  # each once
        prediction, target = self._check_pair(prediction, target, layers, scaled)
        zero = prediction.new_zeros(())
        terms = {"reconstruction": F.l1_loss(prediction, target)}
        terms |= {"perceptual": zero, "distribution": zero}
        if not layers:
            return terms
        count = len(prediction)
        both = torch.cat([prediction, target])
        a, b = shared_pass(self.net, both, count, layers)
        if perceptual:
            last = self.net.last_conv
            difference = _mean_absolute_difference({last: a[last]}, {last: b[last]})
            terms["perceptual"] = difference.mean()
        if distribution:
            fine = tuple({k: maps[k] for k in self.layers} for maps in (a, b))
            coarse = ()
            if scaled:
                small = imresize(both, scale=1 / self.alpha)
                coarse = shared_pass(self.net, small, count, self.layers)
            terms["distribution"] = self._distance(*fine, *coarse).mean()
        return terms

    def _distance(self, *maps: Description) -> Tensor:
        """The distribution term from maps of prediction and target, then those at x↓α: ``(N,)``."""
        if self.distribution == "projected_distribution":
            return _projected(*maps)
        if self.distribution == "contextual":
            a, b = maps
            return sum(_contextual(a[k], b[k], self.bandwidth) for k in self.layers)
        grams = [{k: gram_matrix(f) for k, f in part.items()} for part in maps]
        if self.distribution == "dsd":
            a, b, small_a, small_b = grams
            grams = [
                {k: a[k] - small_a[k] for k in self.layers},
                {k: b[k] - small_b[k] for k in self.layers},
            ]
        scales = [grams[i : i + 2] for i in range(0, len(grams), 2)]
        return sum(_mean_absolute_difference(a, b) for a, b in scales)

    def _check_pair(
        self, prediction: Tensor, target: Tensor, layers: tuple[str, ...], scaled: bool
    ) -> tuple[Tensor, Tensor]:
        """The two in full precision, the target without graph, after checking them."""
        min_side, why = self.net.min_side(layers) if layers else (1, "")
        if scaled:
            coarse = self.net.min_side(self.layers, self.alpha)
            min_side, why = max((min_side, why), coarse)
        for name, x in (("prediction", prediction), ("target", target)):
            check_images(x, name=name, min_side=min_side, why=why, check_range=False)
        for what in ("shape", "device"):
            a, b = getattr(prediction, what), getattr(target, what)
            if a != b:
                a, b = (tuple(v) if what == "shape" else v for v in (a, b))
                raise ValueError(
                    f"expected prediction and target of the same {what}, got {a} and {b}"
                )
        return full_precision(prediction), full_precision(target.detach())

    @torch.no_grad()
    def calibrate(self, pairs: Iterable[tuple[Tensor, Tensor]]) -> float:
        """Set the distribution term's weight so that on average it equals the perceptual term.

        This is the rule of Table 3. The pairs should be what training begins with: predictions of
        the network it starts from, and their targets.

        Args:
            pairs: batches ``(prediction, target)``; every picture counts alike.

        Returns:
            the new weight of the distribution term.

        Raises:
            ValueError: no pairs, no distribution term, a perceptual weight of 0, or a term that is
                0 or not finite on the pairs.

        Source: section 4.1; chapter 8 of the book.

        >>> from dsd_lib import load_backbone
        >>> loss = RestorationLoss(load_backbone())
        >>> weight = loss.calibrate([torch.rand(2, 1, 3, 32, 32)])
        >>> weight == loss.weights[2]
        True
        """
        reconstruction, perceptual, _ = self.weights
        if self.distribution is None or perceptual == 0:
            missing = "distribution" if self.distribution is None else "perceptual"
            raise ValueError(f"calibrate makes two terms equal, and there is no {missing} term")
        sums, count = {"perceptual": 0.0, "distribution": 0.0}, 0
        for prediction, target in pairs:
            terms = self._terms(prediction, target, perceptual=True, distribution=True)
            for name in sums:
                sums[name] += terms[name].item() * len(prediction)
            count += len(prediction)
        if count == 0:
            raise ValueError("pairs: expected at least one (prediction, target), got none")
        for name, value in sums.items():
            if not (math.isfinite(value) and value > 0):
                raise ValueError(
                    f"the {name} term is {value / count:g} on average over {count} pictures, so "
                    "that no weight makes the terms equal"
                )
        weight = perceptual * sums["perceptual"] / sums["distribution"]
        self.weights = (reconstruction, perceptual, weight)
        return weight

    def extra_repr(self) -> str:
        """The options."""
        return (
            f"distribution={self.distribution!r}, layers={self.layers}, alpha={self.alpha:g}, "
            f"bandwidth={self.bandwidth:g}, weights={self.weights}"
        )


_SCALED = ("dsd", "multiscale_style")
_DISTRIBUTIONS = (*_SCALED, "style", "projected_distribution", "contextual")
