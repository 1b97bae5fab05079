"""Charts for two widths, and dot plots."""

import re

import matplotlib.pyplot as plt
import numpy as np
import pytest

from dsd_lib.book import chart, charts, dot_plot

ESTIMATES = {"PSNR": (0.87, 0.84, 0.90), "SSIM": (0.91, 0.88, 0.94)}


def test_it_is_drawn_once_for_each_width(decode):
    calls = []

    def draw(figure, narrow):
        calls.append((narrow, tuple(figure.get_size_inches())))
        figure.subplots().plot([1, 2])

    body = chart(draw, alt="A line", size=(5, 2), narrow_size=(3, 3))._repr_html_()
    assert calls == [(False, (5, 2)), (True, (3, 3))]
    found = re.findall(r'src(?:set)?="([^"]+)"[^>]* width="(\d+)" height="(\d+)"', body)
    assert [(int(w), int(h)) for _, w, h in found] == [(300, 300), (500, 200)]
    assert decode(found[1][0]).shape == (400, 1000, 3)  # two pixels for each of the page
    assert not plt.get_fignums()


def test_a_figure_is_closed_when_drawing_fails():
    def draw(figure, narrow):
        raise RuntimeError("no data")

    with pytest.raises(RuntimeError, match="no data"):
        chart(draw, alt="A line")
    assert not plt.get_fignums()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"alt": ""}, "alt: expected a text"),
        ({"size": (9, 3)}, "size: expected at most 7.6 inches wide, got 9"),
        ({"narrow_size": (4, 3)}, "narrow_size: expected at most 3.6 inches wide, got 4"),
    ],
)
def test_bad_charts(options, says):
    with pytest.raises(ValueError, match=says):
        chart(lambda figure, narrow: None, **({"alt": "A line"} | options))


@pytest.mark.parametrize(
    ("estimates", "panels", "rows", "series"),
    [
        (ESTIMATES, 1, 2, 1),
        ({"PSNR": 0.8}, 1, 1, 1),
        ({"PSNR": {"all": 0.8, "blur": (0.7, 0.6, 0.8)}}, 1, 1, 2),
        (
            {"LIVE": {"PSNR": {"all": 0.8}}, "TID": {"PSNR": {"all": 0.7}, "SSIM": {"all": 1}}},
            2,
            2,
            1,
        ),
    ],
)
def test_dots_and_intervals_are_where_the_estimates_are(
    monkeypatch, estimates, panels, rows, series
):
    drawn = []
    keep = charts._draw

    def spy(draw, size, narrow):
        def also_keep(figure, narrow):
            draw(figure, narrow)
            drawn.append(list(figure.axes))

        return keep(also_keep, size, narrow)

    monkeypatch.setattr(charts, "_draw", spy)
    dot_plot(estimates, xlabel="SROCC", alt="Dots", reference=0.5)
    wide, narrow = drawn
    assert len(wide) == len(narrow) == panels
    given = charts._panels(estimates)
    for axes in drawn:
        for ax, of in zip(axes, given.values(), strict=True):
            values = sorted(v for row in of.values() for v, _, _ in row.values())
            dots = [c.lines[0].get_xdata() for c in ax.containers]
            assert sorted(np.concatenate(dots)) == pytest.approx(values)
            assert len(dots) == series
            ends = [c.lines[2][0].get_segments() for c in ax.containers]
            low, high = zip(*((s[0, 0], s[1, 0]) for part in ends for s in part), strict=True)
            bounds = [e[1:] for row in of.values() for e in row.values()]
            assert sorted(low) == pytest.approx(sorted(b[0] for b in bounds))
            assert sorted(high) == pytest.approx(sorted(b[1] for b in bounds))
    assert max(len(of) for of in given.values()) == rows


@pytest.mark.parametrize(
    ("estimates", "says"),
    [
        ({}, "at least one, got none"),
        ({"a": (0.5, 0.6, 0.7)}, "low <= value <= high, got"),
        ({"a": "0.5"}, "low <= value <= high, got '0.5'"),
        ({"a": {"b": {"c": {"d": 1.0}}}}, "panel -> row -> series at most, got 4 levels"),
    ],
)
def test_bad_estimates(estimates, says):
    with pytest.raises(ValueError, match=says):
        dot_plot(estimates, xlabel="x", alt="Dots")


@pytest.mark.parametrize(("width", "shown"), [(1000, 740), (390, 360)])
def test_a_phone_gets_the_narrow_one(opened, width, shown):
    tab = opened(dot_plot(ESTIMATES, xlabel="SROCC", alt="Dots with their lines"), width=width)
    image = tab.get_by_role("img", name="A chart").or_(tab.locator("img"))
    assert image.first.bounding_box()["width"] == pytest.approx(shown)
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
