"""Bicubic resizing as MATLAB's ``imresize`` does it, differentiable.

The paper's x↓α is this operation. PyTorch's own ``F.interpolate`` uses another cubic (a = -0.75)
and by default no antialiasing, which makes it a different metric; chapter 3 shows by how much.
"""

import math
import numbers
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor


def imresize(x: Tensor, scale: float | None = None, size: tuple[int, int] | None = None) -> Tensor:
    """Resize the last two axes by bicubic interpolation (a = -0.5), antialiased when shrinking.

    Resizing is linear, so it is written as what it is: one matrix for the rows and one for the
    columns, ``rows @ x @ columns.T``.

    Args:
        x: ``(N, C, H, W)``, any real floating type; values are not limited to [0, 1].
        scale: the factor for both sides; output sides are ``ceil(H * scale)``, ``ceil(W * scale)``.
        size: the output ``(H, W)`` instead; give one of the two.

    Returns:
        ``(N, C, H', W')`` of the type of ``x``. Values may overshoot those of ``x`` a little.

    Raises:
        TypeError: ``x`` is no floating-point tensor.
        ValueError: another rank, both or neither of ``scale`` and ``size``, or one not positive.

    Source: section 3.1 (the operator ↓); chapter 3 of the book.

    >>> imresize(torch.rand(1, 3, 9, 12), scale=0.5).shape
    torch.Size([1, 3, 5, 6])
    """
    if not isinstance(x, Tensor) or not x.is_floating_point():
        got = x.dtype if isinstance(x, Tensor) else type(x).__name__
        raise TypeError(f"x: expected a floating-point tensor, got {got}")
    if x.ndim != 4 or 0 in x.shape:
        raise ValueError(f"x: expected shape (N, C, H, W), none of them 0, got {tuple(x.shape)}")
    if (scale is None) == (size is None):
        raise ValueError(f"give one of scale and size, got scale={scale} and size={size}")
    height, width = x.shape[2:]
    if scale is not None:
        if not (isinstance(scale, numbers.Real) and math.isfinite(scale) and scale > 0):
            raise ValueError(f"scale: expected a positive number, got {scale!r}")
        size = (output_side(height, scale), output_side(width, scale))
        scales = (scale, scale)
    else:
        sides = size if isinstance(size, Sequence) else ()
        if len(sides) != 2 or not all(isinstance(s, numbers.Integral) and s > 0 for s in sides):
            raise ValueError(f"size: expected two positive whole numbers, got {size!r}")
        scales = (size[0] / height, size[1] / width)
    rows = _bicubic_matrix(height, int(size[0]), scales[0], x.dtype, x.device)
    columns = _bicubic_matrix(width, int(size[1]), scales[1], x.dtype, x.device)
    with torch.autocast(x.device.type, enabled=False):  # pixels are resized in their own precision
        return rows @ x @ columns.T


def output_side(side: int, scale: float) -> int:
    """The side to which ``imresize`` brings ``side`` at ``scale``: ``ceil(side * scale)``.

    >>> output_side(9, 0.5)
    5
    """
    # Scales are not exact in binary: 50 * 0.14 is a little over 7, and must not give 8.
    return max(1, math.ceil(round(side * scale, 9)))


@lru_cache(maxsize=8)  # of a large picture one matrix takes 50 MB
@torch.inference_mode(False)  # what is kept must serve training as well
def _bicubic_matrix(
    side: int, new_side: int, scale: float, dtype: torch.dtype, device: torch.device
) -> Tensor:
    """The ``(new_side, side)`` matrix that resizes one axis; rows sum to 1."""
    stretch = max(1.0, 1 / scale)  # antialiasing: shrinking widens the kernel
    center = (np.arange(new_side) + 0.5) / scale - 0.5  # in input pixels
    taps = math.ceil(4 * stretch) + 2
    positions = np.floor(center - 2 * stretch).astype(int)[:, None] + np.arange(taps)
    weights = _cubic((center[:, None] - positions) / stretch)
    weights /= weights.sum(axis=1, keepdims=True)
    period = np.concatenate([np.arange(side), np.arange(side)[::-1]])  # symmetric padding
    sources = period[positions % (2 * side)]
    matrix = np.zeros((new_side, side))
    np.add.at(matrix, (np.arange(new_side)[:, None], sources), weights)
    return torch.from_numpy(matrix).to(device, dtype)


def _cubic(t: np.ndarray) -> np.ndarray:
    """Keys' cubic with a = -0.5."""
    t = np.abs(t)
    near = 1.5 * t**3 - 2.5 * t**2 + 1
    far = -0.5 * t**3 + 2.5 * t**2 - 4 * t + 2
    return np.where(t <= 1, near, np.where(t <= 2, far, 0.0))
