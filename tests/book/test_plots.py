"""Figures at their true pixels, and stored results."""

import io
import json

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from dsd_lib import to_array
from dsd_lib.book import plots


@pytest.fixture(autouse=True)
def style():
    with plt.rc_context():
        plots.use_book_style()
        yield
    plt.close("all")


def drawn(figure) -> np.ndarray:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return np.asarray(Image.open(buffer).convert("RGB"))


@given(
    height=st.integers(5, 60),
    width=st.integers(5, 60),
    zoom=st.integers(1, 3),
    count=st.integers(1, 3),
)
def test_every_pixel_of_a_picture_stands_in_the_figure(height, width, zoom, count):
    images = [torch.rand(1, 3, height, width) for _ in range(count)]
    titles = [f"picture {i}" for i in range(count)]
    canvas = drawn(plots.show_images(images, titles, columns=2, zoom=zoom, text=titles))
    plt.close("all")
    for x in images:
        picture = np.repeat(np.repeat(to_array(x), zoom, 0), zoom, 1)
        windows = np.lib.stride_tricks.sliding_window_view(canvas, picture.shape)[:, :, 0]
        corners = np.argwhere((windows[:, :, 0, 0] == picture[0, 0]).all(axis=-1))
        assert any((windows[r, c] == picture).all() for r, c in corners)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"images": []}, "at least one picture"),
        ({"images": [torch.rand(1, 3, 4, 4)], "titles": ["a", "b"]}, "titles: expected 1 of them"),
        ({"images": [torch.rand(1, 3, 4, 4)], "text": []}, "text: expected 1 of them"),
        ({"images": [torch.rand(1, 3, 4, 4)], "zoom": 1.5}, "zoom: expected a positive whole"),
        ({"images": [torch.rand(3, 4, 4)]}, "expected shape"),
    ],
)
def test_bad_input(arguments, says):
    with pytest.raises(ValueError, match=says):
        plots.show_images(**arguments)


def test_stored_results(tmp_path):
    with pytest.raises(FileNotFoundError, match="no stored result"):
        plots.load_result(tmp_path / "x.json")
    (tmp_path / "x.json").write_text("[1]")
    with pytest.raises(ValueError, match="keys provenance and results"):
        plots.load_result(tmp_path / "x.json")
    stored = {"provenance": {"command": "c"}, "results": [1.5]}
    (tmp_path / "x.json").write_text(json.dumps(stored))
    assert plots.load_result(tmp_path / "x.json") == stored
