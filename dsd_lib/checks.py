"""The checks of arguments: each raises an error that says what was expected and what came."""

import math
import numbers
from typing import Any

import numpy as np
import torch
from torch import Tensor


def _check_float_tensor(x: object, name: str, hint: str = "") -> Tensor:
    """``x``, if it is a tensor of real floating-point numbers; ``hint`` ends the message."""
    if not isinstance(x, Tensor) or not x.is_floating_point():
        got = x.dtype if isinstance(x, Tensor) else type(x).__name__
        raise TypeError(f"{name}: expected a floating-point tensor, got {got}{hint}")
    return x


def check_map(f: object, *, name: str = "f") -> Tensor:
    """``f``, if it is a floating-point tensor ``(N, C, H, W)`` with no side of 0.

    Raises:
        TypeError: not a floating-point tensor.
        ValueError: another shape.

    >>> check_map(torch.ones(3, 8, 8))
    Traceback (most recent call last):
    ...
    ValueError: f: expected shape (N, C, H, W), none of them 0, got (3, 8, 8)
    """
    f = _check_float_tensor(f, name)
    if f.ndim != 4 or 0 in f.shape:
        raise ValueError(
            f"{name}: expected shape (N, C, H, W), none of them 0, got {tuple(f.shape)}"
        )
    return f


def check_images(
    x: object, *, name: str = "x", min_side: int = 1, why: str = "", check_range: bool = True
) -> None:
    """Raise a clear error unless ``x`` is a batch of RGB images ``(N, 3, H, W)`` in [0, 1].

    ``min_side`` is the shortest side allowed; ``why`` ends the message about a smaller image.
    ``check_range=False`` skips finiteness and range, as a training loop wants: its images overshoot
    [0, 1] while they are being learned, and reading the values would stall a GPU.

    Raises:
        TypeError: not a tensor, or not of a real floating-point type.
        ValueError: wrong rank, channels, size, or values.

    >>> check_images(torch.rand(1, 3, 8, 8))
    >>> check_images(255 * torch.ones(1, 3, 8, 8))
    Traceback (most recent call last):
    ...
    ValueError: x: expected values in [0, 1], got [255, 255]; divide 8-bit values by 255
    """
    if not isinstance(x, Tensor):
        hint = "; dsd_lib.image_from_array converts it" if isinstance(x, np.ndarray) else ""
        raise TypeError(f"{name}: expected a torch.Tensor, got {type(x).__name__}{hint}")
    hint = "; divide 8-bit values by 255" if x.dtype == torch.uint8 else ""
    x = _check_float_tensor(x, name, hint)
    shape = tuple(x.shape)
    if x.ndim != 4:
        hint = "; add the batch axis with x[None]" if x.ndim == 3 else ""
        raise ValueError(f"{name}: expected shape (N, 3, H, W), got {shape}{hint}")
    if x.shape[1] != 3:
        hint = "; channels come second: x.permute(0, 3, 1, 2)" if x.shape[3] == 3 else ""
        raise ValueError(
            f"{name}: expected 3 channels (RGB) in shape (N, 3, H, W), got {shape}{hint}"
        )
    if x.shape[0] == 0:
        raise ValueError(f"{name}: expected at least one image, got an empty batch {shape}")
    if min(x.shape[2:]) < min_side:
        raise ValueError(f"{name}: expected sides of at least {min_side} pixels, got {shape}{why}")
    if check_range:
        low, high = (v.item() for v in x.detach().aminmax())
        if not (np.isfinite(low) and np.isfinite(high)):
            raise ValueError(f"{name}: expected finite values, got NaN or infinity")
        if low < 0 or high > 1:
            hint = "divide 8-bit values by 255" if high > 2 else "bring them there, or clamp them"
            raise ValueError(
                f"{name}: expected values in [0, 1], got [{low:.4g}, {high:.4g}]; {hint}"
            )


def check_pair(
    x: object,
    y: object,
    *,
    names: tuple[str, str] = ("x", "y"),
    min_side: int = 1,
    why: str = "",
    check_range: bool = True,
    same: tuple[str, ...] = ("shape", "dtype", "device"),
) -> None:
    """Raise unless ``x`` and ``y`` are two image batches that agree in what ``same`` names.

    >>> check_pair(torch.rand(1, 3, 8, 8), torch.rand(1, 3, 8, 9))
    Traceback (most recent call last):
    ...
    ValueError: expected x and y of the same shape, got (1, 3, 8, 8) and (1, 3, 8, 9)
    """
    for name, z in zip(names, (x, y), strict=True):
        check_images(z, name=name, min_side=min_side, why=why, check_range=check_range)
    for what in same:
        a, b = getattr(x, what), getattr(y, what)
        if a != b:
            a, b = (tuple(v) if what == "shape" else v for v in (a, b))
            raise ValueError(
                f"expected {names[0]} and {names[1]} of the same {what}, got {a} and {b}"
            )


def check_alpha(alpha: Any) -> None:
    """Raise a ValueError unless ``alpha``, the factor between two scales, is a number above 1."""
    number = isinstance(alpha, numbers.Real)
    if not (number and math.isfinite(alpha) and alpha > 1):
        raise ValueError(f"alpha: expected a number above 1, got {alpha!r}")


def check_whole_number(
    value: Any, *, name: str, low: int = 1, high: int | None = None, unit: str = ""
) -> int:
    """``value`` as an int, if it is a whole number from ``low`` to ``high``; ``unit`` names it.

    Raises:
        ValueError: it is not.

    >>> check_whole_number(2.5, name="windows")
    Traceback (most recent call last):
    ...
    ValueError: windows: expected a whole number of 1 or more, got 2.5
    """
    whole = isinstance(value, numbers.Integral) and not isinstance(value, bool)
    if not whole or value < low or (high is not None and value > high):
        allowed = f"of {low} or more" if high is None else f"from {low} to {high}"
        unit = f" {unit}" if unit else ""
        raise ValueError(f"{name}: expected a whole number {allowed}{unit}, got {value!r}")
    return int(value)
