"""Full-reference measures by others, for comparison: PSNR, SSIM, MS-SSIM, LPIPS and its relative.

All take ``x`` and ``y`` of shape ``(N, 3, H, W)`` in [0, 1] and give ``(N,)``. The SSIMs and LPIPS
come from torchmetrics. :mod:`dsd_lib.quality.measures` says what each of them promises.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dsd_lib.checks import check_pair
from dsd_lib.extras import needs
from dsd_lib.gram import full_precision
from dsd_lib.quality.shift_tolerant import load_shift_tolerant_lpips

if TYPE_CHECKING:
    from torchmetrics.image.lpip import LearnedPerceptualImagePatchSimilarity
from dsd_lib.quality.luma import luma

_WINDOW = 11  # pixels; SSIM's Gaussian window with a standard deviation of 1.5
_STRIP = 512  # rows that PSNR takes at a time
_MS_SSIM_SIDE = 176  # pixels; below, the window does not fit into the fifth scale


def psnr(x: Tensor, y: Tensor) -> Tensor:
    """Peak signal-to-noise ratio over the three color channels, in dB.

    Args:
        x: images ``(N, 3, H, W)`` in [0, 1].
        y: images of the same shape.

    Returns:
        ``(N,)``; higher is more alike, infinite for equal images.

    Raises:
        TypeError, ValueError: ``x`` or ``y`` is not a valid image batch, or they differ in shape.

    Source: chapter 5 of the book.

    >>> x = torch.full((1, 3, 8, 8), 0.5)
    >>> psnr(x + 0.1, x)
    tensor([20.0000])
    """
    _check(x, y)
    return _psnr(x, y)


def psnr_y(x: Tensor, y: Tensor) -> Tensor:
    """PSNR of the luma, as super-resolution papers report it. Otherwise as :func:`psnr`.

    Source: chapter 5 of the book.

    >>> psnr_y(torch.full((1, 3, 8, 8), 0.6), torch.full((1, 3, 8, 8), 0.5))
    tensor([21.3219])
    """
    _check(x, y)
    return _psnr(x, y, luma)


def ssim(x: Tensor, y: Tensor) -> Tensor:
    """Structural similarity as in the authors' code: per color channel, edges padded with 0.

    An 11×11 Gaussian window (standard deviation 1.5), K = (0.01, 0.03), averaged over every
    position of every channel. Where the window hangs over the border it sees zeros in both
    images, so the value is a little higher than that of :func:`ssim_y`, which has no border.
    Arguments and errors are those of :func:`psnr`.

    Returns:
        ``(N,)`` in [-1, 1]; higher is more alike.

    Source: Wang et al. 2004; chapter 5 of the book.

    >>> x = torch.rand(1, 3, 32, 32)
    >>> ssim(x, x)
    tensor([1.])
    """
    _check(x, y)
    return _ssim(x, y, zero_padding=True)


def ssim_y(x: Tensor, y: Tensor) -> Tensor:
    """Structural similarity of the luma, only where the window fits (Wang et al.).

    Arguments are those of :func:`psnr`, result that of :func:`ssim`. Sides below 11 pixels are an
    error.

    Source: Wang et al. 2004; chapter 5 of the book.

    >>> x = torch.rand(1, 3, 32, 32)
    >>> ssim_y(x, x)
    tensor([1.])
    """
    _check(x, y, min_side=_WINDOW, why="; the window of SSIM must fit")
    return _ssim(luma(x), luma(y), zero_padding=False)


def ms_ssim(x: Tensor, y: Tensor) -> Tensor:
    """Multi-scale structural similarity of the luma, five scales.

    Arguments are those of :func:`psnr`; sides below 176 pixels are an error.

    Returns:
        ``(N,)`` in [0, 1]; higher is more alike.

    Source: Wang et al. 2003; chapter 5 of the book.

    >>> x = torch.rand(1, 3, 176, 176)
    >>> ms_ssim(x, x)
    tensor([1.])
    """
    with needs("quality"):
        _check(
            x, y, min_side=_MS_SSIM_SIDE, why="; the window of SSIM must fit into the fifth scale"
        )
    return _ms_ssim(luma(x), luma(y))


def lpips(x: Tensor, y: Tensor) -> Tensor:
    """LPIPS (Zhang et al. 2018) with the AlexNet trunk, by torchmetrics.

    torchmetrics carries the learned heads; the trunk is torchvision's AlexNet, downloaded once.
    Arguments are those of :func:`psnr`.

    Returns:
        ``(N,)``, 0 or more; lower is more alike.

    Raises:
        FileNotFoundError: the trunk is not available; the text says where to put the file.
        TypeError, ValueError: ``x`` or ``y`` is not a valid image batch, or they differ in shape.

    Source: Table 1; chapter 5 of the book.
    """
    _check(x, y, min_side=64, why="; AlexNet needs them")
    metric = _lpips_metric(x.device)
    value = metric(x, y).reshape(-1)
    metric.reset()  # a torchmetrics metric keeps what it has seen
    return value


def shift_tolerant_lpips(x: Tensor, y: Tensor) -> Tensor:
    """Shift-tolerant LPIPS (Ghildyal and Liu 2022), AlexNet variant.

    LPIPS with antialiased pooling. The package ``stlpips-pytorch`` has the weights of trunk and
    heads in a file, so nothing is downloaded. Arguments are those of :func:`psnr`.

    Returns:
        ``(N,)``, 0 or more; lower is more alike.

    Raises:
        ImportError: the package is not installed.
        ValueError: its file is damaged.
        TypeError, ValueError: ``x`` or ``y`` is not a valid image batch, or they differ in shape.

    Source: chapter 5 of the book.
    """
    _check(x, y, min_side=64, why="; its AlexNet needs them")
    # Its images are in [-1, 1].
    return _shift_tolerant_network(x.device)(2 * x - 1, 2 * y - 1).reshape(-1)


def _check(x: Tensor, y: Tensor, min_side: int = 1, why: str = "") -> None:
    check_pair(x, y, min_side=min_side, why=why, check_range=True)


def _psnr(x: Tensor, y: Tensor, view: Callable[[Tensor], Tensor] = lambda z: z) -> Tensor:
    """PSNR of what ``view`` shows of the images, strip by strip: large images need no copy."""
    error = x.new_zeros(len(x), dtype=full_precision(x[:0]).dtype)  # (N,)
    count = 0
    for strips in zip(x.split(_STRIP, dim=2), y.split(_STRIP, dim=2), strict=True):
        a, b = (view(full_precision(strip)) for strip in strips)
        error = error + (a - b).square().sum(dim=(1, 2, 3))
        count += a[0].numel()
    return (-10 * torch.log10(error / count)).to(x.dtype)


@torch.autocast("cpu", enabled=False)  # in bfloat16 the variances would be wrong by a tenth
@torch.autocast("cuda", enabled=False)
def _ssim(x: Tensor, y: Tensor, zero_padding: bool) -> Tensor:
    from torchmetrics.functional.image import structural_similarity_index_measure

    half = _WINDOW // 2
    pad = 2 * half if zero_padding else 0
    a, b = (F.pad(full_precision(z), (pad,) * 4) for z in (x, y))
    _, full = structural_similarity_index_measure(
        a, b, data_range=1.0, reduction="none", return_full_image=True
    )
    # torchmetrics mirrors the image at its border; what that reaches is cut off.
    cut = pad if zero_padding else half
    return full[:, :, cut:-cut, cut:-cut].mean(dim=(1, 2, 3)).to(x.dtype)


@torch.autocast("cpu", enabled=False)
@torch.autocast("cuda", enabled=False)
def _ms_ssim(x: Tensor, y: Tensor) -> Tensor:
    from torchmetrics.functional.image import multiscale_structural_similarity_index_measure

    # "relu": where the two are as good as opposite, a negative factor has no root and counts as 0.
    value = multiscale_structural_similarity_index_measure(
        full_precision(x), full_precision(y), data_range=1.0, reduction="none", normalize="relu"
    )
    return value.reshape(-1).to(x.dtype)


@lru_cache(maxsize=2)
def _lpips_metric(device: torch.device) -> "LearnedPerceptualImagePatchSimilarity":
    try:
        from torchmetrics.image.lpip import LearnedPerceptualImagePatchSimilarity

        metric = LearnedPerceptualImagePatchSimilarity("alex", reduction="none", normalize=True)
        return metric.to(device)
    except Exception as error:  # no torchvision, no network, a wrong hash: the file is what matters
        raise FileNotFoundError(
            f"LPIPS needs torchvision's AlexNet, which is not available ({error}). Put "
            f"alexnet-owt-7be5be79.pth in {torch.hub.get_dir()}/checkpoints, or use "
            "shift_tolerant_lpips, whose package carries its weights."
        ) from error


@lru_cache(maxsize=2)
def _shift_tolerant_network(device: torch.device) -> nn.Module:
    return load_shift_tolerant_lpips().to(device)
