"""Files of the live page that a browser loads by ``<script>``, so that ``file://`` works as well.

A page opened from a folder may not fetch its neighbors, but it may load a script. So each binary
file is packed, gzip in base64, into a script of one call: ``DSDTry.deliver(name, packed)``.
"""

import base64
import gzip
import hashlib
import re
from pathlib import Path

from data_scripts.shared.results import ROOT
from dsd_lib.files import write_atomically

TRY = ROOT / "book" / "_static" / "try"
_CALL = re.compile(r'DSDTry\.deliver\("([\w.]+)", "([A-Za-z0-9+/=]*)"\);\n')


def pack(name: str, content: bytes, path: Path) -> dict[str, object]:
    """Write ``content`` as a script that delivers it under ``name``; returns what a manifest says.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     entry = pack("greeting", b"hello", Path(folder) / "greeting.js")
    ...     entry["bytes"], unpack(Path(folder) / "greeting.js")
    (5, b'hello')
    """
    packed = base64.b64encode(gzip.compress(content, compresslevel=9, mtime=0)).decode()
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, f'DSDTry.deliver("{name}", "{packed}");\n')
    return {
        "file": path.relative_to(TRY).as_posix() if path.is_relative_to(TRY) else path.name,
        "bytes": len(content),
        "script_bytes": path.stat().st_size,
        "sha256": hashlib.sha256(content).hexdigest(),
    }


def unpack(path: Path) -> bytes:
    """The bytes that a script of :func:`pack` delivers.

    Raises:
        ValueError: the file is not such a script.
    """
    match = _CALL.fullmatch(path.read_text(encoding="ascii"))
    if match is None:
        raise ValueError(f"{path}: expected one DSDTry.deliver call, got something else")
    return gzip.decompress(base64.b64decode(match[2]))
