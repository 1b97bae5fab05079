"""Ways to damage an image."""

import pytest
import torch

from dsd_lib.book.damage import blur, jpeg, noise


@pytest.mark.parametrize(
    "spoil", [lambda x: noise(x, 0.2), lambda x: blur(x, 3), lambda x: jpeg(x, 10)]
)
def test_shape_and_range_stay_and_the_image_changes(spoil, coffee):
    y = spoil(coffee)
    assert y.shape == coffee.shape and y.min() >= 0 and y.max() <= 1
    assert 0.005 < (y - coffee).abs().mean() < 0.3


def test_more_is_worse(coffee):
    def apart(y):
        return (y - coffee).square().mean()

    assert apart(noise(coffee, 0.1)) < apart(noise(coffee, 0.2))
    assert apart(blur(coffee, 1.5)) < apart(blur(coffee, 3))
    assert apart(jpeg(coffee, 80)) < apart(jpeg(coffee, 10))
    assert torch.equal(noise(coffee, 0.0), coffee)


def test_noise_repeats_with_its_seed(coffee):
    assert torch.equal(noise(coffee, 0.1), noise(coffee, 0.1))
    assert not torch.equal(noise(coffee, 0.1), noise(coffee, 0.1, seed=1))
