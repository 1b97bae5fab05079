"""Images to look at: panels that open large, and the wiper, as a reader meets them."""

import io
import re
from itertools import pairwise

import numpy as np
import pytest
import torch
from PIL import Image

from dsd_lib import to_array
from dsd_lib.book import show_images, tiles, wiper


def shades(count: int, height: int = 12, width: int = 20) -> list[torch.Tensor]:
    return [torch.full((1, 3, height, width), i / 10) for i in range(count)]


def panels(count: int = 3, **options):
    labels = [f"shade {i}" for i in range(count)]
    return show_images(shades(count), labels, **({"alt": "A gray square"} | options))


def compared(**options):
    return wiper(
        shades(2)[0], shades(2)[1], ["black", "gray"], **({"alt": "A square", "zoom": 5} | options)
    )


def test_every_pixel_is_kept(coffee, decode):
    body = show_images([coffee], ["coffee"], alt="A cup")._repr_html_()
    source = re.search(r'<img src="([^"]+)"', body)[1]
    assert (decode(source) == to_array(coffee)).all()


def test_rows_have_headings():
    body = panels(4, columns=2, row_labels=["Lowest", "Highest"])._repr_html_()
    order = re.findall(r">(Lowest|Highest|shade \d)<", body)
    assert order == ["Lowest", "shade 0", "shade 1", "Highest", "shade 2", "shade 3"]


@pytest.mark.parametrize("piece", [panels, compared])
def test_nothing_from_outside_and_the_same_each_time(piece):
    body = piece()._repr_html_()
    assert body == piece()._repr_html_()
    assert not re.search(r"https?://|//cdn|<link|src=\"(?!data:)", body)


def test_texts_cannot_break_out():
    evil = '</script><b onload="">'
    for piece in (
        show_images(shades(1), [evil], alt=evil, notes=[evil], row_labels=[evil]),
        wiper(*shades(2), [evil, evil], alt=evil),
    ):
        body = piece._repr_html_()
        assert body.count("</script>") == 1
        assert "<b onload" not in body and 'onload=""' not in body


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (lambda: panels(0), "one label for each of 1 or more images, got 0 and 0"),
        (lambda: show_images(shades(2), ["a"], alt="a"), "got 1 and 2"),
        (lambda: panels(alt=""), "alt: expected a text"),
        (lambda: panels(zoom=0), "zoom: expected a positive whole number, got 0"),
        (lambda: panels(notes=["one"]), "notes: expected 3, got 1"),
        (lambda: panels(columns=2, row_labels=["one"]), "row_labels: expected 2, got 1"),
        (lambda: panels(quality=101), "quality: expected 1 to 100, got 101"),
        (lambda: wiper(shades(1)[0], [], ["a"], alt="a"), "after: expected at least one image"),
        (
            lambda: wiper(shades(1)[0], shades(1, 9)[0], ["a", "b"], alt="a"),
            r"images of one size, got \[\(9, 20\), \(12, 20\)\]",
        ),
        (lambda: tiles(shades(1)[0], 7), r"whole images of 7 × 7, got \(1, 3, 12, 20\)"),
    ],
)
def test_bad_input(wrong, says):
    with pytest.raises(ValueError, match=says):
        wrong()


def test_tiles_are_the_parts_of_a_sheet():
    x = torch.rand(1, 3, 12, 20)
    rows = tiles(x, 6, 10)
    assert (torch.cat([torch.cat(row, dim=3) for row in rows], dim=2) == x).all()


# In a browser.


def pixels(locator) -> np.ndarray:
    """What the screen shows of an element, in gray levels."""
    return np.asarray(Image.open(io.BytesIO(locator.screenshot())).convert("L"), dtype=int)


def test_pixels_are_squares_of_whole_screen_pixels(opened):
    x = torch.rand(1, 3, 8, 8)
    tab = opened(show_images([x], ["noise"], alt="Noise", zoom=3))
    seen = np.asarray(pixels(tab.locator("img")))
    assert seen.shape == (24, 24)
    blocks = seen.reshape(8, 3, 8, 3)
    assert (blocks == blocks[:, :1, :, :1]).all()


@pytest.mark.parametrize(("width", "expected"), [(1000, 4), (390, 2)])
def test_the_zoom_drops_to_what_fits(opened, width, expected):
    wide = show_images(shades(2, 30, 150), ["a", "b"], alt="A gray square", zoom=4)
    tab = opened(wide, width=width)
    boxes = [image.bounding_box() for image in tab.locator("img").all()]
    assert [box["width"] for box in boxes] == [150 * expected] * 2
    assert tab.evaluate("document.documentElement.scrollWidth") <= width


def test_panels_have_a_gap_and_a_label(opened):
    tab = opened(panels(3, zoom=2))
    boxes = [image.bounding_box() for image in tab.locator("img").all()]
    assert all(b["x"] - (a["x"] + a["width"]) >= 10 for a, b in pairwise(boxes))
    labels = tab.locator("figcaption")
    for i, box in enumerate(boxes):
        assert labels.nth(i).inner_text() == f"shade {i}"
        assert labels.nth(i).bounding_box()["y"] >= box["y"] + box["height"]


@pytest.mark.parametrize("way", ["click", "Enter", "Space"])
def test_an_image_opens_large_and_arrow_keys_change_it(opened, way):
    tab = opened(panels(3, zoom=2))
    button = tab.get_by_role("button", name="A gray square: shade 1")
    if way == "click":
        button.click()
    else:
        button.press(way)
    dialog = tab.get_by_role("dialog", name="Enlarged image")
    large = dialog.locator("img")
    assert "shade 1 (2 of 3)" in dialog.inner_text()
    assert large.bounding_box()["width"] % 20 == 0
    assert large.bounding_box()["width"] >= 40
    place = large.bounding_box()
    tab.keyboard.press("ArrowRight")
    assert "shade 2 (3 of 3)" in dialog.inner_text()
    assert large.get_attribute("alt") == "A gray square: shade 2"
    assert large.bounding_box() == place  # in place, so that only what differs changes
    tab.keyboard.press("ArrowRight")
    assert "shade 0 (1 of 3)" in dialog.inner_text()
    dialog.get_by_role("button", name="Previous image").click()
    assert "shade 2 (3 of 3)" in dialog.inner_text()
    tab.keyboard.press("Escape")
    assert not dialog.is_visible()
    assert button.evaluate("b => b === document.activeElement")


def test_the_wiper_follows_the_pointer(opened):
    tab = opened(compared())
    slider, place = tab.get_by_role("slider"), tab.locator(".dsd-stage").bounding_box()
    assert (place["width"], place["height"]) == (100, 60)
    assert slider.get_attribute("aria-valuenow") == "50"
    tab.mouse.move(place["x"] + 50, place["y"] + 30)
    tab.mouse.down()
    tab.mouse.move(place["x"] + 80, place["y"] + 30, steps=3)
    tab.mouse.up()
    assert slider.get_attribute("aria-valuenow") == "80"
    assert slider.get_attribute("aria-valuetext") == "80 % black"
    tab.mouse.move(place["x"] + 10, place["y"] + 30)  # released: it stays
    assert slider.get_attribute("aria-valuenow") == "80"
    seen = pixels(tab.locator(".dsd-stage"))
    assert (seen[30, :75] == 0).all() and (seen[30, 85:] == round(255 * 0.1)).all()


def test_the_wiper_follows_keys(opened):
    tab = opened(compared())
    slider = tab.get_by_role("slider", name="black to the left, gray to the right")
    tab.keyboard.press("Tab")
    assert slider.evaluate("s => s === document.activeElement")
    style = slider.evaluate("s => getComputedStyle(s, '::after').outlineStyle")
    assert style == "solid"  # the focus can be seen
    for key, share in (
        ("ArrowRight", 52),
        ("ArrowLeft", 50),
        ("PageUp", 60),
        ("End", 100),
        ("ArrowUp", 100),
        ("Home", 0),
        ("PageDown", 0),
    ):
        tab.keyboard.press(key)
        assert slider.get_attribute("aria-valuenow") == str(share)
    seen = pixels(tab.locator(".dsd-stage"))
    assert (seen[30, 5:] == round(255 * 0.1)).all()
    tab.keyboard.press("Enter")
    assert tab.get_by_role("dialog").is_visible()


def test_the_wiper_compares_with_several(opened):
    x = shades(3)
    tab = opened(wiper(x[0], x[1:], ["truth", "one", "two"], alt="A square", zoom=5))
    tab.get_by_role("slider").press("Home")
    for name, gray in (("two", 0.2), ("one", 0.1)):
        tab.get_by_role("button", name=name, exact=True).click()
        assert f"{name} →" in tab.locator(".dsd-ends").inner_text()
        assert (pixels(tab.locator(".dsd-stage"))[30, 5:] == round(255 * gray)).all()
        pressed = tab.locator("[aria-pressed=true]")
        assert pressed.count() == 1 and pressed.inner_text() == name


def test_the_wiper_compares_any_two_of_several(opened):
    x = shades(3)
    tab = opened(wiper(x[0], x[1:], ["truth", "one", "two"], alt="A square", zoom=5))
    stage, choice = tab.locator(".dsd-stage"), tab.get_by_label("To the left of the bar")
    for left, right in (("two", "one"), ("one", "two"), ("truth", "two")):  # the second: swapped
        choice.select_option(label=left)
        slider = tab.get_by_role("slider", name=f"{left} to the left, {right} to the right")
        shown = [str(name) for name in ("truth", "one", "two") if name != left]
        buttons = tab.locator("[data-choice]:visible").all_inner_texts()
        assert buttons == shown
        for key, name in (("Home", right), ("End", left)):
            slider.press(key)
            gray = round(255 * 0.1 * ("truth", "one", "two").index(name))
            assert (pixels(stage)[30, 5:-5] == gray).all()


def test_a_touch_moves_the_bar_on_a_phone(opened):
    tab = opened(compared(), width=390, has_touch=True)
    place = tab.locator(".dsd-stage").bounding_box()
    tab.touchscreen.tap(place["x"] + 20, place["y"] + 30)
    assert tab.get_by_role("slider").get_attribute("aria-valuenow") == "20"
    assert tab.locator(".dsd-stage").evaluate("s => getComputedStyle(s).touchAction") == "pan-y"
    assert tab.evaluate("document.documentElement.scrollWidth") <= 390


def test_without_scripts_the_images_are_side_by_side(opened):
    tab = opened(compared(), panels(), scripts=False)
    assert tab.get_by_role("slider").count() == 0
    boxes = [image.bounding_box() for image in tab.locator(".dsd-wiper img").all()]
    assert boxes[1]["x"] >= boxes[0]["x"] + boxes[0]["width"]
    assert all(label.is_visible() for label in tab.locator("figcaption").all())
    assert tab.locator("figcaption").count() == 5
