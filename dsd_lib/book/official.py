"""What the authors' code does where the paper says less or something else, for chapter 10.

Written from what that code computes; none of its lines are here.
"""

from collections.abc import Callable, Collection, Hashable
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dsd_lib.backbones import Backbone
from dsd_lib.descriptor import DEFAULT_LAYERS
from dsd_lib.gram import feature_grams
from dsd_lib.losses import DISTANCES
from dsd_lib.no_reference import WIDTHS, Psi, ResidualBlock
from dsd_lib.quality.luma import luma
from dsd_lib.resize import imresize

State = TypeVar("State", bound=Hashable)
TERMS = {  # the paper's name of a term -> the library's of its distance
    "perceptual": "perceptual",
    "DSD": "dsd",
    "style": "style",
    "MSS": "multiscale_style",
    "PDL": "projected_distribution",
}


def dequantize(x: Tensor, seed: int) -> Tensor:
    """``(255x + U) / 256`` with U uniform in [0, 1): the rounding of a file undone at random.

    >>> dequantize(torch.zeros(1, 3, 64, 64), seed=0).mean() * 256
    tensor(0.5...)
    """
    u = torch.rand(x.shape, generator=torch.Generator().manual_seed(seed)).to(x)
    return (255 * x + u) / 256


def imresize_rounded_down(x: Tensor, scale: float) -> Tensor:
    """MATLAB's bicubic with the size of the small image rounded down, not up.

    >>> imresize_rounded_down(torch.rand(1, 3, 15, 16), scale=1 / 2).shape
    torch.Size([1, 3, 7, 8])
    """
    height, width = (int(n * scale) for n in x.shape[2:])
    return imresize(x, scale=scale)[..., :height, :width]


def sorted_differences(maps: Tensor, lines: Tensor | None = None) -> Tensor:
    """What a projected distribution loss averages: ``(N - 1, C, positions)``, each from the first.

    Args:
        maps: feature maps ``(N, C, H, W)``, that of the original first.
        lines: directions ``(C, lines)`` to project the feature vectors on; the channels themselves
            unless given.
    """
    points = maps.flatten(2)  # (N, C, positions)
    projected = points if lines is None else lines.T @ points
    ordered = projected.sort(dim=2).values
    return ordered[1:] - ordered[:1]


def contextual(f: Tensor, g: Tensor, mean: Tensor) -> Tensor:
    """The contextual loss of feature maps, around any mean: ``(N,)``.

    The official code takes the mean feature vector of all targets in a batch, the library that of
    each target.

    Args:
        f: maps of the images, ``(N, C, H, W)``.
        g: maps of their targets, ``(N, C, H, W)``, or of one for all, ``(1, C, H, W)``.
        mean: the feature vector that is subtracted first, ``(C,)``.
    """
    f, g = (F.normalize(z.flatten(2) - mean[:, None], dim=1) for z in (f, g))  # (N, C, positions)
    apart = 1 - f.mT @ g  # (N, positions of f, positions of g)
    relative = apart / (apart.amin(dim=2, keepdim=True) + 1e-5)
    best = torch.softmax((1 - relative) / 0.5, dim=2).amax(dim=1).mean(dim=1)
    return -torch.log(best + 1e-5)


def partner_scores(x: Tensor, psi: Psi, net: Backbone) -> Tensor:
    """Scores as the script of Table 2 has them, ``(N, N)``: of image j when image i is its partner.

    ``Σ |ψ(A↓) - ‖G(B) - G(A↓)‖₁|`` over layers for A = i and B = j. The diagonal is Eq. (5).

    Args:
        x: ``(N, 3, H, W)`` in [0, 1].
        psi: the trained predictor.
        net: the feature network.
    """
    small = imresize(x, scale=1 / psi.alpha)
    fine, coarse = (feature_grams(z, net, psi.layers) for z in (x, small))  # layer -> (N, C, C)
    gaps = [
        expected[:, None] - (fine[layer][None] - coarse[layer][:, None]).abs().mean(dim=(2, 3))
        for layer, expected in zip(psi.layers, psi(small).T, strict=True)
    ]
    return torch.stack(gaps).abs().sum(dim=0)


def changed_verdicts(scores: Tensor) -> Tensor:
    """Whether partner scores put a pair in another order than Eq. (5): ``(N (N - 1),)``.

    Args:
        scores: what `partner_scores` returns. Each pair counts twice: either image can be A.

    >>> changed_verdicts(torch.tensor([[1.0, 0.5], [1.5, 2.0]]))
    tensor([ True, False])
    """
    own = scores.diagonal()
    first = ~torch.eye(len(own), dtype=torch.bool)  # A is the row, B the column
    return ((own[:, None] < scores) != (own[:, None] < own))[first]


def loss_terms(prediction: Tensor, target: Tensor, net: Backbone) -> dict[str, dict[str, float]]:
    """The perceptual term of Eq. (6), and its distribution terms at each layer.

    Args:
        prediction: what a restoration network returns, ``(N, 3, H, W)``.
        target: ``(N, 3, H, W)`` in [0, 1].
        net: the feature network.

    Returns:
        ``"perceptual"``, ``"DSD"``, ``"style"``, ``"MSS"`` and ``"PDL"`` -> layer -> mean over the
        batch.
    """
    both = torch.cat([prediction, target])  # (2N, 3, H, W)
    fine = net(both, (*DEFAULT_LAYERS, net.last_conv), check_range=False)
    coarse = net(imresize(both, scale=1 / 2), DEFAULT_LAYERS, check_range=False)
    found: dict[str, dict[str, float]] = {}
    for title, name in TERMS.items():
        layers = [net.last_conv] if name == "perceptual" else DEFAULT_LAYERS
        distance = DISTANCES[name]
        found[title] = {}
        for layer in layers:
            scales = [{layer: maps[layer]} for maps in (fine, coarse)[: distance.scales]]
            description = distance.describe_maps(*scales)
            halves = [{k: f.chunk(2)[i] for k, f in description.items()} for i in (0, 1)]
            found[title][layer] = distance.between(*halves).mean().item()
    return found


def psnr_y(x: Tensor, y: Tensor, *, rounded: bool) -> Tensor:
    """PSNR of the luma in dB, ``(N,)``, with the luma rounded to whole levels or not."""
    x, y = (255 * luma(z) for z in (x, y))
    if rounded:
        x, y = x.round(), y.round()
    return 20 * torch.log10(255 / (x - y).square().mean(dim=(1, 2, 3)).sqrt())


def signal_in_psi(block: Callable[[int, int, int], ResidualBlock]) -> list[float]:
    """The standard deviation behind each of ψ's twelve blocks, before any training.

    The last batch norm of each block starts at zero, so that only the shortcut passes something on.

    Args:
        block: makes a block of (channels, width, stride).
    """
    torch.manual_seed(0)
    f, channels, strengths = torch.randn(8, 32, 40, 40).relu(), WIDTHS[0], []
    for index, width in enumerate(WIDTHS):
        for stride, inputs in ((2 if index else 1, channels), (1, width)):
            layer = block(inputs, width, stride)
            nn.init.zeros_(dict(layer.body[-1].named_parameters())["weight"])
            f = layer(f)
            strengths.append(f.std().item())
        channels = width
    return strengths


def recurring(states: Collection[State], step: Callable[[State], State]) -> set[State]:
    """The states that are on a circle: where every path ends that follows ``step`` long enough.

    Args:
        states: all there are, finitely many.
        step: leads from each of them to another one.

    >>> sorted(recurring(range(6), lambda n: n * n % 6))
    [0, 1, 3, 4]
    """
    follower = {state: step(state) for state in states}
    left = set(follower)
    while len(reached := {follower[state] for state in left}) < len(left):
        left = reached
    return left
