"""The live page in a browser: what it computes is the library's, whatever it is given.

The panel is opened alone, from ``book/_static/try``; no built book is needed. One page serves most
tests, since starting WebAssembly takes seconds.
"""

import functools
import http.server
import io
import json
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

import dsd_lib as dsd
from data_scripts.shared.assets import TRY
from dsd_lib.book.damage import gaussian_blur
from dsd_lib.restoration.restore import restore

pytestmark = pytest.mark.reader

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "official.json").read_text("utf-8"))
LAYERS = ("relu1_2", "relu2_1", "relu2_2", "relu3_1")
PHONE, DESKTOP = {"width": 390, "height": 844}, {"width": 1280, "height": 900}
PAGE = """<!doctype html>
<html lang="en" data-theme="light"><head><meta charset="utf-8"><title>Try it</title>
<meta name="viewport" content="width=device-width">
<link rel="icon" href="data:,"><link rel="stylesheet" href="_static/book.css">
<link rel="stylesheet" href="page.css">
<script src="_static/try/try.js" defer></script>{script}</head>
<body class="bd-content"><main class="bd-article"><h1>Try it</h1>
<div data-dsd-try='{options}'><p class="fallback">A figure.</p></div></main></body></html>"""
STYLE = """
body { font: 16px sans-serif; margin: 8px }
html[data-theme="dark"] { --pst-color-text-base: #ced6dd; --pst-color-background: #121416 }
html[data-theme="dark"] body { background: #121416; color: #ced6dd }
"""
# In a browser that no tool drives: open, measure, and say what was found.
AUTOMATIC = """
document.addEventListener("dsd-try-measured", (event) => fetch("/found", {
    method: "POST", body: JSON.stringify(event.detail.measured) }), true);
addEventListener("load", () => document.querySelector(".dsd-try-open").click());
"""
POLICY = (  # the README of the live page, without what Sphinx needs
    "default-src 'none'; script-src 'self' 'wasm-unsafe-eval' blob:; worker-src blob:; "
    "style-src 'self'; img-src 'self' data: blob:; connect-src 'none'"
)
SLOW = 120_000  # milliseconds; a shared core takes its time


class Handler(http.server.BaseHTTPRequestHandler):
    """The page at ``/plain/``, under a strict policy, and at ``/isolated/``, where threads may."""

    found: dict | None = None

    def do_GET(self) -> None:
        kind, _, name = self.path.split("?")[0][1:].partition("/")
        options = unquote(urlsplit(self.path).query) or '{"image": "astronaut"}'
        made = {
            "page.html": PAGE.format(options=options, script=""),
            "automatic.html": PAGE.format(
                options=options, script='<script src="automatic.js" defer></script>'
            ),
            "automatic.js": AUTOMATIC,
            "page.css": STYLE,
        }
        path = TRY.parent / name.removeprefix("_static/")
        if name not in made and not path.is_file():
            self.send_error(404)
            return
        content = made[name].encode() if name in made else path.read_bytes()
        kinds = {".html": "text/html", ".js": "text/javascript", ".css": "text/css"}
        self.send_response(200)
        self.send_header("Content-Type", kinds.get(Path(name).suffix, "image/webp"))
        self.send_header("Content-Length", str(len(content)))
        if kind == "plain":
            self.send_header("Content-Security-Policy", POLICY)
        if kind == "isolated":
            self.send_header("Cross-Origin-Opener-Policy", "same-origin")
            self.send_header("Cross-Origin-Embedder-Policy", "require-corp")
        self.end_headers()
        self.wfile.write(content)

    def do_POST(self) -> None:
        type(self).found = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def site() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


class Panel:
    """The panel in a tab, with what it asked for and complained of."""

    def __init__(self, chromium, address: str, **options) -> None:
        self.requests: list[str] = []
        self.complaints: list[str] = []
        self.context = chromium.new_context(viewport=DESKTOP, **options)
        self.tab = self.context.new_page()
        self.tab.set_default_timeout(SLOW)
        self.tab.on("request", lambda r: self.requests.append(r.url))
        self.tab.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.tab.on("requestfailed", lambda r: self.complaints.append(f"failed: {r.url[:200]}"))
        self.tab.on("console", self._note)
        self.tab.add_init_script(
            """document.addEventListener("dsd-try-measured", (event) => {
                const { measured, expected, grams, state } = event.detail;
                const distance = (alpha) =>
                    DSDTry.use("descriptor").distance(state.before.grams, grams, alpha);
                window.found = { measured, expected, distance: { 2: distance(2), 4: distance(4) } };
            }, true);"""
        )
        self.tab.goto(address)

    def start(self) -> None:
        self.tab.locator(".dsd-try-open").click()

    def finished(self) -> dict:
        """What the panel found, once it has."""
        self.until("window.found && !document.querySelector('[aria-busy=true]')")
        found = self.tab.evaluate("window.found")
        self.tab.evaluate("window.found = null")
        return found

    def until(self, condition: str) -> None:
        """Wait; Playwright's own wait_for_function is stopped by the page's policy."""
        deadline = time.monotonic() + SLOW / 1000
        while not self.tab.evaluate(f"Boolean({condition})"):
            assert time.monotonic() < deadline, f"never came true: {condition}; {self.say()}"
            self.tab.wait_for_timeout(50)

    def say(self) -> str:
        return self.tab.locator(".dsd-try-status [role=status]").inner_text()

    def shown(self) -> list[int]:
        """Width and height of the image on show."""
        canvas = self.tab.locator(".dsd-try-bench canvas:visible").first
        return canvas.evaluate("c => [c.width, c.height]")

    def slide(self, name: str, value: float) -> None:
        """Move a slider and let it be known, as a pointer does."""
        self.tab.locator(f"[data-slider={name}]").evaluate(
            "(e, v) => { e.value = v; e.dispatchEvent(new Event('input', { bubbles: true })) }",
            value,
        )

    def part(self, code: str, **values: object) -> object:
        """Evaluate JavaScript with parts of the page by name: ``resize.imresize(…)``."""
        return self.tab.evaluate(
            f"""async (values) => {{
                const use = DSDTry.use;
                const image = (v) => ({{ ...v, data: Float32Array.from(v.data) }});
                const plain = (v) => ({{ ...v, data: [...v.data] }});
                return ({code});
            }}""",
            values,
        )

    def _note(self, message) -> None:
        if message.type in ("error", "warning"):
            self.complaints.append(message.text)


@pytest.fixture(scope="module")
def panel(chromium, site: str) -> Iterator[Panel]:
    """One started panel for all tests, under the strict policy."""
    panel = Panel(chromium, f"{site}/plain/page.html")
    panel.start()
    panel.first = panel.finished()
    yield panel
    panel.context.close()


@pytest.fixture(scope="module")
def net() -> dsd.Backbone:
    return dsd.load_backbone("vgg16")


@pytest.fixture(autouse=True)
def quiet(request: pytest.FixtureRequest) -> Iterator[None]:
    """After each test: nothing was complained of, and nothing was asked of another machine."""
    yield
    if "panel" in request.fixturenames:
        panel = request.getfixturevalue("panel")
        away = [u for u in panel.requests if not u.startswith(("http://127.0.0.1", "blob:"))]
        assert panel.complaints == []
        assert away == []


def plain(x: Tensor) -> dict:
    """An image as JavaScript takes it."""
    return {"height": x.shape[2], "width": x.shape[3], "data": x.flatten().tolist()}


def tensor(image: dict) -> Tensor:
    return torch.tensor(image["data"]).view(1, 3, image["height"], image["width"])


def png(array: np.ndarray, **options) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, "png", **options)
    return buffer.getvalue()


def file(name: str, content: bytes) -> dict:
    return {"name": name, "mimeType": "image/png", "buffer": content}


# What it computes


def official(name: str) -> np.ndarray:
    return np.array([[GOLDEN[name][f"dsd{a}_norm/{k}"] for k in LAYERS] for a in (2, 4)])


def norms(found: dict) -> np.ndarray:
    return np.array([[found["measured"][a][k] for k in LAYERS] for a in ("2", "4")])


def test_the_first_image_has_the_official_values(panel: Panel) -> None:
    np.testing.assert_allclose(norms(panel.first), official("astronaut"), rtol=1e-4)
    assert panel.first["distance"] == {"2": 0, "4": 0}
    cells = panel.tab.locator(".dsd-try-norms tbody td:nth-child(3)").all_inner_texts()
    assert [float(c) for c in cells] == pytest.approx(official("astronaut").ravel(), rel=0.01)
    percentiles = panel.tab.locator(".dsd-try-norms tbody td:nth-child(4)").all_inner_texts()
    assert all(0 <= int(p) <= 100 for p in percentiles)


@pytest.mark.parametrize(
    ("distortion", "slider", "value"), [("dark", "brightness", 0.7), ("blur", "scale", 2)]
)
def test_a_slider_gives_the_official_distance(
    panel: Panel, distortion: str, slider: str, value: float
) -> None:
    panel.slide(slider, value)
    found = panel.finished()
    expected = GOLDEN["astronaut"][distortion]["dsd2/relu2_1+relu2_2+relu3_1"]
    assert found["distance"]["2"] == pytest.approx(expected, rel=1e-4)
    panel.tab.get_by_role("button", name="Undo all").click()
    np.testing.assert_allclose(norms(panel.finished()), official("astronaut"), rtol=1e-4)


@pytest.mark.parametrize("size", [(37, 51), (338, 45), (13, 13)])
def test_odd_sizes_and_several_pieces_agree_with_the_library(
    panel: Panel, net: dsd.Backbone, size: tuple[int, int]
) -> None:
    x = torch.rand(1, 3, *size, generator=torch.Generator().manual_seed(1))
    got = panel.part(
        """await use("engine").measure(image(values.x)).then(({ grams }) =>
            [2, 4].map((alpha) => use("descriptor").norms(grams, alpha)))""",
        x=plain(x),
    )
    for alpha, values in zip((2, 4), got, strict=True):
        expected = dsd.dsd_norm(x, net, LAYERS, alpha)[0].numpy()
        np.testing.assert_allclose([values[k] for k in LAYERS], expected, rtol=1e-4)


@pytest.mark.parametrize("alpha", [2, 4])
def test_naturalness_is_that_of_the_library(panel: Panel, alpha: int) -> None:
    x = dsd.sample_images()["cat"][:, :, 40:121, 100:173].contiguous()
    got = panel.part(
        """await use("engine").measure(image(values.x), { psi: [values.alpha] }).then((found) => {
            const { naturalness, norms } = use("descriptor");
            return naturalness(norms(found.grams, values.alpha), found.expected[values.alpha]);
        })""",
        x=plain(x),
        alpha=alpha,
    )
    assert got == pytest.approx(dsd.naturalness(x, alpha).item(), rel=1e-3)


@pytest.mark.parametrize("dial", [0, 0.5, 1])
def test_super_resolution_is_that_of_the_library(panel: Panel, dial: float) -> None:
    x = dsd.sample_images()["coffee"][:, :, 60:91, 100:127].contiguous()
    got = panel.part(
        """await use("engine").enlarge(image(values.x), values.dial).then(({ enlarged, bicubic }) =>
            [plain(enlarged), plain(bicubic)])""",
        x=plain(x),
        dial=dial,
    )
    torch.testing.assert_close(
        tensor(got[0]), restore(x, "sr", naturalness=dial), rtol=0, atol=1e-4
    )
    bicubic = dsd.imresize(x, scale=4).clamp(0, 1)
    torch.testing.assert_close(tensor(got[1]), bicubic, rtol=0, atol=1e-5)


@pytest.mark.parametrize("how", [{"scale": 0.5}, {"scale": 0.3}, {"size": (11, 30)}, {"scale": 4}])
def test_the_resize_is_that_of_the_library(panel: Panel, how: dict) -> None:
    x = torch.rand(1, 3, 23, 17, generator=torch.Generator().manual_seed(0))
    wanted = {"height": how["size"][0], "width": how["size"][1]} if "size" in how else how
    got = panel.part(
        "plain(use('resize').imresize(image(values.x), values.how))", x=plain(x), how=wanted
    )
    torch.testing.assert_close(tensor(got), dsd.imresize(x, **how), rtol=0, atol=1e-6)


def test_the_sliders_do_what_they_say(panel: Panel) -> None:
    x = torch.rand(1, 3, 41, 33, generator=torch.Generator().manual_seed(0)) * 0.5 + 0.25

    def spoil(**settings: float) -> Tensor:
        code = "plain(await use('engine').distort(image(values.x), values.settings))"
        return tensor(panel.part(code, x=plain(x), settings=settings))

    torch.testing.assert_close(spoil(blur=2), gaussian_blur(x, 2.0), rtol=0, atol=1e-5)
    down = dsd.imresize(dsd.imresize(x, scale=1 / 3), size=(41, 33)).clamp(0, 1)
    torch.testing.assert_close(spoil(scale=3), down, rtol=0, atol=1e-5)
    torch.testing.assert_close(spoil(contrast=0.5).std(), x.std() / 2)
    assert float((spoil(noise=20) - x).std() * 255) == pytest.approx(20, rel=0.05)
    coarse, fine = ((spoil(jpeg=quality) - x).abs().mean() for quality in (5, 95))
    assert 0 < fine < coarse


# What it is given


def opened(panel: Panel, content: bytes, name: str) -> dict:
    """What the page makes of a file: image and notes, or the message of its error."""
    return panel.part(
        """await use("open")
            .openFile(new File([Uint8Array.from(values.content)], values.name))
            .then(({ image, notes }) => ({ image: plain(image), notes: notes.join() }),
                  (error) => ({ error: error.message }))""",
        content=list(content),
        name=name,
    )


def test_a_turned_photo_is_turned_upright(panel: Panel) -> None:
    array = np.zeros((20, 30, 3), np.uint8)
    array[:, :10] = 255
    buffer, exif = io.BytesIO(), Image.Exif()
    exif[0x0112] = 6  # the camera was held upright
    Image.fromarray(array).save(buffer, "jpeg", exif=exif, quality=95)
    x = tensor(opened(panel, buffer.getvalue(), "turned.jpg")["image"])
    assert x.shape == (1, 3, 30, 20)
    assert x[0, :, 0].min() > 0.9 and x[0, :, -1].max() < 0.1


def test_transparency_is_laid_on_white(panel: Panel) -> None:
    array = np.full((16, 16, 4), (200, 0, 0, 128), np.uint8)
    array[:8, :, 3] = 0
    x = tensor(opened(panel, png(array), "half.png")["image"])
    assert (x[:, :, :8] == 1).all()
    seen = x[0, :, 12, 3] * 255
    assert seen.tolist() == pytest.approx([227, 127, 127], abs=1.5)


def test_sixteen_bits_are_read_as_eight_and_said_so(panel: Panel) -> None:
    array = np.linspace(0, 65535, 400).reshape(20, 20).astype(np.uint16)
    found = opened(panel, png(array), "deep.png")
    assert "16 bits" in found["notes"]
    got = tensor(found["image"])[0, 0].numpy()
    np.testing.assert_allclose(got, array / 65535, atol=1 / 255)


def test_an_animation_is_its_first_frame_and_said_so(panel: Panel) -> None:
    frames = [Image.new("RGB", (16, 16), color) for color in ("red", "blue")]
    for kind in ("gif", "webp"):
        buffer, single = io.BytesIO(), io.BytesIO()
        options = {"lossless": True} if kind == "webp" else {}
        frames[0].save(buffer, kind, save_all=True, append_images=frames[1:], **options)
        frames[0].save(single, kind, **options)
        found = opened(panel, buffer.getvalue(), f"two.{kind}")
        assert "first frame" in found["notes"]
        assert tensor(found["image"])[0, :, 8, 8].tolist() == pytest.approx([1, 0, 0], abs=0.01)
        assert opened(panel, single.getvalue(), f"one.{kind}")["notes"] == ""


def test_a_large_photo_is_scaled_down_and_said_so(panel: Panel) -> None:
    rng = np.random.default_rng(0)
    coarse = Image.fromarray(rng.integers(0, 256, (15, 20, 3), np.uint8))
    jpeg = io.BytesIO()  # 12 megapixels
    coarse.resize((4000, 3000), Image.Resampling.BICUBIC).save(jpeg, "jpeg")
    panel.tab.locator("input[type=file]").set_input_files(file("large.jpg", jpeg.getvalue()))
    panel.tab.get_by_text("scaled from 4000×3000 to 481×361").wait_for()
    assert panel.shown() == [481, 361]
    panel.tab.get_by_role("button", name="Cancel").click()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("text.png", b"This is no image.", "text.png is not an image"),
        ("empty.png", b"", "empty file"),
        ("broken.png", png(np.zeros((30, 30, 3), np.uint8))[:60], "or the file is damaged"),
        ("dot.png", png(np.zeros((1, 1, 3), np.uint8)), "at least 13 pixels, got 1×1"),
        ("strip.png", png(np.zeros((20, 2000, 3), np.uint8)), "too narrow"),
    ],
)
def test_bad_files_are_refused_in_words(
    panel: Panel, name: str, content: bytes, message: str
) -> None:
    panel.tab.locator("input[type=file]").set_input_files(file(name, content))
    panel.tab.locator(".dsd-try-status .failed").wait_for()
    assert message in panel.say()


def test_an_image_can_be_dropped_and_pasted(panel: Panel) -> None:
    array = np.random.default_rng(0).integers(0, 256, (40, 50, 3), np.uint8)
    for kind, field in (("drop", "dataTransfer"), ("paste", "clipboardData")):
        panel.tab.locator("[value=coffee]").evaluate("e => e.checked = true")
        panel.tab.locator(".dsd-try").evaluate(
            """(element, [kind, field, bytes]) => {
                const data = new DataTransfer();
                data.items.add(new File([Uint8Array.from(bytes)], "a.png", { type: "image/png" }));
                const event = new Event(kind, { bubbles: true, cancelable: true });
                event[field] = data;
                element.dispatchEvent(event);
            }""",
            [kind, field, list(png(array))],
        )
        panel.finished()
        assert panel.shown() == [50, 40]


# How it behaves


def test_nothing_is_loaded_before_it_is_asked_for(chromium, site: str) -> None:
    closed = Panel(chromium, f"{site}/plain/page.html")
    closed.tab.locator(".dsd-try-open").wait_for()
    closed.tab.wait_for_load_state("networkidle")
    names = {u.rsplit("/", 1)[1] for u in closed.requests}
    assert names == {"page.html", "book.css", "page.css", "try.js"}
    assert (TRY / "try.js").stat().st_size < 6000
    assert closed.tab.locator(".fallback").is_visible()
    closed.context.close()


@pytest.mark.parametrize(
    ("options", "sections", "told"),
    [
        ('{"view": "gram", "layer": "relu3_1", "alpha": 4}', ["matrices"], {}),
        ('{"view": "dsd", "image": "gravel"}', ["results"], {}),
        ('{"view": "distance", "set": {"blur": 1.5}}', ["scores", "results"],
         {"blur": "σ = 1.5 px"}),
        ('{"view": "naturalness", "set": {"jpeg": 30}}', ["scores", "results"],
         {"jpeg": "quality 30"}),
        ('{"view": "enlarge", "dial": 0.5}', ["enlarger"], {}),
    ],
)  # fmt: skip
def test_a_chapter_shows_its_own_view(
    chromium, site: str, options: str, sections: list[str], told: dict[str, str]
) -> None:
    panel = Panel(chromium, f"{site}/plain/page.html?{quote(options)}")
    panel.start()
    panel.tab.locator(".dsd-try-status").wait_for()
    shown = panel.tab.locator(".dsd-try > section")
    classes = [
        c.removeprefix("dsd-try-") for c in shown.evaluate_all("s => s.map(e => e.className)")
    ]
    assert classes == sections
    assert not panel.tab.locator(".fallback").is_visible()
    for name, text in told.items():
        slider = panel.tab.locator(f"[data-slider={name}]")
        assert slider.get_attribute("aria-valuetext") == text
    assert panel.complaints == []
    panel.context.close()


def choose_small(panel: Panel) -> None:
    """A small image, which is measured quickly."""
    array = np.random.default_rng(1).integers(0, 256, (64, 80, 3), np.uint8)
    panel.tab.locator("input[type=file]").set_input_files(file("small.png", png(array)))
    panel.finished()


def test_sliders_by_keyboard_and_by_pointer(panel: Panel) -> None:
    choose_small(panel)
    slider = panel.tab.locator("[data-slider=blur]")
    slider.focus()
    panel.tab.keyboard.press("End")
    strong = panel.finished()
    assert slider.get_attribute("aria-valuetext") == "σ = 5 px"
    place = slider.bounding_box()
    panel.tab.mouse.click(place["x"] + place["width"] / 4, place["y"] + place["height"] / 2)
    weak = panel.finished()
    assert 0 < weak["distance"]["2"] < strong["distance"]["2"]
    assert panel.tab.locator(".dsd-try-norms .before").first.is_visible()
    panel.tab.get_by_role("button", name="Undo all").click()
    assert panel.finished()["distance"]["2"] == 0


def test_a_run_can_be_canceled_and_a_new_image_cancels_it(panel: Panel) -> None:
    panel.tab.locator("[value=temple]").check()
    panel.tab.get_by_role("button", name="Cancel").click()
    panel.until("document.querySelector('.dsd-try-status').innerText === 'Canceled.'")
    assert panel.tab.evaluate("window.found") is None
    panel.tab.locator("[value=temple]").evaluate("e => e.checked = false")
    panel.tab.locator("[value=temple]").check()
    panel.tab.locator("[value=coffee]").check()
    np.testing.assert_allclose(norms(panel.finished()), official("coffee"), rtol=1e-4)
    assert panel.say().startswith("Done")


def test_it_works_with_no_network_once_loaded(panel: Panel) -> None:
    panel.context.set_offline(True)
    choose_small(panel)
    panel.context.set_offline(False)


def test_the_matrices_are_read_by_arrow_keys_and_pointer(panel: Panel) -> None:
    canvas = panel.tab.locator(".dsd-try-maps canvas").nth(2)
    readout = panel.tab.locator(".dsd-try-matrices .dsd-try-readout")
    canvas.focus()
    seen = [readout.inner_text()]
    for key in ("ArrowRight", "ArrowDown"):
        panel.tab.keyboard.press(key)
        seen.append(readout.inner_text())
    canvas.hover()
    seen.append(readout.inner_text())
    assert len(set(seen)) == 4
    fine, coarse, difference = (
        float(part.split("= ")[1].replace("−", "-")) for part in seen[-1].split(": ")[1].split(", ")
    )
    assert difference == pytest.approx(fine - coarse, abs=0.02 * max(abs(fine), abs(coarse)))


def test_enlarging_says_how_far_it_is_and_can_be_canceled(panel: Panel) -> None:
    choose_small(panel)
    words = panel.tab.locator(".dsd-try-enlarger .dsd-try-readout")
    panel.tab.get_by_label("its central 128 pixels").check()
    panel.tab.get_by_role("button", name="Enlarge ×4").click()
    panel.until("document.querySelector('.dsd-try-status progress').value >= 1 / 3")
    panel.tab.get_by_role("button", name="Cancel").click()
    panel.until("document.querySelector('.dsd-try-status').innerText === 'Canceled.'")
    assert words.inner_text() == ""
    panel.tab.get_by_label("the image shrunk by 4").check()


def test_enlarging_shows_two_images_under_a_wiper(panel: Panel) -> None:
    choose_small(panel)
    words = panel.tab.locator(".dsd-try-enlarger .dsd-try-readout")
    panel.tab.get_by_role("button", name="Enlarge ×4").click()
    words.filter(has_text="PSNR").wait_for()
    assert "16" in words.inner_text() and "→ 80×64" in words.inner_text()
    figure = panel.tab.locator(".dsd-try-enlarger .dsd-try-wiper")
    figure.locator("input").focus()
    panel.tab.keyboard.press("Home")
    clip = figure.locator("canvas").nth(1).evaluate("c => c.style.clipPath")
    assert clip.startswith("inset(0px 100%")


def test_it_fits_a_phone(panel: Panel) -> None:
    panel.tab.set_viewport_size(PHONE)
    assert panel.tab.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    small = panel.tab.evaluate(
        """() => [...document.querySelectorAll(".dsd-try *")].filter(e => e.offsetParent &&
            e.innerText && parseFloat(getComputedStyle(e).fontSize) < 14).map(e => e.outerHTML)"""
    )
    assert small == []
    panel.tab.set_viewport_size(DESKTOP)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_it_has_no_accessibility_violation(panel: Panel, theme: str) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    panel.tab.emulate_media(reduced_motion="reduce")
    panel.tab.evaluate("theme => document.documentElement.dataset.theme = theme", theme)
    found = axe.Axe().run(panel.tab, options={"resultTypes": ["violations"]}).response
    panel.tab.evaluate("document.documentElement.dataset.theme = 'light'")
    assert [(v["id"], [n["html"][:150] for n in v["nodes"]]) for v in found["violations"]] == []


def test_it_works_from_a_folder(chromium, tmp_path: Path) -> None:
    (tmp_path / "page.html").write_text(
        PAGE.format(options='{"view": "dsd", "image": "astronaut"}', script=""), encoding="utf-8"
    )
    (tmp_path / "page.css").write_text(STYLE, encoding="utf-8")
    (tmp_path / "_static").symlink_to(TRY.parent)
    panel = Panel(chromium, (tmp_path / "page.html").as_uri())
    panel.start()
    np.testing.assert_allclose(norms(panel.finished()), official("astronaut"), rtol=1e-4)
    assert panel.complaints == []
    assert all(u.startswith(("file:", "blob:")) for u in panel.requests)
    panel.context.close()


def test_threads_give_the_same(chromium, site: str) -> None:
    panel = Panel(chromium, f"{site}/isolated/page.html")
    panel.start()
    np.testing.assert_allclose(norms(panel.finished()), official("astronaut"), rtol=1e-4)
    threads = panel.part("await use('engine').runtime()")
    assert threads == min(4, panel.tab.evaluate("navigator.hardwareConcurrency"))
    assert panel.complaints == []
    panel.context.close()


def test_without_webassembly_or_javascript_the_figure_stays(chromium, site: str) -> None:
    context = chromium.new_context()
    tab = context.new_page()
    tab.add_init_script("delete window.WebAssembly")
    tab.goto(f"{site}/plain/page.html")
    assert "needs a browser with WebAssembly" in tab.locator(".dsd-try-missing").inner_text()
    assert tab.locator(".fallback").is_visible()
    context.close()
    context = chromium.new_context(java_script_enabled=False)
    tab = context.new_page()
    tab.goto(f"{site}/plain/page.html")
    assert tab.locator(".fallback").is_visible()
    assert tab.locator("button").count() == 0
    context.close()


def test_firefox_gives_the_same(site: str, tmp_path: Path) -> None:
    executable = shutil.which("firefox-esr") or shutil.which("firefox")
    if executable is None:
        pytest.skip("no Firefox is installed")
    Handler.found = None
    command = [executable, "--headless", "--no-remote", "--profile", str(tmp_path)]
    firefox = subprocess.Popen(
        [*command, f"{site}/open/automatic.html"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=os.environ | {"HOME": str(tmp_path)},
    )
    try:
        wait = functools.partial(threading.Event().wait, 0.5)
        for _ in range(SLOW // 500):
            if Handler.found is not None or firefox.poll() is not None:
                break
            wait()
    finally:
        firefox.terminate()
        firefox.wait(30)
    assert Handler.found is not None, "Firefox measured nothing"
    got = np.array([[Handler.found[a][k] for k in LAYERS] for a in ("2", "4")])
    np.testing.assert_allclose(got, official("astronaut"), rtol=1e-4)
