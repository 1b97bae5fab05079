"""Grid artifacts of networks that enlarge: error with the period of the enlargement (Fig. 10).

A network that makes ``factor × factor`` pixels of each pixel it is given computes each of them with
its own weights. Where these disagree, a pattern of that period covers the image. Its energy
sits at the multiples of ``1/factor`` cycles per pixel, and close to them where the image's
content makes the pattern stronger, weaker or turns its sign.
"""

import numbers

import torch
from torch import Tensor

from dsd_lib.checks import check_pair
from dsd_lib.quality.luma import luma

_SPACING = 16  # bins between two grid frequencies; a block's side is that many times the factor
_APART = 3  # bins from a grid frequency to the neighbors it is compared with
_ROUNDING = 1 / 12 / 255**2  # energy of rounding to 8 bits, at every frequency


def error_spectrum(prediction: Tensor, target: Tensor, factor: int = 4) -> Tensor:
    """Average power spectrum of the luma's error, over blocks that overlap by half.

    Blocks have ``16 * factor`` pixels a side and fade out to their borders (Hann's window).

    Args:
        prediction: restored images ``(N, 3, H, W)`` in [0, 1].
        target: the true ones, of the same shape.
        factor: what the network enlarges by, 2 or more.

    Returns:
        ``(N, 16 * factor, 16 * factor)``, frequency 0 first as in ``torch.fft.fft2``. White noise
        of variance v has about v everywhere.

    Raises:
        TypeError, ValueError: the two are not valid image batches of one shape, their sides are
            below ``16 * factor``, or the factor is not a whole number above 1.

    Source: Fig. 10; chapter 8 of the book.

    >>> error_spectrum(torch.rand(1, 3, 96, 80), torch.rand(1, 3, 96, 80)).shape
    torch.Size([1, 64, 64])
    """
    if isinstance(factor, bool) or not isinstance(factor, numbers.Integral) or factor < 2:
        raise ValueError(f"factor: expected a whole number of at least 2, got {factor!r}")
    side = _SPACING * int(factor)
    check_pair(prediction, target, min_side=side, why="; a block must fit", check_range=True)
    error = (luma(prediction) - luma(target)).double()
    blocks = error.unfold(2, side, side // 2).unfold(3, side, side // 2).flatten(1, 3)
    window = torch.hann_window(side, dtype=error.dtype, device=error.device)
    window = torch.outer(window, window)
    power = torch.fft.fft2(blocks * window).abs().square().mean(dim=1)
    return (power / window.square().sum()).to(prediction.dtype)


def grid_energy(prediction: Tensor, target: Tensor, factor: int = 4) -> Tensor:
    """How many times as much error there is at the grid's frequencies as next to them.

    At each multiple of ``1/factor`` cycles per pixel (15 of them for a factor of 4, without
    frequency 0), the error's energy within one bin of it is divided by the energy three bins away;
    the result is the geometric mean of these ratios. What is not locked to a grid, such as blur,
    noise or ringing, has a smooth spectrum and leaves the value near 1, whatever its strength.
    Texture of the target that itself repeats every few pixels can move it, for all methods alike.

    A bin is ``1/(16 * factor)`` cycles per pixel, so that a pattern counts that changes its
    strength or sign over some ten pixels or more. Means of each of the ``factor²`` positions over
    the whole image would miss one that changes its sign.

    Args:
        prediction: restored images ``(N, 3, H, W)`` in [0, 1].
        target: the true ones, of the same shape.
        factor: what the network enlarges by, 2 or more.

    Returns:
        ``(N,)``; about 1 without a grid, higher with one. Exactly 1 for two equal images.

    Raises:
        TypeError, ValueError: as in :func:`error_spectrum`.

    Source: Fig. 10; chapter 8 of the book.

    >>> from dsd_lib import sample_images
    >>> y = sample_images()["cat"] * 0.9
    >>> grid = torch.tensor([[0.05, 0.0], [0.0, 0.0]]).repeat(y.shape[2] // 2, y.shape[3] // 2)
    >>> grid_energy(y + grid, y, factor=2) > 100
    tensor([True])
    >>> noise = 0.05 * torch.rand(y.shape, generator=torch.Generator().manual_seed(0))
    >>> grid_energy(y + noise, y, factor=2).round(decimals=1)
    tensor([1.])
    """
    power = error_spectrum(prediction, target, factor).double() + _ROUNDING
    bins = torch.fft.fftfreq(len(power[0]), 1 / len(power[0]), device=power.device).abs()
    distance = torch.maximum(bins[:, None], bins)  # from frequency 0
    ratios = []
    for i in range(factor):
        for j in range(factor):
            if i or j:
                around = power.roll((-_SPACING * i, -_SPACING * j), dims=(1, 2))
                at = around[:, distance <= 1].mean(dim=1)
                # The geometric mean: then a spectrum that falls by a power law cancels.
                next_to = around[:, distance == _APART].log().mean(dim=1)
                ratios.append(at.log() - next_to)
    return torch.stack(ratios, dim=1).mean(dim=1).exp().to(prediction.dtype)
