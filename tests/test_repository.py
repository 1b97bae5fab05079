"""What the repository says about itself: one test command, one version, every folder packaged."""

import re
import tomllib
from pathlib import Path

import pytest

import dsd_lib

ROOT = Path(__file__).parent.parent
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def recipe(target: str) -> list[str]:
    """The commands of a target, as one would type them."""
    block = re.search(rf"^{target}:.*\n((?:\t.*\n)+)", MAKEFILE, re.MULTILINE)[1]
    lines = block.replace("$(BIN)", ".venv/bin").splitlines()
    return [line.strip() for line in lines if not line.strip().startswith("@")]


@pytest.mark.parametrize("page", ["README.md", "book/how_to_use.md"])
@pytest.mark.parametrize("target", ["test", "book"])
def test_pages_give_the_commands_of_the_makefile(page, target):
    text = (ROOT / page).read_text(encoding="utf-8")
    assert f"make {target} " in text
    for command in recipe(target):
        assert re.search(rf"^(\$ )?{re.escape(command)}( *#.*)?$", text, re.MULTILINE), command


def test_no_page_gives_another_test_command():
    for path in (ROOT / "README.md", *(ROOT / "book").glob("*.md")):
        text = path.read_text(encoding="utf-8")
        found = re.findall(r"^(?:\$ )?(?:\S*/)?(pytest .*)$", text, re.MULTILINE)
        assert set(found) <= {"pytest -n auto"}, path.name


def test_make_help_knows_every_target_that_is_for_people():
    helped = set(re.findall(r"^([a-z-]+):.*## ", MAKEFILE, re.MULTILINE))
    contributing = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    used = re.findall(r"(?:`|^)make ((?:[a-z-]+ ?)+)", contributing + readme, re.MULTILINE)
    named = {target for words in used for target in words.split()}
    assert {"test", "book", "lint", "wheel"} <= named & helped
    assert named - helped == set()


def test_every_folder_of_the_package_is_in_the_wheel():
    folders = {path.parent for path in (ROOT / "dsd_lib").rglob("__init__.py")}
    names = {folder.relative_to(ROOT).as_posix().replace("/", ".") for folder in folders}
    assert names == set(PYPROJECT["tool"]["setuptools"]["packages"]) - {"dsd_lib.book.results"}


def test_the_version_is_the_same_everywhere():
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert re.search(r"^## (\S+)", changelog, re.MULTILINE)[1] == dsd_lib.__version__
    assert f"\nversion: {dsd_lib.__version__}\n" in citation


def test_every_dependency_has_its_reason():
    lines = (ROOT / "pyproject.toml").read_text(encoding="utf-8").splitlines()
    requirements = [line for line in lines if re.match(r' {4}"\w[\w-]*(\[.*\])?[<>=]', line)]
    assert len(requirements) > 20
    assert [line for line in requirements if " # " not in line] == []
