"""Sliders of precomputed frames, and the live explorer's callbacks."""

import base64
import io
import json
import re

import numpy as np
import pytest
import torch
from PIL import Image

from dsd_lib import dsd_norm, interact, sample_images, to_array


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
