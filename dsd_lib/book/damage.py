"""Ways to damage an image, for the experiments of the chapters."""

import io

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from dsd_lib.images import image_from_array, to_array
from dsd_lib.resize import imresize


def noise(x: Tensor, deviation: float, seed: int = 0) -> Tensor:
    """White Gaussian noise, clamped to [0, 1].

    Args:
        x: ``(N, 3, H, W)`` in [0, 1].
        deviation: of the noise, in the same units.
        seed: of its generator.

    >>> noise(torch.full((1, 3, 64, 64), 0.5), 0.1).std()
    tensor(0.1...)
    """
    n = torch.randn(x.shape, generator=torch.Generator().manual_seed(seed)).to(x)
    return (x + deviation * n).clamp(0, 1)


def blur(x: Tensor, factor: float = 2) -> Tensor:
    """The image shrunk by a factor and enlarged again, clamped to [0, 1].

    Args:
        x: ``(N, 3, H, W)`` in [0, 1].
        factor: above 1; need not be a whole number.
    """
    return imresize(imresize(x, scale=1 / factor), size=(x.shape[2], x.shape[3])).clamp(0, 1)


def gaussian_blur(x: Tensor, sigma: float) -> Tensor:
    """The image blurred by a Gaussian, with mirrored borders.

    Args:
        x: ``(N, 3, H, W)`` in [0, 1], with sides longer than ``4 * sigma``.
        sigma: standard deviation of the Gaussian in pixels, 0 or more.

    >>> gaussian_blur(torch.ones(1, 3, 16, 16), 2.0).mean()
    tensor(1.)
    """
    reach = int(4 * sigma + 0.5)
    if reach == 0:
        return x
    taps = torch.arange(-reach, reach + 1, dtype=x.dtype, device=x.device)
    taps = taps.div(sigma).square().mul(-0.5).exp()
    taps = (taps / taps.sum()).expand(3, 1, 1, -1)  # (3, 1, 1, 2 * reach + 1)
    x = functional.pad(x, (reach,) * 4, mode="reflect")
    return functional.conv2d(functional.conv2d(x, taps, groups=3), taps.mT, groups=3)


def contrast(x: Tensor, factor: float) -> Tensor:
    """Each image with another contrast, around its own mean brightness.

    Args:
        x: ``(N, 3, H, W)`` in [0, 1].
        factor: 0 to 1, so that the result stays in [0, 1].

    >>> contrast(torch.tensor([0.0, 1.0]).expand(1, 3, 2, 2), 0.5)[0, 0, 0]
    tensor([0.2500, 0.7500])
    """
    mean = x.mean(dim=(1, 2, 3), keepdim=True)  # (N, 1, 1, 1)
    return mean + factor * (x - mean)


def jpeg(x: Tensor, quality: int) -> Tensor:
    """The image as it is after storing it as JPEG.

    Args:
        x: ``(1, 3, H, W)`` in [0, 1].
        quality: 1 to 95, as Pillow counts it.
    """
    buffer = io.BytesIO()
    Image.fromarray(to_array(x)).save(buffer, "JPEG", quality=quality)
    return image_from_array(np.array(Image.open(buffer))).to(x)
