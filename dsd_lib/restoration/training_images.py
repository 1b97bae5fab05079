"""Image files that crops are cut from, decoded once into one file that all processes share."""

import hashlib
import os
import shutil
import zlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from dsd_lib.extras import needs
from dsd_lib.images import load_image, to_array

with needs("restoration"):
    from tqdm import tqdm

CHECKSUM = 4  # bytes at the end of the cache
CHUNK = 1 << 24  # bytes that are checked at once
_ORIENTATION = 0x0112  # the EXIF tag; from 5 on the image lies on its side


class TrainingImages:
    """Image files from which crops are cut without decoding the file each time.

    With ``cache``, every image is decoded once into one flat file that is mapped into memory. The
    system keeps in memory what fits, several processes share it, and a crop reads its own rows
    only: the 400 photos of BSDS500 take 0.2 GB, the 800 of DIV2K 7 GB, which few machines would
    hold in the memory of each process. A checksum ends the file; one that is cut or damaged is made
    anew. Without, a crop decodes its file: for data sets whose decoded size (REDS: 130 GB) no disk
    has room for, and then the decoding threads matter.

    Args:
        files: the images.
        cache: a folder for the flat file, made if need be; files that change give a new one.
        min_side: an error names the first image with a shorter side.
        quiet: no progress bar.

    Attributes:
        files: the images.
        sides: of each, (height, width).

    Raises:
        FileNotFoundError: no files, or one that is not there.
        ValueError: an image too small.
        OSError: no room on the disk for the flat file.
    """

    def __init__(
        self,
        files: Sequence[Path],
        cache: Path | None = None,
        *,
        min_side: int = 1,
        quiet: bool = False,
    ) -> None:
        self.files = [Path(file) for file in files]
        if not self.files:
            raise FileNotFoundError("no images to train on")
        with ThreadPoolExecutor() as pool:
            self.sides = list(pool.map(_sides, self.files))
        for file, sides in zip(self.files, self.sides, strict=True):
            if min(sides) < min_side:
                raise ValueError(
                    f"{file}: expected sides of at least {min_side} pixels, "
                    f"got {sides[0]} x {sides[1]}"
                )
        self._offsets = np.cumsum([0, *(3 * h * w for h, w in self.sides)])
        self._bytes = None if cache is None else self._cached(cache, quiet)

    def __len__(self) -> int:
        return len(self.files)

    @property
    def decoded_bytes(self) -> int:
        """The size of all pixels."""
        return int(self._offsets[-1])

    @cached_property
    def fingerprint(self) -> str:
        """A name for the files, made of their names, sizes and times of change."""
        found = hashlib.sha256()
        for file in self.files:
            stat = file.stat()
            found.update(f"{file.name} {stat.st_size} {stat.st_mtime_ns}\n".encode())
        return found.hexdigest()[:16]

    def crop(self, index: int, top: int, left: int, height: int, width: int) -> Tensor:
        """A part of one image, ``(3, height, width)``, 8 bits."""
        if self._bytes is None:
            image = to_array(load_image(self.files[index]))  # (H, W, 3)
        else:
            flat = self._bytes[self._offsets[index] : self._offsets[index + 1]]
            image = flat.reshape(*self.sides[index], 3)
        part = image[top : top + height, left : left + width]
        return torch.from_numpy(np.ascontiguousarray(part.transpose(2, 0, 1)))

    def _cached(self, cache: Path, quiet: bool) -> np.ndarray:
        """The pixels of all images, one after the other, from a file that is made if need be."""
        folders = "\n".join(str(file.resolve().parent) for file in self.files)
        name = hashlib.sha256(f"{self.fingerprint}\n{folders}".encode()).hexdigest()[:16]
        path = cache / f"images_{name}.u8"
        if not self._is_whole(path):
            self._decode_all(path, quiet)
        return np.memmap(path, np.uint8, "r")

    def _is_whole(self, path: Path) -> bool:
        """Whether the file has the size and the checksum that it had when it was made."""
        if not path.is_file() or path.stat().st_size != self.decoded_bytes + CHECKSUM:
            return False
        flat = np.memmap(path, np.uint8, "r")
        return np.array_equal(_checksum(flat[:-CHECKSUM]), flat[-CHECKSUM:])

    def _decode_all(self, path: Path, quiet: bool) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(path.parent).free
        if self.decoded_bytes > free:
            raise OSError(
                f"{path.parent}: expected {self.decoded_bytes / 1e9:.1f} GB of room for the "
                f"decoded images, got {free / 1e9:.1f} GB; give another folder, or none"
            )
        part = path.with_name(f"{path.name}.{os.getpid()}.part")
        flat = np.memmap(part, np.uint8, "w+", shape=(self.decoded_bytes + CHECKSUM,))

        def decode(index: int) -> None:
            image = to_array(load_image(self.files[index]))
            flat[self._offsets[index] : self._offsets[index + 1]] = image.reshape(-1)

        try:
            with ThreadPoolExecutor() as pool:
                work = pool.map(decode, range(len(self)))
                list(tqdm(work, "images decoded", len(self), disable=quiet))
            flat[-CHECKSUM:] = _checksum(flat[:-CHECKSUM])
            flat.flush()
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)


def _checksum(flat: np.ndarray) -> np.ndarray:
    """CRC-32 as four bytes."""
    found = 0
    for start in range(0, len(flat), CHUNK):
        found = zlib.crc32(flat[start : start + CHUNK].data, found)
    return np.frombuffer(found.to_bytes(CHECKSUM, "little"), np.uint8)


def _sides(file: Path) -> tuple[int, int]:
    """Height and width of an image as :func:`load_image` turns it, from the file's head."""
    if not file.is_file():
        raise FileNotFoundError(f"no image at {file}")
    with Image.open(file) as image:
        width, height = image.size
        lies = image.getexif().get(_ORIENTATION, 1) >= 5
    return (width, height) if lies else (height, width)
