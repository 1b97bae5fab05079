"""The options of ``dsd compare``, ``dsd score`` and ``dsd restore``."""

import argparse
import textwrap
from collections.abc import Mapping, Sequence
from typing import NoReturn

import dsd_lib
from dsd_lib.cli.console import UsageError
from dsd_lib.quality.measures import FULL_REFERENCE, NO_REFERENCE, Measure
from dsd_lib.restoration.picture_files import FORMATS
from dsd_lib.restoration.restore import NATURALNESS, TASKS


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The options of a command line, with the name of its command in ``command``.

    Raises:
        UsageError: an unknown command or option, or a missing or malformed value.
    """
    parser = _Parser(
        prog="dsd",
        description="Measure pictures with deep self-dissimilarity and other measures, and restore "
        "them.",
    )
    parser.add_argument("--version", action="version", version=f"dsd {dsd_lib.__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_compare(commands)
    _add_score(commands)
    _add_restore(commands)
    return parser.parse_args(arguments)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message}; {self.prog} --help says more")


_Commands = argparse._SubParsersAction


def _add_compare(commands: "_Commands[_Parser]") -> None:
    about = (
        "Distances of pictures to a reference. A reference and its picture have the same size. In "
        "a folder of references, each picture's reference has the same file name; the suffix may "
        "differ."
    )
    parser = _add_measuring(
        commands, "compare", "distances of pictures to a reference", about, FULL_REFERENCE
    )
    parser.add_argument(
        "reference", type=_name, metavar="REFERENCE", help="a picture, or a folder of them"
    )
    _add_common(parser)
    _add_tables(parser, "dsd")
    parser.add_argument("--layers", nargs="+", metavar="LAYER", help="of the network: relu3_1 ...")
    parser.add_argument(
        "--alpha", type=float, metavar="FACTOR", help="between the two scales; 2 by default"
    )
    parser.add_argument("--network", choices=("vgg16", "vgg19"), help="vgg16 by default")
    parser.add_argument(
        "--weights", type=_name, metavar="FILE", help="of the network, instead of its own"
    )


def _add_score(commands: "_Commands[_Parser]") -> None:
    about = "Quality of pictures without a reference."
    parser = _add_measuring(
        commands, "score", "quality of pictures without a reference", about, NO_REFERENCE
    )
    _add_common(parser)
    _add_tables(parser, "dsd4")


def _add_measuring(
    commands: "_Commands[_Parser]",
    name: str,
    summary: str,
    about: str,
    table: Mapping[str, Measure],
) -> argparse.ArgumentParser:
    """A command that measures, with the measures at the end of its help."""
    width = max(map(len, table))
    lines = ["measures:"]
    for key, m in table.items():
        direction = "higher" if m.higher_is_better else "lower"
        source = f", {m.source}" if m.source else ""
        lines.append(f"  {key:{width}}  {direction:6} is better: {m.title}{source}")
    return commands.add_parser(
        name,
        help=summary,
        description=textwrap.fill(about, 79),
        epilog="\n".join(lines),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def _add_restore(commands: "_Commands[_Parser]") -> None:
    parser = commands.add_parser(
        "restore",
        help="pictures four times the size, or with less motion blur",
        description="Restore pictures with a trained network: sr makes them four times the size, "
        "deblur removes motion blur. Next to cat.jpg appears cat_sr.png or cat_deblur.png. An "
        "original is never overwritten.",
    )
    parser.add_argument("task", choices=tuple(TASKS), help="what to do")
    _add_common(parser)
    parser.add_argument(
        "-o",
        "--output",
        type=_name,
        metavar="FILE|FOLDER",
        help="for one picture a file, whose suffix gives the format: " + " ".join(FORMATS) + "; "
        "or a folder, where each picture keeps its name, as .png",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace results of earlier runs")
    network = parser.add_mutually_exclusive_group()
    network.add_argument(
        "--naturalness",
        type=float,
        metavar="0...1",
        help="between closest to the true pixels, 0, and natural texture, 1; by default "
        + ", ".join(f"{position:g} for {task}" for task, position in NATURALNESS.items()),
    )
    network.add_argument(
        "--loss",
        metavar="NAME",
        help="a network of the package by the loss it was trained with: dsd, l1, or for sr "
        "dsd_10blocks",
    )
    network.add_argument(
        "--network", type=_name, metavar="FILE", help="a network that you trained instead"
    )


def _add_common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "pictures",
        nargs="+",
        type=_name,
        metavar="PICTURE",
        help="a file, or a folder: all pictures below it",
    )
    parser.add_argument("--device", metavar="NAME", help="cpu, cuda, ...; by default a GPU, if any")
    parser.add_argument("--quiet", action="store_true", help="no progress bar and no notes")


def _add_tables(parser: argparse.ArgumentParser, measure: str) -> None:
    parser.add_argument(
        "--measures",
        nargs="+",
        metavar="NAME",
        default=[measure],
        help=f"see below; {measure} by default; after the pictures",
    )
    for kind in ("CSV", "JSON"):
        parser.add_argument(
            f"--{kind.lower()}",
            type=_name,
            metavar="FILE",
            help=f"write the table as {kind}; - is stdout",
        )


def _name(text: str) -> str:
    """A path as given; an empty one would silently be the current folder."""
    if not text:
        raise argparse.ArgumentTypeError("expected a file or folder, got an empty name")
    return text
