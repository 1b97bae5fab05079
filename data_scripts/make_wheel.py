"""Build the sdist and the wheel, and prove that others can use them.

    python -m data_scripts.make_wheel [--fast]

Both are built into ``dist/`` and checked with twine. Then the wheel is installed into an empty
environment, with the packages of its core and of the extras quality and restoration, and the tests
of the library run against it from the sdist's copy in a folder outside the repository. ``--fast``
stops after the checks of the files.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import venv
import zipfile
from pathlib import Path

ROOT = Path(__file__).parent.parent
DIST = ROOT / "dist"
TOOLS = ("pytest>=8", "hypothesis>=6.100", "pytest-xdist>=3.6", "packaging")


def build() -> tuple[Path, Path]:
    """The sdist and the wheel, new."""
    shutil.rmtree(DIST, ignore_errors=True)
    _run(sys.executable, "-m", "build", "--outdir", DIST, ROOT)
    (sdist,), (wheel,) = DIST.glob("*.tar.gz"), DIST.glob("*.whl")
    _run(sys.executable, "-m", "twine", "check", "--strict", sdist, wheel)
    return sdist, wheel


def missing(wheel: Path) -> list[str]:
    """The committed files of ``dsd_lib`` that the wheel lacks."""
    listed = subprocess.run(
        ["git", "ls-files", "dsd_lib"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    with zipfile.ZipFile(wheel) as file:
        packed = set(file.namelist())
    return sorted(set(listed.stdout.split()) - packed)


def test_outside(sdist: Path, wheel: Path) -> None:
    """Install the wheel into an empty environment and run the sdist's tests there."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        venv.create(folder / "venv", with_pip=True)
        python = folder / "venv" / "bin" / "python"
        _run(python, "-m", "pip", "install", "-q", f"{wheel}[quality,restoration]", *TOOLS)
        with tarfile.open(sdist) as archive:
            archive.extractall(folder, filter="data")
        (unpacked,) = folder.glob("dsd_lib-*")
        tests = folder / "outside"
        tests.mkdir()
        shutil.copytree(unpacked / "tests", tests / "tests")
        environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "DSD_DATA")}
        arguments = ["-n", "auto", "--maxprocesses=4", "-q", "-p", "no:cacheprovider"]
        for path in ("book", "scripts", "test_package.py", "test_repository.py"):
            arguments.append(f"--ignore=tests/{path}")
        _run(python, "-m", "pytest", *arguments, "tests", cwd=tests, env=environment)


def _run(*command: object, **options: object) -> None:
    subprocess.run([str(part) for part in command], check=True, **options)


def main() -> None:
    """Build, check, install, test."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--fast", action="store_true", help="do not install and test")
    fast = parser.parse_args().fast
    sdist, wheel = build()
    if lacking := missing(wheel):
        sys.exit(f"{wheel.name} lacks {', '.join(lacking)}")
    if not fast:
        test_outside(sdist, wheel)
    print(f"{sdist}\n{wheel}: {wheel.stat().st_size / 1e6:.0f} MB")


if __name__ == "__main__":
    main()
