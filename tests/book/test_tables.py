"""Tables: what is bold, what is marked, and how they look on a phone."""

import re

import pytest

from dsd_lib.book import table

COLUMNS = {"measure": "", "SROCC": ".2f", "time": ".0f"}
ROWS = [
    ["PSNR", (0.872, 0.84, 0.90), 1],
    "Deep",
    ["DSD", (0.912, 0.88, 0.93), 20],
    ["style", (0.9081, 0.88, 0.93), None],
    ["close", 0.89, 1],
]


def made(rows=ROWS, **options):
    defaults = {"number": "Table 0.1", "caption": "DSD is **best**.", "columns": COLUMNS}
    return table(rows, **(defaults | options))


def cells(piece) -> list[str]:
    return re.findall(r"<t[dh][^>]*>(.*?)</t[dh]>", piece._repr_html_(), re.DOTALL)


def test_the_best_is_bold_ties_too_and_what_may_be_as_good_is_marked():
    body = made(best={"SROCC": "higher", "time": "lower"})._repr_html_()
    bold = re.findall(r'class="number"><strong>(.*?)</strong>', body)
    assert bold == ["1", "0.91", "0.91", "1"]  # 0.912 and 0.9081 print the same
    assert re.findall(r"≈</span>(.*?)<", body) == ["0.89"]
    assert "inside the interval of the best" in body
    assert "SROCC ↑" in body and "time ↓" in body


def test_without_best_nothing_is_marked():
    body = made()._repr_html_()
    assert "<strong>0" not in body and "≈" not in body and "↑" not in body


def test_intervals_are_a_second_line_and_gaps_a_dash():
    found = cells(made())
    assert "0.87<small>(0.84–0.90)</small>" in found
    assert found.count("–") == 1


def test_negative_numbers_have_a_minus_sign():
    found = cells(
        table([["a", (-0.1, -0.2, 0.3)]], {"x": "", "y": "+.1f"}, number="1", caption="c")
    )
    assert found[-1] == "−0.1<small>(−0.2 to +0.3)</small>"


def test_percent():
    found = cells(table([["a", 0.123]], {"x": "", "y": ".0%"}, number="1", caption="c"))
    assert found[-1] == "12%"


def test_it_reads_as_text():
    lines = repr(made(best={"SROCC": "higher"})).splitlines()
    assert lines[0] == "Table 0.1. DSD is **best**."
    assert len({line.rindex(" ") for line in lines[2:3] + lines[4:]}) == 1 or lines[3] == "Deep"
    assert "*0.91* (0.88–0.93)" in lines[4]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"rows": []}, "at least one row"),
        ({"rows": ["only a heading"]}, "at least one row"),
        ({"rows": [["a", 1]]}, r"expected 3 cells, got 2: \['a', 1\]"),
        ({"rows": [[1.5, 1, 1]]}, "expected a text in a column without a format, got 1.5"),
        ({"best": {"SSIM": "higher"}}, r"one of \['SROCC', 'time'\], got 'SSIM'"),
        ({"best": {"measure": "higher"}}, "expected a column of numbers"),
        ({"best": {"time": "up"}}, "expected 'higher' or 'lower', got 'up'"),
        ({"caption": ""}, "number and caption"),
    ],
)
def test_bad_input(options, says):
    with pytest.raises(ValueError, match=says):
        made(**options)


def test_texts_cannot_break_out():
    evil = "<b onload=1>"
    body = table([evil, [evil, 1]], {evil: "", "y": "d"}, number=evil, caption=evil, note=evil)
    assert "<b onload" not in body._repr_html_()


def wide():
    columns = {"measure": "", **{f"column {i}": ".3f" for i in range(9)}}
    return table([["PSNR", *range(9)]], columns, number="Table 0.2", caption="Wide.")


def test_on_a_phone_it_scrolls_inside_its_box_and_names_stay(opened):
    tab = opened(wide(), width=390)
    assert tab.evaluate("document.documentElement.scrollWidth") <= 390
    box = tab.get_by_role("region", name="Table 0.2")
    assert box.evaluate("b => b.scrollWidth > b.clientWidth")
    name = tab.get_by_role("rowheader", name="PSNR")
    before = name.bounding_box()["x"]
    box.focus()
    box.evaluate("b => b.scrollLeft = 200")
    assert box.evaluate("b => b.scrollLeft") == 200
    assert name.bounding_box()["x"] == pytest.approx(before, abs=1)


def test_a_long_caption_wraps_on_a_phone(opened):
    tab = opened(made(caption="Many words on what to see in this table. " * 5), width=390)
    place = tab.locator("figcaption").bounding_box()
    assert place["x"] + place["width"] <= 390


def test_numbers_are_at_the_right_and_rows_do_not_wrap(opened):
    tab = opened(made(), width=390)
    cell = tab.get_by_role("cell", name="0.87")
    assert cell.evaluate("c => getComputedStyle(c).textAlign") in ("right", "end")
    assert cell.evaluate("c => getComputedStyle(c).whiteSpace") == "nowrap"


def test_a_link_counts_by_what_it_shows():
    found = made([["[1](#a-place-with-a-very-long-name)", 0.5, 1]])._repr_html_()
    assert '<a href="#a-place-with-a-very-long-name">1</a>' in found
    assert 'class="prose"' not in found
