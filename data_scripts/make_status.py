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

What you read in this book was measured, and this page says where, on what and when. It is written
by `python -m data_scripts.make_status` from the result files and the notebooks themselves.

## Chapters

Each chapter is stored with its outputs, as it ran from top to bottom; the test suite runs it again
and compares the cells that print a result.

{chapters}

## Stored results

What needs a data set or more time than a chapter has is computed by a script and stored in
`book/results/`, and the chapter loads it. To compute a result again, set `DSD_DATA` to a folder
with the data sets and run its command. Where a commit ends in `-dirty`, the script ran on
changes that were committed after it.

{results}
"""


def chapter_rows(paths: list[Path]) -> list[list[str]]:
    """One row a chapter: link, seconds, device, versions, date."""
    rows = []
    for path in paths:
        notebook = json.loads(path.read_text(encoding="utf-8"))
        run = notebook["metadata"].get("dsd")
        if run is None:
            raise ValueError(f"{path}: it was not run by data_scripts.execute_chapters")
        rows.append(
            [
                f"[{_title(notebook)}]({path.name})",
                _duration(run["seconds"]),
                run["device"],
                f"Python {run['python']}, torch {run['torch']}",
                run["executed"],
            ]
        )
    return rows


def result_rows(results: list[Path], chapters: list[Path]) -> list[list[str]]:
    """One row a stored result: what, chapters, data, how it was run, when and from what."""
    sources = {path: path.read_text(encoding="utf-8") for path in chapters}
    rows = []
    for result in sorted(results):
        run = json.loads(result.read_text(encoding="utf-8"))["provenance"]
        used = [
            f"[{int(path.stem[:2])}]({path.name})"
            for path, source in sources.items()
            if _loads(source, result.name)
        ]
        where = [run["network"] or "no network", run["device"]]
        if run["seed"] is not None:
            where.append(f"seed {run['seed']}")
        versions = ", ".join(f"{name} {version}" for name, version in run["versions"].items())
        rows.append(
            [
                f"`{result.stem}`: {_purpose(run['command'])}",
                ", ".join(used) or "none",
                f"`{run['command']}`",
                run["data"],
                ", ".join(where),
                f"{_duration(run['duration_s'])}, {run['date']}",
                f"{run['commit'] or 'no commit'}; {versions}",
            ]
        )
    return rows


def _loads(source: str, name: str) -> bool:
    """Whether a chapter names the result, also as ``results/no_reference_{name}.json``."""
    named = re.findall(r"results/([\w{}]+\.json)", source)
    return any(re.fullmatch(re.sub(r"\{\w+\}", r"\\w+", n), name) for n in named)


def render(results: list[Path], chapters: list[Path]) -> str:
    """The whole page."""
    return PAGE.format(
        chapters=_table(
            ["Chapter", "Running time", "Device", "Versions", "Date"], chapter_rows(chapters)
        ),
        results=_table(
            [
                "Result",
                "Chapter",
                "Command",
                "Data",
                "Network, device, seed",
                "Duration, date",
                "Commit and versions",
            ],
            result_rows(results, chapters),
        ),
    )


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


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(c.replace("|", "\\|") for c in row) + " |" for row in lines)


if __name__ == "__main__":
    main()
