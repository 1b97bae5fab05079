"""The pages around the chapters: the status page is what was measured, the examples run."""

import doctest
import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import yaml
from PIL import Image
from torch import Tensor

import dsd_lib
from data_scripts import (
    make_contract,
    make_official_values,
    make_scorecard,
    make_status,
    make_thumbnails,
)
from data_scripts.chapters import chapter_paths
from data_scripts.shared import paper_results
from data_scripts.shared.paper_results import SECTIONS, VERDICTS, Entry

ROOT = Path(__file__).parent.parent.parent
BOOK = ROOT / "book"
PAGES = sorted(BOOK.glob("*.md"))


def test_every_page_of_the_contents_exists_and_every_page_is_in_the_contents() -> None:
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))
    listed = [toc["root"], *(c["file"] for part in toc["parts"] for c in part["chapters"])]
    files = [*BOOK.glob("*.md"), *BOOK.glob("*.ipynb")]
    assert sorted(listed) == sorted(f"book/{path.stem}" for path in files)


LIVE = r"""<div data-dsd-try='(.*?)'[^>]*>\n\n(.*?)\n\n</div>"""


def test_every_live_panel_has_a_known_setting_and_a_fallback() -> None:
    panel = (BOOK / "_static" / "try" / "parts" / "panel.js").read_text(encoding="utf-8")
    views = set(re.findall(r"^    (\w+): \[\"", panel, re.MULTILINE))
    pages = {path.stem: path.read_text(encoding="utf-8") for path in PAGES}
    for path in chapter_paths():
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        pages[path.stem] = "\n\n".join("".join(cell["source"]) for cell in cells)
    found = {name: re.findall(LIVE, page, re.DOTALL) for name, page in pages.items()}
    for name, page in pages.items():
        assert page.count("<div data-dsd-try=") == len(found[name]), name
        for options, fallback in found[name]:
            settings = json.loads(options)
            assert settings["view"] in views
            assert settings["image"] in dsd_lib.sample_images()
            assert len(fallback) > 20
    assert found["index"] and "cover.png" in found["index"][0][1]
    assert found["try_it"]


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

    page = make_status.render([result], [chapter])
    assert page.endswith(
        "## [7. Photos](07_chapter.ipynb)\n\n"
        "Ran in 31 s on cpu, 2026-02-01, Python 3.11.2, torch 2.4.0.\n\n"
        "- **`style_photos`**: write the book's status page, `book/status.md`, "
        "from the stored results and the chapters\\\n"
        "  `python -m data_scripts.make_status`\\\n"
        "  on 12 photos\\\n"
        "  vgg16, cpu, seed 3; 4 min, 2026-01-31\\\n"
        "  python 3.11.2, torch 2.4.0, commit `abc1234`\n"
    )
    assert "-dirty" not in page

    chapter.write_text(json.dumps({"metadata": {}, "cells": cells}), encoding="utf-8")
    with pytest.raises(ValueError, match="not run by"):
        make_status.render([result], [chapter])


def test_every_stored_result_is_loaded_by_a_chapter_the_scorecard_or_the_contract() -> None:
    results = list((BOOK / "results").glob("*.json"))
    alone = make_status.results_of(chapter_paths(), results)[None]
    source = Path(paper_results.__file__).read_text(encoding="utf-8")
    elsewhere = [path for path in alone if f'"{path.stem}"' not in source]
    assert [path for path in elsewhere if path != make_contract.RESULT] == []


def test_a_chapter_may_name_several_results_at_once() -> None:
    source = 'load_result(f\\"results/rated_{name}.json\\")'
    names = ("rated_live.json", "rated_.json", "unrated_live.json", "live.json")
    assert [make_status._loads(source, name) for name in names] == [True, False, False, False]


def test_the_scorecard_is_what_its_script_writes() -> None:
    stored = (BOOK / "scorecard.md").read_text(encoding="utf-8")
    assert stored == make_scorecard.page(), "run: python -m data_scripts.make_scorecard"


def test_the_scorecard_has_everything_of_the_paper() -> None:
    names = {e.name for group in make_scorecard.entries().values() for e in group}
    equations = {f"Eq. {n}" for n in range(1, 7)}
    tables = {f"Table {n}" for n in range(1, 4)}
    figures = {f"Fig. {n}" for n in (1, 2, 3, 4, 5, 6, 7, 8, "9a", "9b", 10, 11)}
    assert equations | tables | figures <= names


@pytest.mark.parametrize("make", [m for group in SECTIONS.values() for m in group])
def test_an_entry_of_the_scorecard_leads_to_its_section(make: Callable[[], Entry]) -> None:
    entry = make()
    assert entry.verdict in VERDICTS
    assert make.__doc__  # the rule of the verdict
    assert make_scorecard.heading(entry.chapter, entry.section), (
        f"chapter {entry.chapter} has no heading with {entry.section!r}; "
        "give data_scripts/shared/paper_results.py its new words"
    )


def test_a_verdict_follows_the_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    def with_gradient(*intervals: list[float]) -> str:
        stored = {
            f"dsd_norms_{name}": {"spearman": {k: {"gradient": rho} for k in ("norm", "balance")}}
            for name, rho in zip(("bsds500", "imagenette"), intervals, strict=True)
        }
        monkeypatch.setattr(paper_results, "load", stored.__getitem__)
        return paper_results.figure_3().verdict

    assert with_gradient([0.7, 0.6, 0.8], [0.5, 0.4, 0.6]) == "holds"
    assert with_gradient([0.7, 0.6, 0.8], [0.0, -0.1, 0.1]) == "partly"
    assert with_gradient([0.0, -0.1, 0.1], [0.1, 0.0, 0.2]) == "not reproduced"


def test_the_api_page_has_every_public_name() -> None:
    page = (BOOK / "api.md").read_text(encoding="utf-8")
    documented = re.findall(r"^\.\. auto(?:function|class):: (\w+)$", page, re.MULTILINE)
    assert sorted(documented) == sorted(dsd_lib.__all__)
    whole = set(re.findall(r"^\.\. automodule:: dsd_lib\.([\w.]+)$", page, re.MULTILINE))
    folder = Path(dsd_lib.__file__).parent
    rooms = {
        f"{room}.{path.stem}"
        for room in ("quality", "restoration")
        for path in (folder / room).glob("*.py")
        if path.stem != "__init__"
    }
    covered = {getattr(dsd_lib, name).__module__.removeprefix("dsd_lib.") for name in documented}
    assert rooms <= whole | covered


@pytest.mark.parametrize(
    "name",
    [
        "dists_form",
        "lpips_form",
        "deep_wsd_form",
        "dsd2/relu4_1",
        "dsd2/relu3_1",
        "dsd2_windows8/relu3_1",
    ],
)
def test_the_verdict_s_numbers_are_the_stored_ones(name: str) -> None:
    text = (BOOK / "does_dsd_work.md").read_text(encoding="utf-8")
    assert paper_results.interval(paper_results.agreement(name, "srocc"), 3) in text


@pytest.mark.parametrize("name", ["index.md", "how_to_use.md", "dsd_for_others.md"])
def test_the_examples_on_a_page_run(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT / "tests")  # reference_dsd.py, which a page offers
    text = (BOOK / name).read_text(encoding="utf-8")
    blocks = re.findall(r"^```pycon\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    assert blocks
    test = doctest.DocTestParser().get_doctest("\n".join(blocks), {}, name, name, 0)
    report = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE).run(test)
    assert report.attempted >= 5
    assert report.failed == 0


def written() -> dict[str, str]:
    """What was written on each page and in each chapter's prose."""
    texts = {path.name: path.read_text(encoding="utf-8") for path in PAGES}
    for path in chapter_paths():
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        prose = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown"]
        texts[path.name] = "\n\n".join(prose)
    return texts


def test_the_bibliography_is_what_is_cited() -> None:
    known = re.findall(r"@\w+\{(\w+),", (BOOK / "references.bib").read_text(encoding="utf-8"))
    roles = re.findall(r"\{cite(?::\w+)?\}`([^`]+)`", "\n".join(written().values()))
    cited = {key.strip() for role in roles for key in role.split(",")}
    assert len(known) == len(set(known))
    assert set(known) == cited


def test_the_terms_that_pages_name_are_in_the_glossary() -> None:
    text = (BOOK / "glossary.md").read_text(encoding="utf-8")
    body = re.search(r"```\{glossary\}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)[1]
    terms = re.findall(r"^(\S.*)$", body, re.MULTILINE)
    assert terms == sorted(terms, key=str.casefold)
    named = re.findall(r"\{term\}`([^`<]+)`", "\n".join(written().values()))
    assert {"PSNR", "SROCC", "bootstrap"} <= set(named) <= set(terms)
    assert {"SSIM", "NIQE", "DMOS", "PLCC", "Gram matrix"} <= set(terms)


@pytest.mark.parametrize("name", ["texture", "fingerprint", "super_resolution", "deblurring"])
def test_the_home_page_s_images_are_those_of_the_stored_results(name: str) -> None:
    before, after = make_thumbnails.images()[name]
    with Image.open(BOOK / "_static" / f"made_{name}.webp") as stored:
        assert stored.size == (4 * before.width + 2 * make_thumbnails.GAP, 2 * before.height)
        half = stored.convert("RGB").resize((stored.width // 2, stored.height // 2))
    left = np.asarray(half.crop((0, 0, *before.size)), dtype=float)
    right = np.asarray(half.crop((half.width - after.width, 0, *half.size)), dtype=float)
    for shown, original in ((left, before), (right, after)):
        assert np.abs(shown - np.asarray(original, dtype=float)).mean() < 8
    assert (BOOK / "_static" / f"made_{name}.webp").stat().st_size < 40_000


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


def test_the_official_values_for_others_are_what_their_script_writes() -> None:
    stored = json.loads(make_official_values.FILE.read_text(encoding="utf-8"))
    assert stored == make_official_values.content()


@pytest.fixture(scope="module")
def distance_with(net: dsd_lib.Backbone) -> Callable[..., tuple[float, ...]]:
    """DSD₂ of coffee with noise at relu2_1 and relu3_1, with another resize or other features."""
    y = dsd_lib.sample_images()["coffee"]
    n = np.random.default_rng(7).normal(0, 1, y.shape).astype("float32")
    both = torch.cat([(y + 0.08 * torch.from_numpy(n)).clamp(0, 1), y])

    def distance(
        resize: Callable[[Tensor], Tensor] = lambda z: dsd_lib.imresize(z, scale=0.5),
        change: Callable[[Tensor], Tensor] = lambda z: z,
    ) -> tuple[float, ...]:
        layers = ("relu2_1", "relu3_1")
        sizes = (net(change(z), layers, check_range=False) for z in (both, resize(both)))
        fine, coarse = ({k: dsd_lib.gram_matrix(f) for k, f in maps.items()} for maps in sizes)
        own = (fine[layer] - coarse[layer] for layer in layers)
        return tuple((a - b).abs().mean().item() for a, b in own)

    return distance


def slips(net: dsd_lib.Backbone) -> dict[str, dict[str, Callable[[Tensor], Tensor]]]:
    """The page's name of a slip -> what it does to the definition."""
    bicubic = {"scale_factor": 0.5, "mode": "bicubic"}
    mean, std = (
        torch.tensor(v).view(3, 1, 1) for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    )
    return {
        "`F.interpolate`, bicubic": {"resize": lambda z: F.interpolate(z, **bicubic)},
        "`F.interpolate`, bicubic, `antialias=True`": {
            "resize": lambda z: F.interpolate(z, **bicubic, antialias=True)
        },
        "`F.avg_pool2d`": {"resize": lambda z: F.avg_pool2d(z, 2)},
        "small image clamped to [0, 1]": {
            "resize": lambda z: dsd_lib.imresize(z, scale=0.5).clamp(0, 1)
        },
        "torchvision's mean and deviation, same weights": {
            "change": lambda z: (z - mean) / std * net.std + net.mean
        },
        "blue, green, red": {"change": lambda z: z.flip(1)},
        "no normalization": {"change": lambda z: z * net.std + net.mean},
    }


def test_the_slips_for_others_change_the_distance_as_the_page_says(
    net: dsd_lib.Backbone, distance_with: Callable[..., tuple[float, ...]]
) -> None:
    page = (BOOK / "dsd_for_others.md").read_text(encoding="utf-8")
    right = distance_with()
    for name, slip in slips(net).items():
        printed = re.search(rf"^\| {re.escape(name)} \| ([\d.]+) \| ([\d.]+) \|$", page, re.M)
        assert printed, name
        found = [a / b for a, b in zip(distance_with(**slip), right, strict=True)]
        assert found == pytest.approx([float(v) for v in printed.groups()], abs=0.002), name
