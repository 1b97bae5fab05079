"""Unpacking archives that nobody has checked: what they may hold, where it may go, how large."""

import bz2
import errno
import gzip
import lzma
import re
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from dsd_lib.extras import needs

with needs("data"):
    from tqdm import tqdm

CHUNK = 1 << 16  # bytes read at a time
MAX_OVERHEAD = 1 << 23  # bytes that one tar header, or the padding after the last file, may have
DAMAGED = (  # what unpacking raises on an archive that is cut off, damaged or encrypted
    tarfile.TarError,
    zipfile.BadZipFile,
    gzip.BadGzipFile,
    lzma.LZMAError,
    zlib.error,
    struct.error,
    EOFError,
    RuntimeError,
    ValueError,
    OverflowError,
)
DECOMPRESS = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ\x00": lzma.open}


class DownloadError(Exception):
    """What went wrong and what to do about it, for the reader."""


@dataclass(frozen=True)
class Member:
    """A file in an archive, or a folder, which cannot be opened."""

    name: str
    size: int = 0
    open: Callable[[], BinaryIO] | None = None


def members(source: Path, wanted: str) -> Iterator[Member]:
    """What is in a zip or tar archive or in a folder; a file with a wanted name is itself a member.

    An archive's checksums are verified, for zip those of the members that are read.

    Raises:
        DownloadError: it is something else, or contains a link, a device or a huge header.
    """
    if source.is_dir():
        yield from _folder_members(source)
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
        yield from _zip_members(source)
    else:
        opener = next((DECOMPRESS[key] for key in DECOMPRESS if start.startswith(key)), open)
        with opener(source, "rb") as stream:
            yield from _tar_members(source, stream)


def _folder_members(source: Path) -> Iterator[Member]:
    for path in sorted(source.rglob("*")):
        if path.is_symlink():
            raise DownloadError(f"{source}: {path.relative_to(source)} is a link")
        if path.is_file():
            name = path.relative_to(source).as_posix()
            yield Member(name, path.stat().st_size, lambda path=path: path.open("rb"))


def _zip_members(source: Path) -> Iterator[Member]:
    with zipfile.ZipFile(source) as archive:
        for info in archive.infolist():
            if not info.filename:
                raise DownloadError(f"{source.name}: a file in it has no name")
            kind = stat.S_IFMT(info.external_attr >> 16)  # 0 if the archiver did not say
            if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise DownloadError(f"{source.name}: {info.filename!r} is a link or a device")
            if info.is_dir():
                yield Member(info.filename)
            else:
                yield Member(info.filename, info.file_size, lambda info=info: archive.open(info))


def _tar_members(source: Path, stream: BinaryIO) -> Iterator[Member]:
    guarded = _GuardedStream(source.name, stream)
    try:
        archive = tarfile.TarFile(fileobj=guarded)
    except tarfile.ReadError as error:
        raise DownloadError(
            f"expected a zip or tar archive in {source}, got another kind of file. If it is an "
            "error page or cut off, delete it and run this command again"
        ) from error
    with archive:
        while True:
            guarded.allowed = MAX_OVERHEAD
            info = archive.next()
            archive.members = []  # tarfile would keep them all
            if info is None:
                break
            guarded.allowed = float("inf")  # whoever reads the file counts its bytes
            if info.isreg():
                yield Member(info.name, info.size, lambda info=info: archive.extractfile(info))
            elif info.isdir():
                yield Member(info.name)
            else:
                raise DownloadError(f"{source.name}: {info.name!r} is a link or a device")
        while guarded.read(CHUNK):  # to the end, where gzip and xz compare their checksums
            pass


class _GuardedStream:
    """A stream that gives no more than ``allowed`` bytes to a parser that trusts its input.

    A tar header states its own length, and ``tarfile`` reads it in one piece.
    """

    def __init__(self, name: str, stream: BinaryIO) -> None:
        self.name, self.stream, self.allowed = name, stream, float(MAX_OVERHEAD)

    def read(self, size: int) -> bytes:
        if size > self.allowed:
            raise DownloadError(
                f"{self.name}: expected headers and padding of at most {MAX_OVERHEAD} bytes, got "
                "more"
            )
        content = self.stream.read(size)
        self.allowed -= len(content)
        return content

    def seek(self, position: int) -> int:
        return self.stream.seek(position)

    def tell(self) -> int:
        return self.stream.tell()


def safe_name(name: str, source: Path) -> str:
    """A name in an archive as a relative path.

    Raises:
        DownloadError: it could lead out of the folder.
    """
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or re.search(r"[\\:\x00]", name) or not path.parts:
        raise DownloadError(f"{source.name}: the name {name!r} could lead out of the folder")
    return str(path)


def unpack(
    sources: list[Path], folder: Path, *, wanted: str, to: str, max_files: int, max_bytes: int
) -> int:
    """Unpack the wanted files of archives into a folder; the number of files left out.

    Args:
        sources: archives, folders and single files.
        folder: an empty folder.
        wanted, to, max_files, max_bytes: as in ``DataSet``.

    Raises:
        DownloadError: an archive is hostile, damaged or not an archive.
    """
    n_files, n_bytes, left_out = 0, 0, 0

    def check_bounds(name: str) -> None:
        if n_files > max_files or n_bytes > max_bytes:
            raise DownloadError(
                f"{name}: expected no more than {max_files} files and {max_bytes} bytes, "
                f"got {n_files} files and {n_bytes} bytes or more"
            )

    for source in sources:
        try:
            for member in tqdm(members(source, wanted), desc=source.name, unit=" files"):
                n_files += 1
                before, n_bytes = n_bytes, n_bytes + member.size
                check_bounds(source.name)
                if member.open is None:
                    continue
                name = safe_name(member.name, source)
                match = re.fullmatch(wanted, name, re.IGNORECASE)
                if not match:
                    left_out += 1
                    continue
                target = folder / safe_name(match.expand(to), source)
                target.parent.mkdir(parents=True, exist_ok=True)
                if target.exists():
                    raise DownloadError(f"{source.name}: {name!r} comes twice")
                with member.open() as stream, target.open("xb") as out:
                    n_bytes = before  # now the bytes that really come, whatever was declared
                    while chunk := stream.read(CHUNK):
                        n_bytes += len(chunk)
                        check_bounds(source.name)
                        out.write(chunk)
        except (*DAMAGED, OSError) as error:
            if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):
                raise  # the disk, not bz2's word for damage or a place outside the archive
            raise DownloadError(
                f"{source.name} is damaged or cut off: {error}. Delete it and fetch it again"
            ) from error
    return left_out
