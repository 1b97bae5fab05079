"""What the paper's printed values say about its division and its network, for chapter 10.

Suppose the activations of the paper's network are s times as large as ours. Three published numbers
each allow a range of s, and a division by H·W or C·H·W is possible if the ranges overlap.
"""

import torch

from dsd_lib.backbones import Backbone
from dsd_lib.book.damage import noise

Range = tuple[float, float]

CHANNELS = {"relu2_1": 128, "relu2_2": 128, "relu3_1": 256}
CLASS_MEANS = (2.1e-3, 13.5e-3)  # of ‖DSD‖ at relu3_1: sandbar and window screen, section 3.3
WEIGHTS = (100, 500)  # λ of DSD in the authors' commands
ALLOWANCE = 3  # "equal on average" is meant loosely
CONTENT_LOSSES = (4.24, 2.50)  # early and later in PyTorch's tutorial on style transfer
PRINTED = {
    "Fig. 6, start": 6.3e-3,
    "Fig. 6, 500 steps": 2.2e-3,
    "Fig. 6, 5000 steps": 1.2e-3,
    "sandbar": 2.1e-3,
    "window screen": 13.5e-3,
}


def scale_ranges(measured: dict, content: Range, *, by_channels: bool) -> dict[str, Range]:
    """The range of s that each published number allows, under one of the two divisions.

    Args:
        measured: results of ``gram_normalization_natural.json``, which divide by C·H·W.
        content: mean squared differences at conv2_2 that a stylized photo must lie between; see
            `content_differences`.
        by_channels: True for C·H·W, False for H·W.

    Returns:
        ``"printed values"``, ``"loss weight"`` and ``"content loss"`` -> (low, high).
    """
    factor = {layer: 1 if by_channels else c for layer, c in CHANNELS.items()}
    small, large = (  # s² ‖DSD‖ of a typical photo lies between the two classes
        sum(measured["imagenette"][alpha]) / len(measured["imagenette"][alpha]) * factor["relu3_1"]
        for alpha in ("2", "4")
    )
    ratios = [  # of the perceptual loss, which grows as s, to the DSD loss, which grows as s²
        losses["perceptual"] / losses[layer] / factor[layer]
        for losses in measured["super_resolution"].values()
        for layer in CHANNELS
    ]
    near, far = content
    return {
        "printed values": ((CLASS_MEANS[0] / large) ** 0.5, (CLASS_MEANS[1] / small) ** 0.5),
        "loss weight": (
            min(ratios) / WEIGHTS[1] / ALLOWANCE,
            max(ratios) / WEIGHTS[0] * ALLOWANCE,
        ),
        "content loss": ((CONTENT_LOSSES[1] / far) ** 0.5, (CONTENT_LOSSES[0] / near) ** 0.5),
    }


def content_differences(x: torch.Tensor, net: Backbone) -> Range:
    """Mean squared differences at conv2_2: of a photo with and without noise, and of two photos.

    Args:
        x: photos ``(N, 3, H, W)`` in [0, 1], at least two.
        net: the feature network.

    Returns:
        (with a little noise, of two photos in the median).
    """
    f, g = (net(z, ["conv2_2"])["conv2_2"] for z in (x, noise(x, 0.04)))
    pairs = [(f[i] - f[j]).square().mean() for i in range(len(f)) for j in range(i)]
    return (f - g).square().mean().item(), torch.stack(pairs).median().item()


def common(ranges: dict[str, Range]) -> Range | None:
    """Where all ranges overlap, or None.

    >>> common({"a": (1, 3), "b": (2, 4)}), common({"a": (1, 2), "b": (3, 4)})
    ((2, 3), None)
    """
    low = max(r[0] for r in ranges.values())
    high = min(r[1] for r in ranges.values())
    return (low, high) if low < high else None
