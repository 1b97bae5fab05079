"""What the scripts share: stored results, the rules for chapters, the repository's address."""

import json
import shutil
import subprocess
import sys
import time

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

import dsd_lib
from data_scripts import chapters, execute_chapters, stamp
from data_scripts.shared import results


def test_a_result_says_where_it_comes_from(tmp_path, monkeypatch):
    monkeypatch.setattr("sys.argv", ["/somewhere/measure.py", "--seed", "3"])
    started = time.time() - 5
    path = results.write_result(
        "x_y", [1.5], data="two photos", network="vgg16", started=started, seed=3, folder=tmp_path
    )
    stored = json.loads(path.read_text())
    assert path.name == "x_y.json" and stored["results"] == [1.5]
    p = stored["provenance"]
    assert p["command"] == "python -m data_scripts.measure --seed 3"
    assert (p["data"], p["network"], p["device"], p["seed"]) == ("two photos", "vgg16", "cpu", 3)
    assert p["duration_s"] == 5
    assert list(tmp_path.iterdir()) == [path]  # no part is left


def test_a_result_that_is_no_number_is_refused(tmp_path):
    with pytest.raises(ValueError, match="not JSON compliant"):
        results.write_result(
            "x", float("nan"), data="d", network=None, started=0.0, folder=tmp_path
        )
    assert not list(tmp_path.iterdir())


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A git repository with a committed library and scripts, in the place of ours."""

    def git(*command: str) -> str:
        who = ["-c", "user.name=Someone", "-c", "user.email=someone@example.org"]
        run = ["git", "-C", str(tmp_path), *who, *command]
        return subprocess.run(run, check=True, capture_output=True, text=True).stdout.strip()

    for folder in results.CODE:
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "code.py").write_text("x = 1\n")
    (tmp_path / "book").mkdir()
    git("init", "-q")
    git("add", ".")
    git("commit", "-q", "-m", "all")
    monkeypatch.setattr(results, "ROOT", tmp_path)
    monkeypatch.setattr(results, "RESULTS", tmp_path / "book")
    monkeypatch.delenv(results.ALLOW)
    results.code_state.cache_clear()
    yield tmp_path, git("rev-parse", "--short", "HEAD")
    results.code_state.cache_clear()


def store(folder):
    return results.write_result("x", 1, data="d", network=None, started=0.0, folder=folder)


def test_committed_code_stores_its_commit(checkout):
    root, commit = checkout
    (root / "book" / "page.md").write_text("an edited page is no code")
    results.begin()
    (root / "dsd_lib" / "code.py").write_text("x = 2\n")  # later than what runs
    stored = json.loads(store(results.RESULTS).read_text())
    assert stored["provenance"]["commit"] == commit


@pytest.mark.parametrize("name", ["dsd_lib/code.py", "data_scripts/new.py"])
def test_uncommitted_code_is_refused_at_the_start_and_at_the_end(checkout, monkeypatch, name):
    root, commit = checkout
    (root / name).write_text("x = 2\n")
    with pytest.raises(RuntimeError, match=r"not committed; commit them.*DSD_ALLOW_UNCOMMITTED=1"):
        results.begin()
    with pytest.raises(RuntimeError, match="not committed"):
        store(results.RESULTS)
    assert not list(results.RESULTS.iterdir())
    store(root)  # not for the book
    monkeypatch.setenv(results.ALLOW, "1")
    results.begin()
    stored = json.loads(store(results.RESULTS).read_text())
    assert stored["provenance"]["commit"] == f"{commit}-dirty"


def exercise(number: int, verdict: str, tag: str, count: int):
    source = f"# NBVAL_CHECK_OUTPUT\nexercises.check('1.{number}', answer, 1)"
    output = new_output("stream", name="stdout", text=f"Exercise 1.{number}: {verdict}\n")
    return new_code_cell(source, execution_count=count, outputs=[output], metadata={"tags": [tag]})


@pytest.fixture
def good():
    """A chapter that keeps every rule."""
    cells = [new_code_cell("pass", execution_count=1, metadata={"tags": ["setup"]})]
    for number in (1, 2, 3):
        cells.append(exercise(number, "not answered yet", "exercise", 2 * number))
        cells.append(exercise(number, "correct", "solution", 2 * number + 1))
    cells += [new_markdown_cell(section) for section in chapters.SECTIONS]
    return new_notebook(cells=cells)


def found(notebook, tmp_path) -> str:
    path = tmp_path / "chapter.ipynb"
    nbformat.write(notebook, path)
    return "\n".join(chapters.problems(path))


def test_a_good_chapter_has_no_problems(good, tmp_path):
    assert found(good, tmp_path) == ""


def spoil_error(notebook):
    notebook.cells[0].outputs = [new_output("error", ename="ValueError", evalue="no")]


def spoil_alt(notebook):
    notebook.cells[0].outputs = [new_output("display_data", data={"image/png": "AA"})]


def spoil_stderr(notebook):
    notebook.cells[0].outputs = [new_output("stream", name="stderr", text="UserWarning")]


def spoil_widget(notebook):
    data = {"application/vnd.jupyter.widget-view+json": {}}
    notebook.cells[0].outputs = [new_output("display_data", data=data)]


def spoil_order(notebook):
    notebook.cells[2].execution_count = 9


def spoil_stub(notebook):
    notebook.cells[1] = exercise(1, "correct", "exercise", 2)


def spoil_solution(notebook):
    notebook.cells[2] = exercise(1, "not yet; the largest difference is 1", "solution", 3)


def spoil_missing_solution(notebook):
    notebook.cells[6].metadata.tags = []


def spoil_number(notebook):
    notebook.cells[5].metadata.tags = notebook.cells[6].metadata.tags = []


def spoil_check(notebook):
    notebook.cells[1].source = "exercises.check('1.1', None, 1)"


def spoil_section(notebook):
    notebook.cells[-1].source = "# Something else"


def spoil_size(notebook):
    notebook.cells[-1].source += "x" * chapters.MAX_BYTES


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (spoil_error, "raised ValueError: no"),
        (spoil_alt, "image without alt text"),
        (spoil_stderr, "wrote to stderr"),
        (spoil_widget, "live widget is stored"),
        (spoil_order, "not run once, in order"),
        (spoil_stub, "exercise 1.1: the unsolved stub does not fail its check"),
        (spoil_solution, "exercise 1.1: the solution does not pass its check"),
        (spoil_missing_solution, "exercise 1.3: the solution does not pass its check"),
        (spoil_number, "2 exercises are fewer than 3"),
        (spoil_check, "the check's output is not compared"),
        (spoil_section, "no section"),
        (spoil_size, "bytes are more than"),
    ],
)
def test_a_broken_rule_is_found(spoil, says, good, tmp_path):
    spoil(good)
    assert says in found(good, tmp_path)


def test_running_a_chapter_stores_its_outputs_and_drops_live_ones(tmp_path):
    cells = [
        new_code_cell("print(6 * 7)"),
        new_code_cell("print('a widget')", metadata={"tags": ["live"]}),
        new_code_cell("1 / 0"),
    ]
    notebook = new_notebook(cells=cells)
    seconds = execute_chapters.run(notebook, tmp_path)
    execute_chapters.clean(notebook, seconds)
    assert chapters.printed(notebook.cells[0]) == "42\n"
    assert notebook.cells[1].outputs == []
    assert notebook.cells[2].outputs[0].ename == "ZeroDivisionError"
    assert notebook.metadata.dsd.seconds == round(seconds)
    assert not any("execution" in cell.metadata for cell in notebook.cells)


CONFIG = "title: x\n# >>> stamped by make stamp: the address\n# <<< stamped by make stamp\nend: 1\n"


def test_the_address_goes_in_and_comes_out_again(tmp_path, monkeypatch):
    path = tmp_path / "_config.yml"
    path.write_text(CONFIG)
    monkeypatch.setattr(stamp, "repository", lambda: "https://example.org/book")
    stamp.stamp_config(path)
    stamp.stamp_config(path)
    assert path.read_text().count("url: https://example.org/book") == 1
    assert "launch_buttons" in path.read_text() and path.read_text().endswith("end: 1\n")
    notebook = new_notebook(cells=[new_code_cell("old", metadata={"tags": ["setup"]})])
    stamp.stamp_notebook(notebook)
    assert '"DSD_REPOSITORY", "https://example.org/book"' in notebook.cells[0].source

    monkeypatch.setattr(stamp, "repository", lambda: "")
    stamp.stamp_config(path)
    assert path.read_text() == CONFIG


def test_a_config_without_the_marks_is_refused(tmp_path):
    (tmp_path / "_config.yml").write_text("title: x\n")
    with pytest.raises(ValueError, match="expected one part marked"):
        stamp.stamp_config(tmp_path / "_config.yml")


@pytest.fixture
def alone(tmp_path, monkeypatch):
    """An empty folder to run the set-up cell in, and the commands that it ran."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DSD_REPOSITORY", raising=False)
    commands = []
    monkeypatch.setattr("subprocess.run", lambda command, check: commands.append(command))
    library = tmp_path / "site" / "dsd_lib"
    (library / "book" / "results").mkdir(parents=True)
    (library / "book" / "results" / "numbers.json").write_text("{}")
    (library / "__init__.py").write_text("")
    monkeypatch.syspath_prepend(library.parent)

    def run(installed: bool) -> list[list[str]]:
        notebook = new_notebook(cells=[new_code_cell("", metadata={"tags": ["setup"]})])
        stamp.stamp_notebook(notebook)
        missing = () if installed else ("dsd_lib", "scipy")
        monkeypatch.setattr("importlib.util.find_spec", lambda name: name not in missing or None)
        monkeypatch.delitem(sys.modules, "dsd_lib", raising=False)
        exec(notebook.cells[0].source, {})
        return commands

    return run


def test_the_set_up_cell_does_nothing_in_the_book_s_folder(alone, tmp_path):
    (tmp_path / "results").mkdir()
    before = sorted(tmp_path.rglob("*"))
    assert alone(installed=True) == []
    assert [p for p in sorted(tmp_path.rglob("*")) if "__pycache__" not in p.parts] == before


def test_the_set_up_cell_installs_the_wheel_beside_it(alone, tmp_path):
    (tmp_path / stamp.wheel()).touch()
    (tmp_path / "dsd_lib-0.0.1-py3-none-any.whl").touch()  # of another version
    [[*pip, wheel, package]] = alone(installed=False)
    assert pip[1:] == ["-m", "pip", "install", "-q", "--no-deps"]
    assert (wheel, package) == (stamp.wheel(), "scipy")
    assert (tmp_path / "results" / "numbers.json").is_file()


def test_the_set_up_cell_says_where_to_get_the_wheel(alone, monkeypatch):
    monkeypatch.setattr(stamp, "repository", lambda: "")
    with pytest.raises(AssertionError, match=f"Download {stamp.wheel()} from “Run this chapter”"):
        alone(installed=False)


def test_the_set_up_cell_installs_this_version_from_the_repository(alone, monkeypatch):
    monkeypatch.setattr(stamp, "repository", lambda: "https://example.org/book")
    [[*_, source, _]] = alone(installed=False)
    assert source == f"dsd_lib @ git+https://example.org/book@v{dsd_lib.__version__}"


@pytest.mark.parametrize("path", chapters.chapter_paths(), ids=lambda p: p.stem)
def test_committed_chapters_keep_the_rules(path):
    assert chapters.problems(path) == []


@pytest.mark.parametrize("path", chapters.chapter_paths(), ids=lambda p: p.stem)
def test_committed_chapters_carry_the_current_set_up_cell(path):
    notebook = nbformat.read(path, as_version=4)
    before = nbformat.writes(notebook)
    stamp.stamp_notebook(notebook)
    assert nbformat.writes(notebook) == before


def test_the_config_is_stamped(tmp_path):
    shutil.copy(results.ROOT / "_config.yml", tmp_path)
    stamp.stamp_config(tmp_path / "_config.yml")
    assert (tmp_path / "_config.yml").read_text() == (results.ROOT / "_config.yml").read_text()
