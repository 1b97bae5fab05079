"""Figures, tables, exercises and equations become links where they are named."""

import sys
from pathlib import Path

import pytest
from sphinx.application import Sphinx

EXTENSION = Path(__file__).parents[2] / "book" / "_ext"

FIRST = """\
# First

**Figure 1.2.** A caption about Figure 1.3 and the table.

**Figure 1.3.** Another.

$$ G = F F^T \\tag{1} $$

See Figures 1.2 and 1.3, exercise 1.1, Eqs. (1) and (2), but not `Figure 1.2` or Fig. 6.

## Exercise 1.1: a task
"""
SECOND = """\
---
orphan: true
---
# Second

As Table 2.1 and Figure 1.2 show, Eq. (2) is not Eq. (1).

```{raw} html
<table><caption><strong>Table 2.1.</strong> Numbers.</caption></table>
```

$$ D = G - G' \\tag{2} $$
"""


@pytest.fixture
def build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys, "path", [str(EXTENSION), *sys.path])

    def run(**pages: str) -> tuple[dict[str, str], str]:
        source, out = tmp_path / "source", tmp_path / "out"
        source.mkdir()
        for name, text in pages.items():
            (source / f"{name}.md").write_text(text, encoding="utf-8")
        warnings = (tmp_path / "warnings.txt").open("w+", encoding="utf-8")
        settings = {
            "extensions": ["myst_parser", "numbered_links"],
            "myst_enable_extensions": ["dollarmath"],
            "root_doc": next(iter(pages)),
        }
        app = Sphinx(source, None, out, tmp_path, "html", settings, status=None, warning=warnings)
        app.build()
        warnings.seek(0)
        html = {n: (out / f"{n}.html").read_text(encoding="utf-8") for n in pages}
        return html, warnings.read()

    return run


def test_every_name_is_a_link_to_the_caption_the_heading_or_the_formula(build) -> None:
    html, warnings = build(first=FIRST, second=SECOND)
    assert warnings == ""

    def link(where: str, words: str) -> str:
        return f'<a class="reference internal" href="{where}">{words}</a>'

    first, second = html["first"], html["second"]
    assert '<p id="figure-1-2"><strong>Figure 1.2.</strong> A caption about' in first
    assert link("#figure-1-3", "Figure 1.3") in first
    assert f"{link('#figure-1-2', 'Figures 1.2')} and {link('#figure-1-3', '1.3')}" in first
    assert link("#exercise-1-1-a-task", "exercise 1.1") in first or (
        link("#exercise-1-1", "exercise 1.1") in first and 'id="exercise-1-1"' in first
    )
    equations = f"{link('#equation-1', 'Eqs. (1)')} and {link('second.html#equation-2', '(2)')}"
    assert equations in first
    assert 'id="equation-1"' in first
    assert first.count("#figure-1-2") == 1  # neither the caption nor the code nor the paper's Fig.
    assert link("#table-2-1", "Table 2.1") in second
    assert '<span id="table-2-1"></span><table>' in second
    assert link("first.html#figure-1-2", "Figure 1.2") in second
    assert link("#equation-2", "Eq. (2)") in second
    assert link("first.html#equation-1", "Eq. (1)") in second


def test_a_number_that_is_nowhere_is_a_warning(build) -> None:
    html, warnings = build(first="# First\n\nSee Figure 7.7 and Eq. (9).\n")
    assert "Figure 7.7 is nowhere in the book" in warnings
    assert "Eq. (9) is nowhere in the book" in warnings
    assert "See Figure 7.7 and Eq. (9)." in html["first"]
