"""The contract page: rows from what was found, and the page as it is stored."""

import mmap
from pathlib import Path

import pytest
import torch

from data_scripts import make_contract
from dsd_lib.quality.measures import MEASURES

ROOT = Path(__file__).parents[2]


def test_what_was_found_becomes_a_row():
    measure = MEASURES["psnr"]
    found = make_contract.check(measure)
    assert found["identical"] == "inf"
    assert found["smallest"] == [1, 1]
    result = {"provenance": {"commit": "abc", "date": "2021-01-01", "device": "cpu"}}
    result["results"] = {"gpu": None, "measures": {"psnr": found}, "costs": None}
    page = make_contract.render(result)
    assert "| PSNR " in page and "∞" in page
    assert page.count("\n## ") >= 2


def test_costs_on_the_page():
    bare = {"seconds": 2.0, "megabytes": 90.0}
    large = {"vgg16": bare, "psnr": {"needs_megabytes": 9000.0}}
    pair = {"vgg16": bare, "psnr": {"seconds": 0.5, "megabytes": 4.0, "ratio": 0.25}}
    measured = {"machine": "this one", "pair": pair, "large": large}
    page = make_contract._costs(measured, {"psnr": {"title": "PSNR"}})
    assert "| PSNR | 0.25 | 0.5 | 4 | not measured | – | about 9000 |" in page
    assert "| bare VGG-16 passes | 1 | 2 | 90 | 1 | 2 | 90 |" in page


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="Linux only")
def test_the_peak_of_memory_is_counted_from_the_start():
    def use(size: int) -> mmap.mmap:
        """Memory straight from the system: malloc would hand out what it kept from before."""
        block = mmap.mmap(-1, size)
        for start in range(0, size, mmap.PAGESIZE):
            block[start] = 1
        return block

    use(120_000_000).close()  # a peak that is over
    before = make_contract.start_of_peak()
    kept = use(40_000_000)
    grown = make_contract.memory("VmHWM") - before
    kept.close()
    assert 0.9 * 40e6 / 1024 < grown < 2 * 40e6 / 1024


def test_tiles_hold_every_pixel_once():
    parts = make_contract.tiles(torch.ones(1, 3, 1200, 2100))
    assert len(parts) == 6 and sum(part.sum() for part in parts) == 3 * 1200 * 2100


def test_the_page_is_what_the_script_writes():
    if not make_contract.RESULT.is_file():
        pytest.skip("no stored contract")
    page = (ROOT / "book" / "contract.md").read_text(encoding="utf-8")
    assert page == make_contract.page()
