"""The built book as a reader meets it: in a browser, without a network, by keyboard, on a phone.

Nothing is built here. The book is taken from ``_build/html``, or from the folder that the
environment variable ``DSD_BOOK_HTML`` names. Where there is no book or no browser these tests are
skipped, unless ``DSD_REQUIRE_READER=1``, with which they fail.
"""

import functools
import http.server
import json
import os
import re
import shutil
import threading
from collections.abc import Iterator
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import NoReturn
from urllib.parse import unquote, urljoin, urlsplit

import pytest
import yaml

pytestmark = pytest.mark.reader

ROOT = Path(__file__).parent.parent.parent
BOOK = Path(os.environ.get("DSD_BOOK_HTML", ROOT / "_build" / "html"))
TOC = yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))
PAGES = [TOC["root"], *(c["file"] for part in TOC["parts"] for c in part["chapters"])]
CHAPTERS = [page for page in PAGES if (ROOT / f"{page}.ipynb").is_file()]
PHONE = {"width": 390, "height": 844}
DESKTOP = {"width": 1280, "height": 900}


def cannot(reason: str) -> NoReturn:
    """Skip, or fail where these tests are required."""
    if os.environ.get("DSD_REQUIRE_READER") == "1":
        pytest.fail(reason)
    pytest.skip(reason)


def source(page: str) -> str:
    """The page as it was written: markdown, or the markdown cells of a notebook."""
    path = ROOT / f"{page}.md"
    if path.is_file():
        return path.read_text(encoding="utf-8")
    notebook = json.loads((ROOT / f"{page}.ipynb").read_text(encoding="utf-8"))
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "markdown"]
    return "\n\n".join("".join(cell["source"]) for cell in cells)


def stored_sliders(page: str) -> int:
    """How many sliders over images the outputs of a chapter hold."""
    path = ROOT / f"{page}.ipynb"
    return (
        path.read_text(encoding="utf-8").count('class=\\"dsd dsd-frames') if path.is_file() else 0
    )


def test_chapters_have_sliders() -> None:
    assert sum(stored_sliders(page) > 0 for page in CHAPTERS) >= 5


# The files, without a browser.


class Html(HTMLParser):
    """The ids, the links and the loaded files of a page."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = dict(attrs)
        self.ids.update(v for k in ("id", "name") if (v := attributes.get(k)))
        if tag == "a" and (href := attributes.get("href")):
            self.links.append(href)
        if tag == "link" and attributes.get("rel") not in ("canonical", "license"):
            self.loaded.append(attributes["href"])
        if tag in ("script", "img", "iframe", "audio", "video", "source", "embed") and (
            src := attributes.get("src")
        ):
            self.loaded.append(src)


@pytest.fixture(scope="module")
def files() -> dict[Path, Html]:
    if not (BOOK / "index.html").is_file():
        cannot(f"no built book at {BOOK}; run: make book")
    paths = [p for p in BOOK.rglob("*.html") if "_static" not in p.parts]
    return {path.resolve(): Html(path) for path in paths}


@pytest.mark.parametrize("page", PAGES)
def test_every_page_of_the_contents_is_built(files: dict[Path, Html], page: str) -> None:
    assert (BOOK / f"{page}.html").resolve() in files


def test_every_internal_link_leads_somewhere(files: dict[Path, Html]) -> None:
    broken, seen = [], 0
    for path, html in files.items():
        for link in html.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            seen += 1
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            anchor = unquote(parts.fragment)
            if target in files:
                if anchor and anchor not in files[target].ids:
                    broken.append(f"{path.name}: no anchor {link}")
            elif not target.is_file():
                broken.append(f"{path.name}: no file {link}")
    assert seen > 100
    assert broken == []


def test_no_file_is_loaded_from_elsewhere(files: dict[Path, Html]) -> None:
    elsewhere = [
        f"{path.name}: {src}"
        for path, html in files.items()
        for src in html.loaded
        if urlsplit(src).netloc
    ]
    for style in BOOK.rglob("*.css"):
        text = style.read_text(encoding="utf-8")
        elsewhere += [
            f"{style.name}: {u}"
            for u in re.findall(r"(?:url\(|@import)[\"' ]*(?:https?:)?//", text)
        ]
    assert elsewhere == []


@pytest.mark.parametrize("page", [page for page in PAGES if "{cite" in source(page)])
def test_every_citation_is_a_link_to_the_bibliography(files: dict[Path, Html], page: str) -> None:
    known = re.findall(r"@\w+\{(\w+),", (ROOT / "book" / "references.bib").read_text("utf-8"))
    roles = re.findall(r"\{cite(?::\w+)?\}`([^`]+)`", source(page))
    cited = [key.strip() for role in roles for key in role.split(",")]
    assert cited
    assert set(cited) <= set(known)
    path = (BOOK / f"{page}.html").resolve()
    here = "#" if page == "book/bibliography" else "bibliography.html#"
    links = [link for link in files[path].links if link.startswith(here)]
    assert len(links) >= len(cited)
    assert "{cite" not in path.read_text(encoding="utf-8")


# The pages in a browser. Each is opened once and looked at by all tests that follow.


class Silent(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def site(files: dict[Path, Html]) -> Iterator[str]:
    handler = functools.partial(Silent, directory=str(BOOK))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


@pytest.fixture(scope="module")
def browser(files: dict[Path, Html]) -> Iterator:
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        cannot("playwright is not installed; run: pip install -r requirements.txt")
    names = ("chromium", "chromium-browser", "google-chrome")
    executable = next((path for name in names if (path := shutil.which(name))), None)
    if executable is None:
        cannot(f"no browser: none of {', '.join(names)} is installed")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=executable,
            args=[
                "--no-sandbox",
                "--disable-gpu",
                "--disable-dev-shm-usage",
                "--disable-background-networking",
                "--disable-component-update",
            ],
        )
        yield browser
        browser.close()


class Opened:
    """A page in the browser, with what it asked for and complained of."""

    def __init__(self, browser: object, name: str, address: str) -> None:
        self.name = name
        self.requests: list[str] = []
        self.complaints: list[str] = []
        self.tab = browser.new_page(viewport=DESKTOP, color_scheme="light")
        self.tab.on("request", lambda r: self.requests.append(r.url))
        self.tab.on("requestfailed", lambda r: self.complaints.append(f"failed: {r.url[:200]}"))
        self.tab.on("pageerror", lambda error: self.complaints.append(f"error: {error}"))
        self.tab.on("console", self._note)
        self.tab.on("response", self._check)
        self.tab.goto(address, wait_until="load")
        self.tab.evaluate("window.MathJax?.startup?.promise")
        self.tab.wait_for_load_state("networkidle")

    def prose(self) -> str:
        """What the page says, without code and formulas."""
        return self.tab.evaluate(
            """() => {
                const copy = document.querySelector("article").cloneNode(true);
                const code = "pre, code, script, mjx-container, .sig";
                copy.querySelectorAll(code).forEach(e => e.remove());
                return copy.textContent;
            }"""
        )

    def _note(self, message: object) -> None:
        if message.type in ("error", "warning"):
            self.complaints.append(f"console: {message.text}")

    def _check(self, response: object) -> None:
        if response.status >= 400:
            self.complaints.append(f"status {response.status}: {response.url}")


@pytest.fixture(scope="module", params=PAGES)
def opened(request: pytest.FixtureRequest, browser: object, site: str) -> Iterator[Opened]:
    opened = Opened(browser, request.param, f"{site}{request.param}.html")
    opened.site = site
    yield opened
    opened.tab.close()


def test_it_loads_without_complaint_and_without_a_network(opened: Opened) -> None:
    assert opened.complaints == []
    away = [u for u in opened.requests if not u.startswith((opened.site, "data:", "blob:"))]
    assert away == []
    assert opened.requests[0] == f"{opened.site}{opened.name}.html"


def test_its_maths_is_typeset(opened: Opened) -> None:
    text = re.sub(r"```.*?```|`[^`]*`", "", source(opened.name), flags=re.DOTALL)
    formulas = len(re.findall(r"\$\$.+?\$\$", text, re.DOTALL))
    inline = len(re.findall(r"(?<!\$)\$[^$\n]+\$(?!\$)", text))
    assert opened.tab.locator("mjx-container").count() >= formulas + inline
    assert opened.tab.locator("mjx-container[display=true]").count() >= formulas
    wrong = "mjx-merror, [data-mjx-error], mjx-container [style*='color: red']"  # unknown commands
    assert opened.tab.locator(wrong).count() == 0
    assert not re.search(r"\$\$|\\\(|\\\[|\\(frac|downarrow|phi|mathrm)\b", opened.prose())


def test_no_markdown_is_left_raw(opened: Opened) -> None:
    assert not re.search(r"\*\*|^#+ |\|[-—–:| ]{3,}\||\]\(|\{\w+\}`", opened.prose(), re.MULTILINE)


def test_every_picture_has_alt_text_and_loads(opened: Opened) -> None:
    pictures = opened.tab.evaluate(
        """() => Promise.all([...document.images].map(async i => {
            await i.decode().catch(() => {});
            return [i.alt, i.naturalWidth, i.src.slice(0, 120)];
        }))"""
    )
    assert pictures  # the logo at least
    assert [p for p in pictures if not p[0].strip() or p[1] == 0] == []
    if opened.name in CHAPTERS:
        figures = opened.tab.locator(".cell_output img")
        alts = [figures.nth(i).get_attribute("alt") for i in range(figures.count())]
        assert alts
        assert [alt for alt in alts if len(alt) < 20] == []


def test_every_slider_moves_its_picture(opened: Opened) -> None:
    boxes = opened.tab.locator(".dsd-frames")
    assert boxes.count() == stored_sliders(opened.name)
    for index in range(boxes.count()):
        box = boxes.nth(index)
        picture, caption, slider = (box.locator(s) for s in ("img", "figcaption", "input"))
        last = int(slider.get_attribute("max"))
        assert last >= 1

        def seen(
            picture: object = picture, caption: object = caption, slider: object = slider
        ) -> tuple[int, str, str]:
            """The slider's value, the picture and the words under it, which agree."""
            width = picture.evaluate("i => i.decode().then(() => i.naturalWidth)")
            words = caption.inner_text().strip()
            assert width > 0
            assert words == slider.get_attribute("aria-valuetext").strip()
            assert picture.get_attribute("alt").endswith(words)
            return int(slider.input_value()), picture.get_attribute("src"), words

        slider.focus()
        opened.tab.keyboard.press("Home")
        shown = [seen()]
        for _ in range(last):
            opened.tab.keyboard.press("ArrowRight")
            shown.append(seen())
        assert [value for value, _, _ in shown] == list(range(last + 1))
        assert all(a[1] != b[1] for a, b in pairwise(shown))
        opened.tab.keyboard.press("Home")
        assert seen() == shown[0]
        opened.tab.keyboard.press("End")
        assert seen() == shown[-1]

        slider.scroll_into_view_if_needed()
        place = slider.bounding_box()
        middle = place["y"] + place["height"] / 2
        opened.tab.mouse.click(place["x"] + 2, middle)
        assert seen() == shown[0]
        opened.tab.mouse.move(place["x"] + 4, middle)
        opened.tab.mouse.down()
        opened.tab.mouse.move(place["x"] + place["width"] / 2, middle, steps=4)
        halfway = seen()
        assert halfway in shown
        assert abs(halfway[0] - last / 2) <= 1
        opened.tab.mouse.move(place["x"] + place["width"] - 2, middle, steps=4)
        opened.tab.mouse.up()
        assert seen() == shown[-1]


def test_every_plane_shows_the_picture_of_each_point(opened: Opened) -> None:
    boxes = opened.tab.locator(".dsd-plane")
    if opened.name in ("book/08_super_resolution", "book/09_deblurring"):
        assert boxes.count() >= 1
    for index in range(boxes.count()):
        box = boxes.nth(index)
        picture, caption, points = (box.locator(s) for s in ("img", "figcaption", "[role=radio]"))
        count = points.count()
        assert count >= 2
        box.locator("[role=radio][aria-checked=true]").focus()
        opened.tab.keyboard.press("Home")
        words = []
        for number in range(count):
            assert points.nth(number).get_attribute("aria-checked") == "true"
            assert picture.evaluate("i => i.decode().then(() => i.naturalWidth)") > 0
            words.append(caption.inner_text())
            opened.tab.keyboard.press("ArrowRight")
        assert len(set(words)) == count
        assert caption.inner_text() == words[0]  # around to the first
        ring = points.nth(count - 1).locator(".ring").bounding_box()
        opened.tab.mouse.move(ring["x"] + ring["width"] / 2, ring["y"] + ring["height"] / 2)
        assert caption.inner_text() == words[-1]


def test_hints_and_solutions_open(opened: Opened) -> None:
    if opened.name in CHAPTERS:
        assert opened.tab.locator(".cell.tag_solution details.hide").count() >= 3
        assert opened.tab.locator("details:not(.hide)", has_text="Hint").count() >= 3
    details = opened.tab.locator("article details")
    for index in range(details.count()):
        one = details.nth(index)
        assert one.get_attribute("open") is None  # hidden until asked for
        one.locator("> summary").click()
        assert one.get_attribute("open") is not None
        inside = one.locator("> :not(summary)").first
        assert inside.is_visible()
        assert inside.inner_text().strip()


def test_a_phone_can_show_it(opened: Opened) -> None:
    opened.tab.set_viewport_size(PHONE)  # with hints and solutions open, from the test above
    try:
        page, article = opened.tab.evaluate(
            """() => [document.documentElement.scrollWidth,
                      document.querySelector("article").getBoundingClientRect().width]"""
        )
        assert page <= PHONE["width"]
        assert article >= 320
        # What is wider than the page has to scroll by itself.
        cut = opened.tab.evaluate(
            """width => [...document.querySelectorAll("article *")].filter(e => {
                const box = e.getBoundingClientRect();
                if (box.width === 0 || box.right <= width + 1) return false;
                if (e.closest("mjx-container, .headerlink")) return false;
                for (let up = e.parentElement; up; up = up.parentElement)
                    if (["auto", "scroll"].includes(getComputedStyle(up).overflowX)
                        && up.getBoundingClientRect().right <= width + 1) return false;
                return true;
            }).map(e => e.outerHTML.slice(0, 150))""",
            PHONE["width"],
        )
        assert cut == []
        small = opened.tab.evaluate(
            """() => [...document.querySelectorAll("article p, article li, article td")]
                .filter(e => e.offsetParent && parseFloat(getComputedStyle(e).fontSize) < 14)
                .map(e => e.textContent.slice(0, 80))"""
        )
        assert small == []
    finally:
        opened.tab.set_viewport_size(DESKTOP)


# What the tools below us write and no setting or style of ours can change: (rule, selector).
TOLERATED = {
    # Sphinx wraps a bibliography into a list whose entries are doc-biblioentry, the role that ARIA
    # has for them but that axe does not count as an item of a list.
    ("aria-required-children", ".citation-list"),
}


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_it_has_no_serious_accessibility_violation(opened: Opened, theme: str) -> None:
    from axe_playwright_python.sync_playwright import Axe

    opened.tab.emulate_media(color_scheme=theme, reduced_motion="reduce")
    opened.tab.evaluate("theme => document.documentElement.dataset.theme = theme", theme)
    opened.tab.add_style_tag(content="* { transition: none !important; }")
    options = {"resultTypes": ["violations"]}
    if theme == "dark":
        options["runOnly"] = ["color-contrast"]  # the theme changes nothing else
    violations = Axe().run(opened.tab, options=options).response["violations"]
    found = [
        f"{v['id']} at {node['target']}: {node['html'][:160]} {node['any'][:1]}"
        for v in violations
        if v["impact"] in ("serious", "critical")
        for node in v["nodes"]
        if (v["id"], node["target"][0]) not in TOLERATED
    ]
    assert found == []


def test_the_home_page_has_a_live_panel_that_loads_when_asked(browser: object, site: str) -> None:
    opened = Opened(browser, "book/index", f"{site}book/index.html")
    tab = opened.tab
    tab.set_default_timeout(120_000)  # a shared core takes its time
    loaded = [urlsplit(u).path for u in opened.requests if "/try/" in u]
    assert [path.rsplit("/", 1)[1] for path in loaded] == ["try.js"]
    assert tab.locator("[data-dsd-try] img.dsd-cover, [data-dsd-try] .dsd-cover img").is_visible()
    tab.locator(".dsd-try-open").click()
    tab.locator(".dsd-try-norms tbody tr").first.wait_for()
    tab.get_by_text("More self-dissimilar at relu3_1").wait_for()
    assert not tab.locator(".dsd-cover").first.is_visible()
    assert opened.complaints == []
    assert [u for u in opened.requests if not u.startswith((site, "data:", "blob:"))] == []
    tab.close()


def test_its_contents_open_on_a_phone(browser: object, site: str) -> None:
    tab = browser.new_page(viewport=PHONE)
    tab.goto(f"{site}{PAGES[0]}.html")
    link = tab.locator(".bd-sidebar-primary a", has_text="Notation").first
    assert not link.is_visible()
    tab.locator("button.primary-toggle:visible").first.click()
    link.wait_for(state="visible")
    link.click()
    tab.wait_for_url(urljoin(site, "book/notation.html"))
    tab.close()


@pytest.mark.parametrize("page", CHAPTERS)
def test_without_javascript_the_pictures_stay(browser: object, site: str, page: str) -> None:
    tab = browser.new_page(viewport=DESKTOP, java_script_enabled=False)
    tab.goto(f"{site}{page}.html")
    boxes = tab.locator(".dsd-frames")
    assert boxes.count() == stored_sliders(page)
    for index in range(boxes.count()):
        picture = boxes.nth(index).locator("img")
        assert picture.is_visible()
        assert picture.bounding_box()["width"] > 50
        assert not boxes.nth(index).locator("input").is_visible()
    tab.close()


@pytest.mark.parametrize("page", ["book/index", "book/notation"])
def test_it_works_from_a_folder(browser: object, files: dict[Path, Html], page: str) -> None:
    opened = Opened(browser, page, (BOOK / f"{page}.html").resolve().as_uri())
    assert opened.complaints == []
    assert all(u.startswith(("file:", "data:", "blob:")) for u in opened.requests)
    assert opened.tab.locator("mjx-container").count() >= 1
    fonts = opened.tab.evaluate(
        """() => [...document.fonts]
            .filter(f => f.family.startsWith("MJX") && f.status === "loaded").length"""
    )
    assert fonts >= 1
    opened.tab.close()


def test_the_search_finds_a_page(browser: object, site: str) -> None:
    tab = browser.new_page(viewport=DESKTOP)
    tab.goto(f"{site}search.html?q=downscaling")
    results = tab.locator("#search-results li a")
    results.first.wait_for(timeout=10_000)
    assert results.count() >= 1
    tab.close()
