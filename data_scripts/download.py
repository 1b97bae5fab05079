"""Fetch a data set from its authors, check it, unpack it safely, and arrange it for the readers.

    python -m data_scripts.download bsds500
    python -m data_scripts.download pieapp --to /data --archive pieapp.zip

The set is placed in a folder of its own below ``$DSD_DATA`` or ``--to``. A download that broke off
resumes where it stopped, in the same run or in a later one. ``--archive`` takes archives that you
fetched yourself, or a folder that you unpacked yourself: some archives are RAR, which Python cannot
read. Nothing appears under the set's name before all of it is there.

Transfers are kept in ``downloads/`` in the same root and may be deleted afterwards.
"""

import argparse
import hashlib
import os
import shutil
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from data_scripts.shared.archives import DownloadError, unpack
from data_scripts.shared.data_sets import DATA_SETS, DataSet
from data_scripts.shared.transfer import fetch, file_hash


def check_hash(path: Path, data: DataSet) -> None:
    """Compare an archive with its known hash; print its hash if none is known.

    Raises:
        DownloadError: they differ.
    """
    if not path.is_file():
        return
    known = {file.name: file.known_hash for file in data.files}.get(path.name)
    if known is None:
        print(f"{path.name}: no hash is known to compare with; {file_hash(path)}")
    elif (got := file_hash(path, known.split(":")[0])) != known:
        raise DownloadError(f"{path}: expected {known}, got {got}")


def check_layout(folder: Path, data: DataSet) -> None:
    """Raise DownloadError if a set lacks files."""
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
    """Unpack, arrange and check in a hidden folder, then rename it to the set's in one step.

    Raises:
        DownloadError: an archive is hostile, damaged, or not this set's. Nothing is left behind.
    """
    root.mkdir(parents=True, exist_ok=True)
    target = root / data.folder
    work = Path(tempfile.mkdtemp(prefix=f".{data.folder}-", dir=root))
    try:
        left_out = unpack(
            sources,
            work,
            wanted=data.wanted,
            to=data.to,
            max_files=data.max_files,
            max_bytes=data.max_bytes,
        )
        if data.finish:
            data.finish(work)
        check_layout(work, data)
        work.chmod(0o755)  # mkdtemp lets only the owner read
        work.rename(target)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    if left_out:
        print(f"{left_out} files in the archives are not needed and were left out")
    return target


def get(
    name: str, root: Path, archives: list[Path], data_sets: Mapping[str, DataSet] = DATA_SETS
) -> Path:
    """Bring a data set to its folder under ``root``.

    Args:
        name: a key of ``data_sets``.
        root: the folder of all data sets.
        archives: what was fetched by hand; empty to download.
        data_sets: the known sets.

    Raises:
        DownloadError: it was not available; the message says why and what to do.
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
            sources = [
                fetch(file.url, root / "downloads", data.max_bytes, file.known_hash)
                for file in data.files
            ]
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
        print("interrupted; the same command resumes from here", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
