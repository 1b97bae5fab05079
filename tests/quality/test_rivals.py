"""Rivals without a download: their formulas by hand, their invariants, their gradients."""

import pytest
import torch
import torch.nn.functional as F
from torch.autograd import gradcheck

from dsd_lib.quality import rivals

ALL = [
    rivals.dists_form,
    rivals.lpips_form,
    rivals.deep_wsd_form,
    rivals.sliced_wasserstein_distance,
]


@pytest.mark.parametrize("function", ALL)
def test_identical_symmetric_and_growing(function, net, pair):
    x, y = pair
    assert (function(x, x, net).abs() < 1e-5).all()
    torch.testing.assert_close(function(x, y, net), function(y, x, net), rtol=1e-4, atol=1e-6)
    half = x + (y - x) / 2
    assert (function(half, x, net) < function(y, x, net)).all()
    both = function(x, y, net)
    torch.testing.assert_close(function(x[1:], y[1:], net), both[1:], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("function", ALL)
def test_the_gradient_is_finite_also_at_identical_images(function, net, pair):
    x, y = pair
    for target in (x, y, torch.zeros_like(x)):
        image = x.clone().requires_grad_()
        function(image, target, net).sum().backward()
        assert image.grad.isfinite().all()


@pytest.mark.parametrize("function", ALL)
def test_bad_images(function, net, bad_image):
    x, error, message = bad_image
    with pytest.raises(error, match=message):
        function(x, torch.zeros(1, 3, 32, 32), net)


@pytest.mark.parametrize("function", ALL)
def test_two_shapes(function, net):
    with pytest.raises(ValueError, match="same shape"):
        function(torch.zeros(1, 3, 32, 32), torch.zeros(1, 3, 32, 33), net)


def maps(*shape, seed):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(*shape, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize(
    "compare", [rivals.compare_dists, rivals.compare_lpips, rivals.compare_deep_wsd]
)
def test_gradcheck(compare):
    f, g = maps(1, 3, 4, 4, seed=0).requires_grad_(), maps(1, 3, 4, 4, seed=1)
    assert gradcheck(lambda a: compare([a], [g]), [f])


def test_gradcheck_of_sliced_wasserstein():
    f, g = maps(1, 3, 4, 4, seed=0).requires_grad_(), maps(1, 3, 4, 4, seed=1)
    assert gradcheck(lambda a: rivals.compare_sliced(a, g), [f])


def test_dists_by_hand():
    """One channel: μ = 1 and 3, σ² = 1 and 4, covariance 2. Then one that is flat in both."""
    f = torch.tensor([[[[0.0, 2.0]], [[5.0, 5.0]]]], dtype=torch.float64)
    g = torch.tensor([[[[1.0, 5.0]], [[0.0, 0.0]]]], dtype=torch.float64)
    texture = [2 * 1 * 3 / (1 + 9), 0]
    structure = [2 * 2 / (1 + 4), 1]
    expected = 1 - sum(texture + structure) / 4
    assert rivals.compare_dists([f], [g]).item() == pytest.approx(expected, abs=1e-6)


def test_lpips_by_hand():
    """Vectors at right angles are 2 apart, whatever their length; then the same direction."""
    f = torch.tensor([[[[3.0, 1.0]], [[0.0, 1.0]]]])
    g = torch.tensor([[[[0.0, 2.0]], [[0.5, 2.0]]]])
    assert rivals.compare_lpips([f, f], [g, f]).item() == pytest.approx((2 + 0) / 2)


def test_deep_wsd_by_hand():
    """A window's values may change places at no cost; the fifth column does not count."""
    f = torch.arange(20.0).view(1, 1, 4, 5)
    g = f.clone()
    g[..., :4] = g[..., :4].flip(2, 3) + 0.5
    g[..., 4] = 100
    assert rivals.compare_deep_wsd([f], [g]).item() == pytest.approx(0.5)
    two = torch.cat([f[..., :4], f[..., :4] + 1], dim=3)  # two windows that have changed places
    swapped = torch.cat([f[..., :4] + 1, f[..., :4]], dim=3)
    assert rivals.compare_deep_wsd([two], [swapped]).item() == pytest.approx(1)


def test_sliced_wasserstein_by_hand():
    """Moving all vectors by v moves every projection by its share of v; order does not count."""
    f = torch.randn(1, 3, 4, 5, dtype=torch.float64)
    shuffled = f.flatten(2)[..., torch.randperm(20)].view_as(f)
    assert rivals.compare_sliced(f, shuffled).item() == pytest.approx(0, abs=1e-12)
    v = torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)
    generator = torch.Generator().manual_seed(7)
    directions = F.normalize(torch.randn(3, 3, generator=generator), dim=1).double()
    expected = (directions @ v).square().mean().item()
    moved = rivals.compare_sliced(f, shuffled + v.view(1, 3, 1, 1), seed=7)
    assert moved.item() == pytest.approx(expected)


def test_the_seed_chooses_the_directions(net, pair):
    first, again = (rivals.sliced_wasserstein_distance(*pair, net) for _ in range(2))
    assert torch.equal(first, again)
    other = rivals.sliced_wasserstein_distance(*pair, net, seed=1)
    assert not torch.equal(first, other)
    torch.testing.assert_close(first, other, rtol=0.3, atol=0)


def test_l2_pooling_against_a_loop():
    f = torch.randn(1, 2, 5, 6, dtype=torch.float64)
    window = torch.tensor([0.25, 0.5, 0.25], dtype=torch.float64)
    padded = F.pad(f, (1, 1, 1, 1))
    found = rivals.l2_pool(f)
    assert found.shape == (1, 2, 3, 3)
    for i in range(3):
        for j in range(3):
            part = padded[0, :, 2 * i : 2 * i + 3, 2 * j : 2 * j + 3].square()
            mean = (part * window[:, None] * window).sum(dim=(1, 2))
            torch.testing.assert_close(found[0, :, i, j], (mean + 1e-12).sqrt())


def test_without_pooling_the_maps_are_the_networks(net, pair):
    pooled = rivals.l2_pooled_maps(pair[0], net)
    torch.testing.assert_close(pooled["image"], pair[0])
    torch.testing.assert_close(
        pooled["relu1_2"], net(pair[0], ["relu1_2"])["relu1_2"], rtol=1e-4, atol=1e-4
    )
    assert list(pooled) == ["image", *rivals.block_ends(net)]
    assert pooled["relu5_3"].shape == (2, 512, 3, 3)
