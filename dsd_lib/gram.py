"""Gram matrices: second-order statistics of feature maps (Eq. 1) and of pixel patches (Eq. 3)."""

import numbers

import torch
import torch.nn.functional as F
from torch import Tensor

from dsd_lib.backbones import Backbone


def gram_matrix(f: Tensor) -> Tensor:
    """Gram matrix ``F Fᵀ / (C·H·W)`` of a feature map, in at least float32.

    Eq. (1) of the paper divides by H·W only; the magnitudes the paper prints come from code that
    divides by the channels too, and so do we. Chapter 2 settles it by experiment.

    Args:
        f: feature map ``(N, C, H, W)``. Half-precision maps are brought to float32 before the
            product, which would overflow otherwise.

    Returns:
        ``(N, C, C)``, symmetric, positive semi-definite; float64 for a float64 map, else float32.

    Raises:
        TypeError: ``f`` is no floating-point tensor.
        ValueError: another rank, or no positions.

    Source: Eq. (1); chapter 2 of the book.

    >>> gram_matrix(torch.ones(1, 2, 5, 7))
    tensor([[[0.5000, 0.5000],
             [0.5000, 0.5000]]])
    """
    if not isinstance(f, Tensor) or not f.is_floating_point():
        got = f.dtype if isinstance(f, Tensor) else type(f).__name__
        raise TypeError(f"f: expected a floating-point tensor, got {got}")
    if f.ndim != 4 or 0 in f.shape:
        raise ValueError(f"f: expected shape (N, C, H, W), none of them 0, got {tuple(f.shape)}")
    return _scaled_gram(f, f[0].numel())


def _scaled_gram(f: Tensor, count: int) -> Tensor:
    """``F Fᵀ / count``; ``count`` differs from C·H·W where ``f`` is one tile of a larger map."""
    with torch.autocast(f.device.type, enabled=False):
        f = full_precision(f).movedim(1, -1).flatten(1, 2)  # (N, positions, C), a view of ours
        # f.mT @ f / count, scaled inside the product: a scaled copy of the map would cost more.
        return torch.baddbmm(f.new_zeros(1), f.mT, f, beta=0, alpha=1 / count)


def full_precision(f: Tensor) -> Tensor:
    """float16 and bfloat16 as float32; other types unchanged."""
    return f.float() if f.dtype in (torch.float16, torch.bfloat16) else f


def patch_gram(x: Tensor, n: int) -> Tensor:
    """Gram matrix of the n×n pixel patches of a picture, divided as :func:`gram_matrix` is.

    Every patch that lies inside the picture counts; its n·n pixels of each channel are one vector
    of C·n·n entries.

    Args:
        x: ``(N, C, H, W)``.
        n: side of the patch in pixels.

    Returns:
        ``(N, C·n·n, C·n·n)``.

    Raises:
        TypeError: ``x`` is no floating-point tensor.
        ValueError: another rank, or ``n`` not a whole number between 1 and the shorter side.

    Source: Eq. (3); chapter 3 of the book.

    >>> patch_gram(torch.ones(1, 3, 8, 8), n=2).shape
    torch.Size([1, 12, 12])
    """
    if not isinstance(x, Tensor) or not x.is_floating_point():
        got = x.dtype if isinstance(x, Tensor) else type(x).__name__
        raise TypeError(f"x: expected a floating-point tensor, got {got}")
    if x.ndim != 4 or 0 in x.shape:
        raise ValueError(f"x: expected shape (N, C, H, W), none of them 0, got {tuple(x.shape)}")
    if not (isinstance(n, numbers.Integral) and 1 <= n <= min(x.shape[2:])):
        raise ValueError(f"n: expected a whole number from 1 to {min(x.shape[2:])}, got {n!r}")
    patches = F.unfold(full_precision(x), int(n))  # (N, C·n·n, positions)
    return gram_matrix(patches[..., None])


def feature_grams(
    x: Tensor, net: Backbone, layers: tuple[str, ...], tile: int | None
) -> dict[str, Tensor]:
    """Gram matrices of all ``layers`` from one pass; of a large picture, summed over its tiles."""
    tile = net.choose_tile(x, tile)
    if tile is None:
        return {k: gram_matrix(f) for k, f in net(x, layers, check_range=False).items()}
    grams = {}
    for part in net.tiles(x, layers, tile):
        for layer, f in part.items():
            count = f.shape[1] * net.positions(x, layer)
            gram = _scaled_gram(f, count)
            grams[layer] = grams[layer] + gram if layer in grams else gram
    return grams
