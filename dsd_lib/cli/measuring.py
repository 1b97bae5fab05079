"""``dsd compare`` and ``dsd score``: measure pictures and write the table."""

import argparse
import os
from collections.abc import Iterable
from pathlib import Path

import torch

from dsd_lib.backbones import load_backbone
from dsd_lib.cli import tables
from dsd_lib.cli.console import UsageError, complain
from dsd_lib.cli.processes import find_place, gather, progress_bar, share
from dsd_lib.files import IMAGE_SUFFIXES, is_folder, list_images, write_atomically
from dsd_lib.quality import scoring
from dsd_lib.quality.measures import FULL_REFERENCE, NO_REFERENCE, Prepared


def measure(options: argparse.Namespace) -> int:
    """Measure the pictures, complain about those that failed, write and print the tables."""
    _check_outputs(options.csv, options.json)
    unreadable: list[OSError] = []
    try:
        jobs = (
            scoring.pair_up(options.reference, options.pictures, unreadable.append)
            if options.command == "compare"
            else scoring.list_jobs(options.pictures, unreadable.append)
        )
        state, device = find_place(options.device)
        measures = _prepare(options, device)
    except (OSError, ValueError, TypeError) as error:
        raise UsageError(str(error)) from error

    mine = share(len(jobs), state)
    rows = scoring.measure([jobs[i] for i in mine], measures, device)
    with progress_bar(len(mine), state, options.quiet) as bar:
        found = []
        for row, problems in rows:
            found.append((row, [str(problem) for problem in problems]))
            bar.update()
    results = gather(mine, found, state)
    if results is None:
        return 0

    complaints = [f"{error.filename}: {error.strerror}" for error in unreadable]
    complaints += [problem for _, found in results for problem in found]
    for problem in complaints:
        complain(problem)
    if options.command == "compare" and not options.quiet:
        _note_unused(options.reference, jobs)

    texts = {
        options.csv: lambda: tables.as_csv(results),
        options.json: lambda: tables.as_json(results, measures, device, state.num_processes),
    }
    for file in [file for file in texts if file not in (None, "-")]:
        try:
            write_atomically(file, texts[file]())
        except OSError as error:
            complaints.append(str(error))
            complain(f"{file} cannot be written: {error}")
    text = texts["-"]() if "-" in texts else tables.as_table(jobs, results, measures)
    print(text, end="")
    return 1 if complaints else 0


def _check_outputs(*files: str | None) -> None:
    """Say before hours of work what would go wrong after them."""
    given = [file for file in files if file is not None]
    if len({os.path.realpath(file) if file != "-" else file for file in given}) < len(given):
        raise UsageError(
            f"--csv and --json: expected two different files, got {' and '.join(given)}"
        )
    for path in (Path(file) for file in given if file != "-"):
        if path.suffix.lower() in IMAGE_SUFFIXES:  # a picture that was meant to be measured
            raise UsageError(f"{path}: a table is not written over a picture")
        if is_folder(path):
            raise UsageError(f"{path}: expected a file to write, got a folder")
        folder = Path(os.path.realpath(path)).parent
        if not is_folder(folder):
            raise UsageError(f"{path}: there is no folder {path.parent} to write it to")
        try:
            path.stat()
        except FileNotFoundError:
            if not os.access(folder, os.W_OK | os.X_OK):
                raise UsageError(f"{path}: the folder {folder} is not writable") from None
        except OSError as error:  # a name that is too long, links in a circle
            raise UsageError(f"{path} cannot be written: {error.strerror}") from error


def _prepare(options: argparse.Namespace, device: torch.device) -> list[Prepared]:
    if options.command == "score":
        return scoring.prepare(options.measures, NO_REFERENCE, device)
    net = None
    if options.network is not None or options.weights is not None:
        net = load_backbone(options.network or "vgg16", options.weights)
    return scoring.prepare(
        options.measures,
        FULL_REFERENCE,
        device,
        net=net,
        layers=options.layers,
        alpha=options.alpha,
    )


def _note_unused(reference: str, jobs: Iterable[scoring.Job]) -> None:
    if is_folder(reference):
        used = {job.reference_name for job in jobs}
        unused = [name for name in map(str, list_images(reference)) if name not in used]
        if unused:
            some = scoring.name_some(unused)
            complain(f"note: no picture for {len(unused)} of the references: {some}")
