"""Gram matrices: second-order statistics of feature maps (Eq. 1) and of pixel patches (Eq. 3)."""

from collections.abc import Iterable
from itertools import pairwise, product

import torch
import torch.nn.functional as F
from torch import Tensor

from dsd_lib.backbones import Backbone
from dsd_lib.checks import check_map, check_whole_number

Grams = dict[str, Tensor]  # layer -> (N, C, C), or (N, windows², C, C) with windows > 1


def gram_matrix(f: Tensor) -> Tensor:
    """Gram matrix ``F Fᵀ / (C·H·W)`` of a feature map, in at least float32.

    Eq. (1) of the paper divides by H·W only. The magnitudes the paper prints come from code that
    divides by the channels too, and so does this function. Chapter 2 settles it by experiment.

    Args:
        f: feature map ``(N, C, H, W)``. Half-precision maps are converted to float32 before the
            product, which would overflow otherwise.

    Returns:
        ``(N, C, C)``, symmetric, positive semi-definite; float64 for a float64 map, else float32.

    Raises:
        TypeError: ``f`` is not a floating-point tensor.
        ValueError: ``f`` is not of shape ``(N, C, H, W)``, or has no positions.

    Source: Eq. (1); chapter 2 of the book.

    >>> gram_matrix(torch.ones(1, 2, 5, 7))
    tensor([[[0.5000, 0.5000],
             [0.5000, 0.5000]]])
    """
    check_map(f, name="f")
    return _scaled_gram(f, f[0].numel())


def _scaled_gram(f: Tensor, count: int) -> Tensor:
    """``F Fᵀ / count``; ``count`` differs from C·H·W where ``f`` is one piece of a larger map."""
    with torch.autocast(f.device.type, enabled=False):
        f = full_precision(f).movedim(1, -1).flatten(1, 2)  # (N, H·W, C), a view of ours
        # f.mT @ f / count, scaled inside the product: a scaled copy of the map would cost more.
        return torch.baddbmm(f.new_zeros(1), f.mT, f, beta=0, alpha=1 / count)  # (N, C, C)


def full_precision(f: Tensor) -> Tensor:
    """float16 and bfloat16 as float32; other types unchanged."""
    return f.float() if f.dtype in (torch.float16, torch.bfloat16) else f


def patch_gram(x: Tensor, n: int) -> Tensor:
    """Gram matrix of the n×n pixel patches of an image, divided as in :func:`gram_matrix`.

    Every patch that lies inside the image counts; its n·n pixels of each channel form one vector
    of C·n·n entries.

    Args:
        x: ``(N, C, H, W)``.
        n: side of the patch in pixels.

    Returns:
        ``(N, C·n·n, C·n·n)``.

    Raises:
        TypeError: ``x`` is not a floating-point tensor.
        ValueError: ``x`` is not of shape ``(N, C, H, W)``, or ``n`` is not a whole number from 1 to
            the shorter side.

    Source: Eq. (3); chapter 3 of the book.

    >>> patch_gram(torch.ones(1, 3, 8, 8), n=2).shape
    torch.Size([1, 12, 12])
    """
    check_map(x, name="x")
    n = check_whole_number(n, name="n", high=min(x.shape[2:]))
    patches = F.unfold(full_precision(x), n)  # (N, C·n·n, positions)
    return gram_matrix(patches[..., None])  # (N, C·n·n, C·n·n)


def window_grams(f: Tensor, windows: int) -> Tensor:
    """Gram matrices of the windows × windows parts of a feature map, row by row.

    The boundaries lie at ``round(i·H/windows)`` and ``round(i·W/windows)``, halves rounded up, so
    that the windows of two maps of one image cover the same parts of it, whatever their sides. Each
    matrix is divided by its own window's C·h·w.

    Args:
        f: feature map ``(N, C, H, W)``, its sides at least ``windows``.
        windows: windows per side.

    Returns:
        ``(N, windows², C, C)``; for ``windows=1`` ``(N, C, C)``, the matrix of :func:`gram_matrix`.

    >>> window_grams(torch.ones(1, 2, 5, 7), windows=2).shape
    torch.Size([1, 4, 2, 2])
    """
    check_map(f, name="f")
    windows = check_whole_number(windows, name="windows", high=min(f.shape[2:]))
    return _piece_grams(f, (0, 0), (f.shape[2], f.shape[3]), windows)


def _piece_grams(
    piece: Tensor, corner: tuple[int, int], sides: tuple[int, int], windows: int
) -> Tensor:
    """What the piece of a map at ``corner`` adds to the Gram matrices of the map's windows.

    ``sides`` are the whole map's. Summed over the pieces, the results are :func:`window_grams`.
    """
    if windows == 1:
        return _scaled_gram(piece, piece.shape[1] * sides[0] * sides[1])
    rows, columns = (pairwise(window_edges(side, windows)) for side in sides)
    grams = []
    for (top, bottom), (left, right) in product(rows, columns):
        count = piece.shape[1] * (bottom - top) * (right - left)
        inside = piece[  # (N, C, h, w), empty where the window and the piece do not meet
            :,
            :,
            max(top - corner[0], 0) : max(bottom - corner[0], 0),
            max(left - corner[1], 0) : max(right - corner[1], 0),
        ]
        grams.append(_scaled_gram(inside, count))
    return torch.stack(grams, dim=1)  # (N, windows², C, C)


def window_edges(side: int, windows: int) -> list[int]:
    """Where the windows of a side begin and end: ``round(i·side/windows)``, halves rounded up.

    >>> window_edges(10, 4)
    [0, 3, 5, 8, 10]
    """
    return [(2 * i * side + windows) // (2 * windows) for i in range(windows + 1)]


def feature_grams(
    x: Tensor, net: Backbone, layers: Iterable[str], *, windows: int = 1, tile: int | None = None
) -> Grams:
    """Gram matrices at each layer from one network pass; a large image's are summed over tiles.

    Arguments and result are those of :func:`dsd_lib.dsd`, but the values of ``x`` are not checked.

    >>> from dsd_lib import load_backbone
    >>> feature_grams(torch.rand(1, 3, 8, 8), load_backbone(), ["relu1_1"])["relu1_1"].shape
    torch.Size([1, 64, 64])
    """
    layers = net.check_layers(layers)
    tile = net.choose_tile(x, tile)
    if tile is None:
        maps = net(x, layers, check_range=False)
        return {layer: window_grams(f, windows) for layer, f in maps.items()}
    grams: Grams = {}
    for (top, left), pieces in net.tiles(x, layers, tile):
        for layer, piece in pieces.items():
            stride = net.stride(layer)
            corner = (top // stride, left // stride)
            part = _piece_grams(piece, corner, net.map_sides(x, layer), windows)
            grams[layer] = grams[layer] + part if layer in grams else part
    return grams
