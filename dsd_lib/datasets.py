"""Where data sets lie, and the pictures in them."""

import os
from pathlib import Path

PICTURE_SUFFIXES = {".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"}


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


def list_pictures(folder: str | Path) -> list[Path]:
    """The picture files below a folder, sorted by path.

    Raises:
        FileNotFoundError: there are none.

    >>> list_pictures("no-such-folder")
    Traceback (most recent call last):
    ...
    FileNotFoundError: no pictures below no-such-folder
    """
    files = sorted(p for p in Path(folder).rglob("*") if p.suffix.lower() in PICTURE_SUFFIXES)
    if not files:
        raise FileNotFoundError(f"no pictures below {folder}")
    return files
