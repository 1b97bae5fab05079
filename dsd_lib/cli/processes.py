"""Work shared by several processes, and its progress bar."""

import sys
from collections.abc import Iterable
from typing import TypeVar

import torch

from dsd_lib.extras import needs
from dsd_lib.quality.scoring import choose_device

with needs("quality"):
    from accelerate import PartialState
    from accelerate.utils import gather_object
    from tqdm import tqdm

T = TypeVar("T")


def find_place(device: str | None) -> tuple[PartialState, torch.device]:
    """Which of how many processes this is, and where it computes.

    Raises:
        ValueError: there is no such device.
    """
    chosen = choose_device(device)
    state = PartialState(cpu=chosen.type == "cpu")
    if chosen.type == state.device.type == "cuda" and device in (None, "cuda"):
        chosen = state.device  # each process its own
    return state, chosen


def share(count: int, state: PartialState) -> range:
    """Which of ``count`` pieces of work are this process's."""
    return range(state.process_index, count, state.num_processes)


def gather(mine: Iterable[int], found: Iterable[T], state: PartialState) -> list[T] | None:
    """What all processes found, in the order of the work; None for all but the first process.

    Those have nothing more to do: the first one speaks for all.
    """
    numbered = list(zip(mine, found, strict=True))
    first = state.is_main_process
    if state.num_processes > 1:
        numbered = gather_object(numbered)
        state.destroy_process_group()
    numbered.sort(key=lambda item: item[0])
    return [item for _, item in numbered] if first else None


def progress_bar(count: int, state: PartialState, quiet: bool) -> tqdm:
    """Counts the images of the first process; whole ones, or parts of them."""
    return tqdm(
        total=count,
        desc="pictures",
        # None means no bar unless stderr is a terminal.
        disable=True if quiet or not state.is_main_process else None,
        file=sys.stderr,
        leave=False,
        bar_format="{desc}: {percentage:3.0f}%|{bar}| {n:.3g}/{total} [{elapsed}<{remaining}]",
    )
