"""The live explorer's distortions and callbacks."""

import pytest
import torch

from dsd_lib import dsd_norm, sample_images
from dsd_lib.book import interact


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
    images = {"small": sample_images()["coffee"][..., :64, :64], "flat": torch.ones(1, 3, 64, 64)}
    explorer = interact.dsd_explorer(net, images)
    explorer.layer.value = "relu1_2"
    explorer.kind.value = "darken"
    explorer.strength.value = 0.5
    original, distorted = explorer.update()
    expected = dsd_norm(images["small"], net, ["relu1_2"], 2).item()
    darker = dsd_norm(0.5 * images["small"], net, ["relu1_2"], 2).item()
    assert original == pytest.approx(expected) and distorted == pytest.approx(darker)
    before = explorer.view.value
    explorer.name.value = "flat"  # a change of a control draws again by itself
    assert explorer.view.value != before
    assert "original" in explorer.bars.value
