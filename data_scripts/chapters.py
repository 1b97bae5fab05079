"""The chapters as files: which there are, and the rules that a committed one keeps.

    python -m data_scripts.chapters

checks them all and prints how much code each page shows.
"""

import re
import sys
from pathlib import Path

import nbformat
import yaml
from nbformat import NotebookNode

from data_scripts.shown_code import shown

ROOT = Path(__file__).parent.parent
MAX_BYTES = 2_000_000
MAX_LINES, MAX_MEAN_LINES, MAX_COLUMNS = 160, 120, 88  # of code that a page shows
HIDING_TAGS = {"hide-input", "hide-cell", "remove-input", "remove-cell"}
SECTIONS = ("## Exercises", "## Summary", "## Where this is in the paper")


def chapter_paths() -> list[Path]:
    """The notebooks of the table of contents, in reading order."""
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))
    pages = [c["file"] for part in toc["parts"] for c in part["chapters"]]
    return [ROOT / f"{page}.ipynb" for page in pages if (ROOT / f"{page}.ipynb").is_file()]


def tags(cell: NotebookNode) -> list[str]:
    """The tags of a cell."""
    return cell.metadata.get("tags", [])


def visible_code(notebook: NotebookNode) -> tuple[int, int]:
    """How many lines of code a chapter's page shows, and the columns of the widest."""
    cells = [c for c in notebook.cells if c.cell_type == "code" and not HIDING_TAGS & set(tags(c))]
    lines = [line for c in cells for line in shown(c.source).splitlines()]
    return len(lines), max(map(len, lines), default=0)


def problems(path: Path) -> list[str]:
    """What keeps a chapter from being committed: a list of sentences, empty for a good one."""
    notebook = nbformat.read(path, as_version=4)
    found = []
    if path.stat().st_size > MAX_BYTES:
        found.append(f"{path.stat().st_size:,} bytes are more than {MAX_BYTES:,}")
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    if [cell.execution_count for cell in code] != list(range(1, len(code) + 1)):
        found.append("the cells were not run once, in order")
    if not code or "setup" not in tags(code[0]):
        found.append("the first code cell is not the set-up cell")
    for cell in code:
        found += [f"cell {cell.execution_count}: {problem}" for problem in _cell_problems(cell)]
    text = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    for count, limit, what in zip(
        visible_code(notebook),
        (MAX_LINES, MAX_COLUMNS),
        ("visible lines of code", "columns in the widest visible line"),
        strict=True,
    ):
        if count > limit:
            found.append(f"{count} {what} are more than {limit}")
    found += [f"no section {s!r}" for s in SECTIONS if not re.search(f"^{s}", text, re.MULTILINE)]
    return found + _exercise_problems(code)


def printed(cell: NotebookNode) -> str:
    """What a code cell printed."""
    return "".join(o.text for o in cell.outputs if o.output_type == "stream" and o.name == "stdout")


def _cell_problems(cell: NotebookNode) -> list[str]:
    found = []
    for output in cell.outputs:
        data = output.get("data", {})
        if output.output_type == "error":
            found.append(f"it raised {output.ename}: {output.evalue}")
        if output.output_type == "stream" and output.name == "stderr":
            found.append(f"it wrote to stderr: {output.text[:80]!r}")
        if any("widget" in mime for mime in data):
            found.append("a live widget is stored; tag the cell live")
        alt = cell.metadata.get("mystnb", {}).get("image", {}).get("alt", "")
        if any(mime.startswith("image/") for mime in data) and len(alt) < 20:
            found.append("an image without alt text")
    return found


def _exercise_problems(code: list[NotebookNode]) -> list[str]:
    """Each exercise has a stub that fails its check and a solution that passes it."""
    found = []
    stubs = [cell for cell in code if "exercise" in tags(cell)]
    solutions = [cell for cell in code if "solution" in tags(cell)]
    if len(stubs) < 3:
        found.append(f"{len(stubs)} exercises are fewer than 3")
    verdicts = {"exercise": {}, "solution": {}}
    for kind, cells in (("exercise", stubs), ("solution", solutions)):
        for cell in cells:
            if "# NBVAL_CHECK_OUTPUT" not in cell.source:
                found.append(f"cell {cell.execution_count}: the check's output is not compared")
            for name, verdict in re.findall(r"^Exercise ([\d.]+): (.*)$", printed(cell), re.M):
                verdicts[kind].setdefault(name, []).append(verdict)
    for name in sorted(verdicts["exercise"].keys() | verdicts["solution"].keys()):
        if "correct" in verdicts["exercise"].get(name, ["correct"]):
            found.append(f"exercise {name}: the unsolved stub does not fail its check")
        if set(verdicts["solution"].get(name, [])) != {"correct"}:
            found.append(f"exercise {name}: the solution does not pass its check")
    if len(verdicts["exercise"]) != len(stubs):
        found.append("an exercise cell printed no verdict")
    return found


def main() -> None:
    """Check every chapter; the build does it first, because Sphinx takes stored outputs as is."""
    print(f"{'chapter':26}{'visible lines':>14}{'widest':>8}{'kB':>7}")
    failed, counts = False, []
    for path in chapter_paths():
        lines, columns = visible_code(nbformat.read(path, as_version=4))
        counts.append(lines)
        print(f"{path.stem:26}{lines:14}{columns:8}{path.stat().st_size / 1000:7.0f}")
        for problem in problems(path):
            failed = True
            print(f"  {problem}")
    mean = sum(counts) / len(counts)
    print(f"{'mean':26}{mean:14.0f}")
    if mean > MAX_MEAN_LINES:
        failed = True
        print(f"  {mean:.0f} visible lines of code a chapter are more than {MAX_MEAN_LINES}")
    sys.exit(failed)


if __name__ == "__main__":
    main()
