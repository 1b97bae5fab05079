"""A browser for the pieces of a page, and what they need to be opened in it."""

import base64
import io
import json
import re
import shutil
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from PIL import Image

PHONE, DESKTOP = 390, 1000


@pytest.fixture(scope="session")
def chromium() -> Iterator:
    """A headless browser; tests that need it are skipped where there is none."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    names = ("chromium", "chromium-browser", "google-chrome")
    executable = next((path for name in names if (path := shutil.which(name))), None)
    if executable is None:
        pytest.skip(f"no browser: none of {', '.join(names)} is installed")
    with playwright.sync_playwright() as tools:
        browser = tools.chromium.launch(
            executable_path=executable, args=["--no-sandbox", "--disable-gpu"]
        )
        yield browser
        browser.close()


@pytest.fixture
def opened(chromium) -> Iterator[Callable]:
    """Opens pieces of a page in a tab; the test fails if a script complains or asks for a file."""
    contexts, complaints = [], []

    def open_tab(*pieces, width: int = DESKTOP, scripts: bool = True, height: int = 800, **options):
        context = chromium.new_context(
            viewport={"width": width, "height": height}, java_script_enabled=scripts, **options
        )
        contexts.append(context)
        tab = context.new_page()
        tab.on("pageerror", lambda error: complaints.append(str(error)))
        tab.on("request", lambda r: r.url.startswith("data:") or complaints.append(r.url))
        body = "".join(piece._repr_html_() for piece in pieces)
        # What the book's theme has for all figures must not change ours.
        style = (
            "<style>body { margin: 0 15px } figure { margin: 1em; padding: 8px } "
            "figure figcaption { font-weight: 300; color: #ccc; text-align: center }</style>"
        )
        tab.set_content(f"<!doctype html><html lang=en><title>t</title>{style}<body>{body}")
        if scripts:
            tab.evaluate("new Promise(done => requestAnimationFrame(() => setTimeout(done, 50)))")
        return tab

    yield open_tab
    for context in contexts:
        context.close()
    assert complaints == []


@pytest.fixture
def decode() -> Callable[[str], np.ndarray]:
    """The pixels behind an embedded image's address."""

    def pixels(source: str) -> np.ndarray:
        return np.asarray(Image.open(io.BytesIO(base64.b64decode(source.partition(",")[2]))))

    return pixels


@pytest.fixture
def stored_data() -> Callable[[str], dict]:
    """The data a piece carries for its script."""

    def read(body: str) -> dict:
        return json.loads(re.search(r'<script type="application/json">(.*?)</script>', body)[1])

    return read
