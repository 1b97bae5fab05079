"""The loss of Eq. (6), which trains the restoration networks."""

import math
import numbers
from collections.abc import Iterable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dsd_lib.backbones import Backbone
from dsd_lib.checks import check_pair
from dsd_lib.descriptor import DEFAULT_LAYERS, check_descriptor
from dsd_lib.gram import full_precision
from dsd_lib.losses import DISTANCES, Description, Distance, check_bandwidth

DISTRIBUTIONS = ("dsd", "multiscale_style", "style", "projected_distribution", "contextual")


class RestorationLoss(nn.Module):
    """What trains a restoration network: reconstruction, perceptual and distribution terms (Eq. 6).

    ``w₁·‖x̂ - x‖₁ + w₂·perceptual_distance(x̂, x) + w₃·distribution(x̂, x)``, each the mean over the
    batch and equal to the public function's. The perceptual and the distribution term share their
    network passes, one a scale, and the target's build no graph. A term of weight 0 is not
    computed.

    Args:
        net: the feature network.
        distribution: "dsd", "style", "multiscale_style", "projected_distribution", "contextual" or
            None.
        layers: the distribution term's layers.
        alpha: the factor between the two scales of "dsd" and "multiscale_style".
        windows: local statistics for the terms that compare Gram matrices ("dsd", "style" and
            "multiscale_style"): windows × windows parts of the images; 1 is the paper's.
        bandwidth: h of "contextual".
        weights: of reconstruction, perceptual and distribution term, 0 or more. The paper's 100 is
            for DSD with VGG-19; :meth:`calibrate` finds the weight for another term or network.

    Attributes:
        weights: the three weights; may be set.

    Raises:
        TypeError: ``net`` is not a backbone.
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
        windows: int = 1,
        bandwidth: float = 0.5,
        weights: tuple[float, float, float] = (1.0, 1.0, 100.0),
    ) -> None:
        super().__init__()
        if distribution is not None and distribution not in DISTRIBUTIONS:
            raise ValueError(
                f"distribution: expected one of {', '.join(DISTRIBUTIONS)} or None, "
                f"got {distribution!r}"
            )
        check_bandwidth(bandwidth)
        self.layers = check_descriptor(net, layers, alpha, windows)
        local = distribution is not None and DISTANCES[distribution].grams
        if windows != 1 and not local:
            raise ValueError(
                f"windows: expected 1 for distribution={distribution!r}, which compares no Gram "
                f"matrices, got {windows}"
            )
        self.net, self.distribution = net, distribution
        self.alpha, self.windows, self.bandwidth = alpha, int(windows), bandwidth
        self.weights = weights

    @property
    def weights(self) -> tuple[float, float, float]:
        """The weights of reconstruction, perceptual and distribution term."""
        return self._weights

    @weights.setter
    def weights(self, weights: tuple[float, float, float]) -> None:
        numeric = all(isinstance(w, numbers.Real) and 0 <= w < math.inf for w in weights)
        if len(weights) != 3 or not numeric:
            raise ValueError(f"weights: expected three numbers of 0 or more, got {weights!r}")
        reconstruction, perceptual, distribution = weights
        self._weights = float(reconstruction), float(perceptual), float(distribution)

    def forward(self, prediction: Tensor, target: Tensor) -> dict[str, Tensor]:
        """The terms, not yet weighted, and their weighted sum ``"total"``; each a single number.

        Args:
            prediction: ``(N, 3, H, W)``, about in [0, 1]; its values are not checked.
            target: of the same shape, in [0, 1]; gets no gradient.

        Raises:
            TypeError: one of the two is not a floating-point tensor.
            ValueError: one of the two is not a valid image batch or too small, or they differ in
                shape or device.
        """
        _, perceptual, distribution = self.weights
        terms = self._terms(prediction, target, perceptual > 0, distribution > 0)
        weighted = (w * term for w, term in zip(self.weights, terms.values(), strict=True))
        total = sum(weighted, start=prediction.new_zeros(()))
        return {**terms, "total": total}

    @property
    def _distance(self) -> Distance:
        assert self.distribution is not None
        return DISTANCES[self.distribution]

    def _terms(
        self, prediction: Tensor, target: Tensor, perceptual: bool, distribution: bool
    ) -> dict[str, Tensor]:
        """The terms; those not asked for are 0."""
        distribution = distribution and self.distribution is not None
        self._check(prediction, target, perceptual, distribution)
        prediction, target = full_precision(prediction), full_precision(target.detach())
        maps, description = self._describe(prediction, perceptual, distribution)
        with torch.no_grad():  # the target is not learned: no graph, no backward pass
            target_maps, target_description = self._describe(target, perceptual, distribution)
        zero = prediction.new_zeros(())
        terms = {"reconstruction": F.l1_loss(prediction, target)}
        terms |= {"perceptual": zero, "distribution": zero}
        if perceptual:
            terms["perceptual"] = DISTANCES["perceptual"].between(maps, target_maps).mean()
        if distribution:
            options = {"bandwidth": self.bandwidth} if self.distribution == "contextual" else {}
            distance = self._distance
            terms["distribution"] = distance.between(
                description, target_description, **options
            ).mean()
        return terms

    def _describe(
        self, x: Tensor, perceptual: bool, distribution: bool
    ) -> tuple[Description, Description]:
        """What each of the two terms compares, from one network pass for each scale."""
        deepest = (self.net.last_conv,) if perceptual else ()
        layers = self.layers if distribution else ()
        if not layers + deepest:
            return {}, {}
        maps = self.net(x, tuple(dict.fromkeys(layers + deepest)), check_range=False)
        perceptual_maps = {layer: maps[layer] for layer in deepest}
        if not distribution:
            return perceptual_maps, {}
        distance = self._distance
        scales = [{layer: maps[layer] for layer in layers}]
        scales += [
            self.net(small, layers, check_range=False)
            for small in distance.images(x, self.alpha)[1:]
        ]
        return perceptual_maps, distance.describe_maps(*scales, windows=self.windows)

    def _check(
        self, prediction: Tensor, target: Tensor, perceptual: bool, distribution: bool
    ) -> None:
        """Raise unless the two are image batches, large enough for each term that is computed."""
        needs = [(1, "")]
        if perceptual:
            needs.append(self.net.min_side((self.net.last_conv,)))
        if distribution:
            needs.append(self._distance.min_side(self.net, self.layers, self.alpha, self.windows))
        min_side, why = max(needs)
        check_pair(
            prediction,
            target,
            names=("prediction", "target"),
            min_side=min_side,
            why=why,
            check_range=False,
            same=("shape", "device"),
        )

    @torch.no_grad()
    def calibrate(self, pairs: Iterable[tuple[Tensor, Tensor]]) -> float:
        """Set the distribution term's weight so that on average it equals the perceptual term.

        This is the rule of Table 3. The pairs should be what training begins with: predictions of
        the network it starts from, and their targets.

        Args:
            pairs: batches ``(prediction, target)``; every image counts alike.

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
                    f"the {name} term is {value / count:g} on average over {count} images, so "
                    "that no weight makes the terms equal"
                )
        weight = perceptual * sums["perceptual"] / sums["distribution"]
        self.weights = (reconstruction, perceptual, weight)
        return weight

    def extra_repr(self) -> str:
        """The options."""
        return (
            f"distribution={self.distribution!r}, layers={self.layers}, alpha={self.alpha:g}, "
            f"windows={self.windows}, "
            f"bandwidth={self.bandwidth:g}, weights={self.weights}"
        )
