"""Images in and out, as float tensors ``(N, 3, H, W)`` in [0, 1]."""

from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from dsd_lib.checks import check_images

Decoded = TypeVar("Decoded")
MAX_PIXELS = 80_000_000  # what load_image decodes at most unless told otherwise


def image_from_array(array: np.ndarray) -> Tensor:
    """An image held in a NumPy array, as a tensor ``(1, 3, H, W)`` in [0, 1].

    Args:
        array: ``(H, W)`` gray or ``(H, W, 3)`` RGB; 8-bit or 16-bit unsigned integers, which are
            divided by 255 or 65535, or floats already in [0, 1].

    Raises:
        TypeError: not an array, or of another number type.
        ValueError: another shape, or floats outside [0, 1].

    >>> image_from_array(np.full((2, 4), 51, dtype=np.uint8))[0, :, 0, 0]
    tensor([0.2000, 0.2000, 0.2000])
    """
    if not isinstance(array, np.ndarray):
        raise TypeError(f"expected a NumPy array, got {type(array).__name__}")
    if array.ndim == 2:
        array = np.broadcast_to(array[..., None], (*array.shape, 3))
    if array.ndim != 3 or array.shape[2] != 3:
        raise ValueError(f"expected an array of shape (H, W) or (H, W, 3), got {array.shape}")
    if array.dtype in (np.uint8, np.uint16):
        one = np.iinfo(array.dtype).max
    elif np.issubdtype(array.dtype, np.floating):
        one = 1
    else:
        raise TypeError(f"expected uint8, uint16 or floating-point values, got {array.dtype}")
    planes = np.empty((3, *array.shape[:2]), np.float32)  # no copy but the result: images are large
    np.divide(array.transpose(2, 0, 1), one, out=planes, dtype=np.float32, casting="same_kind")
    x = torch.from_numpy(planes)[None]  # (1, 3, H, W)
    check_images(x, name="array")
    return x


def to_array(x: Tensor) -> np.ndarray:
    """The first image of a batch as an ``(H, W, 3)`` uint8 array, clamped and rounded.

    >>> to_array(torch.full((1, 3, 2, 2), 0.5)).shape
    (2, 2, 3)
    """
    check_images(x, check_range=False)
    return (x[0].detach().clamp(0, 1) * 255).round().byte().permute(1, 2, 0).cpu().numpy()


def load_image(path: str | Path, *, max_pixels: int = MAX_PIXELS) -> Tensor:
    """Read an image file (PNG, JPEG, WebP, TIFF, …) as a tensor ``(1, 3, H, W)`` in [0, 1].

    The orientation stored by a camera is applied. Gray and palette images become RGB, 16-bit gray
    keeps its precision, and a transparent image is placed on white. Color profiles are not applied.

    Args:
        path: the file.
        max_pixels: an image whose header declares more is rejected before it is decoded. Above 178
            megapixels Pillow rejects it as well, unless you raise its ``Image.MAX_IMAGE_PIXELS``.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is not an image file, is damaged, has 32 bits per channel, or more than
            ``max_pixels``.

    >>> load_image("no-such-image.png")
    Traceback (most recent call last):
    ...
    FileNotFoundError: no image at no-such-image.png
    """
    return image_from_array(open_image(path, _decode, max_pixels))  # Pillow's copy is gone by then


def open_image(
    path: str | Path, decode: Callable[[Image.Image], Decoded], max_pixels: int = MAX_PIXELS
) -> Decoded:
    """What ``decode`` makes of an image file that Pillow has opened; errors of :func:`load_image`.

    >>> from importlib.resources import files
    >>> open_image(str(files("dsd_lib") / "pictures" / "cat.webp"), lambda image: image.size)
    (384, 256)
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no image at {path}")
    try:
        with Image.open(path) as image:
            width, height = image.size
            if image.mode in ("I", "F"):  # Pillow would clip these at 255 without a word
                raise ValueError(
                    f"expected 8 or 16 bits a channel, got 32 (Pillow's mode {image.mode})"
                )
            if width * height <= max_pixels:
                return decode(image)
    except UnidentifiedImageError as error:
        raise ValueError(f"{path}: expected an image file, got another kind") from error
    except Exception as error:  # Pillow raises a dozen types on truncated or broken data
        raise ValueError(f"{path}: the image cannot be read: {error}") from error
    raise ValueError(
        f"{path}: expected at most max_pixels={max_pixels}, got {width} x {height} pixels"
    )


def _decode(image: Image.Image) -> np.ndarray:
    """``(H, W)`` or ``(H, W, 3)``, 8 or 16 bits, of any image that Pillow has opened."""
    ImageOps.exif_transpose(image, in_place=True)  # in place: a copy of a large one would cost
    if image.mode.startswith("I;16"):
        return np.asarray(image, dtype=np.uint16)
    if image.has_transparency_data:
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image.convert("RGBA"))
    return np.asarray(image if image.mode == "RGB" else image.convert("RGB"))


def sample_images() -> dict[str, Tensor]:
    """The embedded sample images, free to reuse: name -> ``(1, 3, H, W)`` in [0, 1].

    Their origins and licenses are in ``pictures/README.md``.

    >>> {name: tuple(x.shape[2:]) for name, x in sample_images().items()}["coffee"]
    (240, 320)
    """
    folder = resources.files("dsd_lib") / "pictures"
    files = sorted((f for f in folder.iterdir() if f.name.endswith(".webp")), key=lambda f: f.name)
    images = {}
    for file in files:
        with resources.as_file(file) as path:
            images[path.stem] = load_image(path)
    return images
