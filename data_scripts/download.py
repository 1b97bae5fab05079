"""Fetch a data set from its authors, check it, unpack it safely, lay it out as the readers expect.

    python -m data_scripts.download bsds500
    python -m data_scripts.download pieapp --to /data --archive pieapp.zip

The set comes to lie in a folder of its own under ``$DSD_DATA`` or under ``--to``. A download that
broke off goes on where it stopped, in the same run or in a later one. ``--archive`` takes archives
that you fetched yourself, or a folder that you unpacked yourself: some archives are RAR, which
Python cannot read. Nothing appears under the set's name before all of it is there.

Transfers are kept in ``downloads/`` under the same root and may be deleted afterwards.
"""

import argparse
import gzip
import hashlib
import lzma
import os
import re
import shutil
import stat
import sys
import tarfile
import tempfile
import time
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import BinaryIO

import numpy as np
import pooch
import requests
import scipy.io
from tqdm import tqdm

MB, GB = 10**6, 10**9
CHUNK = 1 << 16
DAMAGED = (  # what unpacking raises on an archive that is cut off, damaged or encrypted
    tarfile.TarError,
    zipfile.BadZipFile,
    gzip.BadGzipFile,
    lzma.LZMAError,
    zlib.error,
    EOFError,
    RuntimeError,
)


class DownloadError(Exception):
    """What went wrong, and what to do about it, in words for the reader."""


@dataclass(frozen=True)
class File:
    """A file on the authors' server; ``known_hash`` as pooch takes it, None where none is known."""

    url: str
    known_hash: str | None = None

    @property
    def name(self) -> str:
        """The name to keep it under."""
        return self.url.rsplit("/", 1)[1]


@dataclass(frozen=True)
class DataSet:
    """What a data set is, where it comes from, and where its files go.

    Attributes:
        title: its name in words.
        page: the authors' page.
        terms: under what terms it comes, in short.
        cite: what its authors ask to be cited.
        folder: its folder under the root.
        files: the files to fetch.
        wanted: a regular expression for names in the archives that are kept, as a whole.
        to: where a kept file goes in the folder, as a replacement of ``wanted``.
        expected: for a glob in the folder, how many files it finds at least.
        max_bytes: bound on the size of all that is in the archives.
        max_files: bound on their number.
        finish: what is left to do in the unpacked folder.
        joint_sha1: SHA-1 of all files one after the other, in the order of their names.
    """

    title: str
    page: str
    terms: str
    cite: str
    folder: str
    files: tuple[File, ...]
    wanted: str
    to: str
    expected: dict[str, int]
    max_bytes: int
    max_files: int = 100_000
    finish: Callable[[Path], None] | None = field(default=None, repr=False)
    joint_sha1: str | None = None


def pack_levin_kernels(folder: Path) -> None:
    """Turn k1.mat … k8.mat into levin09.npz; the variable f of each is the kernel.

    The blurry picture is the correlation of the sharp one with f, not its convolution.
    """
    files = sorted(folder.glob("k*.mat"))
    kernels = {}
    for file in files:
        content = scipy.io.loadmat(file)
        if "f" not in content:
            raise DownloadError(f"{file.name}: expected a kernel f, got {sorted(content)}")
        kernels[file.stem] = content["f"].astype(np.float32)
    if len(kernels) != 8:
        raise DownloadError(f"levin: expected 8 kernels, got {len(kernels)}")
    np.savez(folder / "levin09.npz", **kernels)
    for file in files:
        file.unlink()


# The hashes of DIV2K and REDS are those that TensorFlow Datasets publishes in
# tensorflow_datasets/datasets/div2k/checksums.tsv and url_checksums/reds.txt; Kodak's is that of
# Meta's NeuralCompression. For the others we know of none.
DIV2K = "https://data.vision.ee.ethz.ch/cvl/DIV2K"
REDS = "https://huggingface.co/datasets/snah/REDS/resolve/main"  # its first author's copy
DATA_SETS = {
    "bsds500": DataSet(
        title="BSDS500: 500 photos, 481×321, in train, val and test",
        page="https://www2.eecs.berkeley.edu/Research/Projects/CS/vision/grouping/resources.html",
        terms="non-commercial research and education",
        cite="Arbelaez, Maire, Fowlkes, Malik: Contour detection and hierarchical image "
        "segmentation, IEEE TPAMI 2011",
        folder="bsds500",
        files=(
            File(
                "https://www2.eecs.berkeley.edu/Research/Projects/CS/vision/grouping/BSR/"
                "BSR_bsds500.tgz"
            ),
        ),
        wanted=r"(?:.*/)?images/(train|val|test)/(\d+\.jpg)",
        to=r"\1/\2",
        expected={"train/*.jpg": 200, "val/*.jpg": 100, "test/*.jpg": 200},
        max_bytes=2 * GB,
    ),
    "div2k": DataSet(
        title="DIV2K: 800 + 100 photos of 2K resolution (4 GB)",
        page="https://data.vision.ee.ethz.ch/cvl/DIV2K/",
        terms="academic research only; the photos belong to their owners",
        cite="Agustsson, Timofte: NTIRE 2017 challenge on single image super-resolution: dataset "
        "and study, CVPR workshops 2017",
        folder="div2k",
        files=(
            File(
                f"{DIV2K}/DIV2K_train_HR.zip",
                "sha256:9d0b9c463f6e35b6c62cc6a930ee2224f670b34c1df841a57670f9acf0f6c335",
            ),
            File(
                f"{DIV2K}/DIV2K_valid_HR.zip",
                "sha256:20dd31fd84d777bc1cf5d6b7654a3f569c0aec74458ae094122ad1d0489900fc",
            ),
        ),
        wanted=r"(?:.*/)?DIV2K_(train|valid)_HR/(\d{4}\.png)",
        to=r"\1/\2",
        expected={"train/*.png": 800, "valid/*.png": 100},
        max_bytes=10 * GB,
    ),
    "reds": DataSet(
        title="REDS: 270 videos of 100 frames, 1280×720, sharp and blurry (70 GB)",
        page="https://seungjunnah.github.io/Datasets/reds.html",
        terms="CC BY 4.0",
        cite="Nah et al.: NTIRE 2019 challenge on video deblurring and super-resolution: dataset "
        "and study, CVPR workshops 2019",
        folder="reds",
        files=tuple(
            File(f"{REDS}/{name}.zip", f"sha256:{sha256}")
            for name, sha256 in {
                "train_sharp": "620294c1c3f23ed26c5ea228633770469c0b28e57d31eb41dc77deb401c6681b",
                "train_blur": "415c360c0d71d2d89af099b3c64e76bca7e1d8317750f8e056e02ebaab957bb8",
                "val_sharp": "53f6ce4791ed3cfca747ff8982ba29b6e8b7cc1927eed742458f45ed93a1a279",
                "val_blur": "23bf86ec4c0ac836ad286507484825a68dd903f3834ceef49fb16f2070c57b77",
            }.items()
        ),
        wanted=r"(?:.*/)?((?:train|val)_(?:sharp|blur)/\d{3}/\d{8}\.png)",
        to=r"\1",
        expected={
            "train_sharp/*/*.png": 24_000,
            "train_blur/*/*.png": 24_000,
            "val_sharp/*/*.png": 3_000,
            "val_blur/*/*.png": 3_000,
        },
        max_bytes=200 * GB,
    ),
    "pieapp": DataSet(
        title="PieAPP: 200 references, distorted pictures, preferences between pairs (2.2 GB)",
        page="https://github.com/prashnani/PerceptualImageError",
        terms="non-commercial and educational use; read its TERMS_OF_USE.pdf",
        cite="Prashnani, Cai, Mostofi, Sen: PieAPP: perceptual image-error assessment through "
        "pairwise preference, CVPR 2018; for the references Ma et al.: Waterloo Exploration "
        "Database, IEEE TIP 2017",
        folder="pieapp",
        files=(
            File(
                "https://web.ece.ucsb.edu/~ekta/projects/PieAPPv0.1/"
                "all_data_PieAPP_dataset_CVPR_2018.zip"
            ),
        ),
        wanted=r"(?:[^/]+/)?((?:reference_images|distorted_images|labels)/(?:train|val|test)/"
        r"(?:[^/.][^/]*/)?[^/.][^/]*|[^/.][^/]*\.(?:txt|pdf))",
        to=r"\1",
        expected={
            "reference_images/test/*.png": 40,
            "distorted_images/test/*/*.png": 600,
            "labels/test/*pairwise_labels*.csv": 40,
        },
        max_bytes=30 * GB,
    ),
    "tid2013": DataSet(
        title="TID2013: 25 references, 3000 distorted pictures, MOS (0.9 GB)",
        page="http://www.ponomarenko.info/tid2013.htm",
        terms="education and research, with the authors' notice; see its readme",
        cite="Ponomarenko et al.: Image database TID2013: peculiarities, results and "
        "perspectives, Signal Processing: Image Communication 2015",
        folder="tid2013",
        files=(File("http://www.ponomarenko.info/tid2013/tid2013.rar"),),
        wanted=r"(?:[^/]+/)?((?:reference|distorted)_images/[^/]+\.bmp|mos_[a-z_]+\.txt|readme)",
        to=r"\1",
        expected={
            "reference_images/*": 25,
            "distorted_images/*": 3000,
            "mos_with_names.txt": 1,
            "mos_std.txt": 1,
        },
        max_bytes=10 * GB,
    ),
    "kadid10k": DataSet(
        title="KADID-10k: 81 references, 10125 distorted pictures, scores (3 GB)",
        page="https://database.mmsp-kn.de/kadid-10k-database.html",
        terms="see the page; the references come from pixabay.com",
        cite="Lin, Hosu, Saupe: KADID-10k: a large-scale artificially distorted IQA database, "
        "QoMEX 2019",
        folder="kadid10k",
        files=(File("https://datasets.vqa.mmsp-kn.de/archives/kadid10k.zip"),),
        wanted=r"(?:[^/]+/)?(images/I\d\d(?:_\d\d_\d\d)?\.png|dmos\.csv)",
        to=r"\1",
        expected={"images/*.png": 10_206, "dmos.csv": 1},
        max_bytes=15 * GB,
    ),
    "kodak": DataSet(
        title="Kodak: 24 photos, 768×512, lossless (15 MB)",
        page="https://r0k.us/graphics/kodak/",
        terms="released by Kodak for unrestricted use, says the page",
        cite="Franzen: Kodak lossless true color image suite, 1999",
        folder="kodak",
        files=tuple(
            File(f"https://r0k.us/graphics/kodak/kodak/kodim{n:02d}.png") for n in range(1, 25)
        ),
        wanted=r"(?:.*/)?(kodim\d\d\.png)",
        to=r"\1",
        expected={"kodim*.png": 24},
        max_bytes=100 * MB,
        joint_sha1="076e2a5fd4515b5fda677f15fe63dd112d266bc5",
    ),
    "levin": DataSet(
        title="Levin et al.: 8 kernels of real camera shake",
        page="https://webee.technion.ac.il/people/anat.levin/",
        terms="research; cite the paper",
        cite="Levin, Weiss, Durand, Freeman: Understanding and evaluating blind deconvolution "
        "algorithms, CVPR 2009",
        folder="kernels",
        files=(
            File("https://webee.technion.ac.il/people/anat.levin/papers/LevinEtalCVPR09Data.rar"),
        ),
        wanted=r"(?:.*/)?im05_flit0([1-8])\.mat",
        to=r"k\1.mat",
        expected={"levin09.npz": 1},
        max_bytes=500 * MB,
        finish=pack_levin_kernels,
    ),
}


class Resuming:
    """A downloader for pooch that goes on where a download broke off.

    What has come lies in ``<name>.part``, and in ``<name>.part.tag`` which version of the file it
    is of (its ETag or date). The server is asked for the rest of that version; where it has
    another one, or cannot send a rest, the file comes from its beginning.
    """

    def __init__(
        self, part: Path, *, tries: int = 5, pause: float = 2, timeout: float = 60
    ) -> None:
        self.part, self.tag = part, part.with_name(part.name + ".tag")
        self.tries, self.pause, self.timeout = tries, pause, timeout

    def __call__(self, url: str, output_file: str, pooch: object) -> None:
        """Fetch ``url``; after ``tries`` breaks with nothing new in between, give up."""
        failures, size = 0, self._size()
        while True:
            try:
                self._transfer(url)
                break
            except (
                requests.ConnectionError,
                requests.Timeout,
                requests.exceptions.ChunkedEncodingError,
            ):
                # ChunkedEncodingError is what requests raises on a body that ends too early.
                failures = 1 if self._size() > size else failures + 1
                size = self._size()
                if failures == self.tries:
                    raise
                time.sleep(self.pause)
        self.tag.unlink(missing_ok=True)
        self.part.replace(output_file)

    def _size(self) -> int:
        return self.part.stat().st_size if self.part.exists() else 0

    def _transfer(self, url: str) -> None:
        start = self._size()
        if not self.tag.exists():
            start = 0  # of what version it is, is not known
        headers = {"Accept-Encoding": "identity"}  # so that sizes are those of the file
        if start:
            headers |= {"Range": f"bytes={start}-", "If-Range": self.tag.read_text()}
        with requests.get(url, headers=headers, stream=True, timeout=self.timeout) as answer:
            if answer.status_code == 416:  # there is nothing beyond what has come
                if answer.headers.get("Content-Range") == f"bytes */{start}":
                    return
                self.part.unlink()
                raise requests.ConnectionError(f"{url} is shorter than what came before")
            answer.raise_for_status()
            if answer.headers.get("Content-Type", "").startswith("text/html"):
                raise DownloadError(f"expected a file from {url}, got a web page")
            if answer.status_code != 206:
                start = 0
            elif not answer.headers.get("Content-Range", "").startswith(f"bytes {start}-"):
                self.part.unlink()
                raise requests.ConnectionError(f"{url}: the server sent another part")
            self._remember_version(answer.headers)
            length = answer.headers.get("Content-Length")
            total = start + int(length) if length else None
            with (
                self.part.open("ab" if start else "wb") as out,
                tqdm(
                    total=total,
                    initial=start,
                    desc=self.part.stem,
                    unit="B",
                    unit_scale=True,
                ) as bar,
            ):
                for chunk in answer.iter_content(CHUNK):
                    out.write(chunk)
                    bar.update(len(chunk))
        if total is not None and self._size() != total:
            raise requests.ConnectionError(f"{url}: expected {total} bytes, got {self._size()}")

    def _remember_version(self, headers: requests.structures.CaseInsensitiveDict) -> None:
        tag = headers.get("ETag", "")
        if not tag or tag.startswith("W/"):  # a weak tag does not promise the same bytes
            tag = headers.get("Last-Modified", "")
        if tag:
            self.tag.write_text(tag)
        else:
            self.tag.unlink(missing_ok=True)


def fetch(file: File, folder: Path, **options: float) -> Path:
    """Download a file into a folder unless it is there already, and check its hash.

    Args:
        file: where it is, and its hash where one is known.
        folder: made where it is missing.
        options: for :class:`Resuming`.

    Raises:
        DownloadError: the server does not have it, breaks off again and again, or sends another
            file than it should.
    """
    folder.mkdir(parents=True, exist_ok=True)
    pooch.get_logger().setLevel("WARNING")
    try:
        path = pooch.retrieve(
            file.url,
            known_hash=file.known_hash,
            fname=file.name,
            path=folder,
            downloader=Resuming(folder / f"{file.name}.part", **options),
        )
    except requests.HTTPError as error:
        raise DownloadError(f"{error}; the address may have changed") from error
    except requests.RequestException as error:
        raise DownloadError(f"{error}; run the command again to go on from here") from error
    except ValueError as error:  # pooch's word for a hash that does not match
        raise DownloadError(f"{file.url}: {error}") from error
    return Path(path)


def check_hash(path: Path, data: DataSet) -> None:
    """Compare an archive with its known hash; where there is none, print the one it has.

    Raises:
        DownloadError: they differ.
    """
    if not path.is_file():
        return
    known = {file.name: file.known_hash for file in data.files}.get(path.name)
    if known is None:
        print(f"{path.name}: no hash is known to compare with; sha256:{_hash(path, 'sha256')}")
        return
    algorithm = known.split(":")[0]
    if (got := f"{algorithm}:{_hash(path, algorithm)}") != known:
        raise DownloadError(f"{path}: expected {known}, got {got}")


def _hash(path: Path, algorithm: str) -> str:
    return pooch.file_hash(str(path), alg=algorithm)


@dataclass(frozen=True)
class Member:
    """A file in an archive."""

    name: str
    size: int
    open: Callable[[], BinaryIO]


def members(source: Path, wanted: str) -> Iterator[Member]:
    """The files in a zip or tar archive or in a folder; a file with a wanted name is one itself.

    Raises:
        DownloadError: it is something else, or has a link or a device in it.
    """
    if source.is_dir():
        for path in sorted(source.rglob("*")):
            if path.is_symlink():
                raise DownloadError(f"{source}: {path.relative_to(source)} is a link")
            if path.is_file():
                name = path.relative_to(source).as_posix()
                yield Member(name, path.stat().st_size, lambda path=path: path.open("rb"))
        return
    if not source.is_file():
        raise DownloadError(f"there is no file or folder {source}")
    with source.open("rb") as stream:
        start = stream.read(6)
    if start[:4] == b"Rar!" or start == b"7z\xbc\xaf\x27\x1c":
        raise DownloadError(
            f"{source.name} is a RAR or 7z archive, which Python cannot unpack. Unpack it yourself "
            f"into a new folder, for example with\n    bsdtar -xf {source} -C FOLDER\nand run "
            "this command again with --archive FOLDER"
        )
    if re.fullmatch(wanted, source.name, re.IGNORECASE):
        yield Member(source.name, source.stat().st_size, lambda: source.open("rb"))
    elif zipfile.is_zipfile(source):
        with zipfile.ZipFile(source) as archive:
            for info in archive.infolist():
                kind = stat.S_IFMT(info.external_attr >> 16)  # 0 where the maker did not say
                if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                    raise DownloadError(f"{source.name}: {info.filename!r} is a link or a device")
                if not info.is_dir():
                    yield Member(
                        info.filename, info.file_size, lambda info=info: archive.open(info)
                    )
    elif tarfile.is_tarfile(source):
        with tarfile.open(source) as archive:
            for info in archive:
                if not (info.isreg() or info.isdir()):
                    raise DownloadError(f"{source.name}: {info.name!r} is a link or a device")
                if info.isreg():
                    yield Member(info.name, info.size, lambda info=info: archive.extractfile(info))
    else:
        raise DownloadError(
            f"expected a zip or tar archive in {source}, got another kind of file. If it is an "
            "error page or cut off, delete it and run this command again"
        )


def safe_name(name: str, source: Path) -> str:
    """A name in an archive as a relative path.

    Raises:
        DownloadError: it could lead out of the folder.
    """
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or re.search(r"[\\:\x00]", name) or not path.parts:
        raise DownloadError(f"{source.name}: the name {name!r} could lead out of the folder")
    return str(path)


def unpack(sources: list[Path], folder: Path, data: DataSet) -> int:
    """Unpack what is wanted of archives into a folder, and return how many files were not.

    Raises:
        DownloadError: an archive is hostile, damaged or none.
    """
    n_files, n_bytes, left_out = 0, 0, 0

    def bounded(name: str) -> None:
        if n_files > data.max_files or n_bytes > data.max_bytes:
            raise DownloadError(
                f"{name}: expected no more than {data.max_files} files and {data.max_bytes} bytes, "
                f"got {n_files} files and {n_bytes} bytes or more"
            )

    for source in sources:
        try:
            for member in tqdm(members(source, data.wanted), desc=source.name, unit=" files"):
                name = safe_name(member.name, source)
                n_files += 1
                before, n_bytes = n_bytes, n_bytes + member.size
                bounded(source.name)
                match = re.fullmatch(data.wanted, name, re.IGNORECASE)
                if not match:
                    left_out += 1
                    continue
                target = folder / safe_name(match.expand(data.to), source)
                target.parent.mkdir(parents=True, exist_ok=True)
                if target.exists():
                    raise DownloadError(f"{source.name}: {name!r} comes twice")
                with member.open() as stream, target.open("xb") as out:
                    n_bytes = before  # from here on what really comes, whatever was declared
                    while chunk := stream.read(CHUNK):
                        n_bytes += len(chunk)
                        bounded(source.name)
                        out.write(chunk)
        except DAMAGED as error:
            raise DownloadError(
                f"{source.name} is damaged or cut off: {error}. Delete it and fetch it again"
            ) from error
    return left_out


def check_layout(folder: Path, data: DataSet) -> None:
    """Raise DownloadError where a set lacks files."""
    for pattern, expected in data.expected.items():
        found = sum(1 for _ in folder.glob(pattern))
        if found < expected:
            raise DownloadError(f"{data.folder}: expected {expected} files {pattern}, got {found}")
    if data.joint_sha1:
        sha1 = hashlib.sha1()
        for pattern in data.expected:
            for file in sorted(folder.glob(pattern)):
                sha1.update(file.read_bytes())
        if sha1.hexdigest() != data.joint_sha1:
            raise DownloadError(
                f"{data.folder}: expected the files to have the joint SHA-1 {data.joint_sha1}, "
                f"got {sha1.hexdigest()}"
            )


def install(sources: list[Path], root: Path, data: DataSet) -> Path:
    """Unpack, arrange and check in a hidden folder, which then becomes the set's in one step.

    Raises:
        DownloadError: an archive is hostile, damaged, or not this set's. Nothing stays behind.
    """
    root.mkdir(parents=True, exist_ok=True)
    target = root / data.folder
    work = Path(tempfile.mkdtemp(prefix=f".{data.folder}-", dir=root))
    try:
        left_out = unpack(sources, work, data)
        if data.finish:
            data.finish(work)
        check_layout(work, data)
        work.chmod(0o755)  # mkdtemp's folders are their owner's alone
        work.rename(target)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    if left_out:
        print(f"{left_out} files in the archives are not needed and were left out")
    return target


def get(
    name: str, root: Path, archives: list[Path], data_sets: dict[str, DataSet] = DATA_SETS
) -> Path:
    """Bring a data set to its folder under ``root``.

    Args:
        name: a key of ``data_sets``.
        root: the folder of all data sets.
        archives: what was fetched by hand, in place of downloads; empty to download.
        data_sets: the known sets.

    Raises:
        DownloadError: it could not be had; says why and what to do.
    """
    data = data_sets[name]
    target = root / data.folder
    print(f"{data.title}\nPage: {data.page}\nTerms: {data.terms}\nPlease cite: {data.cite}")
    if target.exists():
        try:
            check_layout(target, data)
        except DownloadError as error:
            raise DownloadError(
                f"{target} is there, but {error}. Move it away to fetch the set anew"
            ) from error
        print(f"{target} is there already")
        return target
    sources = archives
    if archives:
        for archive in archives:
            check_hash(archive, data)
    else:
        names = [file.name for file in data.files]
        try:
            sources = [fetch(file, root / "downloads") for file in data.files]
        except DownloadError as error:
            raise DownloadError(
                f"{error}\nBy hand: get {', '.join(names[:4])}{' …' if names[4:] else ''} from "
                f"{data.page} and run\n    python -m data_scripts.download {name} --archive FILE…"
            ) from error
        for source, file in zip(sources, data.files, strict=True):
            if file.known_hash is None and data.joint_sha1 is None:
                check_hash(source, data)
    install(sources, root, data)
    print(f"{name} is in {target}")
    return target


def main(arguments: list[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("name", choices=DATA_SETS, help="the data set")
    parser.add_argument("--to", type=Path, metavar="FOLDER", help="instead of $DSD_DATA")
    parser.add_argument(
        "--archive",
        type=Path,
        nargs="+",
        default=[],
        metavar="FILE",
        help="archives, or an unpacked folder, that you fetched yourself",
    )
    options = parser.parse_args(arguments)
    root = options.to or os.environ.get("DSD_DATA")
    if not root:
        print(
            "error: say where to put it, with --to FOLDER or the environment variable DSD_DATA",
            file=sys.stderr,
        )
        return 1
    try:
        get(options.name, Path(root), options.archive)
    except (DownloadError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped; the same command goes on from here", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
