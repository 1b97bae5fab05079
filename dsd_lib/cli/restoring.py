"""``dsd restore``: write what a trained network makes of pictures."""

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from dsd_lib.cli.console import UsageError, complain, printable
from dsd_lib.cli.processes import find_place, gather, progress_bar, share
from dsd_lib.restoration.networks import XSRResNet
from dsd_lib.restoration.picture_files import plan_results
from dsd_lib.restoration.restore import choose_network, load_restorer, restore_file


@dataclass
class _Restored:
    """What became of a picture: its file, notes on it, what went wrong."""

    file: Path | None = None
    notes: Sequence[str] = ()
    problem: str | None = None


def restore(options: argparse.Namespace) -> int:
    """Restore the pictures, complain about those that failed, list the files written."""
    unreadable: list[OSError] = []
    try:
        plan = plan_results(options.pictures, f"_{options.task}", options.output, unreadable.append)
        state, device = find_place(options.device)
        network = options.network
        if options.loss is not None:
            network = load_restorer(options.task, options.loss)
        network = choose_network(options.task, network, device, naturalness=options.naturalness)
    except (OSError, ValueError, TypeError) as error:
        raise UsageError(str(error)) from error

    network = network.to(device)
    mine = share(len(plan), state)
    with progress_bar(len(mine), state, options.quiet) as bar:
        found: list = []
        for i in mine:
            before = len(found)

            def show(done: int, tiles: int, before: int = before) -> None:
                bar.update(before + done / tiles - bar.n)

            found.append(_restore_one(*plan[i], network, options.overwrite, show))
            bar.update(len(found) - bar.n)
    results = gather(mine, found, state)
    if results is None:
        return 0

    problems = [f"{error.filename}: {error.strerror}" for error in unreadable]
    problems += [result.problem for result in results if result.problem is not None]
    if not options.quiet:
        for note in (note for result in results for note in result.notes):
            complain(f"note: {note}")
    for problem in problems:
        complain(problem)
    for result in results:
        if result.file is not None:
            print(printable(result.file))
    return 1 if problems else 0


def _restore_one(
    source: Path,
    target: Path,
    network: XSRResNet,
    overwrite: bool,
    progress: Callable[[int, int], object],
) -> _Restored:
    try:
        notes = restore_file(source, target, network, overwrite=overwrite, progress=progress)
        return _Restored(target, notes)
    except ValueError as error:
        return _Restored(problem=str(error))
    except OSError as error:
        if error.errno is None:  # ours: no such picture, or a result that exists already
            return _Restored(problem=str(error))
        if error.filename == str(source):
            return _Restored(problem=f"{source} cannot be read: {error.strerror}")
        return _Restored(problem=f"{target} cannot be written: {error}")
    except (RuntimeError, MemoryError) as error:  # PyTorch's, when memory runs out
        return _Restored(problem=f"{source}: {error}")
