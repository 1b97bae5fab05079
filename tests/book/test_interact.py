"""Sliders of precomputed frames, and the live explorer's callbacks."""

import base64
import io
import json
import re
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from dsd_lib import dsd_norm, sample_images, to_array
from dsd_lib.book import interact


def frames(count: int = 3) -> list[torch.Tensor]:
    return [torch.full((1, 3, 6, 8), i / count) for i in range(count)]


def slider(**options) -> str:
    defaults = {"title": "Brightness", "alt": "A plain square,"}
    labels = [f"step {i}" for i in range(3)]
    return interact.frame_slider(frames(), labels, **(defaults | options))._repr_html_()


def sources(body: str) -> list[str]:
    return json.loads(re.search(r"sources = (\[.*?\])", body)[1])


def test_the_frames_are_the_pictures():
    body = slider(zoom=2, start=1)
    for source, x in zip(sources(body), frames(), strict=True):
        picture = Image.open(io.BytesIO(base64.b64decode(source.partition(",")[2])))
        expected = np.repeat(np.repeat(to_array(x), 2, 0), 2, 1)
        assert (np.asarray(picture) == expected).all()
    assert f'src="{sources(body)[1]}"' in body  # without JavaScript the first one stays
    assert 'alt="A plain square, step 1"' in body


def test_it_needs_nothing_from_outside():
    assert not re.search(r"https?://|//cdn|<link|src=\"(?!data:)", slider())


def test_the_same_frames_give_the_same_html():
    assert slider() == slider()
    assert slider() != slider(title="Other")


def test_texts_cannot_break_out():
    body = interact.frame_slider(
        frames(1), ['</script><b>"'], title="<i>", alt='" onload="'
    )._repr_html_()
    assert body.count("</script>") == 1
    assert "<b>" not in body and "<i>" not in body and 'onload="' not in body


def test_matplotlib_figures_are_frames_too():
    import matplotlib.pyplot as plt

    figures = [plt.figure(figsize=(1, 1)) for _ in range(2)]
    body = interact.frame_slider(figures, ["a", "b"], title="t", alt="a")._repr_html_()
    assert len(sources(body)) == 2
    assert not any(plt.fignum_exists(figure.number) for figure in figures)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"title": ""}, "title and alt"),
        ({"alt": ""}, "title and alt"),
        ({"start": 3}, "start: expected 0 to 2, got 3"),
        ({"quality": 0}, "quality: expected 1 to 100, got 0"),
    ],
)
def test_bad_input(options, says):
    with pytest.raises(ValueError, match=says):
        slider(**options)


def test_a_lower_quality_gives_fewer_bytes(coffee):
    sizes = [
        len(
            interact.frame_slider([coffee], ["coffee"], title="t", alt="a", quality=q)._repr_html_()
        )
        for q in (60, 90)
    ]
    assert sizes[0] < 0.7 * sizes[1]


def test_labels_must_fit():
    with pytest.raises(ValueError, match="one label for each"):
        interact.frame_slider(frames(2), ["a"], title="t", alt="a")


def plane(*labels: str, picture: torch.Tensor | None = None, **options) -> str:
    """A plane of points on a falling line, from left to right, each with a gray of its own."""
    groups = ("published", "other", "dsd")
    points = [
        interact.PlanePoint(
            label,
            0.6 + 0.1 * i,
            7.0 - i,
            torch.full((1, 3, 6, 8), i / 4) if picture is None else picture,
            groups[i % 3],
        )
        for i, label in enumerate(labels or ("A", "B", "C"))
    ]
    defaults = {
        "x_name": "SSIM",
        "y_name": "NIQE",
        "title": "Three methods",
        "alt": "The three points fall.",
        "picture_alt": "A gray square by",
    }
    return interact.picture_plane(points, **(defaults | options))._repr_html_()


def test_a_plane_holds_the_points_their_pictures_and_numbers():
    body = plane(quality=100, start=1)
    for i, source in enumerate(sources(body)):
        found = np.asarray(Image.open(io.BytesIO(base64.b64decode(source.partition(",")[2]))))
        assert (found == to_array(torch.full((1, 3, 6, 8), i / 4))).all()
    captions = json.loads(re.search(r"captions = (\[.*?\])", body)[1])
    assert captions[1] == "B: SSIM 0.700, NIQE 6.00"
    assert f'src="{sources(body)[1]}" alt="A gray square by B"' in body
    assert "SSIM (higher is better)" in body and "NIQE (lower is better)" in body
    marks = re.findall(r'data-point="(\d)" transform="translate\(([\d.]+) ([\d.]+)\)', body)
    x, y = ([float(mark[k]) for mark in marks] for k in (1, 2))
    assert x == sorted(x) and y == sorted(y)  # down the screen, as NIQE falls
    assert x[1] - x[0] == pytest.approx(x[2] - x[1], abs=0.2)
    for group, name in (("dsd", "ours, DSD"), ("published", "others")):
        assert body.count(f'fill="{interact.COLORS[group]}"') == 2  # in the plot and the legend
        assert f">{name}<" in body


def test_a_plane_does_not_depend_on_the_order_of_its_points():
    gray = torch.full((1, 3, 6, 8), 0.5)
    points = [interact.PlanePoint(n, x, 1.0, gray) for n, x in (("A", 1.0), ("B", 2.0))]
    texts = dict.fromkeys(("x_name", "y_name", "title", "alt", "picture_alt"), "t")
    a = interact.picture_plane(points, **texts, start=0)
    b = interact.picture_plane(points[::-1], **texts, start=1)
    assert a._repr_html_() == b._repr_html_()


def test_a_plane_needs_nothing_from_outside_and_texts_cannot_break_out():
    assert not re.search(r"https?://|//cdn|<link|src=\"(?!data:)", plane())
    evil = '</script><b onload="">\''
    names = ("x_name", "y_name", "title", "alt", "picture_alt")
    body = plane(evil, "B", **dict.fromkeys(names, evil))
    assert body.count("</script>") == 1
    assert "<b" not in body and 'onload=""' not in body


def test_a_label_stands_nearest_to_its_own_point():
    """Two points side by side, and labels in the way to their left."""
    places = [(376, 138), (296, 178), (444, 166), (477, 152)]
    labels = ["L1", "L1 + perceptual", "SRResNet", "EDSR"]
    for (x, y), name, (dx, dy, anchor) in zip(
        places, labels, interact._place_labels(places, labels), strict=True
    ):
        width = 8 * len(name)
        start = x + dx - width * {"start": 0, "middle": 0.5, "end": 1}[anchor]

        def away(place, start=start, width=width, y=y + dy - 4):
            return abs(place[1] - y) + max(start - place[0], place[0] - start - width, 0)

        assert min(places, key=away) == (x, y)


def test_labels_of_a_plane_do_not_cover_one_another(browser):
    x, y = (0.60, 0.61, 0.605, 0.9), (5.0, 5.02, 5.1, 3.0)
    labels = ["FIRST ONE", "second one", "third one", "at the border"]
    gray = torch.full((1, 3, 6, 8), 0.5)
    points = [interact.PlanePoint(n, a, b, gray) for n, a, b in zip(labels, x, y, strict=True)]
    names = dict.fromkeys(("x_name", "y_name", "title", "alt", "picture_alt"), "t")
    tab = browser.new_page(viewport={"width": 1000, "height": 800})
    tab.set_content(interact.picture_plane(points, **names)._repr_html_())
    boxes = tab.evaluate(
        """() => [...document.querySelectorAll("[data-point] > text, [data-point] rect")].map(e => {
            const b = e.getBoundingClientRect(); return [b.left, b.top, b.right, b.bottom] })"""
    )
    assert len(boxes) == 8
    edge = tab.locator("svg").bounding_box()
    for i, box in enumerate(boxes):
        assert box[2] <= edge["x"] + edge["width"]
        texts = [other for other in boxes[:i] if box[2] - box[0] > 15 or other[2] - other[0] > 15]
        # A line of text is taller than its letters: what touches by a little covers nothing.
        assert all(interact._overlap(box, other) < 40 for other in texts)
    tab.close()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"title": ""}, "title: expected a text"),
        ({"picture_alt": ""}, "picture_alt: expected a text"),
        ({"y_better": "down"}, "expected 'higher' or 'lower'"),
        ({"start": 3}, "start: expected 0 to 2, got 3"),
        ({"zoom": 0}, "zoom: expected a positive whole number, got 0"),
        ({"quality": 101}, "quality: expected 1 to 100, got 101"),
    ],
)
def test_bad_planes(options, says):
    with pytest.raises(ValueError, match=says):
        plane(**options)


def test_bad_points():
    def show(*points):
        interact.picture_plane(
            points, x_name="x", y_name="y", title="t", alt="a", picture_alt="a picture by"
        )

    gray, good = torch.full((1, 3, 6, 8), 0.5), interact.PlanePoint
    with pytest.raises(ValueError, match="at least one"):
        show()
    with pytest.raises(ValueError, match=r"two finite numbers, got 'A' at \(nan, 1.0\)"):
        show(good("A", float("nan"), 1.0, gray))
    with pytest.raises(ValueError, match=r"group: expected one of .*, got 'ours'"):
        show(good("A", 1.0, 1.0, gray, "ours"))
    with pytest.raises(ValueError, match="pictures of one size"):
        show(good("A", 1.0, 1.0, gray), good("B", 1.0, 2.0, gray[..., :4]))


@pytest.fixture(scope="module")
def browser():
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


def test_a_plane_in_a_browser(browser):
    picture = torch.rand(1, 3, 60, 80)
    body = plane("first", "second", "third", picture=picture, zoom=3)
    for width in (1000, 390):
        tab = browser.new_page(viewport={"width": width, "height": 800})
        complaints = []
        tab.on("pageerror", lambda error, found=complaints: found.append(error))
        tab.set_content(f"<!doctype html><html lang=en><title>t</title><body>{body}")
        caption, marks = tab.locator("figcaption"), tab.locator("[role=radio]")
        assert caption.inner_text() == "first: SSIM 0.600, NIQE 7.00"
        shown = tab.locator("img").bounding_box()
        assert shown["width"] == pytest.approx(240) and shown["height"] == pytest.approx(180)
        assert tab.evaluate("document.documentElement.scrollWidth") <= width

        tab.keyboard.press("Tab")
        for key, expected in (
            ("ArrowRight", "second"),
            ("ArrowDown", "third"),
            ("ArrowRight", "first"),
            ("ArrowLeft", "third"),
            ("Home", "first"),
            ("End", "third"),
        ):
            tab.keyboard.press(key)
            assert caption.inner_text().startswith(f"{expected}:")
            assert tab.locator("img").get_attribute("alt") == f"A gray square by {expected}"
            assert tab.locator("[aria-checked=true]").get_attribute("aria-label") == expected
            assert tab.evaluate("document.activeElement.getAttribute('aria-label')") == expected

        place = marks.nth(1).locator("rect").bounding_box()
        tab.mouse.move(place["x"] + place["width"] / 2 + 8, place["y"] + place["height"] / 2)
        assert caption.inner_text().startswith("second:")
        place = marks.nth(0).locator("path").bounding_box()
        tab.mouse.click(place["x"] + 12, place["y"] - 12)  # near is enough
        assert caption.inner_text().startswith("first:")
        assert tab.evaluate("document.activeElement.getAttribute('aria-label')") == "first"
        assert complaints == []
        tab.close()

    tab = browser.new_context(java_script_enabled=False).new_page()
    tab.set_content(body)
    assert tab.locator("svg[role=img]").is_visible() and tab.locator("img").is_visible()
    tab.close()


@pytest.mark.parametrize("kind", ["none", "noise", "blur", "darken"])
def test_distortions_keep_shape_and_range_and_start_at_nothing(kind):
    x = sample_images()["coffee"]
    y = interact.distort(x, kind, 1.0)
    assert y.shape == x.shape and y.min() >= 0 and y.max() <= 1
    torch.testing.assert_close(interact.distort(x, kind, 0.0), x, atol=1e-5, rtol=0)


def test_unknown_distortion():
    with pytest.raises(ValueError, match="kind: expected none, noise, blur or darken"):
        interact.distort(torch.rand(1, 3, 8, 8), "fog", 0.5)
    with pytest.raises(ValueError, match="strength: expected 0 to 1, got 2"):
        interact.distort(torch.rand(1, 3, 8, 8), "blur", 2)


def test_explorer_measures_what_its_controls_say(net):
    pytest.importorskip("ipywidgets")
    pictures = {"small": sample_images()["coffee"][..., :64, :64], "flat": torch.ones(1, 3, 64, 64)}
    explorer = interact.dsd_explorer(net, pictures)
    explorer.layer.value = "relu1_2"
    explorer.kind.value = "darken"
    explorer.strength.value = 0.5
    original, distorted = explorer.update()
    expected = dsd_norm(pictures["small"], net, ["relu1_2"], 2).item()
    darker = dsd_norm(0.5 * pictures["small"], net, ["relu1_2"], 2).item()
    assert original == pytest.approx(expected) and distorted == pytest.approx(darker)
    before = explorer.view.value
    explorer.picture.value = "flat"  # a change of a control draws again by itself
    assert explorer.view.value != before
    assert "original" in explorer.bars.value
