"""Image files with everything they carry: colors, transparency, color profile.

:func:`dsd_lib.load_image` reads an image to be measured. This module reads one to be written again:
gray stays gray, and what is transparent stays transparent.
"""

import io
import os
import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageOps
from torch import Tensor

from dsd_lib.files import is_folder, list_images, write_atomically
from dsd_lib.images import MAX_PIXELS, image_from_array, open_image

GRAY_MODES = ("1", "L", "LA", "La")  # Pillow's, and those that begin with I;16
RGB_MODES = ("RGB", "RGBA", "RGBX", "RGBa", "P", "PA")
JPEG: dict[str, Any] = {"format": "JPEG", "quality": 95, "subsampling": 0}
TIFF: dict[str, Any] = {"format": "TIFF", "compression": "tiff_deflate"}
FORMATS: dict[str, dict[str, Any]] = {  # suffix -> how Pillow writes it
    ".png": {"format": "PNG"},
    ".jpg": JPEG,
    ".jpeg": JPEG,
    ".tif": TIFF,
    ".tiff": TIFF,
    ".webp": {"format": "WEBP", "lossless": True},
}


@dataclass(frozen=True)
class ImageFile:
    """An image and what its file says about it.

    Attributes:
        colors: ``(1, 3, H, W)`` in [0, 1]; the three channels of a gray image are equal.
        alpha: ``(1, 1, H, W)`` in [0, 1], 0 where the image is transparent; None if it is opaque.
        gray: whether the file is gray.
        bits: per channel, 8 or 16.
        profile: the ICC color profile.
        notes: what was left out in reading, in sentences.
    """

    colors: Tensor
    alpha: Tensor | None
    gray: bool
    bits: int
    profile: bytes | None
    notes: tuple[str, ...]


def read_image(path: str | Path, *, max_pixels: int = MAX_PIXELS) -> ImageFile:
    """Read an image file to write it again.

    The stored orientation is applied. Palettes and CMYK become RGB, 16-bit gray keeps its
    precision. Only the first of several frames is read.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is not a valid image file, as for :func:`dsd_lib.load_image`.

    >>> from importlib.resources import files
    >>> image = read_image(str(files("dsd_lib") / "pictures" / "coffee.webp"))
    >>> image.colors.shape, image.alpha, image.gray
    (torch.Size([1, 3, 240, 320]), None, False)
    """
    return open_image(path, lambda opened: _decode(opened, f"{path}: "), max_pixels)


def _decode(image: Image.Image, name: str) -> ImageFile:
    notes = []
    # A phone's MPO holds a preview beside the photo.
    if image.format != "MPO" and (frames := getattr(image, "n_frames", 1)) > 1:
        notes.append(f"{name}only the first of its {frames} frames is read")
    wide = image.mode.startswith("I;16")
    gray = wide or image.mode in GRAY_MODES
    if not wide and any(";16" in str(tile.args) for tile in getattr(image, "tile", ())):
        notes.append(f"{name}its 16 bits per channel are read as 8")
    profile = image.info.get("icc_profile")
    if not gray and image.mode not in RGB_MODES and profile:
        notes.append(f"{name}{image.mode} becomes RGB, and its color profile is left out")
        profile = None

    image = ImageOps.exif_transpose(image)
    alpha = None
    if wide:
        colors = np.asarray(image, dtype=np.uint16)
    elif image.has_transparency_data:
        both = np.array(image.convert("RGBA"))
        colors, alpha = both[..., :3], torch.from_numpy(both[..., 3] / np.float32(255))[None, None]
    else:
        colors = np.array(image.convert("RGB"))
    x = image_from_array(colors)
    return ImageFile(x, alpha, gray, 16 if wide else 8, profile or None, tuple(notes))


def fill_transparent(colors: Tensor, alpha: Tensor) -> Tensor:
    """Give every fully transparent pixel the color of what is visible around it.

    Such a pixel's stored color means nothing and often is black. The visible colors are averaged
    over ever larger squares until each pixel has one.

    Args:
        colors: ``(N, 3, H, W)``.
        alpha: ``(N, 1, H, W)``; 0 is transparent.

    >>> x = torch.tensor([0.8, 0.0]).expand(1, 3, 1, 2)
    >>> fill_transparent(x, torch.tensor([[[[1.0, 0.0]]]]))[0, 0]
    tensor([[0.8000, 0.8000]])
    """
    return torch.where(alpha > 0, colors, _spread(colors * alpha, alpha))


def _spread(weighted: Tensor, weight: Tensor) -> Tensor:
    here = weight > 0
    own = weighted / weight.where(here, 1)
    if here.all() or max(weight.shape[2:]) == 1:
        return own
    half = (F.avg_pool2d(t, 2, ceil_mode=True) for t in (weighted, weight))
    around = F.interpolate(_spread(*half), weight.shape[2:], mode="bilinear")
    return torch.where(here, own, around)


def result_dtype(image: ImageFile, path: Path) -> type[np.unsignedinteger]:
    """The pixel type of the result in ``path``, after checking that the format can hold it.

    Raises:
        ValueError: a format that is not written, or one without transparency for an image that has
            some.

    >>> x = torch.zeros(1, 3, 2, 2)
    >>> result_dtype(ImageFile(x, None, True, 16, None, ()), Path("a.png"))
    <class 'numpy.uint16'>
    """
    suffix = path.suffix.lower()
    check_suffix(path)
    if FORMATS[suffix] is JPEG and image.alpha is not None and image.alpha.min() < 1:
        raise ValueError(f"{path}: a JPEG file cannot hold transparency; write .png or .webp")
    return np.uint16 if image.bits == 16 and suffix in (".png", ".tif", ".tiff") else np.uint8


def check_suffix(path: Path) -> None:
    """Raise a ValueError unless images are written to files with this suffix.

    >>> check_suffix(Path("a.gif"))
    Traceback (most recent call last):
    ...
    ValueError: a.gif: images are written as .png .jpg .jpeg .tif .tiff .webp
    """
    if path.suffix.lower() not in FORMATS:
        raise ValueError(f"{path}: images are written as {' '.join(FORMATS)}")


def write_image(
    path: str | Path, pixels: np.ndarray, alpha: Tensor | None = None, profile: bytes | None = None
) -> None:
    """Write an image file; it appears whole or not at all. Its folder is created if missing.

    JPEG has quality 95 and full color resolution; the other formats are lossless.

    Args:
        path: the file; its suffix is one of ``FORMATS``.
        pixels: ``(H, W)`` gray, 8 or 16 bits, or ``(H, W, 3)`` RGB, 8 bits.
        alpha: ``(1, 1, H, W)`` in [0, 1], for 8-bit pixels. A JPEG file is written without it.
        profile: an ICC color profile.

    Raises:
        ValueError: another suffix, or an image too large for the format.
        OSError: the file cannot be written.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_image(f"{folder}/a.png", np.zeros((2, 3), np.uint8), torch.ones(1, 1, 2, 3))
    ...     Image.open(f"{folder}/a.png")
    <PIL.PngImagePlugin.PngImageFile image mode=LA size=3x2 ...>
    """
    path = Path(path)
    check_suffix(path)
    options = FORMATS[path.suffix.lower()]
    image = Image.fromarray(pixels)
    if alpha is not None and options is not JPEG:
        opacity = (alpha[0, 0] * 255).round().byte().cpu().numpy()
        image.putalpha(Image.fromarray(opacity))
    file = io.BytesIO()
    try:
        image.save(file, icc_profile=profile, **options)
    except (OSError, ValueError, RuntimeError, struct.error) as error:
        raise ValueError(f"{path}: the image cannot be written: {error}") from error
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, file.getvalue())


def plan_results(
    sources: Iterable[str | Path],
    ending: str,
    output: str | None = None,
    on_error: Callable[[OSError], object] | None = None,
) -> list[tuple[Path, Path]]:
    """Which image becomes which file.

    Args:
        sources: image files, and folders, which mean all images below them except those that by
            their names are results of their neighbors.
        ending: goes between an image's name and ``.png`` if the result is placed next to it.
        output: a folder for the results, which keep their names up to the suffix, and the
            subfolders of the folder they came from; or, for one image, a file. A name with a suffix
            is a file, unless there is such a folder or it ends with a slash.
        on_error: called with the error of each subfolder that cannot be read; None raises it.

    Returns:
        (image, result), one pair for each image.

    Raises:
        FileNotFoundError: a folder without images, or a file in a folder that does not exist.
        ValueError: two images would become the same file, or a result would overwrite one of the
            images; a file for several images; a suffix that is not written.

    >>> plan_results(["a/cat.jpg"], "_sr"), plan_results(["a/cat.jpg"], "_sr", "out")
    ([(PosixPath('a/cat.jpg'), PosixPath('a/cat_sr.png'))],
     [(PosixPath('a/cat.jpg'), PosixPath('out/cat.png'))])
    """
    as_file = output is not None and _names_a_file(output)
    pairs: list[tuple[Path, Path]] = []
    for source in map(Path, sources):
        if is_folder(source):
            found, folder = list_images(source, on_error), source
        else:
            found, folder = [source], source.parent
        beside = {path: path.with_name(f"{path.stem}{ending}.png") for path in found}
        earlier = set(beside.values())
        for path in (path for path in found if path not in earlier):
            if output is not None:
                inside = Path(output, path.relative_to(folder)).with_suffix(".png")
                result = Path(output) if as_file else inside
            else:
                result = beside[path]
            pairs.append((path, result))
    pairs = list(dict.fromkeys(pairs))  # an image may be given twice
    if as_file and len(pairs) > 1:
        raise ValueError(f"{output}: one file for {len(pairs)} images; give a folder")

    originals = {_identity(path): path for path, _ in pairs}
    becoming: dict[object, Path] = {}
    for path, result in pairs:
        key = _identity(result)
        if key in originals:
            raise ValueError(f"{path}: its result would overwrite {originals[key]}")
        if key in becoming:
            raise ValueError(f"{becoming[key]} and {path}: both would become {result}")
        becoming[key] = path
    return pairs


def _names_a_file(output: str) -> bool:
    path = Path(output)
    if is_folder(path) or output.endswith(("/", "\\")):
        return False
    if path.suffix or os.path.lexists(path):
        check_suffix(path)
        if not is_folder(Path(os.path.realpath(path)).parent):
            raise FileNotFoundError(f"{path}: there is no folder {path.parent} to write it to")
        return True
    return False


def _identity(path: Path) -> object:
    """Equal for two names of one file."""
    try:
        status = path.stat()
        return status.st_dev, status.st_ino
    except OSError:  # a name that is free, too long, or leads in a circle
        return os.path.realpath(path)
