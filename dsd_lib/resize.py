"""Bicubic resizing as MATLAB's ``imresize`` does it, differentiable.

The paper's x↓α is this operation. PyTorch's own ``F.interpolate`` uses another cubic (a = -0.75)
and by default no antialiasing, which makes it a different metric; chapter 3 shows by how much.
"""

import math
import numbers
from collections.abc import Iterator, Sequence
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from dsd_lib.checks import check_map

MAX_VALUES = 2**30  # of a result; more is taken for a mistake (in float32 it would be 4 GB)
MAX_TAPS = 2**24  # input pixels to an output pixel
BLOCK = 2**20  # about the entries of one matrix: 4 MB in float32


def imresize(x: Tensor, scale: float | None = None, size: tuple[int, int] | None = None) -> Tensor:
    """Resize the last two axes by bicubic interpolation (a = -0.5), antialiased when shrinking.

    Resizing is linear, so it is written as a matrix for the rows and one for the columns,
    ``rows @ x @ columns.T``; of a large image these are applied block by block.

    Args:
        x: ``(N, C, H, W)``, any real floating-point type; values are not limited to [0, 1].
        scale: the factor for both sides; output sides are ``ceil(H * scale)``, ``ceil(W * scale)``.
        size: the output ``(H, W)`` instead; give one of the two.

    Returns:
        ``(N, C, H', W')`` of the type of ``x``. Values may overshoot those of ``x`` a little.

    Raises:
        TypeError: ``x`` is not a floating-point tensor.
        ValueError: ``x`` is not of shape ``(N, C, H, W)``, both or neither of ``scale`` and
            ``size`` are given, one is not positive, or the result would be absurdly large.

    Source: section 3.1 (the operator ↓); chapter 3 of the book.

    >>> imresize(torch.rand(1, 3, 9, 12), scale=0.5).shape
    torch.Size([1, 3, 5, 6])
    """
    check_map(x, name="x")
    if (scale is None) == (size is None):
        raise ValueError(f"give one of scale and size, got scale={scale} and size={size}")
    height, width = x.shape[2:]
    if scale is not None:
        if not (isinstance(scale, numbers.Real) and math.isfinite(scale) and scale > 0):
            raise ValueError(f"scale: expected a positive number, got {scale!r}")
        _check_amount(x, height * scale, width * scale, 1 / scale)
        new_height, new_width = output_side(height, scale), output_side(width, scale)
        scales = (scale, scale)
    else:
        sides = size if isinstance(size, Sequence) else ()
        if len(sides) != 2 or not all(isinstance(s, numbers.Integral) and s > 0 for s in sides):
            raise ValueError(f"size: expected two positive whole numbers, got {size!r}")
        new_height, new_width = (int(s) for s in sides)
        _check_amount(x, new_height, new_width, 1)
        scales = (new_height / height, new_width / width)
    with torch.autocast(x.device.type, enabled=False):  # pixels are resized in their own precision
        small = x.new_empty(*x.shape[:2], new_height, new_width)  # (N, C, H', W')
        top = 0
        for strip in _resize_rows(x, new_height, scales[0]):  # (N, C, rows, W)
            rows = slice(top, top := top + strip.shape[2])
            columns = _resize_rows(strip.mT, new_width, scales[1])
            small[:, :, rows] = torch.cat(list(columns), dim=2).mT  # (N, C, rows, W')
        return small


def _check_amount(x: Tensor, height: float, width: float, stretch: float) -> None:
    """Raise before a resize that would take all memory or hours."""
    values = x.shape[0] * x.shape[1] * height * max(width, x.shape[3])
    if values > MAX_VALUES or 4 * stretch > MAX_TAPS:
        raise ValueError(
            f"expected a result of at most {MAX_VALUES:,} values from at most {MAX_TAPS:,} pixels "
            f"each, got a resize from {tuple(x.shape)} to sides of {height:g} and {width:g}"
        )


def output_side(side: int, scale: float) -> int:
    """The side to which ``imresize`` brings ``side`` at ``scale``: ``ceil(side * scale)``.

    >>> output_side(9, 0.5)
    5
    """
    # Scales are not exact in binary: 50 * 0.14 is a little over 7, and must not give 8.
    return max(1, math.ceil(round(side * scale, 9)))


def _resize_rows(x: Tensor, new_side: int, scale: float) -> Iterator[Tensor]:
    """``(N, C, H, W)`` -> parts of ``(N, C, new_side, W)``: each row is a sum of nearby rows."""
    side = x.shape[2]
    rows = max(1, int(math.sqrt(BLOCK * min(scale, 1))))  # such a block's matrix has BLOCK entries
    for start in range(0, new_side, rows):
        stop = min(start + rows, new_side)
        first, matrix = _bicubic_matrix(side, start, stop, scale, x.dtype, x.device)
        yield matrix @ x[:, :, first : first + matrix.shape[1]]  # (N, C, stop - start, W)


@lru_cache(maxsize=8)  # a training step uses four; each takes about 4 MB in float32 at most
@torch.inference_mode(False)  # what is kept must serve training as well
def _bicubic_matrix(
    side: int, start: int, stop: int, scale: float, dtype: torch.dtype, device: torch.device
) -> tuple[int, Tensor]:
    """The matrix ``(stop - start, used)`` that gives output rows start … stop - 1; rows sum to 1.

    Also the first of the ``used`` input rows that they depend on.
    """
    stretch = max(1.0, 1 / scale)  # antialiasing: shrinking widens the kernel
    center = (np.arange(start, stop) + 0.5) / scale - 0.5  # in input pixels
    taps = math.ceil(4 * stretch) + 2
    positions = np.floor(center - 2 * stretch).astype(int)[:, None] + np.arange(taps)
    weights = _cubic((center[:, None] - positions) / stretch)  # (stop - start, taps)
    weights /= weights.sum(axis=1, keepdims=True)
    mirrored = positions % (2 * side)  # symmetric padding has the period 2 · side
    sources = np.minimum(mirrored, 2 * side - 1 - mirrored)
    first = int(sources.min())
    matrix = np.zeros((stop - start, int(sources.max()) + 1 - first))
    np.add.at(matrix, (np.arange(stop - start)[:, None], sources - first), weights)
    return first, torch.from_numpy(matrix).to(device, dtype)


def _cubic(t: np.ndarray) -> np.ndarray:
    """Keys' cubic with a = -0.5."""
    t = np.abs(t)
    near = 1.5 * t**3 - 2.5 * t**2 + 1
    far = -0.5 * t**3 + 2.5 * t**2 - 4 * t + 2
    return np.where(t <= 1, near, np.where(t <= 2, far, 0.0))
