"""The contract page: rows from what was found, and the page as it is stored."""

from pathlib import Path

import pytest

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


def test_the_page_is_what_the_script_writes():
    if not make_contract.RESULT.is_file():
        pytest.skip("no stored contract")
    page = (ROOT / "book" / "contract.md").read_text(encoding="utf-8")
    assert page == make_contract.page()
