"""Precomputed frames under a slider."""

import re

import matplotlib.pyplot as plt
import pytest
import torch

from dsd_lib import to_array
from dsd_lib.book import interact


def frames(count: int = 3) -> list[torch.Tensor]:
    return [torch.full((1, 3, 6, 8), i / count) for i in range(count)]


def slider(**options):
    defaults = {"title": "Brightness", "alt": "A plain square,"}
    labels = [f"step {i}" for i in range(3)]
    return interact.frame_slider(frames(), labels, **(defaults | options))


def test_the_frames_are_the_images(stored_data, decode):
    body = slider(zoom=2, start=1)._repr_html_()
    first = re.search(r'<img src="([^"]+)" alt="A plain square, step 1"', body)[1]
    data = stored_data(body)
    for index, x in zip(data["order"], frames(), strict=True):
        assert (decode(data["sources"][index] or first) == to_array(x)).all()


def test_frames_that_repeat_are_stored_once(stored_data):
    gray = torch.full((1, 3, 6, 8), 0.5)
    piece = interact.frame_slider([gray, 0 * gray, gray], list("abc"), title="t", alt="a")
    data = stored_data(piece._repr_html_())
    assert data["order"] == [0, 1, 0]
    assert piece._repr_html_().count("data:image") == 2


def test_it_needs_nothing_from_outside():
    assert not re.search(r"https?://|//cdn|<link|src=\"(?!data:)", slider()._repr_html_())


def test_the_same_frames_give_the_same_html():
    assert slider()._repr_html_() == slider()._repr_html_()
    assert slider()._repr_html_() != slider(title="Other")._repr_html_()


def test_texts_cannot_break_out():
    evil = '</script><b>"'
    body = interact.frame_slider(frames(1), [evil], title="<i>", alt='" onload="')._repr_html_()
    assert body.count("</script>") == 2  # the data and the script
    assert "<b>" not in body and "<i>" not in body and 'onload="' not in body


def test_matplotlib_figures_are_frames_too(stored_data):
    figures = [plt.figure(figsize=(1, 1), facecolor=c) for c in ("red", "blue")]
    body = interact.frame_slider(figures, ["a", "b"], title="t", alt="a")._repr_html_()
    assert len(stored_data(body)["order"]) == 2
    assert not any(plt.fignum_exists(figure.number) for figure in figures)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"title": ""}, "title and alt"),
        ({"alt": ""}, "title and alt"),
        ({"start": 3}, "start: expected 0 to 2, got 3"),
        ({"quality": 0}, "quality: expected 1 to 100, got 0"),
        ({"zoom": 1.5}, "zoom: expected a positive whole number, got 1.5"),
    ],
)
def test_bad_input(options, says):
    with pytest.raises(ValueError, match=says):
        slider(**options)


def test_labels_must_fit():
    with pytest.raises(ValueError, match="one label for each"):
        interact.frame_slider(frames(2), ["a"], title="t", alt="a")


def test_a_lower_quality_gives_fewer_bytes(coffee):
    sizes = [
        len(interact.frame_slider([coffee], ["c"], title="t", alt="a", quality=q)._repr_html_())
        for q in (60, 90)
    ]
    assert sizes[0] < 0.7 * sizes[1]


def test_in_a_browser(opened):
    tab = opened(slider(zoom=4, start=1))
    image, caption = tab.locator(".dsd-frames img").first, tab.locator("figcaption")
    assert image.bounding_box()["width"] == 32
    tab.get_by_role("slider", name="Brightness").press("ArrowRight")
    assert caption.inner_text() == "step 2"
    assert image.get_attribute("alt") == "A plain square, step 2"
    pixel = """image => { const c = new OffscreenCanvas(1, 1).getContext("2d");
        c.drawImage(image, 0, 0); return c.getImageData(0, 0, 1, 1).data[0] }"""
    assert image.evaluate(pixel) == round(255 * 2 / 3)

    tab.locator(".dsd-open").press("Enter")
    dialog = tab.get_by_role("dialog")
    assert "step 2 (3 of 3)" in dialog.inner_text()
    tab.keyboard.press("ArrowLeft")
    assert "step 1 (2 of 3)" in dialog.inner_text()
    tab.keyboard.press("Escape")
    assert not dialog.is_visible()


def test_without_scripts_a_frame_stays(opened):
    tab = opened(slider(), scripts=False)
    assert tab.locator("img").is_visible() and not tab.locator("input").is_visible()
