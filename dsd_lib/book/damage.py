"""Ways to damage an image, for the experiments of the chapters."""

import io

import numpy as np
import torch
from PIL import Image
from torch import Tensor

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


def jpeg(x: Tensor, quality: int) -> Tensor:
    """The image as it is after storing it as JPEG.

    Args:
        x: ``(1, 3, H, W)`` in [0, 1].
        quality: 1 to 95, as Pillow counts it.
    """
    buffer = io.BytesIO()
    Image.fromarray(to_array(x)).save(buffer, "JPEG", quality=quality)
    return image_from_array(np.array(Image.open(buffer))).to(x)
