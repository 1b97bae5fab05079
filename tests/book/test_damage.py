"""Ways to damage an image."""

import pytest
import torch

from dsd_lib.book.damage import blur, contrast, gaussian_blur, jpeg, noise


@pytest.mark.parametrize(
    "spoil",
    [
        lambda x: noise(x, 0.2),
        lambda x: blur(x, 3),
        lambda x: gaussian_blur(x, 2),
        lambda x: contrast(x, 0.5),
        lambda x: jpeg(x, 10),
    ],
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
    assert apart(gaussian_blur(coffee, 0.7)) < apart(gaussian_blur(coffee, 2))
    assert torch.equal(gaussian_blur(coffee, 0), coffee)
    assert apart(jpeg(coffee, 80)) < apart(jpeg(coffee, 10))
    assert torch.equal(noise(coffee, 0.0), coffee)


def test_noise_repeats_with_its_seed(coffee):
    assert torch.equal(noise(coffee, 0.1), noise(coffee, 0.1))
    assert not torch.equal(noise(coffee, 0.1), noise(coffee, 0.1, seed=1))


def test_gaussian_blur_of_one_bright_pixel():
    x = torch.zeros(1, 3, 41, 41)
    x[..., 20, 20] = 1
    y = gaussian_blur(x, 2.0)[0, 0]
    assert y.sum().item() == pytest.approx(1, rel=1e-4)
    away = torch.arange(41) - 20.0
    assert (y * away.square()).sum().item() == pytest.approx(4, rel=0.01)  # the variance
    torch.testing.assert_close(y, y.mT)
    flat = gaussian_blur(torch.full((1, 3, 20, 20), 0.3), 2.0)
    torch.testing.assert_close(flat, torch.full_like(flat, 0.3))


def test_contrast_keeps_the_mean_and_scales_the_deviation(coffee):
    pair = torch.cat([coffee, 0.5 * coffee])  # two images with means of their own
    y = contrast(pair, 0.3)
    for before, after in zip(pair, y, strict=True):
        torch.testing.assert_close(after.mean(), before.mean())
        torch.testing.assert_close(after.std(), 0.3 * before.std())
    torch.testing.assert_close(contrast(coffee, 1), coffee)
