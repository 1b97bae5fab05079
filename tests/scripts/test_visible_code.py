"""How much code a chapter's page shows, and which comments it leaves out."""

import json
from types import SimpleNamespace

import nbformat
import pytest

from data_scripts import chapters, shown_code


def notebook(*cells: tuple[str, list[str]]) -> nbformat.NotebookNode:
    made = nbformat.v4.new_notebook()
    for source, tags in cells:
        made.cells.append(nbformat.v4.new_code_cell(source, metadata={"tags": tags}))
    made.cells.append(nbformat.v4.new_markdown_cell("x\n" * 50))
    return made


def test_comments_and_blank_lines_count_and_hidden_cells_do_not():
    found = chapters.visible_code(
        notebook(
            ("# NBVAL_CHECK_OUTPUT\n# a comment\n\nx = 1", []),
            ("y" * 200, ["hide-input"]),
            ("y" * 200, ["solution", "hide-cell"]),
            ("y" * 200, ["remove-input"]),
            ("y" * 200, ["remove-cell"]),
            ("z" * 70, ["exercise"]),
        )
    )
    assert found == (4, 70)


def test_a_chapter_without_code():
    assert chapters.visible_code(notebook()) == (0, 0)


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("# @title Solution 1.1\n# NBVAL_CHECK_OUTPUT\nx = 1", "x = 1"),
        ("x = [1]  # fmt: skip", "x = [1]"),
        ("# fmt: off\nx = 1  # one\n# fmt: on\n", "x = 1  # one"),
        ("x = 'NBVAL_CHECK_OUTPUT'", "x = 'NBVAL_CHECK_OUTPUT'"),
        ("# NBVAL is a tool", "# NBVAL is a tool"),
        ("def f():\n    # noqa: E501\n    return 1  # type: ignore[x]", "def f():\n    return 1"),
    ],
)
def test_what_a_page_shows(code, expected):
    assert shown_code.shown(code) == expected


def test_sphinx_reads_notebooks_without_the_comments_and_pages_as_they_are():
    app = SimpleNamespace(env=SimpleNamespace(doc2path=lambda page: page))
    source = [nbformat.writes(notebook(("# NBVAL_CHECK_OUTPUT\nx = 1", [])))]
    shown_code._read(app, "chapter.ipynb", source)
    cells = json.loads(source[0])["cells"]
    assert cells[0]["source"] == "x = 1" and "".join(cells[1]["source"]) == "x\n" * 50
    page = ["# NBVAL_CHECK_OUTPUT"]
    shown_code._read(app, "page.md", page)
    assert page == ["# NBVAL_CHECK_OUTPUT"]


def test_a_chapter_keeps_the_limits(tmp_path):
    path = tmp_path / "long.ipynb"
    nbformat.write(notebook(("x = 1\n" * 161 + "y" * 89, [])), path)
    found = chapters.problems(path)
    assert "162 visible lines of code are more than 160" in found
    assert "89 columns in the widest visible line are more than 88" in found
