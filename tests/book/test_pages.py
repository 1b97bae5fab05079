"""The pages around the chapters: the status page is what was measured, the examples run."""

import doctest
import json
import re
from pathlib import Path

import pytest
import yaml
from PIL import Image

import dsd_lib
from data_scripts import make_status

ROOT = Path(__file__).parent.parent.parent
BOOK = ROOT / "book"
PAGES = sorted(BOOK.glob("*.md"))


def test_every_page_of_the_contents_exists_and_every_page_is_in_the_contents() -> None:
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))
    listed = [toc["root"], *(c["file"] for part in toc["parts"] for c in part["chapters"])]
    files = [*BOOK.glob("*.md"), *BOOK.glob("*.ipynb")]
    assert sorted(listed) == sorted(f"book/{path.stem}" for path in files)


def test_the_status_page_is_what_its_script_writes() -> None:
    stored = (BOOK / "status.md").read_text(encoding="utf-8")
    assert stored == make_status.page(), "run: python -m data_scripts.make_status"


def test_the_status_page_names_every_result_and_every_chapter() -> None:
    page = (BOOK / "status.md").read_text(encoding="utf-8")
    for path in BOOK.glob("results/*.json"):
        assert f"`{path.stem}`" in page
    for path in BOOK.glob("*.ipynb"):
        assert f"]({path.name})" in page


def test_a_status_row_says_where_a_result_comes_from(tmp_path: Path) -> None:
    result = tmp_path / "style_photos.json"
    provenance = {
        "command": "python -m data_scripts.make_status",
        "data": "12 photos",
        "network": "vgg16",
        "device": "cpu",
        "seed": 3,
        "commit": "abc1234",
        "date": "2026-01-31",
        "duration_s": 240,
        "versions": {"python": "3.11.2", "torch": "2.4.0"},
    }
    result.write_text(json.dumps({"provenance": provenance, "results": {}}), encoding="utf-8")
    chapter = tmp_path / "07_chapter.ipynb"
    cells = [
        {"cell_type": "markdown", "source": ["# 7. Photos\n", "text"]},
        {"cell_type": "code", "source": ["plots.load_result('results/style_photos.json')"]},
    ]
    run = {"seconds": 31, "device": "cpu", "python": "3.11.2", "torch": "2.4.0"}
    metadata = {"dsd": run | {"executed": "2026-02-01"}}
    chapter.write_text(json.dumps({"metadata": metadata, "cells": cells}), encoding="utf-8")

    assert make_status.result_rows([result], [chapter]) == [
        [
            "`style_photos`: write the book's status page, `book/status.md`, "
            "from the stored results and the chapters",
            "[7](07_chapter.ipynb)",
            "`python -m data_scripts.make_status`",
            "12 photos",
            "vgg16, cpu, seed 3",
            "4 min, 2026-01-31",
            "abc1234; python 3.11.2, torch 2.4.0",
        ]
    ]
    assert make_status.chapter_rows([chapter]) == [
        ["[7. Photos](07_chapter.ipynb)", "31 s", "cpu", "Python 3.11.2, torch 2.4.0", "2026-02-01"]
    ]
    chapter.write_text(json.dumps({"metadata": {}, "cells": cells}), encoding="utf-8")
    with pytest.raises(ValueError, match="not run by"):
        make_status.chapter_rows([chapter])


def test_a_chapter_may_name_several_results_at_once() -> None:
    source = 'load_result(f\\"results/rated_{name}.json\\")'
    names = ("rated_live.json", "rated_.json", "unrated_live.json", "live.json")
    assert [make_status._loads(source, name) for name in names] == [True, False, False, False]


def test_every_stored_result_is_named_by_a_chapter() -> None:
    assert "| none |" not in make_status.page()


def test_the_api_page_has_every_public_name() -> None:
    page = (BOOK / "api.md").read_text(encoding="utf-8")
    documented = re.findall(r"^\.\. auto(?:function|class):: (\w+)$", page, re.MULTILINE)
    assert sorted(documented) == sorted(dsd_lib.__all__)
    whole = set(re.findall(r"^\.\. automodule:: dsd_lib\.([\w.]+)$", page, re.MULTILINE))
    covered = {getattr(dsd_lib, name).__module__.removeprefix("dsd_lib.") for name in documented}
    folder = Path(dsd_lib.__file__).parent
    files = [p.relative_to(folder).with_suffix("") for p in folder.rglob("*.py")]
    modules = {".".join(p.parts) for p in files if p.stem != "__init__"}
    assert whole | covered == modules


@pytest.mark.parametrize("name", ["index.md", "how_to_use.md"])
def test_the_examples_on_a_page_run(name: str) -> None:
    text = (BOOK / name).read_text(encoding="utf-8")
    blocks = re.findall(r"^```pycon\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    assert blocks
    test = doctest.DocTestParser().get_doctest("\n".join(blocks), {}, name, name, 0)
    report = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE).run(test)
    assert report.attempted >= 5
    assert report.failed == 0


def test_the_cover_is_small_and_stands_on_white() -> None:
    path = BOOK / "_static" / "cover.png"
    assert path.stat().st_size <= 200_000
    with Image.open(path) as picture:
        assert picture.convert("RGBA").getpixel((2, 2)) == (255, 255, 255, 255)


def test_the_citation_is_of_this_version_and_of_the_paper() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == dsd_lib.__version__
    assert {"cff-version", "message", "title", "authors"} <= citation.keys()
    paper = citation["preferred-citation"]
    assert paper["title"] == "Deep Self-Dissimilarities as Powerful Visual Fingerprints"
    names = [author["family-names"] for author in paper["authors"]]
    assert names == ["Kligvasser", "Rott Shaham", "Bahat", "Michaeli"]
