"""NIQE and BRISQUE: the official values, what must not change them, what they refuse."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

import dsd_lib as dsd
from dsd_lib.book.damage import blur, jpeg, noise
from dsd_lib.quality import natural_scenes
from dsd_lib.quality.natural_scenes import asymmetric_fit, brisque, brisque_features, mscn, niqe

GOLDEN = json.loads((Path(__file__).parent.parent / "golden" / "official.json").read_text())

# Scores of other implementations, measured on these images in 8 bits: NIQE of basicsr 1.4.2;
# BRISQUE's published Python features (OpenCV 4) scored by libsvm 3.37. Those two smooth with a
# deviation of 1.166 for 7/6, and let rounding errors where an image is flat count as texture.
BASICSR_NIQE = {"cat": 2.5845, "gravel": 4.7148, "temple": 5.6102, "tissue": 3.4440}
LIBSVM_BRISQUE = {
    "astronaut": -12.6388,
    "cat": 3.3468,
    "coffee": 0.0156,
    "flower": -6.5567,
    "gravel": 26.0538,
    "rocket": 27.5075,
    "temple": 24.0495,
    "tissue": 33.2517,
}
# fmt: off
COFFEE_FEATURES = [
    1.719, 0.238476, 0.591, 0.003917, 0.068418, 0.071917, 0.566, 0.014523, 0.066306, 0.079787,
    0.582, -0.028872, 0.083751, 0.057782, 0.557, 0.017991, 0.065252, 0.082141,
    1.775, 0.2779, 0.586, -0.030786, 0.120156, 0.086745, 0.571, -0.011607, 0.108901, 0.096179,
    0.587, -0.027527, 0.111645, 0.082698, 0.554, 0.012154, 0.092561, 0.105846,
]
# fmt: on


@pytest.mark.parametrize("image", ["astronaut", "coffee"])
def test_official_niqe(pictures, image):
    assert niqe(pictures[image]).item() == pytest.approx(GOLDEN[image]["niqe"], abs=1e-2)


@pytest.mark.parametrize(("image", "value"), BASICSR_NIQE.items())
def test_niqe_of_another_implementation(pictures, image, value):
    assert niqe(pictures[image]).item() == pytest.approx(value, abs=1e-3)


@pytest.mark.parametrize(("image", "value"), LIBSVM_BRISQUE.items())
def test_brisque_of_another_implementation(pictures, image, value):
    assert brisque(pictures[image]).item() == pytest.approx(value, abs=0.1)


def test_brisque_features_of_another_implementation(coffee):
    features = brisque_features(coffee)
    assert features.shape == (1, 36)
    np.testing.assert_allclose(features[0], COFFEE_FEATURES, rtol=0, atol=2e-3)


@pytest.mark.parametrize("score", [niqe, brisque])
def test_a_batch_is_its_images(pictures, score):
    x = torch.cat([pictures[name] for name in ("cat", "flower", "temple")])
    one_by_one = torch.cat([score(image) for image in x.split(1)])
    scores = score(x)
    assert scores.shape == (3,) and scores.dtype == torch.float32
    torch.testing.assert_close(scores, one_by_one, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("score", [niqe, brisque])
def test_double_precision_in_double_precision_out(coffee, score):
    x = coffee.double()
    assert score(x).dtype == torch.float64
    torch.testing.assert_close(score(x).float(), score(coffee), rtol=1e-5, atol=1e-5)


DEGRADATIONS = {
    "noise": (noise, (0.0, 0.05, 0.1, 0.2)),
    "blur": (blur, (1, 3, 7)),
    "jpeg": (jpeg, (95, 10, 5)),
}


@pytest.mark.parametrize("degrade", DEGRADATIONS)
@pytest.mark.parametrize("score", [niqe, brisque])
@pytest.mark.parametrize("image", ["cat", "coffee", "temple"])
def test_grows_with_the_degradation(pictures, image, score, degrade):
    function, amounts = DEGRADATIONS[degrade]
    scores = [score(function(pictures[image], amount)).item() for amount in amounts]
    assert scores == sorted(scores) and scores[-1] > scores[0] + 1


@pytest.mark.parametrize("score", [niqe, brisque])
def test_gray_images(coffee, score):
    gray = coffee.mean(dim=1, keepdim=True).expand(-1, 3, -1, -1)
    assert score(gray).isfinite().all()


def test_a_mirrored_image_has_its_diagonals_exchanged(coffee):
    order = [*range(10), *range(14, 18), *range(10, 14)]
    order += [18 + i for i in order]
    mirrored = brisque_features(coffee.flip(3))
    torch.testing.assert_close(mirrored, brisque_features(coffee)[:, order], rtol=0, atol=2e-3)


@pytest.mark.parametrize("score", [niqe, brisque])
def test_refuses_what_is_no_image(bad_image, score):
    x, error, message = bad_image
    if isinstance(x, torch.Tensor) and x.ndim == 4 and min(x.shape[2:]) == 32:
        x = x.repeat(1, 1, 3, 6)  # large enough, so that what is wrong with it is what counts
        message = message.replace("32, 32", "96, 192").replace("32, 3", "96, 18")
    with pytest.raises(error, match=message):
        score(x)


def test_the_range_can_be_left_unchecked(coffee):
    over = 1.02 * coffee
    with pytest.raises(ValueError, match=r"in \[0, 1\]"):
        niqe(over)
    assert niqe(over, check_range=False).isfinite() and brisque(over, check_range=False).isfinite()


@pytest.mark.parametrize("size", [(96, 96), (191, 191), (96, 191), (191, 96)])
def test_niqe_needs_two_blocks(size):
    with pytest.raises(ValueError, match=r"two whole blocks of 96×96 pixels \(96×192\)"):
        niqe(torch.rand(1, 3, *size))


def test_smallest_images():
    with pytest.raises(ValueError, match="at least 96 pixels"):
        niqe(torch.rand(1, 3, 95, 400))
    with pytest.raises(ValueError, match="at least 32 pixels"):
        brisque(torch.rand(1, 3, 31, 400))
    assert niqe(torch.rand(1, 3, 96, 192)).isfinite()
    assert brisque(torch.rand(1, 3, 32, 32)).isfinite()


@pytest.mark.parametrize("value", [0.0, 0.4371, 1.0])
def test_flat_images_have_no_score(value):
    flat = torch.full((1, 3, 200, 300), value)
    with pytest.raises(
        ValueError, match=r"texture in at least two blocks .* got 0 such blocks of 6"
    ):
        niqe(flat)
    with pytest.raises(ValueError, match="flat everywhere"):
        brisque(flat)


def test_flat_blocks_do_not_count(pictures):
    x = pictures["cat"][..., :192, :384].clone()
    whole = niqe(x)
    x[..., 96:, 96:] = 0.5
    partly = niqe(x)
    assert partly.isfinite() and not torch.isclose(partly, whole)


def test_what_lies_outside_whole_blocks_does_not_count(pictures):
    x = pictures["cat"][..., :192, :192]
    wider = torch.cat([x, torch.rand(1, 3, 192, 50)], dim=3)
    assert niqe(wider) == niqe(x)


def test_strips_give_the_values_of_the_whole_image(pictures, monkeypatch):
    x = dsd.imresize(pictures["temple"], size=(96 * 5 + 7, 200)).clamp(0, 1).double()
    in_strips = niqe(x)
    monkeypatch.setattr(natural_scenes, "STRIP", 100)
    torch.testing.assert_close(in_strips, niqe(x), rtol=1e-9, atol=0)


def test_mscn_of_a_known_image():
    """Against the formula, one pixel at a time, away from the border."""
    y = 255 * torch.rand(1, 1, 12, 12, dtype=torch.float64)
    offsets = np.arange(-3, 4)
    window = np.exp(-(offsets[:, None] ** 2 + offsets**2) / (2 * (7 / 6) ** 2))
    window /= window.sum()
    got = mscn(y, border="reflect")
    for i, j in [(3, 3), (5, 8), (8, 4)]:
        part = y[0, 0, i - 3 : i + 4, j - 3 : j + 4].numpy()
        mean = (window * part).sum()
        deviation = np.sqrt((window * (part - mean) ** 2).sum())
        assert got[0, 0, i, j].item() == pytest.approx((part[3, 3] - mean) / (deviation + 1))


@given(shape=st.floats(0.7, 6), left=st.floats(0.1, 10), right=st.floats(0.1, 10))
def test_the_fit_finds_the_parameters(shape, left, right):
    """Of values spread evenly over the quantiles of a distribution with known parameters."""
    at = (np.arange(4_000) + 0.5) / 4_000
    v = np.abs(stats.gennorm.ppf(at / 2, shape))
    v /= np.sqrt((v**2).mean())
    # In the distribution a side holds values in proportion to its width.
    counts = np.round(4_000 * np.array([left, right]) / (left + right)).astype(int)
    sides = [
        side * np.quantile(v, (np.arange(n) + 0.5) / n)
        for side, n in zip((left, right), counts, strict=True)
    ]
    values = torch.from_numpy(np.concatenate([-sides[0], sides[1]]))[None]
    got = [p.item() for p in asymmetric_fit(values)]
    assert got[0] == pytest.approx(shape, rel=0.05)
    assert got[1:] == pytest.approx([left, right], rel=0.05)


@given(scale=st.floats(1e-3, 1e3))
def test_the_fit_does_not_depend_on_the_unit(scale):
    v = torch.linspace(-1, 2, 1000, dtype=torch.float64)[None] ** 3
    shape, left, right = asymmetric_fit(v)
    scaled = asymmetric_fit(scale * v)
    assert abs(scaled[0] - shape) < 1.5e-3  # the step between two shapes
    torch.testing.assert_close(torch.cat(scaled[1:]), scale * torch.cat([left, right]))


def test_the_fit_of_one_sided_values_is_nan():
    for v in (torch.zeros(1, 9), torch.ones(1, 9), -torch.ones(1, 9)):
        assert asymmetric_fit(v.double())[0].isnan()


# The file of parameters
