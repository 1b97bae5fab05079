"""The package as it is imported: with the four packages of its core, and nothing loaded early."""

import hashlib
import re
import subprocess
import sys
import tomllib
from importlib import metadata, util
from pathlib import Path

import pytest
from packaging.requirements import Requirement

import dsd_lib as dsd

ROOT = Path(__file__).parent.parent
CORE = ("torch", "numpy", "pillow", "safetensors")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]

# Run in its own process: whatever is not allowed fails to import as if it were not installed.
ONLY = """
import sys
allowed = sys.stdlib_module_names | {allowed}
class Bare:
    def find_spec(self, name, path=None, target=None):
        top = name.partition(".")[0]
        if top not in allowed:
            raise ModuleNotFoundError(f"No module named {{top!r}}", name=top)
sys.meta_path.insert(0, Bare())
{code}
"""


def closure(packages: tuple[str, ...]) -> set[str]:
    """The names of the modules that these packages and all they require put in place."""
    wanted, names = list(packages), set()
    while wanted:
        name = wanted.pop().lower().replace("_", "-")
        if name in names:
            continue
        names.add(name)
        try:
            required = [Requirement(text) for text in metadata.requires(name) or []]
        except metadata.PackageNotFoundError:  # a requirement of another platform
            continue
        wanted += [r.name for r in required if not r.marker or r.marker.evaluate({"extra": ""})]
    found = metadata.packages_distributions().items()
    return {top for top, owners in found if names & {o.lower().replace("_", "-") for o in owners}}


def run_bare(code: str, *extra: str) -> str:
    """What ``code`` prints where only the core's packages and those named are installed."""
    allowed = {"dsd_lib", "tests", "conftest"} | closure((*CORE, *extra))
    script = ONLY.format(allowed=allowed, code=code)
    run = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=600, cwd=ROOT
    )
    assert run.returncode == 0, run.stdout + run.stderr
    return run.stdout.strip()


def core_files() -> list[str]:
    """The files of the method itself, which need the core's packages alone."""
    return [str(p) for p in sorted((ROOT / "dsd_lib").glob("*.py")) if p.name != "cli.py"]


def test_the_core_requires_four_packages():
    assert {Requirement(text).name.lower() for text in PROJECT["dependencies"]} == set(CORE)


def test_doctests_and_official_values_hold_with_the_cores_packages_alone():
    arguments = [
        *("-o", "addopts=", "--doctest-modules", "-q", "-p", "no:cacheprovider"),
        *("-k", "dsd_lib or dsd2 or dsd4"),  # of the official values, those of DSD
        *(*core_files(), "tests/test_official_values.py"),
    ]
    code = f"""
import os, pytest
os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
status = pytest.main({arguments})
assert status == 0, status
assert not {{"scipy", "torchvision", "torchmetrics", "matplotlib", "tqdm"}} & set(sys.modules)
"""
    printed = run_bare(code, "pytest", "hypothesis")
    assert int(re.search(r"(\d+) passed", printed)[1]) > 40


@pytest.mark.parametrize(
    ("module", "extra"),
    [
        ("dsd_lib.quality.agreement", "quality"),
        ("dsd_lib.quality.metrics", "quality"),
        ("dsd_lib.restoration.training", "restoration"),
        ("dsd_lib.book.plots", "book"),
    ],
)
def test_a_room_without_its_extra_says_what_to_install(module, extra):
    code = f"""
import importlib
try:
    importlib.import_module({module!r})
except ModuleNotFoundError as error:
    print(error)
"""
    assert run_bare(code).endswith(f"; install it with: pip install 'dsd_lib[{extra}]'")
    assert extra in PROJECT["optional-dependencies"]


def test_vgg19_without_torchvision_says_what_to_do():
    code = """
import dsd_lib
try:
    dsd_lib.load_backbone("vgg19")
except FileNotFoundError as error:
    print(error)
"""
    error = run_bare(code)
    assert "No module named 'torchvision" in error
    assert "vgg19-dcbb9e9d.pth" in error


def test_importing_it_loads_nothing_heavy():
    code = """
import sys
import dsd_lib
heavy = {"torchvision", "matplotlib", "IPython", "scipy", "torchmetrics", "accelerate"}
print(heavy & set(sys.modules) or "none")
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "none"


def test_mathjax_is_the_file_that_was_looked_at():
    """No maintainer stands behind sphinx-mathjax-offline, which puts this file into each page."""
    package = util.find_spec("sphinx-mathjax-offline")
    if package is None:
        pytest.skip("sphinx-mathjax-offline is not installed")
    file = Path(package.origin).parent / "static" / "mathjax" / "tex-chtml.js"
    expected = "0a6ded5abbce13331658dd239f34382abd06492c74b71b61e8caa8112ec55fa5"
    assert hashlib.sha256(file.read_bytes()).hexdigest() == expected


@pytest.mark.parametrize("name", dsd.__all__)
def test_every_public_name_is_there_and_described(name):
    assert getattr(dsd, name).__doc__


def test_public_names_are_sorted_and_unique():
    assert dsd.__all__ == sorted(set(dsd.__all__))


def test_every_folder_of_the_library_is_packaged() -> None:
    root = Path(dsd.__file__).parent
    settings = tomllib.loads((root.parent / "pyproject.toml").read_text(encoding="utf-8"))
    listed = set(settings["tool"]["setuptools"]["packages"]) - {"dsd_lib.book.results"}
    folders = {path.parent.relative_to(root.parent) for path in root.rglob("__init__.py")}
    assert listed == {".".join(folder.parts) for folder in folders}
