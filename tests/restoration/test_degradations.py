"""What spoils pictures: exact where there is a formula, random only by the generator."""

import math

import numpy as np
import pytest
import torch

import dsd_lib as dsd
from dsd_lib.restoration import degradations as spoil


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def center_of_mass(kernels: torch.Tensor) -> torch.Tensor:
    """(row, column) of each kernel, 0 in the middle: (N, 2)."""
    axis = torch.arange(kernels.shape[-1]).double() - kernels.shape[-1] // 2
    kernels = kernels.double()
    return torch.stack([(kernels.sum(2) * axis).sum(1), (kernels.sum(1) * axis).sum(1)], dim=1)


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
    with pytest.raises(ValueError, match="factor: expected a whole number of at least 2"):
        spoil.downscale(coffee, factor)


# Camera paths


def test_paths_have_their_length_and_constant_speed():
    paths, drawn = spoil.motion_trajectories(6, generator(), length=(5, 30), steps=400)
    assert paths.shape == (6, 400, 2) and paths.dtype == torch.float64
    steps = paths.diff(dim=1).norm(dim=2)
    expected = (drawn["length"] / 399)[:, None].expand_as(steps)
    torch.testing.assert_close(steps, expected, rtol=1e-6, atol=0)
    torch.testing.assert_close(paths.mean(dim=1), torch.zeros(6, 2).double(), rtol=0, atol=1e-9)
    assert (drawn["length"] >= 5).all() and (drawn["length"] <= 30).all()


def test_without_anxiety_paths_are_straight_and_with_it_they_turn():
    def end_to_end(anxiety):
        paths, drawn = spoil.motion_trajectories(
            40, generator(), length=(20, 20), anxiety=(anxiety, anxiety)
        )
        assert (drawn["anxiety"] - anxiety).abs().max() < 1e-12
        return ((paths[:, -1] - paths[:, 0]).norm(dim=1) / 20).mean().item()

    calm, usual, anxious = (end_to_end(a) for a in (0.0, 0.0007, 0.02))
    assert calm == pytest.approx(1, abs=1e-9)
    assert 0.95 > usual > 2 * anxious > 0


def test_paths_are_alike_whatever_the_number_of_steps():
    def spread(steps):
        paths, _ = spoil.motion_trajectories(
            300, generator(), length=(20, 20), anxiety=(0.003, 0.003), steps=steps
        )
        return paths.square().sum(dim=2).mean().sqrt().item()

    assert spread(300) == pytest.approx(spread(1200), rel=0.1)


def test_impulses_turn_a_path_around():
    """Inertia without pushes is a straight line; with impulses its direction jumps, rarely."""
    paths, _ = spoil.motion_trajectories(
        60, generator(), length=(20, 20), anxiety=(0.005, 0.005), steps=2000
    )
    direction = torch.view_as_complex(paths.diff(dim=1).contiguous()).angle()
    turn = (direction.diff(dim=1) + math.pi).remainder(2 * math.pi) - math.pi
    jumps = (turn.abs() > 2).double().mean().item()
    # an impulse comes with chance 0.2·U(0, 1)·anxiety, on average 0.0005 a step
    assert 0.0002 < jumps < 0.001


# Kernels


def test_kernels_sum_to_one_are_centered_and_not_negative():
    kernels, drawn = spoil.motion_kernels(32, 21, generator())
    assert kernels.shape == (32, 21, 21) and kernels.dtype == torch.float32
    assert (kernels >= 0).all()
    torch.testing.assert_close(kernels.sum(dim=(1, 2)), torch.ones(32), rtol=0, atol=1e-5)
    assert center_of_mass(kernels).abs().max() < 1e-4
    assert drawn["length"].shape == drawn["anxiety"].shape == (32,)
    assert len({k.numpy().tobytes() for k in kernels}) == 32  # all different


def test_a_straight_path_gives_a_line_of_its_length():
    path = torch.linspace(-4, 4, 8001).double()
    paths = torch.stack([path, torch.zeros_like(path)], dim=1)[None]  # along x
    kernel = spoil.rasterize(paths, 11)[0]
    assert kernel[5].sum() == pytest.approx(1) and kernel.sum() == pytest.approx(1)
    torch.testing.assert_close(kernel[5, 2:9], torch.full((7,), 1 / 8), rtol=1e-3, atol=0)
    assert kernel[5, 1] == pytest.approx(1 / 16, rel=1e-2) and kernel[5, 0] == 0


def test_a_path_that_is_too_long_is_shrunk_to_fit():
    path = torch.linspace(-20, 20, 801).double()
    paths = torch.stack([path, torch.zeros_like(path)], dim=1)[None]
    kernel = spoil.rasterize(paths, 9)[0]
    assert kernel[4].sum() == pytest.approx(1)
    torch.testing.assert_close(kernel[4, 1:8], torch.full((7,), 1 / 8), rtol=2e-2, atol=0)
    _, drawn = spoil.motion_kernels(8, 9, generator(), length=(50, 50), anxiety=(0, 0))
    # straight: from edge to edge, more when it lies along the diagonal
    assert (drawn["length"] >= 8 - 1e-6).all() and (drawn["length"] <= 8 * 2**0.5 + 1e-6).all()


def test_one_kernel_is_the_first_of_many():
    kernel = spoil.motion_kernel(15, generator(3), length=(9, 9))
    assert torch.equal(kernel, spoil.motion_kernels(1, 15, generator(3), length=(9, 9))[0][0])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": 10}, "size: expected an odd number"),
        ({"size": 1}, "size: expected a whole number of at least 3"),
        ({"size": 9.0}, "size: expected a whole number of at least 3"),
        ({"count": 0}, "count: expected a whole number of at least 1"),
        ({"steps": 1}, "steps: expected a whole number of at least 2"),
        ({"length": (5, 3)}, "length: expected a range"),
        ({"length": (-1, 3)}, "length: expected a range"),
        ({"anxiety": (0.1, math.inf)}, "anxiety: expected a range"),
    ],
)
def test_kernel_options_are_checked(options, message):
    with pytest.raises(ValueError, match=message):
        spoil.motion_kernels(**({"count": 1, "size": 9, "generator": generator()} | options))


def test_centering_moves_by_whole_pixels():
    kernel = torch.zeros(5, 5)
    kernel[0, 4], kernel[1, 4], kernel[0, 3] = 0.6, 0.3, 0.1
    centered = spoil.center_kernel(kernel)
    assert centered.shape == (3, 3)
    assert centered[1, 1] == kernel[0, 4] and centered[2, 1] == kernel[1, 4]
    assert centered[1, 0] == kernel[0, 3]


def test_kernels_of_levin(levin):
    centered, measured = levin, spoil.levin_kernels(center=False)
    assert [len(k) for k in measured] == [19, 17, 15, 27, 13, 21, 23, 23]
    for kernel, raw in zip(centered, measured, strict=True):
        assert len(kernel) % 2 == 1 and kernel.sum() == pytest.approx(1, abs=1e-5)
        assert center_of_mass(kernel[None]).abs().max() <= 0.5 + 1e-3
        # the same values in another place
        assert torch.equal(kernel[kernel > 0].sort().values, raw[raw > 0].sort().values)
    assert max(center_of_mass(k[None]).abs().max() for k in measured) > 3


@pytest.fixture
def levin() -> tuple[torch.Tensor, ...]:
    try:
        return spoil.levin_kernels()
    except FileNotFoundError as error:
        pytest.skip(str(error))


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
    kernel = spoil.motion_kernel(9, generator(1), anxiety=(0.01, 0.01))
    x = torch.zeros(1, 3, 17, 17)
    x[:, :, 8, 8] = 1
    y = spoil.blur(x, kernel)[0, 1, 4:13, 4:13]
    torch.testing.assert_close(y, kernel.flip(0, 1), rtol=0, atol=1e-6)
    assert (y - kernel).abs().max() > 0.01


def test_each_picture_has_its_kernel(pair):
    x, _ = pair
    kernels, _ = spoil.motion_kernels(2, 9, generator())
    y = spoil.blur(x, kernels)
    for i in range(2):
        torch.testing.assert_close(y[i : i + 1], spoil.blur(x[i : i + 1], kernels[i]))
    middle = torch.zeros(3, 3)
    middle[1, 1] = 1
    torch.testing.assert_close(spoil.blur(x, middle), x)


@pytest.mark.parametrize("padding", ["reflect", "replicate"])
def test_borders(coffee, padding):
    x, kernel = coffee[:, :, :24, :30], spoil.motion_kernel(7, generator())
    mode = {"reflect": "reflect", "replicate": "edge"}[padding]
    wide = torch.from_numpy(np.pad(x.numpy(), ((0, 0), (0, 0), (3, 3), (3, 3)), mode=mode))
    expected = spoil.blur(wide, kernel, padding="valid")
    y = spoil.blur(x, kernel, padding=padding)
    assert y.shape == x.shape
    torch.testing.assert_close(y, expected, rtol=0, atol=1e-6)
    valid = spoil.blur(x, kernel, padding="valid")
    assert valid.shape == (1, 3, 18, 24)
    torch.testing.assert_close(y[:, :, 3:-3, 3:-3], valid, rtol=0, atol=1e-6)


def test_blur_keeps_a_flat_picture_and_blurs_light_with_gamma():
    kernel = spoil.motion_kernel(5, generator())
    flat = torch.full((1, 3, 12, 12), 0.3)
    for gamma in (1.0, 2.2):
        torch.testing.assert_close(spoil.blur(flat, kernel, gamma=gamma), flat, rtol=0, atol=1e-5)
    x = torch.zeros(1, 3, 8, 8)
    x[..., 4:] = 1
    half = torch.tensor([[0.0, 0, 0], [0.5, 0, 0.5], [0, 0, 0]])
    edge = spoil.blur(x, half, gamma=2.2)[0, 0, 4, 4].item()
    assert edge == pytest.approx(0.5 ** (1 / 2.2), abs=1e-4)  # brighter than 0.5


def test_blur_is_differentiable_and_keeps_type(coffee):
    kernel = spoil.motion_kernel(5, generator())
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


# Noise and JPEG


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


def test_jpeg_is_a_file_of_that_quality(pair, tmp_path):
    from PIL import Image

    x, _ = pair
    y = spoil.jpeg(x, [20, 90])
    for i, quality in enumerate([20, 90]):
        path = tmp_path / "picture.jpg"
        Image.fromarray(dsd.to_array(x[i : i + 1])).save(path, quality=quality)
        assert torch.equal(y[i : i + 1], dsd.load_image(path))
    errors = [(spoil.jpeg(x, q) - x).abs().mean().item() for q in (10, 40, 90)]
    assert errors[0] > errors[1] > errors[2] > 0
    assert not torch.equal(spoil.jpeg(x, 90, subsampling="4:4:4"), spoil.jpeg(x, 90))


@pytest.mark.parametrize("quality", [0, 101, 50.0, [50], [50, 60, 70], "high"])
def test_quality_is_checked(pair, quality):
    with pytest.raises(ValueError, match="quality: expected 1 to 100, one or 2 of them"):
        spoil.jpeg(pair[0], quality)


def test_subsampling_and_ranges_are_checked(pair):
    with pytest.raises(ValueError, match="subsampling: expected"):
        spoil.jpeg(pair[0], 50, subsampling="4:1:1")
    with pytest.raises(ValueError, match="quality: expected a range within 1 to 100"):
        spoil.Jpeg((50, 20))
    with pytest.raises(ValueError, match="noise: expected a range"):
        spoil.MotionBlur(noise=(0.1, 0))
    with pytest.raises(ValueError, match="kernels: expected at least one"):
        spoil.MotionBlur(kernels=[])


# What training draws

DRAWS = {
    "downscale": spoil.Downscale(4),
    "motion": spoil.MotionBlur(size=11, noise=(0.01, 0.03)),
    "given kernels": spoil.MotionBlur(
        kernels=[torch.ones(3, 3) / 9, torch.ones(5, 5) / 25, torch.ones(1, 1)]
    ),
    "jpeg": spoil.Jpeg((10, 90)),
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
    assert all(len(value) == 2 for value in drawn.values())  # one for each picture
    assert y.dtype == x.dtype and y.shape[:2] == x.shape[:2]
    assert y.shape[2] * degrade.scale == x.shape[2]
    assert y.min() >= 0 and y.max() <= 1
    assert torch.equal(y, dsd.restoration.degradations.to_eight_bits(y))
    if drawn:
        assert not torch.equal(degrade(x, generator(5))[0], y)


@pytest.mark.parametrize("gamma", [1.0, 2.2])
def test_motion_blur_is_what_its_parameters_say(pair, gamma):
    x, _ = pair
    degrade = spoil.MotionBlur(size=11, noise=(0, 0), gamma=gamma, eight_bits=False)
    y, drawn = degrade(x, generator())
    assert torch.equal(y, spoil.blur(x, drawn["kernel"], gamma=gamma))
    noisy = spoil.MotionBlur(size=11, noise=(0.02, 0.05), gamma=gamma, eight_bits=False)
    z, drawn = noisy(x, generator())
    assert ((drawn["sigma"] >= 0.02) & (drawn["sigma"] <= 0.05)).all()
    noise = (z - spoil.blur(x, drawn["kernel"], gamma=gamma)).flatten(1).std(dim=1)
    torch.testing.assert_close(noise, drawn["sigma"], rtol=0.1, atol=0)


def test_given_kernels_are_all_drawn_and_made_one_size(pair):
    kernels = [torch.ones(3, 3) / 9, torch.ones(5, 5) / 25, torch.ones(1, 1)]
    degrade = spoil.MotionBlur(kernels=kernels, noise=(0, 0), eight_bits=False)
    seen = set()
    for seed in range(8):
        y, drawn = degrade(pair[0], generator(seed))
        assert drawn["kernel"].shape == (2, 5, 5)
        for i, index in enumerate(drawn["index"].tolist()):
            seen.add(index)
            expected = spoil.blur(pair[0][i : i + 1], kernels[index])
            torch.testing.assert_close(y[i : i + 1], expected, rtol=0, atol=1e-6)
    assert seen == {0, 1, 2}


def test_qualities_cover_their_range(pair):
    degrade = spoil.Jpeg((40, 42))
    drawn = torch.cat([degrade(pair[0], generator(s))[1]["quality"] for s in range(20)])
    assert set(drawn.tolist()) == {40, 41, 42}
    y, drawn = degrade(pair[0], generator(0))
    assert torch.equal(y, spoil.jpeg(pair[0], drawn["quality"]))


FUNCTIONS = {
    "downscale": spoil.downscale,
    "blur": lambda x: spoil.blur(x, torch.ones(3, 3) / 9),
    "noise": lambda x: spoil.add_noise(x, 0.1, generator()),
    "jpeg": lambda x: spoil.jpeg(x, 50),
    "MotionBlur": lambda x: spoil.MotionBlur(size=5)(x, generator()),
    "Downscale": lambda x: spoil.Downscale()(x, generator()),
    "Jpeg": lambda x: spoil.Jpeg()(x, generator()),
}


@pytest.mark.parametrize("function", FUNCTIONS.values(), ids=FUNCTIONS)
def test_bad_pictures_are_refused(function, bad_picture):
    picture, error, message = bad_picture
    with pytest.raises(error, match=message):
        function(picture)


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
