"""The command line: ``dsd compare``, ``dsd score`` and ``dsd restore``.

Also ``python -m dsd_lib.cli``, and ``accelerate launch -m dsd_lib.cli …``, which
splits the pictures over several processes. The same in Python is in
:mod:`dsd_lib.quality.scoring` and :mod:`dsd_lib.restoration.restore`.

Exit status: 0 all done, 1 some picture or file failed, 2 the command cannot be carried out, 130
interrupted.
"""

import argparse
import csv
import io
import json
import math
import os
import statistics
import sys
import textwrap
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn, TypeVar

import torch

import dsd_lib
from dsd_lib.files import IMAGE_SUFFIXES, list_images, write_atomically
from dsd_lib.quality import scoring
from dsd_lib.restoration import restore as restoration
from dsd_lib.restoration.picture_files import FORMATS, plan_results

if TYPE_CHECKING:
    from accelerate import PartialState
    from tqdm import tqdm

T = TypeVar("T")
Result = tuple[scoring.Row, list[str]]  # a row, and what went wrong in it


class _UsageError(Exception):
    """The command cannot be carried out as given."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Carry out a command line; the exit status.

    Args:
        arguments: without the program's name; None takes the process's own.

    >>> from dsd_lib.cli import main
    >>> main(["score", "no-such-picture.png", "--measures", "niqe", "brisque"])
    picture               niqe  brisque
    better when          lower    lower
    no-such-picture.png      -        -
    1
    """
    try:
        return _run(_parser().parse_args(arguments))
    except _UsageError as error:
        # A process that fails has its launcher end the others, maybe before they have spoken. So
        # where there are several, the first one speaks and fails for all.
        if os.environ.get("RANK", "0") != "0":
            return 0
        _complain(f"error: {error}")
        return 2
    except KeyboardInterrupt:
        _complain("interrupted")
        return 130
    except BrokenPipeError:  # whoever reads our output, `head` for example, has left
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # nothing more is flushed
        return 1


def _complain(message: str) -> None:
    print(f"dsd: {_printable(message)}", file=sys.stderr)


# What can be asked for


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise _UsageError(f"{message}; {self.prog} --help says more")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="dsd",
        description="Measure pictures with deep self-dissimilarity and other measures, and restore "
        "them.",
    )
    parser.add_argument("--version", action="version", version=f"dsd {dsd_lib.__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    compare = _add_command(
        commands,
        "compare",
        "distances of pictures to a reference",
        scoring.FULL_REFERENCE,
        "dsd",
        "A reference and its picture have the same size. In a folder of references each picture's "
        "has the same file name; the suffix may differ.",
    )
    compare.add_argument("--layers", nargs="+", metavar="LAYER", help="of the network: relu3_1 …")
    compare.add_argument(
        "--alpha", type=float, metavar="FACTOR", help="between the two scales; 2 unless given"
    )
    compare.add_argument("--network", choices=("vgg16", "vgg19"), help="vgg16 unless given")
    compare.add_argument("--weights", metavar="FILE", help="of the network, instead of its own")
    _add_command(
        commands,
        "score",
        "quality of pictures without a reference",
        scoring.NO_REFERENCE,
        "dsd4",
        "",
    )
    _add_restore(commands)
    return parser


def _add_command(
    commands: "argparse._SubParsersAction[_Parser]",
    name: str,
    what: str,
    table: dict[str, scoring.Measure],
    default: str,
    more: str,
) -> argparse.ArgumentParser:
    width = max(map(len, table))
    measures = "\n".join(
        f"  {key:{width}}  {_direction(m.higher_is_better):6} is better: {m.title}"
        + (f", {m.source}" if m.source else "")
        for key, m in table.items()
    )
    parser = commands.add_parser(
        name,
        help=what,
        description=textwrap.fill(f"{what.capitalize()}. {more}", 79),
        epilog=f"measures:\n{measures}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    if table is scoring.FULL_REFERENCE:
        parser.add_argument("reference", metavar="REFERENCE", help="a picture, or a folder of them")
    _add_pictures(parser)
    parser.add_argument(
        "--measures",
        nargs="+",
        metavar="NAME",
        default=[default],
        help=f"see below; {default} unless given; after the pictures",
    )
    parser.add_argument("--csv", metavar="FILE", help="write the table as CSV; - is stdout")
    parser.add_argument("--json", metavar="FILE", help="write it as JSON; - is stdout")
    return parser


def _add_restore(commands: "argparse._SubParsersAction[_Parser]") -> None:
    parser = commands.add_parser(
        "restore",
        help="pictures four times the size, or with less motion blur",
        description="Pictures made by a trained network: sr makes them four times the size, "
        "deblur removes motion blur. Beside cat.jpg appears cat_sr.png or cat_deblur.png. An "
        "original is never written over.",
    )
    parser.add_argument("task", choices=tuple(restoration.TASKS), help="what to do")
    _add_pictures(parser)
    parser.add_argument(
        "-o",
        "--output",
        metavar="FILE|FOLDER",
        help="for one picture a file, whose suffix says the format: " + " ".join(FORMATS) + "; "
        "or a folder, where each picture keeps its name, as .png",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace results of earlier runs")
    network = parser.add_mutually_exclusive_group()
    network.add_argument(
        "--loss",
        metavar="NAME",
        default="dsd",
        help="that the network was trained with: dsd, unless given, l1, or for sr dsd_10blocks",
    )
    network.add_argument("--network", metavar="FILE", help="a network that you trained instead")


def _add_pictures(parser: argparse.ArgumentParser) -> None:
    """What every command takes."""
    parser.add_argument(
        "pictures", nargs="+", metavar="PICTURE", help="a file, or a folder: all pictures below it"
    )
    parser.add_argument("--device", metavar="NAME", help="cpu, cuda, …; a GPU where there is one")
    parser.add_argument("--quiet", action="store_true", help="no progress bar and no notes")


# Carrying it out


def _run(options: argparse.Namespace) -> int:
    return _restore(options) if options.command == "restore" else _measure(options)


def _measure(options: argparse.Namespace) -> int:
    _check_outputs(options.csv, options.json)
    try:
        jobs = (
            scoring.pair_up(options.reference, options.pictures)
            if options.command == "compare"
            else scoring.list_jobs(options.pictures)
        )
        state, device = _processes(options.device)
        measures = _prepare(options, device)
    except (OSError, ValueError, TypeError, ImportError) as error:
        raise _UsageError(str(error)) from error

    processes = state.num_processes
    mine = range(state.process_index, len(jobs), processes)
    rows = scoring.measure([jobs[i] for i in mine], measures, device)
    with _progress_bar(len(mine), state, options.quiet) as bar:
        found = []
        for row, problems in rows:
            found.append((row, [str(problem) for problem in problems]))
            bar.update()
    results = _gather(mine, found, state)
    if results is None:
        return 0
    problems = [problem for _, found in results for problem in found]
    for problem in problems:
        _complain(problem)
    if options.command == "compare" and not options.quiet:
        _note_unused(options.reference, jobs)

    outputs = {
        options.csv: lambda: _as_csv(results, measures),
        options.json: lambda: _as_json(results, measures, device, processes),
    }
    outputs.pop(None, None)
    for file in [file for file in outputs if file != "-"]:
        try:
            write_atomically(Path(file), outputs[file]())
        except OSError as error:
            problems.append(str(error))
            _complain(f"{file} cannot be written: {error}")
    text = outputs["-"]() if "-" in outputs else _as_table(jobs, results, measures)
    print(_encodable(text), end="", flush=True)
    return 1 if problems else 0


def _check_outputs(*files: str | None) -> None:
    """Say before hours of work what would go wrong after them."""
    given = [file for file in files if file is not None]
    if len(set(given)) < len(given):
        raise _UsageError(f"--csv and --json: expected two different files, got {given[0]} twice")
    for path in (Path(file) for file in given if file != "-"):
        if path.suffix.lower() in IMAGE_SUFFIXES:  # a picture that was meant to be measured
            raise _UsageError(f"{path}: a table is not written over a picture")
        if path.is_dir():
            raise _UsageError(f"{path}: expected a file to write, got a folder")
        if not path.resolve().parent.is_dir():
            raise _UsageError(f"{path}: there is no folder {path.parent} to write it to")


def _processes(device: str | None) -> "tuple[PartialState, torch.device]":
    """Which of how many processes this is, and where it computes."""
    from accelerate import PartialState

    chosen = scoring.choose_device(device)
    state = PartialState(cpu=chosen.type == "cpu")
    if chosen.type == state.device.type == "cuda" and device in (None, "cuda"):
        chosen = state.device  # each process its own
    return state, chosen


def _prepare(options: argparse.Namespace, device: torch.device) -> list[scoring.Prepared]:
    if options.command == "score":
        return scoring.prepare(options.measures, scoring.NO_REFERENCE, device)
    net = None
    if options.network is not None or options.weights is not None:
        net = dsd_lib.load_backbone(options.network or "vgg16", options.weights)
    return scoring.prepare(
        options.measures,
        scoring.FULL_REFERENCE,
        device,
        net=net,
        layers=options.layers,
        alpha=options.alpha,
    )


def _progress_bar(count: int, state: "PartialState", quiet: bool) -> "tqdm":
    """Of the pictures of the first process; whole ones, or parts of them."""
    from tqdm import tqdm

    return tqdm(
        total=count,
        desc="pictures",
        # disable=None: no bar where stderr is no terminal
        disable=True if quiet or not state.is_main_process else None,
        leave=False,
        bar_format="{desc}: {percentage:3.0f}%|{bar}| {n:.3g}/{total} [{elapsed}<{remaining}]",
    )


def _gather(mine: Iterable[int], found: Iterable[T], state: "PartialState") -> list[T] | None:
    """What all processes found, in the order of the jobs; None to all but the first process.

    Those have nothing more to do: the first one speaks for all; see :func:`main`.
    """
    numbered = list(zip(mine, found, strict=True))
    first = state.is_main_process
    if state.num_processes > 1:
        from accelerate.utils import gather_object

        numbered = gather_object(numbered)
        state.destroy_process_group()
    numbered.sort(key=lambda item: item[0])
    return [item for _, item in numbered] if first else None


def _note_unused(reference: str, jobs: Iterable[scoring.Job]) -> None:
    if Path(reference).is_dir():
        used = {job.reference_name for job in jobs}
        unused = [name for name in map(str, list_images(reference)) if name not in used]
        if unused:
            some = scoring.name_some(unused)
            _complain(f"note: no picture for {len(unused)} of the references: {some}")


# Restoring


@dataclass
class _Restored:
    """What became of a picture: its file, notes on it, what went wrong."""

    file: Path | None = None
    notes: Sequence[str] = ()
    problem: str | None = None


def _restore(options: argparse.Namespace) -> int:
    try:
        plan = plan_results(options.pictures, f"_{options.task}", options.output)
        network = options.network or restoration.load_restorer(options.task, options.loss)
        network = restoration.choose_network(options.task, network)
        state, device = _processes(options.device)
    except (OSError, ValueError, TypeError) as error:
        raise _UsageError(str(error)) from error

    network = network.to(device)
    mine = range(state.process_index, len(plan), state.num_processes)
    with _progress_bar(len(mine), state, options.quiet) as bar:
        found = []
        for i in mine:
            before = len(found)

            def show(done: int, tiles: int, before: int = before) -> None:
                bar.update(before + done / tiles - bar.n)

            found.append(_restore_one(*plan[i], network, options.overwrite, show))
            bar.update(len(found) - bar.n)
    results = _gather(mine, found, state)
    if results is None:
        return 0
    for result in results:
        for note in () if options.quiet else result.notes:
            _complain(f"note: {note}")
        if result.problem is not None:
            _complain(result.problem)
    for result in results:
        if result.file is not None:
            print(_printable(result.file))
    sys.stdout.flush()
    return 1 if any(result.problem is not None for result in results) else 0


def _restore_one(
    source: Path,
    target: Path,
    network: restoration.XSRResNet,
    overwrite: bool,
    progress: Callable[[int, int], object],
) -> _Restored:
    try:
        notes = restoration.restore_file(
            source, target, network, overwrite=overwrite, progress=progress
        )
        return _Restored(target, notes)
    except (FileNotFoundError, FileExistsError, ValueError) as error:
        return _Restored(problem=str(error))
    except OSError as error:
        return _Restored(problem=f"{target} cannot be written: {error}")
    except (RuntimeError, MemoryError) as error:  # PyTorch's, when memory runs out
        return _Restored(problem=f"{source}: {error}")


# What comes out


def _as_table(
    jobs: Sequence[scoring.Job], results: Sequence[Result], measures: Sequence[scoring.Prepared]
) -> str:
    """Aligned columns, means of each folder, and which layers and scales were measured."""
    lines = [
        ["picture", *(m.name for m in measures)],
        ["better when", *(_direction(m.higher_is_better) for m in measures)],
    ]
    groups: dict[Path | None, list[list[float]]] = {}
    for (row, _), job in zip(results, jobs, strict=True):
        values = [row[m.name] for m in measures]
        lines.append([_printable(row["picture"]), *map(_short, values)])
        complete = groups.setdefault(job.folder, [])
        if None not in values:
            complete.append(values)
    for folder, complete in groups.items():
        if len(complete) > 1:
            which = f"{_printable(folder)}, " if len(groups) > 1 and folder is not None else ""
            means = [statistics.fmean(column) for column in zip(*complete, strict=True)]
            lines.append([f"mean of {which}{len(complete)}", *map(_short, means)])
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    text = ""
    for name, *cells in lines:
        cells = [cell.rjust(width) for cell, width in zip(cells, widths[1:], strict=True)]
        text += "  ".join([name.ljust(widths[0]), *cells]) + "\n"
    for m in measures:
        if m.settings:
            how = m.settings
            alpha = f", alpha {how['alpha']:g}" if "alpha" in how else ""
            text += f"{m.name}: {' '.join(how['layers'])} of {how['network']}{alpha}\n"
    return text


def _as_csv(results: Sequence[Result], measures: Sequence[scoring.Prepared]) -> str:
    """One line a picture; a value that could not be had is empty, and the last column says why."""
    columns = [*results[0][0], "error"]
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(columns)
    for row, problems in results:
        values = {**row, "error": "; ".join(problems)}
        writer.writerow([_rounded(values[column]) for column in columns])
    return file.getvalue()


def _as_json(
    results: Sequence[Result],
    measures: Sequence[scoring.Prepared],
    device: torch.device,
    processes: int,
) -> str:
    """The rows, and for each measure its direction and settings. JSON has no infinity: "inf"."""
    content = {
        "dsd_lib": dsd_lib.__version__,
        "device": str(device),
        "processes": processes,
        "measures": {
            m.name: {"higher_is_better": m.higher_is_better, **m.settings} for m in measures
        },
        "pictures": [
            {key: _without_infinity(_rounded(value)) for key, value in row.items()}
            | {"error": "; ".join(problems) or None}
            for row, problems in results
        ],
    }
    return json.dumps(content, indent=1, allow_nan=False) + "\n"


def _short(value: float | None) -> str:
    """Four digits. A dash stands for a value that could not be had."""
    return "-" if value is None else f"{value:#.4g}".removesuffix(".")


def _rounded(value: object) -> object:
    """To the eight digits that single precision carries."""
    return float(f"{value:.8g}") if isinstance(value, float) else value


def _without_infinity(value: object) -> object:
    return str(value) if isinstance(value, float) and math.isinf(value) else value


def _direction(higher_is_better: bool) -> str:
    return "higher" if higher_is_better else "lower"


def _printable(text: object) -> str:
    """On one line, whatever a file's name holds."""
    shown = [c if c.isprintable() else c.encode("unicode_escape").decode() for c in str(text)]
    return _encodable("".join(shown))


def _encodable(text: str) -> str:
    """What the terminal cannot show, as an escape."""
    encoding = sys.stdout.encoding or "utf-8"
    return text.encode(encoding, "backslashreplace").decode(encoding)


if __name__ == "__main__":
    sys.exit(main())
