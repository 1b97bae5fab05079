"""Write the book's status page, ``book/status.md``, from the stored results and the chapters.

    python -m data_scripts.make_status

Nothing on the page is typed by hand; a test fails when it is not what this script writes.
"""

import ast
import json
import re
from pathlib import Path

from data_scripts.chapters import chapter_paths
from data_scripts.shared.results import ROOT
from dsd_lib.files import write_atomically

PAGE = """\
# Status of every result

The results in this book were measured, and this page says how, on what data, and when. It is
written by `python -m data_scripts.make_status` from the result files and the notebooks themselves.

Each chapter is stored with its outputs, as it ran from top to bottom; the test suite runs it again
and compares the cells that print a result. Whatever needs a data set, or more time than a chapter
has, is computed by a script and stored in `book/results/`, where the chapter loads it. To compute
a result again, set `DSD_DATA` to the folder of your [data sets](data_sets.md) and run its command.
{dirty}

{chapters}
"""
DIRTY = """\
A commit marked `-dirty` had changes that were committed only later; scripts now refuse to run in
that state."""


def chapter_status(path: Path, results: list[Path]) -> str:
    """A chapter: how it ran, and the results that it loads."""
    notebook = json.loads(path.read_text(encoding="utf-8"))
    run = notebook["metadata"].get("dsd")
    if run is None:
        raise ValueError(f"{path}: it was not run by data_scripts.execute_chapters")
    head = (
        f"## [{_title(notebook)}]({path.name})\n\nRan in {_duration(run['seconds'])} on "
        f"{run['device']}, {run['executed']}, Python {run['python']}, torch {run['torch']}."
    )
    return "\n\n".join([head, *(result_status(result) for result in results)])


def result_status(path: Path) -> str:
    """A stored result in short lines: what, how, on what, when, and from which commit."""
    run = json.loads(path.read_text(encoding="utf-8"))["provenance"]
    where = [run["network"] or "no network", run["device"]]
    if run["seed"] is not None:
        where.append(f"seed {run['seed']}")
    versions = ", ".join(f"{name} {version}" for name, version in run["versions"].items())
    lines = [
        f"- **`{path.stem}`**: {_purpose(run['command'])}",
        f"`{run['command']}`",
        f"on {run['data'].replace('pictures', 'images')}",
        f"{', '.join(where)}; {_duration(run['duration_s'])}, {run['date']}",
        f"{versions}, commit `{run['commit'] or 'none'}`",
    ]
    return "\\\n  ".join(lines)


def results_of(chapters: list[Path], results: list[Path]) -> dict[Path | None, list[Path]]:
    """The stored results under the first chapter that loads each, or under None."""
    shared: dict[Path | None, list[Path]] = {path: [] for path in [*chapters, None]}
    sources = {path: path.read_text(encoding="utf-8") for path in chapters}
    for result in sorted(results):
        loads = (path for path, source in sources.items() if _loads(source, result.name))
        shared[next(loads, None)].append(result)
    return shared


def _loads(source: str, name: str) -> bool:
    """Whether a chapter names the result, also as ``results/no_reference_{name}.json``."""
    named = re.findall(r"results/([\w{}]+\.json)", source)
    return any(re.fullmatch(re.sub(r"\{\w+\}", r"\\w+", n), name) for n in named)


def render(results: list[Path], chapters: list[Path]) -> str:
    """The whole page."""
    shared = results_of(chapters, results)
    parts = [chapter_status(path, shared[path]) for path in chapters]
    if shared[None]:
        others = [result_status(result) for result in shared[None]]
        parts.append("\n\n".join(["## Used only by other pages", *others]))
    text = "\n\n".join(parts)
    return PAGE.format(chapters=text, dirty=DIRTY if "-dirty" in text else "")


def page() -> str:
    """The page of this book."""
    return render(list((ROOT / "book" / "results").glob("*.json")), chapter_paths())


def main() -> None:
    """Write the page."""
    write_atomically(ROOT / "book" / "status.md", page())


def _title(notebook: dict) -> str:
    for cell in notebook["cells"]:
        if match := re.search(r"^# (.+)$", "".join(cell["source"]), re.MULTILINE):
            return match[1]
    raise ValueError("a chapter without a title")


def _purpose(command: str) -> str:
    """What the script is for, in the first words of its docstring."""
    name = re.search(r"data_scripts\.(\w+)", command)[1]
    source = (ROOT / "data_scripts" / f"{name}.py").read_text(encoding="utf-8")
    first = ast.get_docstring(ast.parse(source)).split("\n\n")[0]
    words = re.sub(r"``(.*?)``", r"`\1`", " ".join(first.split())).rstrip(".")
    return words[0].lower() + words[1:]


def _duration(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


if __name__ == "__main__":
    main()
