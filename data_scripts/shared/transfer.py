"""Fetching a file from a server that may break off, drip, lie or have changed."""

import hashlib
import re
import time
from collections.abc import Iterator
from pathlib import Path

from data_scripts.shared.archives import CHUNK, DownloadError
from dsd_lib.extras import needs

with needs("data"):
    import pooch
    import requests
    import urllib3
    from tqdm import tqdm

MIN_SPEED = 1000  # bytes a second, over as long as a time-out


class ResumingDownloader:
    """A downloader for pooch that resumes where a download broke off.

    The bytes received so far are in ``<name>.part``, and ``<name>.part.tag`` says which version of
    the file they belong to (its ETag or date). The server is asked for the rest of that version; if
    it has another one, or cannot send a part, the file is fetched from the beginning.

    Args:
        part: the ``.part`` file.
        max_bytes: the most the file may have.
        tries: how often in a row the transfer may break off without progress.
        pause: seconds before the next try.
        timeout: seconds without a byte that count as a break; over the same time the server must
            send at least ``MIN_SPEED`` bytes a second.
    """

    def __init__(
        self,
        part: Path,
        max_bytes: int,
        *,
        tries: int = 5,
        pause: float = 2,
        timeout: float = 60,
    ) -> None:
        self.part, self.tag = part, part.with_name(part.name + ".tag")
        self.max_bytes = max_bytes
        self.tries, self.pause, self.timeout = tries, pause, timeout

    def __call__(self, url: str, output_file: str, pooch: object) -> None:
        """Fetch ``url`` to ``output_file``."""
        failures, size = 0, self._size()
        while True:
            try:
                self._transfer(url)
                break
            except (requests.ConnectionError, requests.Timeout):
                # A few bytes are no progress, or a server could keep us for days.
                failures = 1 if self._size() >= size + CHUNK else failures + 1
                size = self._size()
                if failures == self.tries:
                    raise
                time.sleep(self.pause)
        self.tag.unlink(missing_ok=True)
        self.part.replace(output_file)

    def _size(self) -> int:
        return self.part.stat().st_size if self.part.exists() else 0

    def _transfer(self, url: str) -> None:
        start, version = self._size(), self._read_version()
        if version is None:
            start = 0
        headers = {"Accept-Encoding": "identity"}  # so that sizes are those of the file
        if start:
            headers |= {"Range": f"bytes={start}-", "If-Range": version}
        with requests.get(url, headers=headers, stream=True, timeout=self.timeout) as answer:
            if answer.status_code in (206, 416) and not start:
                raise DownloadError(
                    f"expected all of {url}, got a part (status {answer.status_code})"
                )
            if answer.status_code == 416:  # there is nothing beyond what we have
                if answer.headers.get("Content-Range") == f"bytes */{start}":
                    return
                self.part.unlink()
                raise requests.ConnectionError(f"{url} is shorter than what came before")
            answer.raise_for_status()
            self._check_kind(url, answer.headers)
            if answer.status_code != 206:
                start = 0
            elif not answer.headers.get("Content-Range", "").startswith(f"bytes {start}-"):
                self.part.unlink()
                raise requests.ConnectionError(f"{url}: the server sent another part")
            self._write_version(answer.headers)
            length = answer.headers.get("Content-Length", "")
            total = start + int(length) if length.isdecimal() else None
            self._check_size(url, total or 0)
            with (
                self.part.open("ab" if start else "wb") as out,
                tqdm(
                    total=total, initial=start, desc=self.part.stem, unit="B", unit_scale=True
                ) as bar,
            ):
                for chunk in self._chunks(url, answer):
                    start += len(chunk)
                    self._check_size(url, start)
                    out.write(chunk)
                    bar.update(len(chunk))
        if total is not None and self._size() != total:
            raise requests.ConnectionError(f"{url}: expected {total} bytes, got {self._size()}")

    def _chunks(self, url: str, answer: requests.Response) -> Iterator[bytes]:
        """The body as it comes, not decoded; requests' own reading waits for whole chunks."""
        began, received = time.monotonic(), 0
        try:
            while chunk := answer.raw.read1(CHUNK, decode_content=False):
                yield chunk
                received += len(chunk)
                elapsed = time.monotonic() - began
                if elapsed > self.timeout:
                    if received < MIN_SPEED * elapsed:
                        raise DownloadError(
                            f"{url}: the server sends fewer than {MIN_SPEED} bytes a second; run "
                            "the command again later to go on from here"
                        )
                    began, received = time.monotonic(), 0
        except urllib3.exceptions.HTTPError as error:
            raise requests.ConnectionError(f"{url}: {error}") from error

    def _check_kind(self, url: str, headers: requests.structures.CaseInsensitiveDict) -> None:
        if headers.get("Content-Type", "").startswith("text/html"):
            raise DownloadError(f"expected a file from {url}, got a web page")
        encoding = headers.get("Content-Encoding", "identity")
        # Many servers label a .tgz so, which is stored as it is.
        if encoding != "identity" and not url.endswith(("gz", "bz2", "xz")):
            raise DownloadError(f"expected {url} as it is, got it with the encoding {encoding}")

    def _check_size(self, url: str, size: int) -> None:
        if size > self.max_bytes:
            self.part.unlink(missing_ok=True)
            self.tag.unlink(missing_ok=True)
            raise DownloadError(f"{url}: expected at most {self.max_bytes} bytes, got {size}")

    def _read_version(self) -> str | None:
        try:
            version = self.tag.read_bytes().decode("ascii")
        except (FileNotFoundError, UnicodeDecodeError):
            return None
        return version if _is_version(version) else None

    def _write_version(self, headers: requests.structures.CaseInsensitiveDict) -> None:
        version = headers.get("ETag", "")
        if version.startswith("W/") or not _is_version(version):  # weak: other bytes are possible
            version = headers.get("Last-Modified", "")
        if _is_version(version):
            self.tag.write_text(version, encoding="ascii")
        else:
            self.tag.unlink(missing_ok=True)


def _is_version(text: str) -> bool:
    """Whether a text may go into a request's header."""
    return re.fullmatch(r"[\x21-\x7e][\x20-\x7e]{0,999}", text) is not None


def fetch(
    url: str, folder: Path, max_bytes: int, known_hash: str | None = None, **options: float
) -> Path:
    """Download a file into a folder unless it is there already, and check its hash.

    Args:
        url: where it is; its last part is the file's name.
        folder: created if missing.
        max_bytes: the most the file may have.
        known_hash: as pooch takes it, ``sha256:…``; None if unknown.
        options: of :class:`ResumingDownloader`.

    Raises:
        DownloadError: the server does not have it, breaks off again and again, is too slow, or
            sends another file than it should.
    """
    folder.mkdir(parents=True, exist_ok=True)
    pooch.get_logger().setLevel("WARNING")
    name = url.rsplit("/", 1)[1]
    try:
        path = pooch.retrieve(
            url,
            known_hash=known_hash,
            fname=name,
            path=folder,
            downloader=ResumingDownloader(folder / f"{name}.part", max_bytes, **options),
        )
    except requests.HTTPError as error:
        raise DownloadError(f"{error}; the address may have changed") from error
    except requests.RequestException as error:
        raise DownloadError(f"{error}; run the command again to go on from here") from error
    except ValueError as error:  # what pooch raises if the hash does not match
        raise DownloadError(f"{url}: {error}") from error
    return Path(path)


def file_hash(path: Path, algorithm: str = "sha256") -> str:
    """The hash of a file as pooch writes it: ``sha256:…``."""
    with path.open("rb") as file:
        return f"{algorithm}:{hashlib.file_digest(file, algorithm).hexdigest()}"
