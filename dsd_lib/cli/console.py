"""What the command says, and on which streams."""

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator
from typing import NoReturn


class UsageError(Exception):
    """The command cannot be carried out as given."""


def complain(message: str) -> None:
    """Say on the standard error output what is wrong, in one line."""
    with contextlib.suppress(OSError):  # if that is closed or full, nobody can be told
        print(f"dsd: {printable(message)}", file=sys.stderr, flush=True)


def printable(text: object) -> str:
    """A text on one line, whatever is in a file's name; what cannot be shown is escaped.

    >>> printable("two\\nlines")
    'two\\\\nlines'
    """
    shown = [c if c.isprintable() else c.encode("unicode_escape").decode() for c in str(text)]
    encoding = sys.stdout.encoding or "utf-8"
    return "".join(shown).encode(encoding, "backslashreplace").decode(encoding)


def discard_output() -> None:
    """Send what is still to be written to nowhere, so that Python's own flush at exit succeeds."""
    with contextlib.suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@contextlib.contextmanager
def safe_console() -> Iterator[None]:
    """Streams that exist and show any character, and a ``kill`` after which no half file is left.

    A stream that the caller closed becomes the null device: otherwise the next file to be opened
    would get its number. A character that the terminal's encoding lacks is escaped.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115, PTH123
    before = None
    errors = getattr(sys.stdout, "errors", None)
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="backslashreplace")
    if threading.current_thread() is threading.main_thread():  # others may not set handlers
        before = signal.signal(signal.SIGTERM, _terminate)
    try:
        yield
    finally:
        if before is not None:
            signal.signal(signal.SIGTERM, before)
        if hasattr(sys.stdout, "reconfigure"):
            sys.stdout.reconfigure(errors=errors)


def _terminate(number: int, _: object) -> NoReturn:
    raise SystemExit(128 + number)
