"""The grid measure: 1 without a grid, more with a stronger one, and blind to everything else."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from dsd_lib.quality.grid import error_spectrum, grid_energy


def noise(shape: tuple[int, ...], seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def falling_noise() -> Tensor:
    """Noise whose amplitude falls as 1/f, as what is wrong in natural images about does."""
    frequency = torch.hypot(torch.fft.fftfreq(160)[:, None], torch.fft.fftfreq(192))
    spectrum = torch.fft.fft2(noise((160, 192))) / (frequency + 1 / 160)
    error = torch.fft.ifft2(spectrum).real
    return (0.03 * error / error.std()).expand(1, 3, -1, -1)


@pytest.fixture(scope="module")
def target() -> Tensor:
    """A gray image with room for errors on both sides."""
    return torch.full((1, 3, 160, 192), 0.5)


@pytest.fixture(scope="module")
def error() -> Tensor:
    return falling_noise()


def pattern(seed: int) -> Tensor:
    """A repeated 4×4 cell of root mean square 1 and mean 0, as large as the target."""
    cell = noise((4, 4), seed).double()
    cell = (cell - cell.mean()) / cell.std(correction=0)
    return cell.repeat(160 // 4, 192 // 4).float()


def test_one_without_a_grid(target, error):
    assert grid_energy(target, target).item() == 1
    assert grid_energy(target + error, target).item() == pytest.approx(1, abs=0.1)
    white = 0.05 * noise(target.shape)
    assert grid_energy(target + white, target).item() == pytest.approx(1, abs=0.05)


def test_white_noise_has_a_flat_spectrum_of_its_variance(target):
    gray = (0.05 * noise((8, 1, 160, 192))).expand(-1, 3, -1, -1)
    targets = target.expand(8, -1, -1, -1)
    power = error_spectrum(targets + gray, targets)
    scale = (65.481 + 128.553 + 24.966) / 255  # of luma
    assert power.shape == (8, 64, 64)
    assert power.mean().sqrt().item() == pytest.approx(0.05 * scale, rel=0.02)


@given(st.integers(0, 1000), st.floats(0.002, 0.02), st.floats(1.5, 3))
def test_a_stronger_grid_has_more_energy(seed, amplitude, more):
    target = torch.full((1, 3, 160, 192), 0.5)
    error = falling_noise()
    grid = amplitude * pattern(seed)
    none, some, much = (grid_energy(target + error + k * grid, target) for k in (0, 1, more))
    assert none < some < much


def test_strength_and_brightness_do_not_matter(target, error):
    both = error + 0.01 * pattern(0)
    value = grid_energy(target + both, target)
    torch.testing.assert_close(grid_energy(target + 2 * both, target), value, rtol=0.02, atol=0)
    torch.testing.assert_close(grid_energy(target + both + 0.1, target + 0.1), value)
    torch.testing.assert_close(grid_energy(target + both + 0.1, target), value, rtol=1e-3, atol=0)
    torch.testing.assert_close(grid_energy(target, target + both), value)


def test_where_the_grid_begins_does_not_matter(target, error):
    x = target + error + 0.01 * pattern(0)
    shifted = grid_energy(x[..., 3:131, 2:130], target[..., :128, :128])
    assert shifted.item() == pytest.approx(grid_energy(x, target).item(), rel=0.2)
    turned = grid_energy(x.rot90(dims=(2, 3)), target.rot90(dims=(2, 3)))
    assert turned.item() == pytest.approx(grid_energy(x, target).item(), rel=0.05)


def test_a_grid_that_changes_its_sign_counts(target, error):
    """The mean of each of the 16 positions of a cell is blind to it."""
    sign = torch.sign(torch.sin(torch.arange(192) * torch.pi / 24 + 0.3))  # 24 pixels a sign
    signed = 0.02 * pattern(0) * sign
    cells = (signed * torch.ones(1, 3, 1, 1))[0, 0].view(40, 4, 48, 4).mean(dim=(0, 2))
    assert cells.abs().max() < 1e-3
    assert grid_energy(target + error + signed, target) > 2


@pytest.mark.parametrize("factor", [2, 3, 8])
def test_other_factors(target, error, factor):
    plain = grid_energy(target + error, target, factor)
    grid = 0.01 * noise((factor, factor)).repeat(80, 96)[:160, :192]
    assert plain.item() == pytest.approx(1, abs=0.2)
    assert grid_energy(target + error + grid, target, factor) > 1.5 * plain


def test_a_batch_is_measured_image_by_image(target, error):
    x = torch.cat([target + error, target + error + 0.02 * pattern(0)])
    y = target.expand(2, -1, -1, -1)
    alone = torch.cat([grid_energy(x[i : i + 1], y[i : i + 1]) for i in range(2)])
    torch.testing.assert_close(grid_energy(x, y), alone)


def test_bad_images_are_refused(bad_image):
    image, error, message = bad_image
    with pytest.raises(error, match=message):
        grid_energy(image, torch.zeros(1, 3, 32, 32), factor=2)


def test_other_bad_arguments():
    x = torch.zeros(1, 3, 64, 64)
    with pytest.raises(ValueError, match="same shape"):
        grid_energy(x, torch.zeros(1, 3, 64, 68))
    with pytest.raises(ValueError, match="sides of at least 64 pixels"):
        grid_energy(x[..., :63], x[..., :63])
    for factor in (1, True, 2.0):
        with pytest.raises(ValueError, match="factor: expected a whole number of at least 2"):
            grid_energy(x, x, factor)
