"""A chapter as a Colab reader meets it: its file and the library's wheel, in an empty folder.

Not part of ``make test``, for it fills an environment from the package index: ``make test-colab``.
"""

import json
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from data_scripts import stamp
from data_scripts.chapters import chapter_paths

pytestmark = pytest.mark.colab

ROOT = Path(__file__).parent.parent.parent
# What Colab's images have; the kernel is how the notebook runs at all.
COLAB = ["torch", "torchvision", "numpy", "matplotlib", "ipywidgets", "ipykernel"]


@pytest.fixture(scope="module")
def kernel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of an environment with Colab's packages and nothing of ours."""
    folder = tmp_path_factory.mktemp("colab")
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    python = folder / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "--quiet", *COLAB], check=True)
    return python


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this checkout, as the site carries it."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "-w", folder, ROOT]
    subprocess.run(build, check=True)
    return folder / stamp.wheel()


@pytest.mark.parametrize("chapter", chapter_paths(), ids=lambda path: path.stem)
def test_chapter_alone_runs_to_its_end(
    chapter: Path,
    kernel: Path,
    wheel: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    spec = tmp_path / "kernels" / "colab"
    spec.mkdir(parents=True)
    argv = [str(kernel), "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    text = json.dumps({"argv": argv, "display_name": "Colab", "language": "python"})
    (spec / "kernel.json").write_text(text)
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path))
    monkeypatch.delenv("DSD_REPOSITORY", raising=False)
    monkeypatch.delenv("DSD_DATA", raising=False)
    monkeypatch.delenv("PYTHONPATH", raising=False)
    reader = tmp_path / "reader"
    reader.mkdir()
    for file in (chapter, wheel):
        (reader / file.name).write_bytes(file.read_bytes())
    torch_before = _version(kernel, "torch")

    notebook = nbformat.read(reader / chapter.name, as_version=4)
    client = NotebookClient(notebook, kernel_name="colab", timeout=600)
    client.resources = {"metadata": {"path": str(reader)}}
    client.execute()  # raises CellExecutionError where a cell does

    assert (reader / "results").is_dir()
    assert _version(kernel, "torch") == torch_before
    # The next chapter starts from what Colab has.
    command = [kernel, "-m", "pip", "uninstall", "--quiet", "--yes", "dsd_lib", "safetensors"]
    subprocess.run(command, check=True)


def _version(python: Path, package: str) -> str:
    code = f"import importlib.metadata as m; print(m.version({package!r}))"
    return subprocess.run([python, "-c", code], check=True, capture_output=True, text=True).stdout
