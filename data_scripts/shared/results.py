"""Stored results of the book: measured numbers with where they come from, written atomically."""

import json
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
        started: ``time.time()`` from before the work began.
        seed: the seed of whatever was random, or None.
        device: where it ran.
        folder: another folder, for tests.
    """
    provenance = {
        "command": " ".join(["python -m", f"data_scripts.{Path(sys.argv[0]).stem}", *sys.argv[1:]]),
        "data": data,
        "network": network,
        "device": device,
        "seed": seed,
        "commit": _commit(),
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


def _commit() -> str | None:
    command = ["git", "-C", str(ROOT), "describe", "--always", "--dirty", "--exclude=*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None
