"""Print the built book into one PDF, ``_build/dsd-book.pdf``, with a headless Chromium.

    python -m data_scripts.make_pdf

The pages of the contents are put one after another into a single HTML file, so that links between
them become links inside the PDF, and headings its bookmarks. Sliders show their first frame, and
what is folded stays folded.
"""

import argparse
import io
import shutil
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urldefrag, urljoin, urlsplit

import yaml
from bs4 import BeautifulSoup, Tag
from pypdf import PdfWriter
from pypdf.generic import DictionaryObject, NameObject, TextStringObject

from data_scripts.shared.results import ROOT
from dsd_lib.files import write_atomically

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
STYLE = """
@page { size: A4; margin: 18mm 16mm; }
html { scroll-padding: 0; }
body { font-size: 10.5pt; }
main { max-width: none; }
article.page { break-before: page; }
article.page:first-of-type { break-before: auto; }
figure, img, table, .cell_output, .admonition { break-inside: avoid; }
h1, h2, h3 { break-after: avoid; }
pre { white-space: pre-wrap; }
img { max-width: 100%; height: auto; }
.headerlink, .copybtn, .toggle-button, .dsd-run, .tag_live, input[type=range],
[data-dsd-try]:not(:has(img)), [data-dsd-try] > button { display: none !important; }
"""
# The words of all headings that are printed, without what screen readers get of a formula.
HEADINGS = """() => [...document.querySelectorAll("h1, h2, h3, h4, h5, h6")]
    .filter(h => h.checkVisibility())
    .map(h => {
        const copy = h.cloneNode(true);
        copy.querySelectorAll(".headerlink, mjx-assistive-mml").forEach(e => e.remove());
        return copy.textContent.replace(/\\s+/g, " ").trim();
    })"""
# Scripts that typeset formulas; nothing else may change the pages.
KEPT_SCRIPTS = ("mathjax", "tex-mml")


def browser() -> str | None:
    """The Chromium of this machine."""
    return next((path for name in BROWSERS if (path := shutil.which(name))), None)


def contents() -> list[str]:
    """The pages in the order of the contents."""
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))
    return [toc["root"], *(c["file"] for part in toc["parts"] for c in part["chapters"])]


def place(page: str, anchor: str = "") -> str:
    """The id in the whole book of a page, or of something on it."""
    return f"{page.replace('/', '-')}--{anchor}" if anchor else page.replace("/", "-")


def whole_book(html: Path, pages: list[str]) -> str:
    """One HTML file of all pages, to be opened from the folder of the built book."""
    soups = [BeautifulSoup((html / f"{p}.html").read_text("utf-8"), "html.parser") for p in pages]
    head = soups[0].head
    _rebase(head, pages[0])
    for script in head("script") + soups[0].body("script"):
        if not any(name in str(script).lower() for name in KEPT_SCRIPTS):
            script.extract()
    scripts = [str(s) for s in soups[0].body("script") if "mathjax" in str(s).lower()]
    articles = [_article(soup, page, pages) for soup, page in zip(soups, pages, strict=True)]
    return (
        f'<!DOCTYPE html><html lang="en" data-theme="light"><head>{head.decode_contents()}'
        f"<style>{STYLE}</style></head><body><main>{''.join(articles)}</main>"
        f"{''.join(scripts)}</body></html>"
    )


def _article(soup: BeautifulSoup, page: str, pages: list[str]) -> str:
    """The text of a page with ids and addresses that are valid in the whole book."""
    article = soup.find("article")
    for script in article("script"):
        script.extract()
    _rebase(article, page)
    for tag in article.find_all(id=True):
        tag["id"] = place(page, tag["id"])
    for link in article("a", href=True):
        link["href"] = _target(link["href"], page, pages)
    return (
        f'<article class="page bd-article" id="{place(page)}">{article.decode_contents()}</article>'
    )


def _target(href: str, page: str, pages: list[str]) -> str:
    """Where a link leads in the whole book; other addresses stay."""
    address, anchor = urldefrag(href)
    if not address:
        return f"#{place(page, anchor)}"
    target = address.removesuffix(".html")
    if not urlsplit(href).scheme and target in pages:
        return f"#{place(target, anchor)}"
    return href


def _rebase(part: Tag, page: str) -> None:
    """Make the relative addresses of a page relative to the folder of the built book."""
    for tag, name in _addresses(part):
        value = tag[name]
        if not urlsplit(value).scheme and not value.startswith(("#", "//")):
            tag[name] = urljoin(f"{page}.html", value)


def _addresses(part: Tag) -> Iterator[tuple[Tag, str]]:
    for name in ("src", "href"):
        for tag in part.find_all(attrs={name: True}):
            yield tag, name


def print_pdf(html: Path, pdf: Path, pages: list[str], executable: str) -> None:
    """Print pages of the built book into one file.

    Args:
        html: the folder of the built book.
        pdf: the file to write.
        pages: which, as the table of contents names them.
        executable: the Chromium.
    """
    from playwright.sync_api import sync_playwright

    whole = html / "_whole_book.html"
    write_atomically(whole, whole_book(html, pages))
    try:
        with sync_playwright() as playwright:
            chromium = playwright.chromium.launch(
                executable_path=executable, args=["--no-sandbox", "--allow-file-access-from-files"]
            )
            tab = chromium.new_page(color_scheme="light")
            tab.goto(whole.resolve().as_uri(), timeout=300_000)
            tab.evaluate("() => window.MathJax && MathJax.startup.promise")
            tab.evaluate(
                "() => Promise.all([...document.images].map(i => i.decode().catch(() => 0)))"
            )
            titles = tab.evaluate(HEADINGS)
            data = tab.pdf(
                prefer_css_page_size=True, print_background=True, outline=True, tagged=True
            )
            chromium.close()
    finally:
        whole.unlink()
    write_atomically(pdf, _with_titles(data, titles))


def _with_titles(pdf: bytes, titles: list[str]) -> bytes:
    """The same file with these bookmarks.

    Chromium makes one for each heading, but repeats words and drops spaces where a heading wraps.
    """
    writer = PdfWriter(clone_from=io.BytesIO(pdf))
    writer.metadata = {"/Title": titles[0]}
    bookmarks = list(_bookmarks(writer.root_object["/Outlines"]))
    if len(bookmarks) != len(titles):
        raise ValueError(f"expected {len(titles)} bookmarks, one a heading, got {len(bookmarks)}")
    for bookmark, title in zip(bookmarks, titles, strict=True):
        bookmark[NameObject("/Title")] = TextStringObject(title)
    file = io.BytesIO()
    writer.write(file)
    return file.getvalue()


def _bookmarks(parent: DictionaryObject) -> Iterator[DictionaryObject]:
    """The bookmarks below one, in reading order."""
    child = parent.get("/First")
    while child is not None:
        bookmark = child.get_object()
        yield bookmark
        yield from _bookmarks(bookmark)
        child = bookmark.get("/Next")


def main() -> None:
    """Print the whole book."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--html", type=Path, default=ROOT / "_build" / "html")
    parser.add_argument("--output", type=Path, default=ROOT / "_build" / "dsd-book.pdf")
    args = parser.parse_args()
    if (executable := browser()) is None:
        raise SystemExit(f"no browser: none of {', '.join(BROWSERS)} is installed")
    print_pdf(args.html, args.output, contents(), executable)
    print(f"Printed {args.output}, {args.output.stat().st_size / 1e6:.0f} MB")


if __name__ == "__main__":
    main()
