"""Files that are written whole or not at all, and weights that are read without unpickling."""

import os
from pathlib import Path

import safetensors
from safetensors import SafetensorError
from torch import Tensor


def write_atomically(path: str | Path, content: str | bytes) -> None:
    """Write a file so that whoever reads it, whenever, finds the old one or the new one.

    Also after a crash; a write that fails leaves the old file and nothing beside it. A link stays a
    link. What is no file, such as a pipe, is written to as it is.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_atomically(f"{folder}/a.txt", "whole")
    ...     Path(f"{folder}/a.txt").read_text()
    'whole'
    """
    path = Path(path).resolve()
    if isinstance(content, str):  # file names in a text may be no UTF-8; they come out as they are
        content = content.encode(errors="surrogateescape")
    if path.exists() and not path.is_file():
        path.write_bytes(content)
        return
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with part.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def read_safetensors(path: str | Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors of a safetensors file, in float32, and its metadata.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is not a safetensors file, is damaged, or holds NaN or infinity.

    >>> read_safetensors("no-such-weights.safetensors")
    Traceback (most recent call last):
    ...
    FileNotFoundError: no weights file at no-such-weights.safetensors
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no weights file at {path}")
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name).float() for name in file.keys()}  # noqa: SIM118
            metadata = file.metadata() or {}
    except SafetensorError as error:
        raise ValueError(f"{path}: expected a safetensors file, got {error}") from error
    for name, tensor in tensors.items():
        if not tensor.isfinite().all():
            raise ValueError(f"{path}: expected finite weights, got NaN or infinity in {name}")
    return tensors, metadata
