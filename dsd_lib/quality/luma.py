"""The brightness of RGB images by ITU-R BT.601, in the two ranges that are in use."""

import torch
from torch import Tensor


def luma(x: Tensor) -> Tensor:
    """The luma Y as video stores it, 16/255 to 235/255: ``(N, 3, H, W)`` -> ``(N, 1, H, W)``.

    The convention of super-resolution papers (MATLAB's ``rgb2ycbcr``).

    >>> luma(torch.tensor([0.0, 1.0]).view(2, 1, 1, 1).expand(2, 3, 1, 1)).flatten() * 255
    tensor([ 16., 235.])
    """
    return _weighted(x, (65.481 / 255, 128.553 / 255, 24.966 / 255)) + 16 / 255


def gray(x: Tensor) -> Tensor:
    """The luma over the full range, 0 to 1: ``(N, 3, H, W)`` -> ``(N, 1, H, W)``.

    The convention of OpenCV and Pillow.

    >>> gray(torch.tensor([0.0, 1.0]).view(2, 1, 1, 1).expand(2, 3, 1, 1)).flatten()
    tensor([0., 1.])
    """
    return _weighted(x, (0.299, 0.587, 0.114))


def _weighted(x: Tensor, weights: tuple[float, float, float]) -> Tensor:
    """The weighted sum of the three channels."""
    factors = torch.tensor(weights, dtype=x.dtype, device=x.device).view(1, 3, 1, 1)
    return (x * factors).sum(dim=1, keepdim=True)
