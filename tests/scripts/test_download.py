"""Downloads against a server of our own that misbehaves, and archives that mean harm."""

import bz2
import contextlib
import dataclasses
import gzip
import hashlib
import io
import lzma
import os
import shutil
import stat
import tarfile
import threading
import time
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import scipy.io
from PIL import Image

from data_scripts import download
from data_scripts.download import check_layout, get, install, main
from data_scripts.shared import archives, transfer
from data_scripts.shared.archives import DownloadError
from data_scripts.shared.data_sets import DATA_SETS, DataSet, File
from dsd_lib.files import data_folder, list_images
from dsd_lib.quality import rated_sets

CONTENT = np.random.default_rng(0).bytes(400_000)
QUICK = {"tries": 3, "pause": 0.0, "timeout": 30}


def fetch(file: File, folder: Path, max_bytes: int = 10**6, **options: float) -> Path:
    return transfer.fetch(file.url, folder, max_bytes, file.known_hash, **(QUICK | options))


def sha256(content: bytes) -> str:
    return "sha256:" + hashlib.sha256(content).hexdigest()


@dataclass
class Server:
    """What the server has and how it behaves; ``log`` holds the Range header of each request."""

    address: str = ""
    content: bytes = CONTENT
    headers: dict[str, str] = field(default_factory=lambda: {"ETag": '"one"'})
    ranges: bool = True
    length: bool = True
    breaks: list[int] = field(default_factory=list)  # bytes after which an answer breaks off
    status: int = 200
    drip: float = 0  # seconds between single bytes
    log: list[str | None] = field(default_factory=list)

    def file(self, known_hash: str | None = None) -> File:
        return File(f"{self.address}/set.zip", known_hash)


@pytest.fixture
def server() -> Iterator[Server]:
    state = Server()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked = self.headers["Range"]
            state.log.append(asked)
            if state.status != 200:
                self.send_response(state.status)
                self.send_header("Content-Range", "bytes 0-9/10")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            start, total = 0, len(state.content)
            version = state.headers.get("ETag") or state.headers.get("Last-Modified")
            if asked and state.ranges and self.headers["If-Range"] == version:
                start = int(asked.removeprefix("bytes=").removesuffix("-"))
                if start >= total:
                    self.send_response(416)
                    self.send_header("Content-Range", f"bytes */{total}")
                    self.end_headers()
                    return
                self.send_response(206)
                self.send_header("Content-Range", f"bytes {start}-{total - 1}/{total}")
            else:
                self.send_response(200)
            for name, value in state.headers.items():
                self.send_header(name, value)
            if state.length:
                self.send_header("Content-Length", str(total - start))
            self.end_headers()
            sent = state.breaks.pop(0) if state.breaks else total
            content = state.content[start : start + sent]
            with contextlib.suppress(ConnectionError):  # the client has left
                for i in range(len(content) if state.drip else 0):
                    self.wfile.write(content[i : i + 1])
                    time.sleep(state.drip)
                if not state.drip:
                    self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            """Nothing is logged to the screen."""

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=http.serve_forever, args=(0.01,), daemon=True).start()
    state.address = f"http://127.0.0.1:{http.server_port}"
    yield state
    http.shutdown()
    http.server_close()


# The transfer


@pytest.mark.parametrize("known", [True, False])
def test_a_whole_file(server: Server, tmp_path: Path, known: bool) -> None:
    path = fetch(server.file(sha256(CONTENT) if known else None), tmp_path / "new")
    assert path == tmp_path / "new" / "set.zip"
    assert path.read_bytes() == CONTENT
    assert [file.name for file in path.parent.iterdir()] == ["set.zip"], "no scraps are left"


def test_what_is_there_is_not_fetched_again(server: Server, tmp_path: Path) -> None:
    for _ in range(2):
        fetch(server.file(sha256(CONTENT)), tmp_path)
    assert len(server.log) == 1
    (tmp_path / "set.zip").write_bytes(b"spoiled")
    assert fetch(server.file(sha256(CONTENT)), tmp_path).read_bytes() == CONTENT


def test_breaks_off_twice_and_goes_on(server: Server, tmp_path: Path) -> None:
    server.breaks = [150_000, 100_000]
    assert fetch(server.file(), tmp_path).read_bytes() == CONTENT
    first, second, third = server.log
    assert first is None
    starts = [int(asked.removeprefix("bytes=").removesuffix("-")) for asked in (second, third)]
    assert 0 < starts[0] <= 150_000 < starts[1] <= 250_000, "each time from where it broke off"


def test_a_later_run_goes_on(server: Server, tmp_path: Path) -> None:
    server.breaks = [200_000]
    with pytest.raises(DownloadError, match="run the command again to go on"):
        fetch(server.file(), tmp_path, tries=1)
    assert 0 < (tmp_path / "set.zip.part").stat().st_size <= 200_000
    assert not (tmp_path / "set.zip").exists()
    assert fetch(server.file(), tmp_path).read_bytes() == CONTENT
    assert server.log[1] is not None and server.log[1] != "bytes=0-"
    assert [file.name for file in tmp_path.iterdir()] == ["set.zip"]


def test_breaks_off_without_an_end(server: Server, tmp_path: Path) -> None:
    server.breaks = [0] * 100
    with pytest.raises(DownloadError):
        fetch(server.file(), tmp_path)
    assert len(server.log) == 3, "it gives up after as many tries as it was told"


def test_progress_brings_new_tries(server: Server, tmp_path: Path) -> None:
    server.breaks = [70_000] * 5
    assert fetch(server.file(), tmp_path).read_bytes() == CONTENT


@pytest.mark.parametrize("old", ['"old"', "Sat, 01 Jan 2000 00:00:00 GMT"])
def test_file_that_changed_comes_from_its_beginning(
    server: Server, tmp_path: Path, old: str
) -> None:
    (tmp_path / "set.zip.part").write_bytes(b"other" * 100)
    (tmp_path / "set.zip.part.tag").write_text(old)
    assert fetch(server.file(), tmp_path).read_bytes() == CONTENT
    assert server.log == ["bytes=500-"]


def test_part_of_unknown_version_is_not_continued(server: Server, tmp_path: Path) -> None:
    (tmp_path / "set.zip.part").write_bytes(b"other" * 100)
    assert fetch(server.file(), tmp_path).read_bytes() == CONTENT
    assert server.log == [None]


@pytest.mark.parametrize("headers", [{}, {"ETag": 'W/"one"'}], ids=["no version", "a weak version"])
def test_server_that_names_no_version(
    server: Server, tmp_path: Path, headers: dict[str, str]
) -> None:
    server.headers, server.breaks = headers, [150_000]
    assert fetch(server.file(), tmp_path).read_bytes() == CONTENT
    assert server.log == [None, None], "from the beginning, for safety"


def test_version_by_date(server: Server, tmp_path: Path) -> None:
    server.headers = {"Last-Modified": "Sat, 01 Jan 2022 00:00:00 GMT"}
    server.breaks = [150_000]
    assert fetch(server.file(), tmp_path).read_bytes() == CONTENT
    assert server.log[1] is not None


def test_server_without_ranges(server: Server, tmp_path: Path) -> None:
    server.ranges, server.breaks = False, [150_000]
    assert fetch(server.file(), tmp_path).read_bytes() == CONTENT
    assert server.log[1] is not None, "asked for the rest, got all, and took it as that"


def test_server_that_says_no_length(
    server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server.length = False
    assert fetch(server.file(sha256(CONTENT)), tmp_path).read_bytes() == CONTENT
    assert "400k" in capsys.readouterr().err, "the bar counts, without an end"


def test_no_length_and_cut_off_is_found_by_the_hash(server: Server, tmp_path: Path) -> None:
    server.length, server.breaks = False, [150_000]
    with pytest.raises(DownloadError, match=r"SHA256|hash"):
        fetch(server.file(sha256(CONTENT)), tmp_path)
    assert not (tmp_path / "set.zip").exists()
    assert fetch(server.file(sha256(CONTENT)), tmp_path).read_bytes() == CONTENT


@pytest.mark.parametrize(("extra", "requests"), [(b"", 1), (b"more", 2)])
def test_part_that_was_complete_or_too_long(
    server: Server, tmp_path: Path, extra: bytes, requests: int
) -> None:
    (tmp_path / "set.zip.part").write_bytes(CONTENT + extra)
    (tmp_path / "set.zip.part.tag").write_text('"one"')
    assert fetch(server.file(sha256(CONTENT)), tmp_path).read_bytes() == CONTENT
    assert len(server.log) == requests


def test_wrong_file(server: Server, tmp_path: Path) -> None:
    server.content = b"another file"
    with pytest.raises(DownloadError, match=sha256(CONTENT)[7:]):
        fetch(server.file(sha256(CONTENT)), tmp_path)
    assert list(tmp_path.iterdir()) == [], "what was wrong is not kept"


@pytest.mark.parametrize("status", [404, 403, 500])
def test_status(server: Server, tmp_path: Path, status: int) -> None:
    server.status = status
    with pytest.raises(DownloadError, match=rf"{status} .*the address may have changed"):
        fetch(server.file(), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_web_page_in_the_place_of_a_file(server: Server, tmp_path: Path) -> None:
    server.headers = {"Content-Type": "text/html; charset=utf-8"}
    with pytest.raises(DownloadError, match="got a web page"):
        fetch(server.file(), tmp_path)
    assert not (tmp_path / "set.zip").exists()


def test_no_server(tmp_path: Path) -> None:
    with pytest.raises(DownloadError):
        fetch(File("http://127.0.0.1:9/set.zip"), tmp_path)


def test_a_transfer_is_bounded(server: Server, tmp_path: Path) -> None:
    for server.length in (True, False):  # said at once, and found out while it comes
        with pytest.raises(DownloadError, match=r"expected at most 300000 bytes, got [34]"):
            fetch(server.file(), tmp_path, max_bytes=300_000)
        assert list(tmp_path.iterdir()) == [] and len(server.log) == 1
        server.log.clear()
    assert fetch(server.file(), tmp_path, max_bytes=len(CONTENT)).read_bytes() == CONTENT


def test_a_dripping_server_is_given_up(server: Server, tmp_path: Path) -> None:
    server.drip = 0.01
    with pytest.raises(DownloadError, match=r"fewer than 1000 bytes a second; run .* to go on"):
        fetch(server.file(), tmp_path, timeout=0.2)
    assert 10 < (tmp_path / "set.zip.part").stat().st_size < 100, "kept for the next run"
    server.drip = 0
    assert fetch(server.file(), tmp_path).read_bytes() == CONTENT


def test_a_few_bytes_a_try_are_no_progress(server: Server, tmp_path: Path) -> None:
    server.breaks = [10] * 1000
    with pytest.raises(DownloadError, match="run the command again"):
        fetch(server.file(), tmp_path)
    assert len(server.log) == 3


def test_what_is_labeled_as_compressed_is_stored_as_it_is(server: Server, tmp_path: Path) -> None:
    server.content = gzip.compress(CONTENT)
    server.headers = {"Content-Encoding": "gzip"}
    file = File(f"{server.address}/set.tgz")
    assert fetch(file, tmp_path).read_bytes() == server.content
    with pytest.raises(DownloadError, match=r"set\.zip as it is, got it with the encoding gzip"):
        fetch(server.file(), tmp_path)


@pytest.mark.parametrize("status", [206, 416])
def test_a_part_that_nobody_asked_for(server: Server, tmp_path: Path, status: int) -> None:
    server.status = status
    with pytest.raises(DownloadError, match=rf"expected all of .*, got a part \(status {status}\)"):
        fetch(server.file(), tmp_path)
    assert len(server.log) == 1


@pytest.mark.parametrize("tag", [b"", b"\xff\xfe", b'"one"\r\nX: y', b"\0", b"x" * 10**5])
def test_a_spoiled_version_is_no_version(server: Server, tmp_path: Path, tag: bytes) -> None:
    (tmp_path / "set.zip.part").write_bytes(CONTENT[:1000])
    (tmp_path / "set.zip.part.tag").write_bytes(tag)
    assert fetch(server.file(), tmp_path).read_bytes() == CONTENT
    assert server.log == [None]


# Unpacking

PLAIN = DataSet(
    title="A set",
    page="https://example.org/set",
    terms="none",
    cite="nobody",
    folder="set",
    files=(File("https://example.org/set.zip"),),
    wanted=r"(?:top/)?(.+\.txt)",
    to=r"\1",
    expected={"**/*.txt": 1},
    max_bytes=100_000,
    max_files=20,
)


def make_zip(path: Path, files: dict[str, bytes], **modes: int) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            info = zipfile.ZipInfo(name)
            info.external_attr = modes.get("mode", stat.S_IFREG | 0o644) << 16
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, content)
    return path


def make_tar(path: Path, files: dict[str, bytes], mode: str = "gz", **fields: object) -> Path:
    with tarfile.open(path, f"w:{mode}") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            for key, value in fields.items():
                setattr(info, key, value)
            archive.addfile(info, io.BytesIO(content))
    return path


MAKE = {"set.zip": make_zip, "set.tgz": make_tar}


@pytest.fixture(params=MAKE)
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


def refused(source: Path, root: Path, match: str, data: DataSet = PLAIN) -> None:
    """Installing fails, says why, and leaves nothing, in the root or beside it."""

    def files() -> list[Path]:
        return sorted(p for p in root.parent.rglob("*") if p != root)

    before = files()
    with pytest.raises(DownloadError, match=match):
        install([source], root, data)
    assert files() == before


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "work").mkdir()
    return tmp_path / "work" / "data"


def test_installs(
    kind: str, tmp_path: Path, root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = {"./top/a.txt": b"A", "top/in/b.TXT": b"B" * 70_000, "top/c.mat": b"C"}
    target = install([MAKE[kind](tmp_path / kind, files)], root, PLAIN)
    assert target == root / "set"
    assert (target / "a.txt").read_bytes() == b"A"
    assert (target / "in" / "b.TXT").read_bytes() == b"B" * 70_000
    assert sorted(p.name for p in root.rglob("*")) == ["a.txt", "b.TXT", "in", "set"]
    assert stat.S_IMODE(target.stat().st_mode) == 0o755
    assert "1 files in the archives are not needed" in capsys.readouterr().out


def test_installs_an_unpacked_folder(tmp_path: Path, root: Path) -> None:
    (tmp_path / "hand" / "top").mkdir(parents=True)
    (tmp_path / "hand" / "top" / "a.txt").write_text("A")
    assert (install([tmp_path / "hand"], root, PLAIN) / "a.txt").read_text() == "A"
    assert (tmp_path / "hand" / "top" / "a.txt").exists(), "the folder is left as it is"


@pytest.mark.parametrize(
    "name",
    [
        "../evil.txt",
        "top/../../evil.txt",
        "top/..",
        "/evil.txt",
        "//evil.txt",
        "..\\evil.txt",
        "C:/evil.txt",
        "C:evil.txt",
    ],
)
@pytest.mark.parametrize("other", [".txt", ".bin"])
def test_paths_out_of_the_folder(
    kind: str, tmp_path: Path, root: Path, name: str, other: str
) -> None:
    name = name.replace(".txt", other)  # also where the file is not wanted
    source = MAKE[kind](tmp_path / kind, {"top/a.txt": b"A", name: b"evil"})
    refused(source, root, "could lead out of the folder")


def test_links_in_a_zip(tmp_path: Path, root: Path) -> None:
    source = make_zip(tmp_path / "set.zip", {"a.txt": b"/etc/passwd"}, mode=stat.S_IFLNK | 0o777)
    refused(source, root, "'a.txt' is a link or a device")


@pytest.mark.parametrize(
    "type_",
    [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE],
)
def test_links_and_devices_in_a_tar(tmp_path: Path, root: Path, type_: bytes) -> None:
    source = make_tar(tmp_path / "set.tgz", {"a.txt": b""}, type=type_, linkname="/etc/passwd")
    refused(source, root, "'a.txt' is a link or a device")


def test_links_in_a_folder(tmp_path: Path, root: Path) -> None:
    (tmp_path / "hand").mkdir()
    (tmp_path / "hand" / "a.txt").symlink_to("/etc/passwd")
    with pytest.raises(DownloadError, match=r"a\.txt is a link"):
        install([tmp_path / "hand"], root, PLAIN)


def test_too_big(kind: str, tmp_path: Path, root: Path) -> None:
    source = MAKE[kind](tmp_path / kind, {"a.txt": bytes(60_000), "b.txt": bytes(60_000)})
    refused(source, root, "no more than 20 files and 100000 bytes, got 2 files and 120000 bytes")


def test_too_big_where_it_is_not_wanted(kind: str, tmp_path: Path, root: Path) -> None:
    source = MAKE[kind](tmp_path / kind, {"a.txt": b"A", "b.bin": bytes(120_000)})
    refused(source, root, "got 2 files and 120001 bytes")


def test_too_big_in_two_archives(tmp_path: Path, root: Path) -> None:
    one = make_zip(tmp_path / "1.zip", {"a.txt": bytes(60_000)})
    two = make_tar(tmp_path / "2.tgz", {"b.txt": bytes(60_000)})
    with pytest.raises(DownloadError, match="got 2 files and 120000 bytes"):
        install([one, two], root, PLAIN)
    assert list(root.iterdir()) == []


def test_too_many(kind: str, tmp_path: Path, root: Path) -> None:
    source = MAKE[kind](tmp_path / kind, {f"{n}.txt": b"" for n in range(21)})
    refused(source, root, "got 21 files")


def test_zip_that_lies_about_sizes(tmp_path: Path, root: Path) -> None:
    source = make_zip(tmp_path / "set.zip", {"a.txt": bytes(1_000_000)})
    true, lie = (1_000_000).to_bytes(4, "little"), (10).to_bytes(4, "little")
    content = source.read_bytes()
    assert content.count(true) == 2, "in the file's header and in the directory"
    source.write_bytes(content.replace(true, lie))
    refused(source, root, "damaged or cut off")


def test_more_comes_than_was_declared(
    tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever an archive format's own checks are: what really comes is counted."""
    lying = archives.Member("a.txt", 10, lambda: io.BytesIO(bytes(1_000_000)))
    monkeypatch.setattr(archives, "members", lambda source, wanted: iter([lying]))
    refused(tmp_path / "set.zip", root, r"got 1 files and 131072 bytes or more")


def test_same_file_twice(tmp_path: Path, root: Path) -> None:
    source = make_tar(tmp_path / "set.tgz", {"top/a.txt": b"A", "a.txt": b"B"})
    refused(source, root, "'a.txt' comes twice")


@pytest.mark.parametrize("cut", [0.5, 0.9])
def test_archive_cut_off(kind: str, tmp_path: Path, root: Path, cut: float) -> None:
    source = MAKE[kind](tmp_path / kind, {"a.txt": CONTENT[:50_000], "b.txt": CONTENT[:20_000]})
    content = source.read_bytes()
    source.write_bytes(content[: int(cut * len(content))])
    refused(source, root, "cut off")


def test_zip_with_a_flipped_bit(tmp_path: Path, root: Path) -> None:
    source = make_zip(tmp_path / "set.zip", {"a.txt": CONTENT[:50_000]})
    content = bytearray(source.read_bytes())
    content[25_000] ^= 1
    source.write_bytes(content)
    refused(source, root, "damaged")


@pytest.mark.parametrize("mode", ["gz", "bz2", "xz"])
def test_compressed_tar_with_a_flipped_bit(mode: str, tmp_path: Path, root: Path) -> None:
    """Wherever it is: also in bytes that are stored as they are, and in the checksum itself."""
    plain = make_tar(tmp_path / "set", {"a.txt": CONTENT[:50_000]}, mode="")
    source = tmp_path / "set.archive"
    opener = {"gz": gzip.open, "bz2": bz2.open, "xz": lzma.open}[mode]
    with opener(source, "wb") as out:
        out.write(plain.read_bytes())
    content = source.read_bytes()
    for place in (len(content) // 2, len(content) - 8):
        damaged = bytearray(content)
        damaged[place] ^= 1
        source.write_bytes(damaged)
        refused(source, root, r"damaged|another kind of file")  # bz2 may not give a first byte
    source.write_bytes(content)
    install([source], root, PLAIN)


HEADERS = (tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK, tarfile.XHDTYPE, tarfile.XGLTYPE)


@pytest.mark.parametrize("type_", HEADERS)
@pytest.mark.parametrize("first", [True, False])
def test_a_huge_header_is_not_read(
    type_: bytes, first: bool, tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    info, member = tarfile.TarInfo("x"), tarfile.TarInfo("a.txt")
    info.type, info.size = type_, 1 << 31
    source = tmp_path / "set.tgz"
    with gzip.open(source, "wb") as out:
        out.write(b"" if first else member.tobuf())
        out.write(info.tobuf() + bytes(1 << 16))

    sizes = []
    real = gzip.GzipFile.read
    monkeypatch.setattr(
        gzip.GzipFile, "read", lambda self, size: sizes.append(size) or real(self, size)
    )
    refused(source, root, "expected headers and padding of at most 8388608 bytes, got more")
    assert max(sizes) <= 8388608


def test_many_small_headers_and_endless_padding(
    tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archives, "MAX_OVERHEAD", 10_000)
    info = tarfile.TarInfo("x")
    info.type = tarfile.XGLTYPE
    for content in (30 * info.tobuf(), tarfile.TarInfo("a.txt").tobuf() + bytes(100_000)):
        (tmp_path / "set.tar").write_bytes(content)
        refused(tmp_path / "set.tar", root, "headers and padding of at most 10000 bytes")


def test_folders_count(kind: str, tmp_path: Path, root: Path) -> None:
    if kind == "set.zip":
        source = make_zip(tmp_path / kind, {f"{n}/": b"" for n in range(21)})
    else:
        folders = {f"{n}": b"" for n in range(21)}
        source = make_tar(tmp_path / kind, folders, type=tarfile.DIRTYPE)
    refused(source, root, "no more than 20 files")


def test_a_zip_member_without_a_name(tmp_path: Path, root: Path) -> None:
    source = make_zip(tmp_path / "set.zip", {"a.txt": b"A", "": b"x"})
    refused(source, root, r"^set\.zip: a file in it has no name$")


def test_damage_anywhere_is_found_or_harmless(kind: str, tmp_path: Path, root: Path) -> None:
    """Every third byte changed: the set is as it was, or there is one clear error."""
    source = MAKE[kind](tmp_path / kind, {"top/a.txt": b"A" * 30, "b.txt": b"B"})
    content, generator = source.read_bytes(), np.random.default_rng(1)
    for place in range(0, len(content), 3):
        damaged = bytearray(content)
        damaged[place] = generator.integers(256)
        source.write_bytes(damaged)
        shutil.rmtree(root, ignore_errors=True)
        with contextlib.suppress(DownloadError):
            target = install([source], root, PLAIN)
            found = {p.name: p.read_bytes() for p in target.rglob("*") if p.is_file()}
            if kind == "set.tgz":
                assert found == {"a.txt": b"A" * 30, "b.txt": b"B"}


def test_encrypted_zip(tmp_path: Path, root: Path) -> None:
    source = make_zip(tmp_path / "set.zip", {"a.txt": b"A"})
    content = bytearray(source.read_bytes())
    content[6] |= 1  # the flag, in the file's header and in the directory
    content[content.index(b"PK\x01\x02") + 8] |= 1
    source.write_bytes(content)
    refused(source, root, "encrypted")


@pytest.mark.parametrize("start", [b"Rar!\x1a\x07\x01\x00", b"7z\xbc\xaf\x27\x1c\x00"])
def test_rar_and_7z_say_what_to_do(tmp_path: Path, root: Path, start: bytes) -> None:
    (tmp_path / "set.rar").write_bytes(start + CONTENT)
    refused(tmp_path / "set.rar", root, r"bsdtar -xf .*set\.rar -C FOLDER\n.*--archive FOLDER")


@pytest.mark.parametrize("content", [b"", b"<html>moved</html>", CONTENT])
def test_no_archive(tmp_path: Path, root: Path, content: bytes) -> None:
    (tmp_path / "set.zip").write_bytes(content)
    refused(tmp_path / "set.zip", root, "expected a zip or tar archive")


def test_no_file(tmp_path: Path, root: Path) -> None:
    refused(tmp_path / "set.zip", root, "there is no file or folder")


def test_another_set_altogether(kind: str, tmp_path: Path, root: Path) -> None:
    source = MAKE[kind](tmp_path / kind, {"cat.jpg": b"cat"})
    refused(source, root, r"set: expected 1 files \*\*/\*.txt, got 0")


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError])
def test_interrupted_leaves_nothing(
    kind: str,
    tmp_path: Path,
    root: Path,
    monkeypatch: pytest.MonkeyPatch,
    error: type[BaseException],
) -> None:
    source = MAKE[kind](tmp_path / kind, {"a.txt": b"A", "b.txt": b"B"})
    finish = dataclasses.replace(PLAIN, finish=lambda folder: (_ for _ in ()).throw(error))
    with pytest.raises(error):
        install([source], root, finish)
    assert list(root.iterdir()) == []
    install([source], root, PLAIN)
    assert sorted(p.name for p in (root / "set").iterdir()) == ["a.txt", "b.txt"]


def test_appears_only_when_complete(tmp_path: Path, root: Path) -> None:
    def look(folder: Path) -> None:
        assert (folder / "a.txt").exists()
        assert folder.name.startswith(".") and not (root / "set").exists()

    source = make_zip(tmp_path / "set.zip", {"a.txt": b"A"})
    install([source], root, dataclasses.replace(PLAIN, finish=look))
    assert (root / "set" / "a.txt").exists()


# The command


def known(server: Server, **changes: object) -> dict[str, DataSet]:
    return {"set": dataclasses.replace(PLAIN, files=(server.file(),), **changes)}


def test_from_the_server_to_the_folder(
    server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server.content = make_zip(tmp_path / "made.zip", {"top/a.txt": b"A"}).read_bytes()
    target = get("set", tmp_path / "data", [], known(server))
    assert (target / "a.txt").read_text() == "A"
    said = capsys.readouterr().out
    order = ["A set", "Terms: none", "Please cite: nobody", sha256(server.content), str(target)]
    assert [said.index(words) for words in order] == sorted(said.index(words) for words in order)
    get("set", tmp_path / "data", [], known(server))
    assert "is there already" in capsys.readouterr().out
    assert len(server.log) == 1


def test_known_hash_is_not_printed(
    server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server.content = make_zip(tmp_path / "made.zip", {"a.txt": b"A"}).read_bytes()
    file = server.file(sha256(server.content))
    get("set", tmp_path / "data", [], {"set": dataclasses.replace(PLAIN, files=(file,))})
    assert "no hash is known" not in capsys.readouterr().out


def test_a_folder_that_lacks_files_is_not_taken_for_the_set(tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    with pytest.raises(DownloadError, match=r"is there, but .* got 0.*Move it away"):
        get("set", tmp_path, [], {"set": PLAIN})


def test_gone_from_the_server_says_what_to_do_by_hand(server: Server, tmp_path: Path) -> None:
    server.status = 404
    with pytest.raises(
        DownloadError,
        match=r"(?s)404.*By hand: get set\.zip from https://example\.org/set .*download set --arch",
    ):
        get("set", tmp_path, [], known(server))


def test_by_hand(server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = make_zip(tmp_path / "mine.zip", {"a.txt": b"A"})
    target = get("set", tmp_path / "data", [source], known(server))
    assert (target / "a.txt").read_text() == "A"
    assert server.log == [], "nothing is fetched"
    assert sha256(source.read_bytes()) in capsys.readouterr().out
    assert source.exists()


def test_by_hand_with_a_known_hash(tmp_path: Path) -> None:
    source = make_zip(tmp_path / "set.zip", {"a.txt": b"A"})
    file = File("https://example.org/set.zip", sha256(b"another"))
    data = {"set": dataclasses.replace(PLAIN, files=(file,))}
    with pytest.raises(
        DownloadError, match=f"expected {file.known_hash}, got {sha256(source.read_bytes())}"
    ):
        get("set", tmp_path / "data", [source], data)
    file = File("https://example.org/set.zip", sha256(source.read_bytes()))
    get("set", tmp_path / "data", [source], {"set": dataclasses.replace(PLAIN, files=(file,))})


def test_joint_hash(tmp_path: Path) -> None:
    source = make_zip(tmp_path / "set.zip", {"b.txt": b"B", "a.txt": b"A"})
    right, wrong = (hashlib.sha1(c).hexdigest() for c in (b"AB", b"BA"))
    with pytest.raises(DownloadError, match=f"joint SHA-1 {wrong}, got {right}"):
        install([source], tmp_path, dataclasses.replace(PLAIN, joint_sha1=wrong))
    install([source], tmp_path, dataclasses.replace(PLAIN, joint_sha1=right))


def test_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    source = make_zip(tmp_path / "k.zip", {"kodim01.png": b"x"})
    monkeypatch.delenv("DSD_DATA", raising=False)
    assert main(["kodak", "--archive", str(source)]) == 1
    assert "--to FOLDER or the environment variable DSD_DATA" in capsys.readouterr().err
    assert main(["kodak", "--to", str(tmp_path / "data"), "--archive", str(source)]) == 1
    assert "expected 24 files kodim*.png, got 1" in capsys.readouterr().err
    monkeypatch.setitem(DATA_SETS, "kodak", PLAIN)
    source = make_zip(tmp_path / "set.zip", {"a.txt": b"A"})
    monkeypatch.setenv("DSD_DATA", str(tmp_path / "data"))
    assert main(["kodak", "--archive", str(source)]) == 0
    assert (tmp_path / "data" / "set" / "a.txt").exists()
    monkeypatch.setattr(download, "get", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    assert main(["kodak"]) == 130
    with pytest.raises(SystemExit):
        main(["imagenet"])


# The sets: what their archives hold, and where it goes


def few(name: str, **changes: object) -> DataSet:
    """A set that is content with one file of each kind."""
    data = DATA_SETS[name]
    expected = dict.fromkeys(data.expected, 1)
    return dataclasses.replace(data, expected=expected, joint_sha1=None, **changes)


def placed(folder: Path) -> list[str]:
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


def png() -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (3, 2)).save(stream, "PNG")
    return stream.getvalue()


def test_bsds500(tmp_path: Path) -> None:
    images = "BSR/BSDS500/data/images"
    names = [f"{images}/{part}/{n}.jpg" for part in ("train", "val", "test") for n in (12, 3)]
    others = [f"{images}/train/Thumbs.db", "BSR/BSDS500/data/groundTruth/train/12.mat", "BSR/x.jpg"]
    source = make_tar(tmp_path / "b.tgz", dict.fromkeys([*names, *others], b"x"))
    target = install([source], tmp_path / "data", few("bsds500"))
    assert placed(target) == [
        f"{part}/{n}.jpg" for part in ("test", "train", "val") for n in (12, 3)
    ]
    assert len(list_images(target / "train")) == 2


def test_bsds500_as_it_should_be(tmp_path: Path) -> None:
    counts = {"train": 200, "val": 100, "test": 200}
    names = [
        f"BSR/BSDS500/data/images/{part}/{n}.jpg" for part in counts for n in range(counts[part])
    ]
    source = make_tar(tmp_path / "b.tgz", dict.fromkeys(names, b"x"))
    install([source], tmp_path / "data", DATA_SETS["bsds500"])
    source = make_tar(tmp_path / "b.tgz", dict.fromkeys(names[1:], b"x"))
    with pytest.raises(DownloadError, match=r"expected 200 files train/\*\.jpg, got 199"):
        install([source], tmp_path / "other", DATA_SETS["bsds500"])


def test_div2k(tmp_path: Path) -> None:
    sources = [
        make_zip(tmp_path / "t.zip", {"DIV2K_train_HR/0001.png": b"x"}),
        make_zip(tmp_path / "v.zip", {"DIV2K_valid_HR/0801.png": b"x"}),
    ]
    target = install(sources, tmp_path / "data", few("div2k"))
    assert placed(target) == ["train/0001.png", "valid/0801.png"]


@pytest.mark.parametrize("top", ["", "train/"])
def test_reds(tmp_path: Path, top: str) -> None:
    kinds = ("train_blur", "train_sharp", "val_blur", "val_sharp")
    sources = [
        make_zip(tmp_path / f"{kind}.zip", {f"{top}{kind}/000/00000099.png": b"x"})
        for kind in kinds
    ]
    target = install(sources, tmp_path / "data", few("reds"))
    assert placed(target) == [f"{kind}/000/00000099.png" for kind in kinds]


def test_pieapp_for_the_reader(tmp_path: Path) -> None:
    top = "PieAPP_dataset_CVPR_2018"
    header = b"ref. image, distorted image A, distorted image B, preference for A\n"
    distorted = [f"distort_1_{kind}_inter_0.png" for kind in ("blur", "noise")]
    files = {
        f"{top}/reference_images/test/ref_1.png": png(),
        **{f"{top}/distorted_images/test/ref_1/{name}": png() for name in distorted},
        f"{top}/labels/test/ref_1_pairwise_labels.csv": header
        + f"ref_1.png,{distorted[0]},{distorted[1]},0.75\n".encode(),
        f"{top}/labels/test/._ref_1_pairwise_labels.csv": b"\xff\x00",
        f"__MACOSX/{top}/labels/test/ref_1_pairwise_labels.csv": b"\xff\x00",
        f"{top}/test_reference_list.txt": b"ref_1.png\n",
        f"{top}/TERMS_OF_USE.pdf": b"terms",
    }
    source = make_zip(tmp_path / "p.zip", files)
    target = install([source], tmp_path / "data", few("pieapp"))
    assert {"TERMS_OF_USE.pdf", "test_reference_list.txt"} < set(placed(target))
    assert len(placed(target)) == 6
    assert [pair.preference for pair in rated_sets.read_pieapp(target).pairs] == [0.75]


def test_tid2013_unpacked_by_hand_for_the_reader(tmp_path: Path) -> None:
    folder = tmp_path / "hand" / "tid2013"
    for name in ("reference_images/I01.BMP", "distorted_images/i01_08_2.bmp"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (3, 2)).save(folder / name)
    (folder / "mos_with_names.txt").write_text("4.5 I01_08_2.bmp\n")
    (folder / "mos_std.txt").write_text("0.1\n")
    (folder / "readme").write_text("notice")
    (folder / "metrics").mkdir()
    (folder / "metrics" / "psnr.txt").write_text("30")
    target = install([tmp_path / "hand"], tmp_path / "data", few("tid2013"))
    assert len(placed(target)) == 5
    assert rated_sets.read_tid2013(target).images[0].distortion == "Gaussian blur"


def test_tid2013_arrives_as_rar(
    server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server.content = b"Rar!\x1a\x07\x00" + CONTENT
    data = {"tid2013": few("tid2013", files=(File(f"{server.address}/tid2013.rar"),))}
    with pytest.raises(DownloadError, match="which Python cannot unpack"):
        get("tid2013", tmp_path, [], data)
    assert (tmp_path / "downloads" / "tid2013.rar").exists(), "kept, to be unpacked by hand"
    assert not (tmp_path / "tid2013").exists()


def test_kadid10k_for_the_reader(tmp_path: Path) -> None:
    files = {
        "kadid10k/images/I01.png": png(),
        "kadid10k/images/I01_02_03.png": png(),
        "kadid10k/dmos.csv": b"dist_img,ref_img,dmos,var\nI01_02_03.png,I01.png,3.2,0.9\n",
        "kadid10k/mv.sh.save": b"",
    }
    target = install([make_zip(tmp_path / "k.zip", files)], tmp_path / "data", few("kadid10k"))
    assert placed(target) == ["dmos.csv", "images/I01.png", "images/I01_02_03.png"]
    assert rated_sets.read_kadid10k(target).images[0].score == 3.2


def test_kodak_from_single_files(server: Server, tmp_path: Path) -> None:
    server.content = png()
    files = tuple(File(f"{server.address}/kodim{n:02d}.png") for n in (1, 2))
    sha1 = hashlib.sha1(2 * server.content).hexdigest()
    data = dataclasses.replace(few("kodak", files=files), joint_sha1=sha1)
    target = get("kodak", tmp_path, [], {"kodak": data})
    assert placed(target) == ["kodim01.png", "kodim02.png"]


def test_levin_kernels_from_an_unpacked_folder(tmp_path: Path) -> None:
    folder = tmp_path / "hand" / "LevinEtalCVPR09Data" / "Levin09blurdata"
    folder.mkdir(parents=True)
    kernels = {n: np.random.default_rng(n).random((9 + 2 * n, 9 + 2 * n)) for n in range(1, 9)}
    for image in (5, 6):
        for n, kernel in kernels.items():
            scipy.io.savemat(folder / f"im0{image}_flit0{n}.mat", {"x": [1.0], "f": kernel})
    target = install([tmp_path / "hand"], tmp_path / "data", DATA_SETS["levin"])
    assert placed(target) == ["levin09.npz"]
    packed = np.load(target / "levin09.npz")
    assert sorted(packed) == [f"k{n}" for n in range(1, 9)]
    for n, kernel in kernels.items():
        np.testing.assert_array_equal(packed[f"k{n}"], kernel.astype(np.float32))


def test_levin_kernels_of_another_make(tmp_path: Path) -> None:
    (tmp_path / "hand").mkdir()
    scipy.io.savemat(tmp_path / "hand" / "im05_flit01.mat", {"kernel": [[1.0]]})
    with pytest.raises(DownloadError, match=r"k1\.mat: expected a kernel f, got .*kernel"):
        install([tmp_path / "hand"], tmp_path / "data", DATA_SETS["levin"])
    for n in range(1, 8):
        scipy.io.savemat(tmp_path / "hand" / f"im05_flit0{n}.mat", {"f": [[1.0]]})
    with pytest.raises(DownloadError, match="expected 8 kernels, got 7"):
        install([tmp_path / "hand"], tmp_path / "data", DATA_SETS["levin"])


@pytest.mark.parametrize("name", DATA_SETS)
def test_sets_are_described(name: str) -> None:
    data = DATA_SETS[name]
    assert data.title and data.terms and data.cite and data.page.startswith("http")
    assert len({file.name for file in data.files}) == len(data.files) > 0
    for file in data.files:
        assert file.url.startswith(("https://", "http://www.ponomarenko.info/"))
        algorithm, _, digest = (file.known_hash or "sha256:" + "0" * 64).partition(":")
        assert len(digest) == 2 * hashlib.new(algorithm).digest_size


@pytest.mark.skipif("DSD_DATA" not in os.environ, reason="DSD_DATA is not set")
@pytest.mark.parametrize("name", ["bsds500", "levin"])
def test_the_real_sets_lie_as_laid_out_here(name: str) -> None:
    data = DATA_SETS[name]
    check_layout(data_folder(data.folder), data)
