"""The package as it is imported."""

import subprocess
import sys

import pytest

import dsd_lib as dsd

# Run in its own process: importing a named package fails as if it were not installed.
BLOCKED = """
import sys
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {missing}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Blocker())
import dsd_lib as dsd
{code}
"""


def run_without(missing: set[str], code: str) -> str:
    script = BLOCKED.format(missing=missing, code=code)
    run = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=300
    )
    assert run.returncode == 0, run.stderr
    return run.stdout.strip()


def test_it_works_without_any_optional_package():
    code = """
from dsd_lib.book import exercises, interact, plots
import torch
x = torch.linspace(0, 1, 3 * 16 * 16).view(1, 3, 16, 16)
print(tuple(dsd.dsd_norm(x, dsd.load_backbone(), layers=["relu1_2"]).shape))
try:
    dsd.load_backbone("vgg19")
except FileNotFoundError as error:
    print(error)
"""
    optional = {
        "torchvision",
        "IPython",
        "ipywidgets",
        "skimage",
        "sklearn",
        "jupyter_book",
        "tqdm",
        "scipy",
        "torchmetrics",
        "accelerate",
    }
    shape, error = run_without(optional, code).split("\n", 1)
    assert shape == "(1, 1)"
    assert "No module named 'torchvision" in error and "vgg19-dcbb9e9d.pth" in error


def test_importing_it_loads_nothing_heavy():
    heavy = {"torchvision", "matplotlib", "IPython", "scipy", "torchmetrics", "accelerate"}
    code = f"import sys; print({heavy} & set(sys.modules) or 'none')"
    assert run_without(set(), code) == "none"


@pytest.mark.parametrize("name", dsd.__all__)
def test_every_public_name_is_there_and_described(name):
    assert getattr(dsd, name).__doc__


def test_public_names_are_sorted_and_unique():
    assert dsd.__all__ == sorted(set(dsd.__all__))
