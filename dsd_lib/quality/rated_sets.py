"""Data sets of rated images: the files, and what people said about them.

The readers take a data set's folder as its authors lay it out and return one table
shape, :class:`RatedSet`. They are strict. A missing column, a duplicate row, a score that
is not a number, an image that is missing or cannot be read: each is an error that names the file
and the row, and no row is skipped.
"""

import csv
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from PIL import Image

_T = TypeVar("_T")


@dataclass(frozen=True)
class RatedImage:
    """An image and what people said about it.

    Attributes:
        image: the file that was rated.
        reference: the undistorted image it was made from; None where there is none.
        distortion: what was done to it; "" where unknown.
        score: the mean human rating; None where people only compared pairs.
        std: standard deviation of the ratings; None where it is not published.
    """

    image: Path
    reference: Path | None
    distortion: str
    score: float | None
    std: float | None


@dataclass(frozen=True)
class RatedPair:
    """Two versions of one reference, and which of them people prefer.

    Attributes:
        reference: the undistorted image.
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
        images: every rated image.
        higher_is_better: the direction of ``score``: True for mean opinion scores (MOS), False
            for differences to the reference's score (DMOS).
        pairs: the pairs that people compared; empty where preferences follow from ratings. A pair
            may hold the reference itself: ``pair.a == pair.reference``.
    """

    name: str
    images: tuple[RatedImage, ...]
    higher_is_better: bool
    pairs: tuple[RatedPair, ...] = ()


@dataclass(frozen=True)
class _Row:
    """One row of a table: its cells, and where it stands, for errors."""

    where: str
    cells: dict[str, str]

    def number(self, column: str, low: float = -math.inf, high: float = math.inf) -> float:
        """The finite number in a cell, within [low, high]."""
        try:
            value = float(self.cells[column])
        except ValueError:
            value = math.nan
        if not (math.isfinite(value) and low <= value <= high):
            bounds = ""
            if high < math.inf:
                bounds = f" in [{low:g}, {high:g}]"
            elif low > -math.inf:
                bounds = f" of {low:g} or more"
            raise ValueError(
                f"{self.where}: expected a finite number{bounds} in column {column!r}, "
                f"got {self.cells[column]!r}"
            )
        return value

    def match(self, column: str, pattern: str, expected: str) -> re.Match[str]:
        """A cell taken apart by a regular expression."""
        found = re.fullmatch(pattern, self.cells[column], re.IGNORECASE)
        if not found:
            raise ValueError(
                f"{self.where}: expected {expected} in column {column!r}, "
                f"got {self.cells[column]!r}"
            )
        return found

    def look_up(self, column: str, table: dict[str, _T]) -> _T:
        """What a cell stands for."""
        if self.cells[column] not in table:
            raise ValueError(
                f"{self.where}: expected one of {list(table)} in column {column!r}, "
                f"got {self.cells[column]!r}"
            )
        return table[self.cells[column]]


def _lines(file: Path) -> Iterator[str]:
    """The lines of a text file."""
    if not file.is_file():
        raise FileNotFoundError(f"expected the table {file}, and there is no such file")
    try:
        with file.open(newline="", encoding="utf-8-sig") as stream:
            yield from stream
    except UnicodeDecodeError as error:
        raise ValueError(f"{file}: expected text in UTF-8, got {error}") from error


def _read_csv(file: Path, columns: tuple[str, ...], header_within: int = 1) -> Iterator[_Row]:
    """The rows of a CSV file, counted from 1 as a spreadsheet counts them, the header included.

    Blanks around cells are dropped, columns beyond those asked for are ignored, and so are blank
    lines. The header is one of the first ``header_within`` rows.
    """
    reader = csv.reader(_lines(file), strict=True)
    header, first, n_rows = None, None, 0
    try:
        for cells in reader:
            cells = [cell.strip() for cell in cells]
            if header is None:
                first = first or cells
                if all(cells.count(name) == 1 for name in columns):
                    header = cells
                elif reader.line_num >= header_within:
                    break
            elif any(cells):
                where = f"{file}, row {reader.line_num}"
                if len(cells) != len(header):
                    raise ValueError(f"{where}: expected {len(header)} cells, got {len(cells)}")
                n_rows += 1
                yield _Row(where, dict(zip(header, cells, strict=True)))
    except csv.Error as error:
        raise ValueError(f"{file}, row {reader.line_num}: {error}") from error
    if first is None:
        raise ValueError(f"{file}: expected the columns {list(columns)}, got an empty file")
    if header is None:
        raise ValueError(
            f"{file}, row 1: expected each of the columns {list(columns)} once, got {first}"
        )
    if not n_rows:
        raise ValueError(f"{file}: expected rows below the header, got none")


def _read_words(file: Path, columns: tuple[str, ...]) -> list[_Row]:
    """The rows of a text file without a header, whose cells are parted by blanks."""
    rows = []
    for number, line in enumerate(_lines(file), start=1):
        if cells := line.split():
            where = f"{file}, row {number}"
            if len(cells) != len(columns):
                raise ValueError(f"{where}: expected {list(columns)}, got {line.strip()!r}")
            rows.append(_Row(where, dict(zip(columns, cells, strict=True))))
    if not rows:
        raise ValueError(f"{file}: expected rows of {list(columns)}, got an empty file")
    return rows


class _Once:
    """Refuses what comes a second time, and says where it came first."""

    def __init__(self) -> None:
        self._first: dict[str, str] = {}

    def __call__(self, what: str, where: str) -> None:
        if what in self._first:
            raise ValueError(f"{where}: expected {what} once, it came in {self._first[what]} too")
        self._first[what] = where


class _Images:
    """Finds the image files that a table names; the header of each file is read once."""

    def __init__(self) -> None:
        self._known: set[Path] = set()
        self._folders: dict[Path, dict[str, list[Path]]] = {}

    def find(self, path: Path, where: str) -> Path:
        """The image at a path."""
        if path in self._known:
            return path
        if not path.is_file():
            raise FileNotFoundError(f"{where}: expected the image {path}, there is no such file")
        try:
            with Image.open(path):
                pass
        except (OSError, SyntaxError, Image.DecompressionBombError) as error:
            raise ValueError(f"{where}: expected an image in {path}, got: {error}") from error
        self._known.add(path)
        return path

    def find_any_case(self, path: Path, where: str) -> Path:
        """The image at a path, its name spelled in upper or lower case."""
        folder = path.parent
        if folder not in self._folders:
            names: dict[str, list[Path]] = {}
            self._folders[folder] = names
            for file in folder.iterdir() if folder.is_dir() else ():
                names.setdefault(file.name.lower(), []).append(file)
        files = self._folders[folder].get(path.name.lower(), [path])
        if len(files) > 1:
            raise ValueError(
                f"{where}: expected one file {path} in upper or lower case, "
                f"got {sorted(file.name for file in files)}"
            )
        return self.find(files[0], where)


def read_live(folder: str | Path) -> RatedSet:
    """LIVE, release 2: images, their distorted versions, and DMOS. Higher is worse.

    Args:
        folder: holds ``dmos.csv`` with the columns image, reference, distortion, dmos, dmos_std;
            paths in it are relative to the folder.

    Raises:
        FileNotFoundError: the table or an image is missing.
        ValueError: the table is not as described or a file is not an image; names file and row.

    Source: H. R. Sheikh, M. F. Sabir, A. C. Bovik, A statistical evaluation of recent full
    reference image quality assessment algorithms, 2006.

    >>> read_live("no-such-folder")
    Traceback (most recent call last):
    ...
    FileNotFoundError: expected the table no-such-folder/dmos.csv, and there is no such file
    """
    folder, files, once, images = Path(folder), _Images(), _Once(), []
    columns = ("image", "reference", "distortion", "dmos", "dmos_std")
    for row in _read_csv(folder / "dmos.csv", columns):
        once(row.cells["image"], row.where)
        images.append(
            RatedImage(
                image=files.find(folder / row.cells["image"], row.where),
                reference=files.find(folder / row.cells["reference"], row.where),
                distortion=row.cells["distortion"],
                score=row.number("dmos"),
                std=row.number("dmos_std", low=0),
            )
        )
    return RatedSet("LIVE", tuple(images), higher_is_better=False)


def read_livewild(folder: str | Path) -> RatedSet:
    """LIVE In the Wild: photos as phones take them, and MOS. No references; higher is better.

    Args:
        folder: holds ``mos.csv`` with the columns image, mos, mos_std; paths in it are relative
            to the folder.

    Raises:
        FileNotFoundError: the table or an image is missing.
        ValueError: the table is not as described or a file is not an image; names file and row.

    Source: D. Ghadiyaram, A. C. Bovik, Massive online crowdsourced study of subjective and
    objective picture quality, 2016.

    >>> read_livewild("no-such-folder")
    Traceback (most recent call last):
    ...
    FileNotFoundError: expected the table no-such-folder/mos.csv, and there is no such file
    """
    folder, files, once, images = Path(folder), _Images(), _Once(), []
    for row in _read_csv(folder / "mos.csv", ("image", "mos", "mos_std")):
        once(row.cells["image"], row.where)
        images.append(
            RatedImage(
                image=files.find(folder / row.cells["image"], row.where),
                reference=None,
                distortion="",
                score=row.number("mos"),
                std=row.number("mos_std", low=0),
            )
        )
    return RatedSet("LIVE In the Wild", tuple(images), higher_is_better=True)


def read_pieapp(folder: str | Path) -> RatedSet:
    """The test set of PieAPP: pairs of distorted images, and how often people prefer the first.

    Rated are pairs, so images carry no score. As its authors lay it out, some pairs hold the
    reference itself as one of the two; they are kept, and known by ``pair.a == pair.reference``.

    Args:
        folder: holds ``reference_images/test/ref_<n>.png``,
            ``distorted_images/test/ref_<n>/distort_<n>_<type>_<inter or intra>_<id>.png`` and
            ``labels/test/ref_<n>_pairwise_labels.csv`` with the columns "ref. image",
            "distorted image A", "distorted image B", "preference for A" (blanks around the names
            do not matter).

    Raises:
        FileNotFoundError: a table or an image is missing.
        ValueError: a table is not as described, a preference is outside [0, 1], a pair comes
            twice, or a file is not an image; names file and row.

    Source: E. Prashnani, H. Cai, Y. Mostofi, P. Sen, PieAPP, 2018; the layout is described in
    ``dataset/dataset_README.md`` of github.com/prashnani/PerceptualImageError.

    >>> read_pieapp("no-such-folder")
    Traceback (most recent call last):
    ...
    FileNotFoundError: expected tables no-such-folder/labels/test/*pairwise_labels*.csv, ...
    """
    folder, files, once = Path(folder), _Images(), _Once()
    labels = folder / "labels" / "test"
    tables = sorted(labels.glob("*pairwise_labels*.csv"))
    if not tables:
        raise FileNotFoundError(
            f"expected tables {labels / '*pairwise_labels*.csv'}, there are none"
        )
    columns = ("ref. image", "distorted image A", "distorted image B", "preference for A")
    images: dict[Path, RatedImage] = {}
    pairs = []
    for table in tables:
        for row in _read_csv(table, columns):
            name = row.cells["ref. image"]
            reference = files.find(folder / "reference_images" / "test" / name, row.where)
            versions = folder / "distorted_images" / "test" / Path(name).stem
            sides = []
            for column in ("distorted image A", "distorted image B"):
                if row.cells[column] == name:
                    sides.append(reference)
                    continue
                path = files.find(versions / row.cells[column], row.where)
                sides.append(path)
                kind = re.fullmatch(r"distort_\d+_(.+)_(?:inter|intra)_.+", path.stem)
                images[path] = RatedImage(
                    path, reference, kind[1] if kind else "", score=None, std=None
                )
            a, b = sides
            if a == b:
                raise ValueError(f"{row.where}: expected two images, got {a.name} twice")
            once(f"{a.name} against {b.name} for {name}", row.where)
            pairs.append(RatedPair(reference, a, b, row.number("preference for A", 0, 1)))
    return RatedSet("PieAPP", tuple(images.values()), higher_is_better=True, pairs=tuple(pairs))


TID2013_DISTORTIONS = (
    "Gaussian noise",
    "Gaussian noise in color",
    "spatially correlated noise",
    "masked noise",
    "high-frequency noise",
    "impulse noise",
    "quantization noise",
    "Gaussian blur",
    "denoising",
    "JPEG",
    "JPEG2000",
    "JPEG transmission errors",
    "JPEG2000 transmission errors",
    "non-eccentricity pattern noise",
    "local block-wise distortions",
    "mean shift",
    "contrast change",
    "saturation change",
    "multiplicative Gaussian noise",
    "comfort noise",
    "compression of noisy images",
    "color quantization with dither",
    "chromatic aberrations",
    "sparse sampling and reconstruction",
)


def read_tid2013(folder: str | Path) -> RatedSet:
    """TID2013: 25 references, 24 distortions in 5 strengths, and MOS. Higher is better.

    Names are found in upper or lower case: the official archive holds ``I01.BMP`` to ``I24.BMP``
    and ``i25.bmp``.

    Args:
        folder: holds ``mos_with_names.txt`` (rows of a score and a name), ``mos_std.txt`` (the
            standard deviations in the same order), ``reference_images/`` and
            ``distorted_images/``.

    Raises:
        FileNotFoundError: a table or an image is missing.
        ValueError: a table is not as described, the two differ in length, or a file is no
            image; names file and row.

    Source: N. Ponomarenko et al., Image database TID2013: Peculiarities, results and
    perspectives, 2015.

    >>> read_tid2013("no-such-folder")
    Traceback (most recent call last):
    ...
    FileNotFoundError: expected the table no-such-folder/mos_with_names.txt, and ...
    """
    folder, files, once, images = Path(folder), _Images(), _Once(), []
    scores = _read_words(folder / "mos_with_names.txt", ("score", "name"))
    stds = _read_words(folder / "mos_std.txt", ("std",))
    if len(scores) != len(stds):
        raise ValueError(
            f"{folder / 'mos_std.txt'}: expected {len(scores)} rows, as many as "
            f"mos_with_names.txt has, got {len(stds)}"
        )
    for row, std in zip(scores, stds, strict=True):
        name = row.cells["name"]
        once(name.lower(), row.where)
        n, kind = row.match("name", r"I(\d\d)_(\d\d)_\d\.bmp", "a name like I01_02_3.bmp").groups()
        if not 1 <= int(kind) <= len(TID2013_DISTORTIONS):
            raise ValueError(f"{row.where}: expected distortions 01 to 24, got {kind} in {name!r}")
        reference = folder / "reference_images" / f"I{n}.BMP"
        images.append(
            RatedImage(
                image=files.find_any_case(folder / "distorted_images" / name, row.where),
                reference=files.find_any_case(reference, row.where),
                distortion=TID2013_DISTORTIONS[int(kind) - 1],
                score=row.number("score"),
                std=std.number("std", low=0),
            )
        )
    return RatedSet("TID2013", tuple(images), higher_is_better=True)


KADID10K_DISTORTIONS = (
    "Gaussian blur",
    "lens blur",
    "motion blur",
    "color diffusion",
    "color shift",
    "color quantization",
    "color saturation 1",
    "color saturation 2",
    "JPEG2000",
    "JPEG",
    "white noise",
    "white noise in color",
    "impulse noise",
    "multiplicative noise",
    "denoising",
    "brighten",
    "darken",
    "mean shift",
    "jitter",
    "non-eccentricity patch",
    "pixelate",
    "quantization",
    "color block",
    "high sharpen",
    "contrast change",
)


def read_kadid10k(folder: str | Path) -> RatedSet:
    """KADID-10k: 81 references, 25 distortions in 5 strengths, and scores from 1 to 5.

    Two of its column names mislead. "dmos" is the mean of ratings from 1 (very annoying) to 5
    (imperceptible), so higher is better. "var" is the ratings' standard deviation: the 0.496 that
    goes with a mean of 4.57 cannot be the variance of 30 whole-number ratings.

    Args:
        folder: holds ``dmos.csv`` with the columns dist_img, ref_img, dmos, var, and ``images/``.

    Raises:
        FileNotFoundError: the table or an image is missing.
        ValueError: the table is not as described or a file is not an image; names file and row.

    Source: H. Lin, V. Hosu, D. Saupe, KADID-10k: A large-scale artificially distorted IQA
    database, 2019.

    >>> read_kadid10k("no-such-folder")
    Traceback (most recent call last):
    ...
    FileNotFoundError: expected the table no-such-folder/dmos.csv, and there is no such file
    """
    folder, files, once, images = Path(folder), _Images(), _Once(), []
    for row in _read_csv(folder / "dmos.csv", ("dist_img", "ref_img", "dmos", "var")):
        name = row.cells["dist_img"]
        once(name, row.where)
        pattern, expected = r"I\d\d_(\d\d)_\d\d\.png", "a name like I01_02_03.png"
        kind = int(row.match("dist_img", pattern, expected)[1])
        if not 1 <= kind <= len(KADID10K_DISTORTIONS):
            raise ValueError(f"{row.where}: expected distortions 01 to 25, got {kind} in {name!r}")
        images.append(
            RatedImage(
                image=files.find(folder / "images" / name, row.where),
                reference=files.find(folder / "images" / row.cells["ref_img"], row.where),
                distortion=KADID10K_DISTORTIONS[kind - 1],
                score=row.number("dmos", low=1, high=5),
                std=row.number("var", low=0),
            )
        )
    return RatedSet("KADID-10k", tuple(images), higher_is_better=True)


_CSIQ_DISTORTIONS = {  # the table's word: the word in the name of the folder and of the file
    "noise": "AWGN",
    "blur": "BLUR",
    "contrast": "contrast",
    "fnoise": "fnoise",
    "jpeg": "JPEG",
    "jpeg 2000": "jpeg2000",
}


def read_csiq(folder: str | Path) -> RatedSet:
    """CSIQ: 30 references, 6 distortions in 4 or 5 strengths, and DMOS. Higher is worse.

    The authors give the scores as a workbook. Save its sheet "all_by_image" as
    ``csiq.DMOS.csv``, as it is: the rows above its header and the empty columns do no harm.

    Args:
        folder: holds ``csiq.DMOS.csv`` with the columns image, dst_type, dst_lev, dmos_std, dmos,
            ``src_imgs/<image>.png`` and ``dst_imgs/<type>/<image>.<type>.<level>.png``.

    Raises:
        FileNotFoundError: the table or an image is missing.
        ValueError: the table is not as described or a file is not an image; names file and row.

    Source: E. C. Larson, D. M. Chandler, Most apparent distortion: full-reference image quality
    assessment and the role of strategy, 2010.

    >>> read_csiq("no-such-folder")
    Traceback (most recent call last):
    ...
    FileNotFoundError: expected the table no-such-folder/csiq.DMOS.csv, and there is no such file
    """
    folder, files, once, images = Path(folder), _Images(), _Once(), []
    table, workbook = folder / "csiq.DMOS.csv", folder / "csiq.DMOS.xlsx"
    if workbook.is_file() and not table.is_file():
        raise FileNotFoundError(
            f"expected the table {table}, got the workbook {workbook.name}: open it in a "
            "spreadsheet program and save its sheet all_by_image as CSV under that name"
        )
    columns = ("image", "dst_type", "dst_lev", "dmos_std", "dmos")
    for row in _read_csv(table, columns, header_within=10):
        image = row.cells["image"]
        kind = row.look_up("dst_type", _CSIQ_DISTORTIONS)
        level = row.match("dst_lev", r"[1-5]", "a level from 1 to 5")[0]
        name = f"{image}.{kind}.{level}.png"
        once(name.lower(), row.where)
        distorted = folder / "dst_imgs" / kind.lower() / name
        images.append(
            RatedImage(
                image=files.find_any_case(distorted, row.where),
                reference=files.find_any_case(folder / "src_imgs" / f"{image}.png", row.where),
                distortion=row.cells["dst_type"],
                score=row.number("dmos"),
                std=row.number("dmos_std", low=0),
            )
        )
    return RatedSet("CSIQ", tuple(images), higher_is_better=False)
