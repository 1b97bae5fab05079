"""What degrades images: exact where there is a formula, random only by the generator."""

import math

import numpy as np
import pytest
import torch

import dsd_lib as dsd
from dsd_lib.restoration import degradations as spoil
from dsd_lib.restoration.kernels import motion_kernels


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def motion_kernel(size: int, seed: int = 0) -> torch.Tensor:
    return motion_kernels(1, size, generator(seed), anxiety=(0.01, 0.01))[0][0]


# Downscaling


def test_downscale_is_the_bicubic_of_matlab_clamped(coffee):
    small = spoil.downscale(coffee, 4)
    assert small.shape == (1, 3, 60, 80)
    assert torch.equal(small, dsd.imresize(coffee, scale=0.25).clamp(0, 1))
    step = torch.zeros(1, 3, 16, 16)
    step[..., 8:] = 1  # bicubic overshoots here
    assert dsd.imresize(step, scale=0.25).amax() > 1.001
    assert spoil.downscale(step).amax() == 1 and spoil.downscale(step).amin() == 0


def test_eight_bits_are_those_of_a_file(coffee):
    small = spoil.downscale(coffee, 4, eight_bits=True)
    assert torch.equal(small, dsd.image_from_array(dsd.to_array(small)))
    assert 0 < (small - spoil.downscale(coffee, 4)).abs().max() <= 0.5 / 255 + 1e-6
    drawn, parameters = spoil.Downscale(4)(coffee, generator())
    assert torch.equal(drawn, small) and parameters == {}


def test_downscale_refuses_sides_that_would_not_come_back(coffee):
    cut = spoil.crop_to_multiple(coffee[:, :, :239, :318], 4)
    assert torch.equal(cut, coffee[:, :, :236, :316])  # from the top left
    assert spoil.downscale(cut, 4).shape == (1, 3, 59, 79)
    with pytest.raises(ValueError, match=r"multiples of 4, got.*crop_to_multiple cuts them"):
        spoil.downscale(coffee[:, :, :239], 4)


@pytest.mark.parametrize("factor", [0, 1, -2, 2.0, True, "4"])
def test_factor_is_checked(coffee, factor):
    with pytest.raises(ValueError, match="factor: expected a whole number of 2 or more"):
        spoil.downscale(coffee, factor)


# Blur


def test_blur_correlates(coffee):
    """out(p) = Σ_q kernel(q) x(p + q): the kernel is not turned around."""
    kernel = torch.zeros(5, 5)
    kernel[1, 4], kernel[4, 0] = 0.7, 0.3  # (-1, +2) and (+2, -2) from the middle
    x = coffee[:, :, :20, :24]
    y = spoil.blur(x, kernel)
    inside = x[:, :, 1:16, 4:22] * 0.7 + x[:, :, 4:19, 0:18] * 0.3
    torch.testing.assert_close(y[:, :, 2:17, 2:20], inside, rtol=0, atol=1e-6)
    turned = spoil.blur(x, kernel.flip(0, 1))  # what a true convolution would give
    assert (turned - y).abs().max() > 0.05


def test_a_point_becomes_the_kernel_turned_around():
    kernel = motion_kernel(9, seed=1)
    x = torch.zeros(1, 3, 17, 17)
    x[:, :, 8, 8] = 1
    y = spoil.blur(x, kernel)[0, 1, 4:13, 4:13]
    torch.testing.assert_close(y, kernel.flip(0, 1), rtol=0, atol=1e-6)
    assert (y - kernel).abs().max() > 0.01


def test_each_image_has_its_kernel(pair):
    x, _ = pair
    kernels, _ = motion_kernels(2, 9, generator())
    y = spoil.blur(x, kernels)
    for i in range(2):
        torch.testing.assert_close(y[i : i + 1], spoil.blur(x[i : i + 1], kernels[i]))
    middle = torch.zeros(3, 3)
    middle[1, 1] = 1
    torch.testing.assert_close(spoil.blur(x, middle), x)


def test_borders_are_mirrored_or_left_out(coffee):
    x, kernel = coffee[:, :, :24, :30], motion_kernel(7)
    wide = torch.from_numpy(np.pad(x.numpy(), ((0, 0), (0, 0), (3, 3), (3, 3)), mode="reflect"))
    expected = spoil.blur(wide, kernel, padding="valid")
    y = spoil.blur(x, kernel)
    assert y.shape == x.shape
    torch.testing.assert_close(y, expected, rtol=0, atol=1e-6)
    valid = spoil.blur(x, kernel, padding="valid")
    assert valid.shape == (1, 3, 18, 24)
    torch.testing.assert_close(y[:, :, 3:-3, 3:-3], valid, rtol=0, atol=1e-6)


def test_blur_keeps_a_flat_image_and_blurs_light_with_gamma():
    kernel = motion_kernel(5)
    flat = torch.full((1, 3, 12, 12), 0.3)
    for gamma in (1.0, 2.2):
        torch.testing.assert_close(spoil.blur(flat, kernel, gamma=gamma), flat, rtol=0, atol=1e-5)
    x = torch.zeros(1, 3, 8, 8)
    x[..., 4:] = 1
    half = torch.tensor([[0.0, 0, 0], [0.5, 0, 0.5], [0, 0, 0]])
    edge = spoil.blur(x, half, gamma=2.2)[0, 0, 4, 4].item()
    assert edge == pytest.approx(0.5 ** (1 / 2.2), abs=1e-4)  # brighter than 0.5


def test_blur_is_differentiable_and_keeps_type(coffee):
    kernel = motion_kernel(5)
    x = (0.2 + 0.6 * coffee[:, :, :10, :10]).double().requires_grad_()
    assert torch.autograd.gradcheck(lambda z: spoil.blur(z, kernel).sum(), x)
    with torch.autocast("cpu", torch.bfloat16):
        y = spoil.blur(x.detach().float(), kernel)
    torch.testing.assert_close(y, spoil.blur(x.detach(), kernel).float(), rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("kernels", "error", "message"),
    [
        (torch.ones(4, 4), ValueError, r"kernels: expected \(2, k, k\) or \(k, k\) with odd k"),
        (torch.ones(3, 3, 3), ValueError, r"got \(3, 3, 3\)"),
        (torch.ones(3, 5), ValueError, r"got \(3, 5\)"),
        (torch.ones(3, 3, dtype=torch.int64), TypeError, "got torch.int64"),
        (np.ones((3, 3)), TypeError, "got ndarray"),
        (torch.ones(97, 97) / 97**2, ValueError, "sides of at least 49 pixels for a kernel of 97"),
    ],
)
def test_kernels_are_checked(pair, kernels, error, message):
    with pytest.raises(error, match=message):
        spoil.blur(pair[0], kernels)


def test_blur_options_are_checked(pair):
    with pytest.raises(ValueError, match="padding: expected 'reflect'"):
        spoil.blur(pair[0], torch.ones(3, 3) / 9, padding="zeros")
    with pytest.raises(ValueError, match="gamma: expected a positive number"):
        spoil.blur(pair[0], torch.ones(3, 3) / 9, gamma=0)


# Noise


def test_noise_is_normal_of_the_size_asked_for():
    x = torch.full((2, 3, 100, 100), 0.5)
    y = spoil.add_noise(x, torch.tensor([0.02, 0.1]), generator())
    noise = (y - x).flatten(1)
    torch.testing.assert_close(noise.std(dim=1), torch.tensor([0.02, 0.1]), rtol=0.02, atol=0)
    assert noise.mean(dim=1).abs().max() < 0.002
    within = (noise[0].abs() < 0.02).double().mean().item()
    assert within == pytest.approx(0.683, abs=0.01)  # one standard deviation of a normal
    dark = spoil.add_noise(torch.zeros(1, 3, 20, 20), 0.1, generator())
    assert dark.min() == 0 and dark.max() <= 1
    assert torch.equal(spoil.add_noise(x, 0, generator()), x)


@pytest.mark.parametrize("sigma", [-0.1, torch.tensor([0.1]), torch.tensor([0.1, -0.1]), math.nan])
def test_sigma_is_checked(pair, sigma):
    with pytest.raises(ValueError, match=r"sigma: expected one number or \(2,\)"):
        spoil.add_noise(pair[0], sigma, generator())


def test_options_of_motion_blur_are_checked():
    with pytest.raises(ValueError, match="noise: expected a range"):
        spoil.MotionBlur(noise=(0.1, 0))
    with pytest.raises(ValueError, match="kernels: expected at least one"):
        spoil.MotionBlur(kernels=[])
    with pytest.raises(ValueError, match=r"kernels: expected \(k, k\) with odd k, got \(4, 4\)"):
        spoil.MotionBlur(kernels=[torch.ones(4, 4) / 16])


# What training draws

DRAWS = {
    "downscale": spoil.Downscale(4),
    "motion": spoil.MotionBlur(size=11, noise=(0.01, 0.03)),
    "given kernels": spoil.MotionBlur(
        kernels=[torch.ones(3, 3) / 9, torch.ones(5, 5) / 25, torch.ones(1, 1)]
    ),
}


@pytest.mark.parametrize("degrade", DRAWS.values(), ids=DRAWS)
def test_the_generator_decides_everything(pair, degrade):
    x, _ = pair
    y, drawn = degrade(x, generator(4))
    torch.manual_seed(99)  # the global state plays no part
    np.random.seed(99)
    again, drawn_again = degrade(x, generator(4))
    assert torch.equal(y, again)
    assert drawn.keys() == drawn_again.keys()
    assert all(torch.equal(drawn[k], drawn_again[k]) for k in drawn)
    assert all(len(value) == 2 for value in drawn.values())  # one for each image
    assert y.dtype == x.dtype and y.shape[:2] == x.shape[:2]
    assert y.shape[2] * degrade.scale == x.shape[2]
    assert y.min() >= 0 and y.max() <= 1
    assert torch.equal(y, dsd.restoration.degradations.to_eight_bits(y))
    if drawn:
        assert not torch.equal(degrade(x, generator(5))[0], y)


@pytest.mark.parametrize("gamma", [1.0, 2.2])
def test_motion_blur_is_what_its_parameters_say(pair, gamma):
    x, _ = pair
    degrade = spoil.MotionBlur(size=11, noise=(0, 0), gamma=gamma)
    y, drawn = degrade(x, generator())
    assert torch.equal(y, spoil.to_eight_bits(spoil.blur(x, drawn["kernel"], gamma=gamma)))
    noisy = spoil.MotionBlur(size=11, noise=(0.02, 0.05), gamma=gamma)
    z, drawn = noisy(x, generator())
    assert ((drawn["sigma"] >= 0.02) & (drawn["sigma"] <= 0.05)).all()
    noise = (z - spoil.blur(x, drawn["kernel"], gamma=gamma)).flatten(1).std(dim=1)
    torch.testing.assert_close(noise, drawn["sigma"], rtol=0.1, atol=0)


def test_given_kernels_are_all_drawn_and_made_one_size(pair):
    kernels = [torch.ones(3, 3) / 9, torch.ones(5, 5) / 25, torch.ones(1, 1)]
    degrade = spoil.MotionBlur(kernels=kernels, noise=(0, 0))
    seen = set()
    for seed in range(8):
        y, drawn = degrade(pair[0], generator(seed))
        assert drawn["kernel"].shape == (2, 5, 5)
        for i, index in enumerate(drawn["index"].tolist()):
            seen.add(index)
            expected = spoil.blur(pair[0][i : i + 1], kernels[index])
            torch.testing.assert_close(y[i : i + 1], expected, rtol=0, atol=0.51 / 255)
    assert seen == {0, 1, 2}


FUNCTIONS = {
    "downscale": spoil.downscale,
    "blur": lambda x: spoil.blur(x, torch.ones(3, 3) / 9),
    "noise": lambda x: spoil.add_noise(x, 0.1, generator()),
    "MotionBlur": lambda x: spoil.MotionBlur(size=5)(x, generator()),
    "Downscale": lambda x: spoil.Downscale()(x, generator()),
}


@pytest.mark.parametrize("function", FUNCTIONS.values(), ids=FUNCTIONS)
def test_bad_images_are_refused(function, bad_image):
    image, error, message = bad_image
    with pytest.raises(error, match=message):
        function(image)


@pytest.mark.cuda
@pytest.mark.parametrize("degrade", DRAWS.values(), ids=DRAWS)
def test_a_gpu_sees_the_same(pair, degrade):
    x, _ = pair
    y, drawn = degrade(x, generator())
    on_gpu, drawn_there = degrade(x.cuda(), generator())
    assert on_gpu.device.type == "cuda"
    # one step of 8 bits where a value lies between two
    torch.testing.assert_close(on_gpu.cpu(), y, rtol=0, atol=1.01 / 255)
    for name, value in drawn.items():
        torch.testing.assert_close(drawn_there[name].cpu(), value)
