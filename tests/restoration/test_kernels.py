"""Motion kernels: exact where there is a formula, random only by the generator."""

import math

import pytest
import torch

from dsd_lib.restoration import kernels as motion


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def center_of_mass(kernels: torch.Tensor) -> torch.Tensor:
    """(row, column) of each kernel, 0 in the middle: (N, 2)."""
    axis = torch.arange(kernels.shape[-1]).double() - kernels.shape[-1] // 2
    kernels = kernels.double()
    return torch.stack([(kernels.sum(2) * axis).sum(1), (kernels.sum(1) * axis).sum(1)], dim=1)


# Camera paths


def test_paths_have_their_length_and_constant_speed():
    paths, drawn = motion.motion_trajectories(6, generator(), length=(5, 30), steps=400)
    assert paths.shape == (6, 400, 2) and paths.dtype == torch.float64
    steps = paths.diff(dim=1).norm(dim=2)
    expected = (drawn["length"] / 399)[:, None].expand_as(steps)
    torch.testing.assert_close(steps, expected, rtol=1e-6, atol=0)
    torch.testing.assert_close(paths.mean(dim=1), torch.zeros(6, 2).double(), rtol=0, atol=1e-9)
    assert (drawn["length"] >= 5).all() and (drawn["length"] <= 30).all()


def test_without_anxiety_paths_are_straight_and_with_it_they_turn():
    def end_to_end(anxiety):
        paths, drawn = motion.motion_trajectories(
            40, generator(), length=(20, 20), anxiety=(anxiety, anxiety)
        )
        assert (drawn["anxiety"] - anxiety).abs().max() < 1e-12
        return ((paths[:, -1] - paths[:, 0]).norm(dim=1) / 20).mean().item()

    calm, usual, anxious = (end_to_end(a) for a in (0.0, 0.0007, 0.02))
    assert calm == pytest.approx(1, abs=1e-9)
    assert 0.95 > usual > 2 * anxious > 0


def test_paths_are_alike_whatever_the_number_of_steps():
    def spread(steps):
        paths, _ = motion.motion_trajectories(
            300, generator(), length=(20, 20), anxiety=(0.003, 0.003), steps=steps
        )
        return paths.square().sum(dim=2).mean().sqrt().item()

    assert spread(300) == pytest.approx(spread(1200), rel=0.1)


def test_impulses_turn_a_path_around():
    """Inertia without pushes is a straight line; with impulses its direction jumps, rarely."""
    paths, _ = motion.motion_trajectories(
        60, generator(), length=(20, 20), anxiety=(0.005, 0.005), steps=2000
    )
    direction = torch.view_as_complex(paths.diff(dim=1).contiguous()).angle()
    turn = (direction.diff(dim=1) + math.pi).remainder(2 * math.pi) - math.pi
    jumps = (turn.abs() > 2).double().mean().item()
    # an impulse comes with chance 0.2·U(0, 1)·anxiety, on average 0.0005 a step
    assert 0.0002 < jumps < 0.001


# Kernels


def test_kernels_sum_to_one_are_centered_and_not_negative():
    kernels, drawn = motion.motion_kernels(32, 21, generator())
    assert kernels.shape == (32, 21, 21) and kernels.dtype == torch.float32
    assert (kernels >= 0).all()
    torch.testing.assert_close(kernels.sum(dim=(1, 2)), torch.ones(32), rtol=0, atol=1e-5)
    assert center_of_mass(kernels).abs().max() < 1e-4
    assert drawn["length"].shape == drawn["anxiety"].shape == (32,)
    assert len({k.numpy().tobytes() for k in kernels}) == 32  # all different


def test_a_straight_path_gives_a_line_of_its_length():
    path = torch.linspace(-4, 4, 8001).double()
    paths = torch.stack([path, torch.zeros_like(path)], dim=1)[None]  # along x
    kernel = motion.rasterize(paths, 11)[0]
    assert kernel[5].sum() == pytest.approx(1) and kernel.sum() == pytest.approx(1)
    torch.testing.assert_close(kernel[5, 2:9], torch.full((7,), 1 / 8), rtol=1e-3, atol=0)
    assert kernel[5, 1] == pytest.approx(1 / 16, rel=1e-2) and kernel[5, 0] == 0


def test_a_path_that_is_too_long_is_shrunk_to_fit():
    path = torch.linspace(-20, 20, 801).double()
    paths = torch.stack([path, torch.zeros_like(path)], dim=1)[None]
    kernel = motion.rasterize(paths, 9)[0]
    assert kernel[4].sum() == pytest.approx(1)
    torch.testing.assert_close(kernel[4, 1:8], torch.full((7,), 1 / 8), rtol=2e-2, atol=0)
    _, drawn = motion.motion_kernels(8, 9, generator(), length=(50, 50), anxiety=(0, 0))
    # straight: from edge to edge, more when it lies along the diagonal
    assert (drawn["length"] >= 8 - 1e-6).all() and (drawn["length"] <= 8 * 2**0.5 + 1e-6).all()


def test_a_camera_that_holds_still_blurs_nothing():
    still, drawn = motion.motion_kernels(2, 5, generator(), length=(0, 0))
    expected = torch.zeros(2, 5, 5)
    expected[:, 2, 2] = 1
    assert torch.equal(still, expected) and (drawn["length"] == 0).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": 10}, "size: expected an odd number"),
        ({"size": 1}, "size: expected a whole number of 3 or more"),
        ({"size": 9.0}, "size: expected a whole number of 3 or more"),
        ({"count": 0}, "count: expected a whole number of 1 or more"),
        ({"steps": 1}, "steps: expected a whole number of 2 or more"),
        ({"length": (5, 3)}, "length: expected a range"),
        ({"length": (-1, 3)}, "length: expected a range"),
        ({"anxiety": (0.1, math.inf)}, "anxiety: expected a range"),
    ],
)
def test_kernel_options_are_checked(options, message):
    with pytest.raises(ValueError, match=message):
        motion.motion_kernels(**({"count": 1, "size": 9, "generator": generator()} | options))


def test_centering_moves_by_whole_pixels():
    kernel = torch.zeros(5, 5)
    kernel[0, 4], kernel[1, 4], kernel[0, 3] = 0.6, 0.3, 0.1
    centered = motion.center_kernel(kernel)
    assert centered.shape == (3, 3)
    assert centered[1, 1] == kernel[0, 4] and centered[2, 1] == kernel[1, 4]
    assert centered[1, 0] == kernel[0, 3]


def test_kernels_of_levin(levin):
    centered, measured = levin, motion.levin_kernels(center=False)
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
        return motion.levin_kernels()
    except FileNotFoundError as error:
        pytest.skip(str(error))
