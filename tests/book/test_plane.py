"""A plane of points with an image each."""

import itertools
import math
import re

import pytest
import torch

from dsd_lib import to_array
from dsd_lib.book import interact
from dsd_lib.book.plane import NEAR, _overlap, place_labels
from dsd_lib.book.plots import COLORS


def plane(*labels: str, image: torch.Tensor | None = None, **options):
    """A plane of points on a falling line, from left to right, each with a gray of its own."""
    groups = ("published", "other", "dsd")
    points = [
        interact.PlanePoint(
            label,
            0.6 + 0.1 * i,
            7.0 - i,
            torch.full((1, 3, 6, 8), i / 4) if image is None else image,
            groups[i % 3],
        )
        for i, label in enumerate(labels or ("A", "B", "C"))
    ]
    defaults = {
        "x_name": "SSIM",
        "y_name": "NIQE",
        "title": "Three methods",
        "alt": "The three points fall.",
        "image_alt": "A gray square by",
    }
    return interact.image_plane(points, **(defaults | options))


def test_a_plane_holds_the_points_their_images_and_numbers(stored_data, decode):
    body = plane(start=1)._repr_html_()
    data = stored_data(body)
    first = re.search(r'<img src="([^"]+)" alt="A gray square by B"', body)[1]
    for i, source in enumerate(data["sources"]):
        expected = to_array(torch.full((1, 3, 6, 8), i / 4))
        assert (decode(source or first) == expected).all()
    assert data["captions"][1] == "B: SSIM 0.700, NIQE 6.00"
    assert "SSIM (higher is better)" in body and "NIQE (lower is better)" in body
    marks = re.findall(r'data-point="(\d)" transform="translate\(([\d.]+) ([\d.]+)\)', body)
    x, y = ([float(mark[k]) for mark in marks] for k in (1, 2))
    assert x == sorted(x) and y == sorted(y)  # down the screen, as NIQE falls
    assert x[1] - x[0] == pytest.approx(x[2] - x[1], abs=0.2)
    for group, name in (("dsd", "ours, DSD"), ("published", "others")):
        assert body.count(f'fill="{COLORS[group]}"') == 2  # in the plot and the legend
        assert f">{name}<" in body


def test_a_plane_does_not_depend_on_the_order_of_its_points():
    gray = torch.full((1, 3, 6, 8), 0.5)
    points = [interact.PlanePoint(n, x, 1.0, gray) for n, x in (("A", 1.0), ("B", 2.0))]
    texts = dict.fromkeys(("x_name", "y_name", "title", "alt", "image_alt"), "t")
    a = interact.image_plane(points, **texts, start=0)
    b = interact.image_plane(points[::-1], **texts, start=1)
    assert a._repr_html_() == b._repr_html_()


def test_a_plane_needs_nothing_from_outside_and_texts_cannot_break_out():
    assert not re.search(r"https?://|//cdn|<link|src=\"(?!data:)", plane()._repr_html_())
    evil = '</script><b onload="">\''
    names = ("x_name", "y_name", "title", "alt", "image_alt")
    body = plane(evil, "B", **dict.fromkeys(names, evil))._repr_html_()
    assert body.count("</script>") == 2  # the data and the script
    assert "<b onload" not in body and 'onload=""' not in body


def test_a_label_is_nearest_its_own_point_or_has_a_line_to_it():
    """Two points side by side, and labels in the way to their left."""
    places = [(376, 138), (296, 178), (444, 166), (477, 152)]
    labels = ["L1", "L1 + perceptual", "SRResNet", "EDSR"]
    found = place_labels(places, labels)
    for (x, y), name, (dx, dy, anchor) in zip(places, labels, found, strict=True):
        width = 8 * len(name)
        start = x + dx - width * {"start": 0, "middle": 0.5, "end": 1}[anchor]

        def away(place, start=start, width=width, y=y + dy - 4):
            return abs(place[1] - y) + max(start - place[0], place[0] - start - width, 0)

        assert min(places, key=away) == (x, y) or math.hypot(dx, dy) > NEAR


def test_labels_of_a_crowd_do_not_cover_one_another():
    """Ten points within the width of a label."""
    places = [(250 + 9 * (i % 4), 150 + 11 * (i // 4)) for i in range(10)]
    boxes = []
    for (x, y), (dx, dy, anchor) in zip(
        places, place_labels(places, ["network"] * 10), strict=True
    ):
        start = x + dx - 50 * {"start": 0, "middle": 0.5, "end": 1}[anchor]
        boxes.append((start, y + dy - 12, start + 50, y + dy + 4))
    for i, box in enumerate(boxes):
        assert all(_overlap(box, other) < 0.15 * 50 * 16 for other in boxes[:i])


def test_labels_do_not_cover_one_another_on_the_page(opened):
    x, y = (0.60, 0.61, 0.605, 0.9), (5.0, 5.02, 5.1, 3.0)
    labels = ["FIRST ONE", "second one", "third one", "at the border"]
    gray = torch.full((1, 3, 6, 8), 0.5)
    points = [interact.PlanePoint(n, a, b, gray) for n, a, b in zip(labels, x, y, strict=True)]
    names = dict.fromkeys(("x_name", "y_name", "title", "alt", "image_alt"), "t")
    tab = opened(interact.image_plane(points, **names))
    boxes = tab.evaluate(
        """() => [...document.querySelectorAll("[data-point] > text, .mark")].map(e => {
            const b = e.getBoundingClientRect(); return [b.left, b.top, b.right, b.bottom] })"""
    )
    assert len(boxes) == 8
    edge = tab.locator("svg").bounding_box()
    for i, box in enumerate(boxes):
        assert box[2] <= edge["x"] + edge["width"]
        texts = [other for other in boxes[:i] if box[2] - box[0] > 15 or other[2] - other[0] > 15]
        # A line of text is taller than its letters: what touches by a little covers nothing.
        assert all(_overlap(box, other) < 40 for other in texts)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"title": ""}, "title: expected a text"),
        ({"image_alt": ""}, "image_alt: expected a text"),
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
        interact.image_plane(
            points, x_name="x", y_name="y", title="t", alt="a", image_alt="an image by"
        )

    gray, good = torch.full((1, 3, 6, 8), 0.5), interact.PlanePoint
    with pytest.raises(ValueError, match="at least one"):
        show()
    with pytest.raises(ValueError, match=r"two finite numbers, got 'A' at \(nan, 1.0\)"):
        show(good("A", float("nan"), 1.0, gray))
    with pytest.raises(ValueError, match=r"group: expected one of .*, got 'ours'"):
        show(good("A", 1.0, 1.0, gray, "ours"))
    with pytest.raises(ValueError, match="images of one size"):
        show(good("A", 1.0, 1.0, gray), good("B", 1.0, 2.0, gray[..., :4]))


@pytest.mark.parametrize("width", [1000, 390])
def test_a_plane_in_a_browser(opened, width):
    tab = opened(
        plane("first", "second", "third", image=torch.rand(1, 3, 60, 80), zoom=3), width=width
    )
    caption, marks = tab.locator("figcaption"), tab.locator("[role=radio]")
    image = tab.locator("figure img")
    assert caption.inner_text() == "first: SSIM 0.600, NIQE 7.00"
    shown = image.bounding_box()
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
        assert image.get_attribute("alt") == f"A gray square by {expected}"
        assert tab.locator("[aria-checked=true]").get_attribute("aria-label") == expected
        assert tab.evaluate("document.activeElement.getAttribute('aria-label')") == expected

    place = marks.nth(1).locator(".mark").bounding_box()
    tab.mouse.move(place["x"] + place["width"] / 2 + 8, place["y"] + place["height"] / 2)
    assert caption.inner_text().startswith("second:")
    place = marks.nth(0).locator(".mark").bounding_box()
    tab.mouse.click(place["x"] + 12, place["y"] - 4)  # near is enough
    assert caption.inner_text().startswith("first:")
    assert tab.evaluate("document.activeElement.getAttribute('aria-label')") == "first"


def test_a_plane_without_scripts_is_a_plot(opened):
    tab = opened(plane(), scripts=False)
    assert tab.locator("svg[role=img]").is_visible() and tab.locator("img").is_visible()


def test_on_a_phone_letters_are_large_and_only_the_chosen_point_is_named(opened):
    tab = opened(plane("first", "second", "third"), width=390)
    seen = [t for t in tab.locator("[data-point] > text").all() if t.is_visible()]
    assert [t.inner_html() for t in seen] == ["first"]
    scale = tab.evaluate("document.querySelector('svg').getScreenCTM().a")
    size = tab.locator("svg").evaluate("s => parseFloat(getComputedStyle(s).fontSize)")
    assert size * scale > 11
    texts = [t.bounding_box() for t in tab.locator("svg > g:not([data-point]) text").all()]
    assert all(a["x"] + a["width"] < b["x"] for a, b in itertools.pairwise(texts))
