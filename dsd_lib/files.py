"""Files that are written whole or not at all, and weights that are read without unpickling."""

import contextlib
import errno
import glob
import hashlib
import os
import stat
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import safetensors
import torch
from safetensors import SafetensorError
from torch import Tensor

IMAGE_SUFFIXES = {".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"}
is_folder = os.path.isdir  # unlike Path.is_dir, False for a path that cannot be looked up
ABANDONED = 600  # seconds after which an unfinished file is one that a killed process left


def write_atomically(path: str | Path, content: str | bytes) -> None:
    """Write a file so that a reader finds either the old content or the new, also after a crash.

    A write that fails leaves the old file and nothing else. What an earlier, killed process left
    unfinished is removed. A symbolic link stays a link, and a replaced file keeps its permissions.
    Anything that is not a regular file, such as a pipe, is written to directly.

    Raises:
        OSError: the file cannot be written; an existing file without write permission is kept.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_atomically(f"{folder}/a.txt", "whole")
    ...     Path(f"{folder}/a.txt").read_text()
    'whole'
    """
    path = Path(os.path.realpath(path))
    if isinstance(content, str):  # file names in it may not be UTF-8; they come out as they are
        content = content.encode(errors="surrogateescape")
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        mode = None
    if mode is not None and not stat.S_ISREG(mode):
        path.write_bytes(content)
        return
    if mode is not None and not (mode & 0o222 and os.access(path, os.W_OK)):
        raise PermissionError(errno.EACCES, "the file is read-only", str(path))

    stem = os.fsdecode(b"." + os.fsencode(path.name)[:200])  # names end at 255 bytes
    _remove_abandoned(path.parent, stem)
    part = path.with_name(f"{stem}.{os.getpid()}.part")
    try:
        with part.open("wb") as file:
            if mode is not None:
                part.chmod(stat.S_IMODE(mode))
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def _remove_abandoned(folder: Path, stem: str) -> None:
    for part in folder.glob(f"{glob.escape(stem)}.*.part"):
        with contextlib.suppress(OSError):  # another process may have removed it
            if time.time() - part.stat().st_mtime > ABANDONED:
                part.unlink()


def read_safetensors(
    path: str | Path, sha256: str | None = None, dtype: torch.dtype | None = torch.float32
) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors of a safetensors file, as ``dtype`` or, with None, as stored, and its metadata.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is not a safetensors file, is damaged, does not have the ``sha256`` expected,
            or holds NaN or infinity.

    >>> read_safetensors("no-such-weights.safetensors")
    Traceback (most recent call last):
    ...
    FileNotFoundError: no weights file at no-such-weights.safetensors
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no weights file at {path}")
    if sha256 is not None:
        with path.open("rb") as file:
            got = hashlib.file_digest(file, "sha256").hexdigest()
        if got != sha256:
            raise ValueError(f"{path}: expected sha256 {sha256}, got {got}; the file is damaged")
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            metadata = file.metadata() or {}
    except SafetensorError as error:
        raise ValueError(f"{path}: expected a safetensors file, got {error}") from error
    check_finite(tensors, path)
    if dtype is not None:
        tensors = {name: tensor.to(dtype) for name, tensor in tensors.items()}
    return tensors, metadata


def check_finite(tensors: Mapping[str, Tensor], path: str | Path) -> None:
    """Raise a ValueError that names the file unless all its weights are finite."""
    for name, tensor in tensors.items():
        if not tensor.isfinite().all():
            raise ValueError(f"{path}: expected finite weights, got NaN or infinity in {name}")


def check_shapes(
    tensors: Mapping[str, Tensor], expected: Mapping[str, Tensor], what: str, path: str | Path
) -> None:
    """Raise a ValueError that names the file unless tensors have the names and shapes expected.

    ``expected`` may be on the meta device, so that a file is compared before memory is taken for
    what it claims to be. ``what`` names the network.
    """
    wanted, got = ({k: tuple(v.shape) for k, v in t.items()} for t in (expected, tensors))
    if got != wanted:
        wrong = sorted(k for k in wanted.keys() | got.keys() if wanted.get(k) != got.get(k))
        names = ", ".join(wrong[:4])
        raise ValueError(f"{path}: expected the tensors of {what}, got others for {names}")


def data_folder(name: str) -> Path:
    """The folder of a data set, ``$DSD_DATA/<name>``.

    Raises:
        FileNotFoundError: the environment variable DSD_DATA is not set, or has no such folder.

    >>> data_folder("no-such-set")
    Traceback (most recent call last):
    ...
    FileNotFoundError: ...
    """
    root = os.environ.get("DSD_DATA")
    if not root:
        raise FileNotFoundError(
            f"the data set {name} is needed: set the environment variable DSD_DATA to the folder "
            f"that holds {name}/"
        )
    folder = Path(root) / name
    if not folder.is_dir():
        raise FileNotFoundError(f"the data set {name} is needed, and there is no folder {folder}")
    return folder


def list_images(
    folder: str | Path, on_error: Callable[[OSError], object] | None = None
) -> list[Path]:
    """The image files below a folder, sorted by path.

    Args:
        folder: it and its subfolders are searched; links to folders are not followed.
        on_error: called with the error of each subfolder that cannot be read; None raises it.

    Raises:
        FileNotFoundError: there are no images, or there is no such folder.
        OSError: a subfolder cannot be read.

    >>> list_images("no-such-folder")
    Traceback (most recent call last):
    ...
    FileNotFoundError: no images below no-such-folder
    """
    files: list[Path] = []
    errors: list[OSError] = []
    for parent, _, names in os.walk(folder, onerror=errors.append):
        files += [
            path for name in names if (path := Path(parent, name)).suffix.lower() in IMAGE_SUFFIXES
        ]
    errors = [error for error in errors if not isinstance(error, FileNotFoundError)]
    if errors and (on_error is None or not files):
        raise errors[0]
    if on_error is not None:
        for error in errors:
            on_error(error)
    if not files:
        raise FileNotFoundError(f"no images below {folder}")
    return sorted(files)
