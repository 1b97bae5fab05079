"""The test bench of chapter 10: does a variant of a measure put damaged images in another order?"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from dsd_lib.backbones import Backbone
from dsd_lib.book.damage import blur, jpeg, noise
from dsd_lib.descriptor import DEFAULT_LAYERS
from dsd_lib.gram import Grams, feature_grams
from dsd_lib.quality.agreement import Estimate, bootstrap
from dsd_lib.resize import imresize
from dsd_lib.restoration.degradations import to_eight_bits

LAYERS = ("relu1_2", "relu2_1", "relu2_2", "relu3_1")
DAMAGE: dict[str, Callable[[Tensor], Tensor]] = {
    "noise 5": lambda x: noise(x, 5 / 255),
    "noise 15": lambda x: noise(x, 15 / 255),
    "JPEG 60": lambda x: jpeg(x, 60),
    "JPEG 30": lambda x: jpeg(x, 30),
    "JPEG 10": lambda x: jpeg(x, 10),
    "shrunk 2": lambda x: blur(x, 2),
    "shrunk 3": lambda x: blur(x, 3),
}
THRESHOLD = 0.02  # of all pairs: what a difference has to reorder to matter


def center(x: Tensor, side: int) -> Tensor:
    """The central ``side`` × ``side`` pixels of ``(N, 3, H, W)``."""
    top, left = ((n - side) // 2 for n in x.shape[2:])
    return x[..., top : top + side, left : left + side]


def versions(x: Tensor) -> Tensor:
    """A photo and its damaged versions, as files would hold them: ``(1 + 7, 3, H, W)``.

    Args:
        x: ``(1, 3, H, W)`` in [0, 1].

    >>> versions(torch.rand(1, 3, 32, 32)).shape
    torch.Size([8, 3, 32, 32])
    """
    return to_eight_bits(torch.cat([x, *(damage(x) for damage in DAMAGE.values())]))


def grams(
    bench: Sequence[Tensor],
    net: Backbone,
    alpha: float = 1,
    resize: Callable[..., Tensor] = imresize,
) -> Grams:
    """Gram matrices of all images at ↓alpha: layer of `LAYERS` -> ``(photos, 1 + 7, C, C)``.

    Args:
        bench: for each photo what `versions` returns; all of one size.
        net: the feature network.
        alpha: how much smaller the images are made before; 1 leaves them.
        resize: what makes them smaller, called as ``resize(x, scale=1 / alpha)``.
    """
    small = [x if alpha == 1 else resize(x, scale=1 / alpha) for x in bench]
    found = [feature_grams(x, net, LAYERS) for x in small]
    return {layer: torch.stack([g[layer] for g in found]).cpu() for layer in LAYERS}


def distance(
    matrices: Grams,
    layers: Sequence[str] = DEFAULT_LAYERS,
    weights: Mapping[str, float] | None = None,
) -> Tensor:
    """How far each version's matrices are from its photo's: ``(photos, 7)``.

    Args:
        matrices: layer -> ``(photos, 1 + 7, C, C)``, the photo first.
        layers: those to add up.
        weights: of each layer; 1 unless given.

    >>> matrices = {"relu3_1": torch.tensor([[[[0.0]], [[1.0]], [[-2.0]]]])}
    >>> distance(matrices, ["relu3_1"], {"relu3_1": 256})
    tensor([[256., 512.]])
    """
    parts = [
        (1 if weights is None else weights[layer])
        * (matrices[layer][:, 1:] - matrices[layer][:, :1]).abs().mean(dim=(2, 3))
        for layer in layers
    ]
    return torch.stack(parts).sum(dim=0)


def reordered(a: Tensor, b: Tensor) -> Tensor:
    """Which pairs of versions two measures put in different orders: ``(photos, pairs)``.

    Args:
        a: values of the one measure, ``(photos, versions)``; of two measures with the same
            direction.
        b: of the other. Equal values are in no order, and reorder nothing.

    >>> reordered(torch.tensor([[1.0, 2.0, 3.0]]), torch.tensor([[10.0, 30.0, 20.0]]))
    tensor([[False, False,  True]])
    """
    i, j = torch.triu_indices(a.shape[1], a.shape[1], 1)
    return torch.sign(a[:, i] - a[:, j]) * torch.sign(b[:, i] - b[:, j]) < 0


@dataclass(frozen=True, repr=False)
class Share(Estimate):
    """A share of pairs with its 95% interval, and the chapter's one rule applied to it.

    >>> Share(0.05, 0.03, 0.07), Share(0.05, 0.01, 0.09)
    (5.0% of pairs (3.0 to 7.0%): yes, 5.0% of pairs (1.0 to 9.0%): undecided)
    """

    @property
    def verdict(self) -> str:
        """Does the difference change a result?

        ``"yes"`` when the whole interval is above `THRESHOLD`, ``"no"`` when it is below, and
        ``"undecided"`` when the threshold is inside.
        """
        if self.low > THRESHOLD:
            return "yes"
        return "no" if self.high < THRESHOLD else "undecided"

    def __repr__(self) -> str:
        value, low, high = (f"{100 * v:.1f}" for v in (self.value, self.low, self.high))
        return f"{value}% of pairs ({low} to {high}%): {self.verdict}"


def share(flags: Tensor, draws: int = 1000) -> Share:
    """The share of all pairs that are True, with its interval from a bootstrap over photos.

    Args:
        flags: ``(photos, pairs)``, as `reordered` has them.
        draws: of the bootstrap.

    >>> share(torch.tensor([[True, False], [True, False]]))
    50.0% of pairs (50.0 to 50.0%): yes
    """
    of_photo = flags.double().mean(dim=1).numpy()
    found = bootstrap(lambda rows: of_photo[rows].mean(), range(len(of_photo)), draws=draws)
    return Share(found.value, found.low, found.high)
