"""What a training run keeps in its folder: a lock, its log, its checkpoint."""

import csv
import io
import json
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel

from dsd_lib.extras import needs
from dsd_lib.files import write_atomically
from dsd_lib.restoration.settings import Settings

with needs("restoration"):
    from filelock import FileLock, Timeout

if TYPE_CHECKING:
    from accelerate import Accelerator


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep other runs out of the folder; the lock ends with the process, however it ends.

    Raises:
        BlockingIOError: another run works there.
    """
    try:
        with FileLock(folder / "run.lock", timeout=0):
            yield
    except Timeout:
        raise BlockingIOError(
            f"{folder}: another run works there; wait for it, or give another folder"
        ) from None


class Log:
    """``log.csv``; rows beyond the step that a run resumes from are dropped.

    Args:
        path: the file.
        start: the step that the run resumes from; 0 for a new run.
    """

    def __init__(self, path: Path, start: int) -> None:
        self.path = path
        rows = []
        if start and path.is_file():
            with path.open(newline="") as file:
                reader = csv.reader(file)
                header = next(reader, [])
                whole = (row for row in reader if len(row) == len(header))
                rows = [header, *(row for row in whole if int(row[0]) <= start)]
        self.columns = rows[0] if rows else None
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows(rows)
        write_atomically(path, text.getvalue().encode())

    def add(self, row: Mapping[str, object]) -> None:
        """One row, on the disk when this returns."""
        with self.path.open("a", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            if self.columns is None:
                self.columns = list(row)
                writer.writerow(self.columns)
            writer.writerow(row[name] for name in self.columns)


class Checkpoint:
    """``checkpoint.pt``: all that a run needs to resume exactly.

    Args:
        path: the file.
        settings: of the run.
        net: the network, in training.
        average: the moving average of its weights.
        optimizer: Adam's.
        accelerator: of accelerate; it knows the loss scaling of float16.
    """

    def __init__(
        self,
        path: Path,
        settings: Settings,
        net: nn.Module,
        average: AveragedModel,
        optimizer: torch.optim.Optimizer,
        accelerator: "Accelerator",
    ) -> None:
        self.path, self.settings, self.accelerator = path, settings, accelerator
        self._parts: dict[str, Any] = {"net": net, "average": average, "optimizer": optimizer}
        if accelerator.scaler is not None:
            self._parts["scaler"] = accelerator.scaler

    def save(self, step: int, seconds: float) -> None:
        """Write the state after a step; the file appears whole or not at all."""
        state = {name: part.state_dict() for name, part in self._parts.items()}
        settings = json.dumps(asdict(self.settings))
        file = io.BytesIO()
        torch.save(state | {"settings": settings, "step": step, "seconds": seconds}, file)
        write_atomically(self.path, file.getvalue())

    def load(self) -> tuple[int, float]:
        """Bring the run to where the checkpoint stands: steps done and seconds spent.

        Raises:
            ValueError: the file is damaged or of a run with other settings, or several processes
                do not see the same file.
        """
        step, seconds = 0, 0.0
        if self.path.is_file():
            state = self._read()
            if different := _differences(json.loads(state["settings"]), asdict(self.settings)):
                raise ValueError(
                    f"{self.path} is of a run with other settings ({', '.join(different)}); give "
                    "another folder, or remove it"
                )
            for name, part in self._parts.items():
                if state.get(name):
                    part.load_state_dict(state[name])
            step, seconds = state["step"], state["seconds"]
        accelerator = self.accelerator
        steps = accelerator.gather(torch.tensor([step], device=accelerator.device))
        if steps.unique().numel() > 1:
            raise ValueError(
                f"{self.path}: expected all processes to see the same file, got steps "
                f"{steps.tolist()}"
            )
        return step, seconds

    def _read(self) -> dict:
        """The stored state, after a look at the checksums that the file has of its parts.

        ``torch.load`` does not look at them: weights with a flipped bit would be loaded.
        """
        try:
            with zipfile.ZipFile(self.path) as file:
                if (part := file.testzip()) is not None:
                    raise ValueError(f"{part} does not match its checksum")
            return torch.load(self.path, map_location="cpu", weights_only=True)
        except Exception as error:  # a damaged file may make its readers raise anything
            raise ValueError(
                f"{self.path}: the checkpoint is damaged; remove it to start again"
            ) from error


def _differences(then: Mapping[str, object], now: Mapping[str, object]) -> list[str]:
    """What differs, in words. Settings that did not exist then are not compared."""
    found = []
    for name in (name for name in now if name in then):
        old, new = _unpacked(then[name]), _unpacked(now[name])
        if isinstance(old, dict) and isinstance(new, dict):
            found += _differences(old, new)
        elif old != new:
            found.append(f"{name}: {old!r} -> {new!r}")
    return found


def _unpacked(value: object) -> object:
    """A description that is JSON, as what it describes."""
    if isinstance(value, str) and value.startswith("{"):
        return json.loads(value)
    return value
