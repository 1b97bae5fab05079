"""The book on paper: every page in one PDF, with bookmarks and links that work inside it."""

from pathlib import Path

import pytest
from pypdf import PdfReader
from test_reader import BOOK, cannot

from data_scripts import make_pdf

pytestmark = pytest.mark.reader


@pytest.fixture(scope="module")
def pdf(tmp_path_factory: pytest.TempPathFactory) -> PdfReader:
    if not (BOOK / "index.html").is_file():
        cannot(f"no built book at {BOOK}; run: make book")
    if (executable := make_pdf.browser()) is None:
        cannot("no browser is installed")
    path: Path = tmp_path_factory.mktemp("pdf") / "book.pdf"
    make_pdf.print_pdf(BOOK, path, make_pdf.contents(), executable)
    assert path.stat().st_size < 80_000_000
    return PdfReader(path)


def test_it_has_the_pages_of_a_book(pdf: PdfReader) -> None:
    assert 100 < len(pdf.pages) < 600
    first = pdf.pages[0].extract_text()
    assert "Deep Self-Dissimilarity" in first


def test_every_page_of_the_contents_is_a_bookmark_in_order(pdf: PdfReader) -> None:
    def titles(outline: list) -> list[str]:
        names = []
        for entry in outline:
            names += titles(entry) if isinstance(entry, list) else [str(entry.title)]
        return names

    found = [" ".join(title.split()).rstrip("#") for title in titles(pdf.outline)]
    chapters = [title for title in found if title.split(". ")[0] in map(str, range(1, 11))]
    order = [int(title.split(". ")[0]) for title in chapters if ". " in title]
    assert [n for i, n in enumerate(order) if n not in order[:i]] == list(range(1, 11))
    assert {"Scorecard", "So, does DSD work?", "Glossary", "Bibliography"} <= set(found)


def test_links_lead_inside_it(pdf: PdfReader) -> None:
    inside, outside = 0, []
    for page in pdf.pages:
        for annotation in page.get("/Annots", []):
            link = annotation.get_object()
            uri = link.get("/A", {}).get("/URI")
            inside += "/Dest" in link or link.get("/A", {}).get("/S") == "/GoTo"
            outside += [str(uri)] if uri else []
    assert inside > 300
    local = [u for u in outside if u.startswith("file:") and ".html" in u]
    assert local == []
