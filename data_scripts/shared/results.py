"""Stored results of the book: measured numbers with where they come from, written atomically.

A script calls `begin` before it works. That refuses code which is not committed, because nobody
could say later what was run. ``DSD_ALLOW_UNCOMMITTED=1`` allows it, and the result's commit then
ends in ``-dirty``.
"""

import functools
import json
import os
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import torch

import dsd_lib
from dsd_lib.files import write_atomically

ROOT = Path(__file__).parent.parent.parent
RESULTS = ROOT / "book" / "results"
WEIGHTS = Path(dsd_lib.__file__).parent / "weights"


ALLOW = "DSD_ALLOW_UNCOMMITTED"
CODE = ("dsd_lib", "data_scripts")


def begin() -> float:
    """The time now, once it is clear that the code that runs is committed.

    Raises:
        RuntimeError: files of the library or the scripts differ from the commit.
    """
    _check_committed()
    return time.time()


def write_result(
    name: str,
    results: object,
    *,
    data: str,
    network: str | None,
    started: float,
    seed: int | None = None,
    device: str = "cpu",
    folder: Path = RESULTS,
) -> Path:
    """Write ``results`` with its provenance to ``book/results/<name>.json`` and return the path.

    Args:
        name: ``<what>_<data>``.
        results: what was measured, as JSON takes it.
        data: what it was measured on, in words.
        network: the feature network, or None.
        started: when the work began, from `begin`.
        seed: the seed of whatever was random, or None.
        device: where it ran.
        folder: another folder, for tests.

    Raises:
        RuntimeError: a result for the book from code that was not committed when the work began.
        ValueError: a result is not finite.
    """
    if folder == RESULTS:
        _check_committed()
    provenance = {
        "command": " ".join(["python -m", f"data_scripts.{Path(sys.argv[0]).stem}", *sys.argv[1:]]),
        "data": data,
        "network": network,
        "device": device,
        "seed": seed,
        "commit": code_state(),
        "date": datetime.now(UTC).date().isoformat(),
        "duration_s": round(time.time() - started),
        "versions": {
            "python": sys.version.split()[0],
            "torch": torch.__version__,
            "dsd_lib": dsd_lib.__version__,
        },
    }
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.json"
    text = json.dumps({"provenance": provenance, "results": results}, indent=1, allow_nan=False)
    write_atomically(path, text + "\n")
    print(f"wrote {path}")
    return path


def rounded(value: object, digits: int = 4) -> object:
    """Every float in nested lists and dictionaries with that many significant digits."""
    if isinstance(value, dict):
        return {k: rounded(v, digits) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(v, digits) for v in value]
    return float(f"{value:.{digits}g}") if isinstance(value, float) else value


@functools.cache  # as it was when the process first asked: later edits do not run
def code_state() -> str | None:
    """The commit of the code, with ``-dirty`` after it where files differ; None without git."""
    try:
        commit = _git("rev-parse", "--short", "HEAD")
        changed = _git("status", "--porcelain", "--", *CODE)
    except (OSError, subprocess.CalledProcessError):
        return None
    return f"{commit}-dirty" if changed else commit


def _check_committed() -> None:
    state = code_state()
    if state and state.endswith("-dirty") and os.environ.get(ALLOW) != "1":
        raise RuntimeError(
            f"{' or '.join(CODE)} has changes that are not committed; commit them, so that the "
            f"result can say what was run, or set {ALLOW}=1"
        )


def _git(*command: str) -> str:
    run = ["git", "-C", str(ROOT), *command]
    return subprocess.run(run, capture_output=True, text=True, check=True).stdout.strip()
