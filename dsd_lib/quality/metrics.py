"""DSD as torchmetrics metrics: the mean over all images seen, for the logging of a training loop.

They take batches as they come, add up over processes, and work in a ``MetricCollection``. The
networks inside are frozen: they move with the metric from device to device, and stay out of
``state_dict()`` and ``parameters()``.
"""

from collections.abc import Callable, Iterable
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from dsd_lib.backbones import Backbone, load_backbone
from dsd_lib.descriptor import DEFAULT_LAYERS, check_descriptor
from dsd_lib.extras import needs
from dsd_lib.losses import dsd_distance
from dsd_lib.no_reference import NoReferenceDSD

with needs("quality"):
    from torchmetrics import Metric


class _MeanOverImages(Metric):
    """The sum of a measure and the number of images, and a frozen network next to the states."""

    is_differentiable = True
    higher_is_better = False
    full_state_update = False
    plot_lower_bound = 0.0
    value_range: ClassVar[tuple[float, float]] = (0.0, float("inf"))
    images: Tensor

    def __init__(self, network: nn.Module, label: str, **options: Any) -> None:
        super().__init__(**options)
        # In a tuple, so that PyTorch does not count its weights as ours.
        self._network: tuple[Any] = (network,)
        # A MetricCollection takes two metrics for one when their states agree after the first
        # batch, as alpha 2 and 4 do (0) on equal images. Under different names they never agree.
        self._total = f"total_{label}".replace(".", "_")  # dots have a meaning in state_dict
        self.add_state(self._total, torch.tensor(0.0), dist_reduce_fx="sum")
        self.add_state("images", torch.tensor(0), dist_reduce_fx="sum")

    def _add(self, values: Tensor) -> None:
        setattr(self, self._total, getattr(self, self._total) + values.sum())
        self.images = self.images + values.numel()

    def compute(self) -> Tensor:
        """The mean over all images since the last reset, a scalar."""
        return getattr(self, self._total) / self.images

    def _apply(self, fn: Callable, *args: Any, **kwargs: Any) -> nn.Module:
        super()._apply(fn, *args, **kwargs)
        self._network[0].to(self.device)  # a move, but no change of precision
        return self


class DeepSelfDissimilarity(_MeanOverImages):
    """The DSD distance of predictions from their targets (Eq. 4), averaged over images.

    ``update`` and the call take ``preds`` and ``target``, both ``(N, 3, H, W)`` in [0, 1]; batches
    may differ in the size of their images. The result is that of
    ``dsd_lib.dsd_distance(preds, target, …).mean()`` over all images, however they were batched,
    and the call's is that of its batch, with a gradient. Lower is better; 0 is best.

    Args:
        net: the feature network; None is VGG-16. It is moved along with the metric.
        layers: names out of ``net.layers``.
        alpha: the factor between the two scales, above 1.
        tile: side in pixels of the tiles over which Grams are summed; see :func:`dsd_lib.dsd`.
        check_range: False leaves out the check of the values, for predictions that overshoot.
        options: those of ``torchmetrics.Metric``.

    Raises:
        TypeError, ValueError: a layer is unknown or alpha not above 1; in ``update``, images that
            :func:`dsd_lib.dsd_distance` refuses.

    Source: Eq. (4); chapter 5 of the book.

    >>> from dsd_lib import sample_images
    >>> metric = DeepSelfDissimilarity(layers=["relu3_1"], alpha=4)
    >>> x = sample_images()["coffee"]
    >>> metric.update(0.7 * x, x)
    >>> metric.update(x, x)
    >>> metric.compute()
    tensor(0.0267)
    """

    def __init__(
        self,
        net: Backbone | None = None,
        layers: Iterable[str] = DEFAULT_LAYERS,
        alpha: float = 2,
        *,
        tile: int | None = None,
        check_range: bool = True,
        **options: Any,
    ) -> None:
        net = load_backbone() if net is None else net
        layers = check_descriptor(net, layers, alpha)
        super().__init__(net, f"{net.name}_{'_'.join(layers)}_alpha{alpha:g}", **options)
        self.layers = layers
        self.alpha = alpha
        self.tile = tile
        self.check_range = check_range

    def update(self, preds: Tensor, target: Tensor) -> None:
        """Add the distances of a batch."""
        net = self._network[0]
        values = dsd_distance(
            preds,
            target,
            net,
            self.layers,
            self.alpha,
            tile=self.tile,
            check_range=self.check_range,
        )
        self._add(values)


class Naturalness(_MeanOverImages):
    """The no-reference measure of images (Eq. 5), averaged over images.

    ``update`` and the call take ``preds`` alone, ``(N, 3, H, W)`` in [0, 1], and ignore
    targets. Lower is better; 0 is best.

    Args:
        alpha: 2 or 4, for which there is a trained ψ.
        measure: another :class:`dsd_lib.no_reference.NoReferenceDSD`; its alpha then counts.
        tile: side in pixels of the tiles over which Grams are summed; see :func:`dsd_lib.dsd`.
        check_range: False leaves out the check of the values, for predictions that overshoot.
        options: those of ``torchmetrics.Metric``.

    Source: Eq. (5); chapter 7 of the book.

    >>> from dsd_lib import sample_images
    >>> metric = Naturalness()
    >>> metric.update(sample_images()["cat"])
    >>> metric.compute().shape
    torch.Size([])
    """

    def __init__(
        self,
        alpha: float = 4,
        *,
        measure: NoReferenceDSD | None = None,
        tile: int | None = None,
        check_range: bool = True,
        **options: Any,
    ) -> None:
        measure = NoReferenceDSD(alpha) if measure is None else measure
        alpha = measure.psi.alpha
        super().__init__(measure, f"naturalness_alpha{alpha:g}", **options)
        self.alpha = alpha
        self.tile = tile
        self.check_range = check_range

    def update(self, preds: Tensor, target: Tensor | None = None) -> None:
        """Add the scores of a batch."""
        measure = self._network[0]
        self._add(measure(preds, tile=self.tile, check_range=self.check_range))
