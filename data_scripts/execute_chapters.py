"""Run chapters and store their outputs, as they are committed.

    python -m data_scripts.execute_chapters [CHAPTER.ipynb ...]

Runs all chapters of the table of contents, or those named, each in a kernel of its own in the
folder of the book. Metadata that changes from run to run is left out; what the status page needs
is put in. A chapter that breaks a rule (see ``chapters.problems``) is written all the same, for a
look, and makes the command fail.
"""

import argparse
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import nbformat
import torch
from nbclient import NotebookClient
from nbformat import NotebookNode

from data_scripts.chapters import chapter_paths, problems, tags
from data_scripts.stamp import stamp_notebook
from dsd_lib.files import write_atomically

HIDDEN = {"setup": "the set-up", "solution": "the solution"}  # tag -> what its button shows


def main() -> None:
    """Run the chapters named on the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("chapters", nargs="*", type=Path, help="notebooks; all of them unless told")
    bad = False
    for path in parser.parse_args().chapters or chapter_paths():
        notebook = nbformat.read(path, as_version=4)
        stamp_notebook(notebook)
        seconds = run(notebook, path.parent)
        clean(notebook, seconds)
        write_atomically(path, nbformat.writes(notebook) + "\n")
        print(f"{path.name}: {seconds:.0f} s, {path.stat().st_size / 1000:.0f} kB")
        for problem in problems(path):
            bad = True
            print(f"  {problem}")
    sys.exit(bad)


def run(notebook: NotebookNode, folder: Path) -> float:
    """Execute a notebook in place and return the seconds it took; errors stay in its outputs."""
    started = time.perf_counter()
    client = NotebookClient(
        notebook,
        timeout=300,
        kernel_name="python3",
        allow_errors=True,
        coalesce_streams=True,  # what a cell prints is one output, however it arrived
    )
    client.resources = {"metadata": {"path": str(folder)}}
    client.execute()
    return time.perf_counter() - started


def clean(notebook: NotebookNode, seconds: float) -> None:
    """Leave out what differs from run to run and put in what the status page shows."""
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
        if cell.cell_type == "code" and "live" in tags(cell):
            cell.outputs = []
        for tag in HIDDEN.keys() & tags(cell):
            prompts = {
                f"code_prompt_{verb}": f"{verb.title()} {HIDDEN[tag]}" for verb in ("show", "hide")
            }
            cell.metadata["mystnb"] = {**cell.metadata.get("mystnb", {}), **prompts}
    notebook.metadata = nbformat.from_dict(
        {
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"name": "python"},
            "dsd": {
                "seconds": round(seconds),
                "executed": datetime.now(UTC).date().isoformat(),
                "python": sys.version.split()[0],
                "torch": torch.__version__,
                "device": "cuda" if torch.cuda.is_available() else "cpu",
            },
        }
    )


if __name__ == "__main__":
    main()
