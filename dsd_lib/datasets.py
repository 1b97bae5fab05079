"""Where data sets lie, the pictures in them, and what people said about the pictures.

The readers at the end take a data set's folder as its authors lay it out and return one table
shape, :class:`RatedSet`. They are strict. A table that lacks a column, a row that comes twice, a
score that is no number, a picture that is missing or is none: each is an error that names the file
and the row, and no row is left out.
"""

import csv
import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, UnidentifiedImageError

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


@dataclass(frozen=True)
class RatedPicture:
    """A picture and what people said about it.

    Attributes:
        picture: the file that was rated.
        reference: the undistorted picture it was made from; None where there is none.
        distortion: what was done to it; "" where unknown.
        score: the mean human rating; None where people only compared pairs.
        std: standard deviation of the ratings; None where it is not published.
    """

    picture: Path
    reference: Path | None
    distortion: str
    score: float | None
    std: float | None


@dataclass(frozen=True)
class RatedPair:
    """Two versions of one reference, and which of them people prefer.

    Attributes:
        reference: the undistorted picture.
        a: one version.
        b: the other one.
        preference: probability that people prefer ``a``, in [0, 1].
    """

    reference: Path
    a: Path
    b: Path
    preference: float


@dataclass(frozen=True)
class RatedSet:
    """A data set with human scores.

    Attributes:
        name: of the data set.
        pictures: every rated picture.
        higher_is_better: the direction of ``score``: True for mean opinion scores (MOS), False
            for differences to the reference's score (DMOS).
        pairs: the pairs that people compared; empty where preferences follow from ratings.
    """

    name: str
    pictures: tuple[RatedPicture, ...]
    higher_is_better: bool
    pairs: tuple[RatedPair, ...] = ()


@dataclass(frozen=True)
class _Row:
    """One row of a table: its cells, and where it stands for errors."""

    where: str
    cells: dict[str, str]

    def number(self, column: str, low: float = -math.inf, high: float = math.inf) -> float:
        """The finite number in a cell, within [low, high]."""
        try:
            value = float(self.cells[column])
        except ValueError:
            value = math.nan
        if not math.isfinite(value) or not low <= value <= high:
            expected = "a finite number"
            if (low, high) != (-math.inf, math.inf):
                expected += (
                    f" in [{low:g}, {high:g}]" if high < math.inf else f" of {low:g} or more"
                )
            raise ValueError(
                f"{self.where}: expected {expected} in column {column!r}, "
                f"got {self.cells[column]!r}"
            )
        return value

    def std(self, column: str) -> float:
        """The standard deviation in a cell: a finite number that is not negative."""
        return self.number(column, low=0)


def _read_csv(file: Path, columns: tuple[str, ...]) -> Iterator[_Row]:
    """The rows of a CSV file with a header; the header is row 1, blanks around cells are dropped.

    Columns beyond those asked for are ignored.
    """
    if not file.is_file():
        raise FileNotFoundError(f"expected the table {file}, and there is no such file")
    with file.open(newline="", encoding="utf-8-sig") as stream:
        reader = csv.reader(stream)
        header = [name.strip() for name in next(reader, [])]
        missing = [name for name in columns if header.count(name) != 1]
        if missing:
            raise ValueError(
                f"{file}, row 1: expected each of the columns {list(columns)} once, got {header}"
            )
        empty = True
        for cells in reader:
            if not cells:
                continue  # a blank line holds no row
            empty = False
            where = f"{file}, row {reader.line_num}"
            if len(cells) != len(header):
                raise ValueError(f"{where}: expected {len(header)} cells, got {len(cells)}")
            yield _Row(where, dict(zip(header, (c.strip() for c in cells), strict=True)))
        if empty:
            raise ValueError(f"{file}: expected rows below the header, got none")


class _Seen:
    """Refuses what comes a second time, and remembers where it came first."""

    def __init__(self) -> None:
        self._first: dict[object, str] = {}

    def add(self, key: object, what: str, where: str) -> None:
        if key in self._first:
            raise ValueError(f"{where}: {what} came before, in {self._first[key]}")
        self._first[key] = where


class _Pictures:
    """Finds the picture files that a table names; each file's header is read once."""

    def __init__(self) -> None:
        self._known: set[Path] = set()

    def find(self, path: Path, where: str) -> Path:
        if path in self._known:
            return path
        if not path.is_file():
            raise FileNotFoundError(f"{where}: expected the picture {path}, there is no such file")
        try:
            with Image.open(path):
                pass
        except (UnidentifiedImageError, OSError) as error:
            raise ValueError(
                f"{where}: expected a picture in {path}, got a file Pillow cannot read: {error}"
            ) from error
        self._known.add(path)
        return path


def read_live(folder: str | Path) -> RatedSet:
    """LIVE, release 2: DMOS of distorted versions of reference pictures. Higher is worse.

    Args:
        folder: holds ``dmos.csv`` with the columns image, reference, distortion, dmos, dmos_std;
            paths in it are relative to the folder.

    Raises:
        FileNotFoundError: the table or a picture is missing.
        ValueError: the table or a picture cannot be what it should be; the message names the row.

    Source: Sheikh, Sabir, Bovik: A statistical evaluation of recent full reference image quality
    assessment algorithms, IEEE TIP 2006.

    >>> read_live("no-such-folder")
    Traceback (most recent call last):
    ...
    FileNotFoundError: expected the table no-such-folder/dmos.csv, and there is no such file
    """
    folder, files, seen, pictures = Path(folder), _Pictures(), _Seen(), []
    columns = ("image", "reference", "distortion", "dmos", "dmos_std")
    for row in _read_csv(folder / "dmos.csv", columns):
        seen.add(row.cells["image"], f"image {row.cells['image']!r}", row.where)
        pictures.append(
            RatedPicture(
                picture=files.find(folder / row.cells["image"], row.where),
                reference=files.find(folder / row.cells["reference"], row.where),
                distortion=row.cells["distortion"],
                score=row.number("dmos"),
                std=row.std("dmos_std"),
            )
        )
    return RatedSet("LIVE", tuple(pictures), higher_is_better=False)


def read_livewild(folder: str | Path) -> RatedSet:
    """LIVE In the Wild: MOS of photos as phones take them, without references. Higher is better.

    Args:
        folder: holds ``mos.csv`` with the columns image, mos, mos_std; paths in it are relative
            to the folder.

    Raises:
        FileNotFoundError: the table or a picture is missing.
        ValueError: the table or a picture cannot be what it should be; the message names the row.

    Source: Ghadiyaram, Bovik: Massive online crowdsourced study of subjective and objective picture
    quality, IEEE TIP 2016.

    >>> read_livewild("no-such-folder")
    Traceback (most recent call last):
    ...
    FileNotFoundError: expected the table no-such-folder/mos.csv, and there is no such file
    """
    folder, files, seen, pictures = Path(folder), _Pictures(), _Seen(), []
    for row in _read_csv(folder / "mos.csv", ("image", "mos", "mos_std")):
        seen.add(row.cells["image"], f"image {row.cells['image']!r}", row.where)
        pictures.append(
            RatedPicture(
                picture=files.find(folder / row.cells["image"], row.where),
                reference=None,
                distortion="",
                score=row.number("mos"),
                std=row.std("mos_std"),
            )
        )
    return RatedSet("LIVE In the Wild", tuple(pictures), higher_is_better=True)
