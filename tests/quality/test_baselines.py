"""Measures of others: against the authors' values, a plain second implementation, and by hand."""

import json
import types
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import dsd_lib as dsd
from dsd_lib.quality import baselines
from dsd_lib.quality import shift_tolerant as shift_tolerant_module
from dsd_lib.quality.luma import gray, luma
from dsd_lib.quality.measures import MEASURES

GOLDEN = json.loads((Path(__file__).parent.parent / "golden" / "official.json").read_text())
LPIPS_CLASS = "torchmetrics.image.lpip.LearnedPerceptualImagePatchSimilarity"
OFFLINE = ["psnr", "psnr_y", "ssim", "ssim_y", "ms_ssim"]
SMALLEST = {"psnr": 1, "psnr_y": 1, "ssim": 1, "ssim_y": 11, "ms_ssim": 176}


@pytest.fixture(scope="module")
def shift_tolerant():
    pytest.importorskip("stlpips_pytorch", reason="stlpips-pytorch is not installed")
    return baselines.shift_tolerant_lpips


@pytest.fixture
def photo(pictures):
    return pictures["coffee"][:, :, 30:230, 60:260].contiguous()


def noise(x, strength):
    generator = torch.Generator().manual_seed(3)
    return (x + strength * torch.randn(x.shape, generator=generator)).clamp(0, 1)


def distort(x, distortion):
    """The pictures behind tests/golden/official.json."""
    if distortion == "noise":
        n = np.random.default_rng(7).normal(0, 1, x.shape).astype(np.float32)
        return (x + 0.08 * torch.from_numpy(n)).clamp(0, 1)
    if distortion == "blur":
        return dsd.imresize(dsd.imresize(x, scale=0.5), size=x.shape[2:]).clamp(0, 1)
    return 0.7 * x


@pytest.mark.parametrize("distortion", ["noise", "blur", "dark"])
@pytest.mark.parametrize("picture", ["astronaut", "coffee"])
def test_the_official_codes_values(pictures, picture, distortion):
    x = pictures[picture]
    y, golden = distort(x, distortion), GOLDEN[picture][distortion]
    assert baselines.psnr_y(y, x).item() == pytest.approx(golden["psnr_y"], rel=1e-5)
    assert baselines.ssim(y, x).item() == pytest.approx(golden["ssim"], rel=2e-5)
    # The other conventions are other numbers, so that the names above mean something.
    assert baselines.psnr(y, x).item() != pytest.approx(golden["psnr_y"], rel=1e-2)
    assert baselines.ssim_y(y, x).item() != pytest.approx(golden["ssim"], rel=1e-2)


def plain_ssim(x, y, edges):
    """Eq. (13) of Wang et al. in float64, with a window that is a product of two Gaussians."""
    x, y = x.double(), y.double()
    g = torch.exp(-((torch.arange(11).double() - 5) ** 2) / (2 * 1.5**2))
    window = (g[:, None] * g / g.sum() ** 2)[None, None].repeat(x.shape[1], 1, 1, 1)

    def mean(z):
        return F.conv2d(z, window, groups=z.shape[1], padding=5 if edges else 0)

    mx, my = mean(x), mean(y)
    vx, vy, c = mean(x * x) - mx**2, mean(y * y) - my**2, mean(x * y) - mx * my
    c1, c2 = 0.01**2, 0.03**2
    similarity = (2 * mx * my + c1) * (2 * c + c2) / ((mx**2 + my**2 + c1) * (vx + vy + c2))
    return similarity.mean(dim=(1, 2, 3))


def test_ssim_is_its_formula(pair):
    x, y = pair
    torch.testing.assert_close(
        baselines.ssim(x, y).double(), plain_ssim(x, y, edges=True), rtol=1e-4, atol=0
    )
    torch.testing.assert_close(
        baselines.ssim_y(x, y).double(),
        plain_ssim(luma(x), luma(y), edges=False),
        rtol=1e-4,
        atol=0,
    )


def test_psnr_by_hand():
    x = torch.full((2, 3, 12, 12), 0.5)
    y = x.clone()
    y[0] += 0.1
    y[1, 2] += 0.3  # blue alone: mean square 0.03, luma 24.966/255·0.3
    assert baselines.psnr(x, y).tolist() == pytest.approx([20, -10 * np.log10(0.03)], rel=1e-5)
    weights = np.array([219, 24.966 * 3]) / 255  # of a change by 0.1 in all channels, or in blue
    assert baselines.psnr_y(x, y).tolist() == pytest.approx(
        (-20 * np.log10(0.1 * weights)).tolist(), rel=1e-4
    )


def test_psnr_in_strips_is_that_of_the_whole(coffee, monkeypatch):
    x, y = coffee, 0.9 * coffee
    error = (x - y).square().mean().item()
    monkeypatch.setattr(baselines, "_STRIP", 7)
    assert baselines.psnr(x, y).item() == pytest.approx(-10 * np.log10(error), rel=1e-5)


def test_gray_has_gradients_and_type():
    x = torch.rand(2, 3, 4, 5, dtype=torch.float64, requires_grad=True)
    y = gray(x)
    assert y.shape == (2, 1, 4, 5) and y.dtype == torch.float64
    y.sum().backward()
    assert x.grad[:, 1].unique().item() == pytest.approx(0.587)


def test_luma_is_matlabs():
    rgb = torch.tensor([[1.0, 0, 0], [0, 1, 0], [0, 0, 1]]).view(3, 3, 1, 1)
    assert (luma(rgb).flatten() * 255).tolist() == pytest.approx([81.481, 144.553, 40.966])


@pytest.mark.parametrize("name", [*OFFLINE, "st_lpips"])
def test_order_shape_and_range(name, photo, request):
    if name == "st_lpips":
        request.getfixturevalue("shift_tolerant")
    baseline = MEASURES[name]
    levels = torch.cat([photo, noise(photo, 0.03), noise(photo, 0.1), noise(photo, 0.3)])
    values = baseline(levels, photo.expand_as(levels))
    assert values.shape == (4,)
    assert values.dtype == torch.float32
    quality = values if baseline.higher_is_better else -values
    assert (quality[:-1] > quality[1:]).all()  # more noise is worse
    low, high = baseline.value_range
    assert (low - 1e-6 <= values).all() and (values <= high + 1e-6).all()
    best = {"psnr": np.inf, "psnr_y": np.inf, "st_lpips": 0.0}.get(name, 1.0)
    assert values[0].item() == pytest.approx(best, abs=1e-6)
    # Every picture is measured by itself.
    torch.testing.assert_close(baseline(levels[2:3], photo), values[2:3], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", OFFLINE)
def test_symmetric(name, photo):
    a, b = photo, noise(photo, 0.1)
    torch.testing.assert_close(MEASURES[name](a, b), MEASURES[name](b, a))


@pytest.mark.parametrize("name", ["psnr", "psnr_y", "ssim", "ssim_y"])
def test_bad_images(name, bad_image):
    x, error, message = bad_image
    with pytest.raises(error, match=message):
        MEASURES[name](x, torch.zeros(1, 3, 32, 32))


@pytest.mark.parametrize("name", [*OFFLINE, "lpips", "st_lpips"])
def test_bad_values(name):
    x = torch.rand(1, 3, 200, 200)
    with pytest.raises(ValueError, match=r"x: expected values in \[0, 1\].*divide 8-bit values"):
        MEASURES[name](255 * x, x)
    with pytest.raises(ValueError, match="y: expected finite values"):
        MEASURES[name](x, x / 0)


@pytest.mark.parametrize("name", [*OFFLINE, "lpips", "st_lpips"])
def test_two_shapes(name):
    with pytest.raises(ValueError, match=r"same shape, got \(1, 3, 200, 200\) and \(1, 3, 200, 19"):
        MEASURES[name](torch.zeros(1, 3, 200, 200), torch.zeros(1, 3, 200, 199))


@pytest.mark.parametrize(("name", "side"), SMALLEST.items())
def test_smallest_side(name, side):
    x = torch.rand(1, 3, side, side + 3)
    assert torch.isfinite(MEASURES[name](x, 1 - x)).all()
    if side > 1:
        with pytest.raises(ValueError, match=f"sides of at least {side} pixels"):
            MEASURES[name](x[:, :, 1:], x[:, :, 1:])


def test_half_precision(photo):
    half = (photo.half(), noise(photo, 0.1).half())
    for name in OFFLINE:
        exact = MEASURES[name](*(x.float() for x in half))
        torch.testing.assert_close(MEASURES[name](*half).float(), exact, rtol=1e-3, atol=1e-3)


class TestLPIPS:
    def test_without_the_trunk(self, monkeypatch):
        def no_network(*_, **__):
            raise OSError("Name or service not known")

        baselines._lpips_metric.cache_clear()
        monkeypatch.setattr(LPIPS_CLASS, no_network)
        x = torch.rand(1, 3, 64, 64)
        with pytest.raises(FileNotFoundError, match=r"not known.*Put alexnet-owt-7be5be79\.pth in"):
            baselines.lpips(x, x)

    def test_torchmetrics_class_sees_images_in_0_to_1_and_keeps_nothing(self, monkeypatch):
        class Fake(torch.nn.Module):
            def __init__(self, net_type, reduction, normalize):
                super().__init__()
                assert (net_type, reduction, normalize) == ("alex", "none", True)
                self.seen = []

            def forward(self, x, y):
                self.seen.append((x, y))
                return (x - y).abs().amax(dim=(1, 2, 3))

            def reset(self):
                self.seen.clear()

        monkeypatch.setattr(LPIPS_CLASS, Fake)
        baselines._lpips_metric.cache_clear()
        x = torch.zeros(2, 3, 64, 64)
        x[0, :, 0, 0] = 1
        assert baselines.lpips(x, torch.zeros_like(x)).tolist() == [1, 0]
        assert baselines._lpips_metric(x.device).seen == []
        baselines._lpips_metric.cache_clear()

    def test_the_shift_tolerant_network_sees_minus_one_to_one(self, monkeypatch):
        seen = []

        def fake(x, y):
            seen.extend([x, y])
            return torch.arange(2.0).view(2, 1, 1, 1)

        monkeypatch.setattr(baselines, "_shift_tolerant_network", lambda device: fake)
        x = torch.zeros(2, 3, 64, 64)
        x[:, :, 0, 0] = 1
        assert baselines.shift_tolerant_lpips(x, 1 - x).tolist() == [0, 1]
        for z in seen:
            assert (z.min().item(), z.max().item()) == (-1, 1)

    def test_without_the_package(self, monkeypatch):
        baselines._shift_tolerant_network.cache_clear()
        monkeypatch.setattr(shift_tolerant_module, "find_spec", lambda name: None)
        x = torch.rand(1, 3, 64, 64)
        with pytest.raises(ImportError, match=r"pip install 'dsd_lib\[quality\]'"):
            baselines.shift_tolerant_lpips(x, x)


class TestShiftTolerant:
    def test_the_whole_file_is_loaded_and_nothing_is_left_random(self, shift_tolerant, photo):
        first = shift_tolerant(photo, noise(photo, 0.1))
        baselines._shift_tolerant_network.cache_clear()
        torch.manual_seed(123)
        torch.testing.assert_close(shift_tolerant(photo, noise(photo, 0.1)), first)

    def test_the_authors_code_gives_the_same(self, shift_tolerant, photo):
        """Values that the code of stlpips-pytorch 0.0.2 gives: noise of 0.03 and 0.1, blur."""
        authors = [0.137377918, 0.495723307, 0.0673296005]
        values = [shift_tolerant(photo, noise(photo, s)).item() for s in (0.03, 0.1)]
        blurred = dsd.imresize(dsd.imresize(photo, scale=0.5), size=photo.shape[2:]).clamp(0, 1)
        values.append(shift_tolerant(photo, blurred).item())
        assert values == pytest.approx(authors, rel=1e-4)

    def test_a_shift_by_a_pixel_costs_less_than_noise(self, shift_tolerant, pictures):
        x = pictures["coffee"]
        shifted = shift_tolerant(x[:, :, 20:-20, 20:-20], x[:, :, 20:-20, 21:-19]).item()
        noisy = shift_tolerant(x, noise(x, 0.03)).item()
        assert 0 < shifted < noisy

    def test_a_damaged_file_is_refused(self, shift_tolerant, monkeypatch, tmp_path):
        package = types.SimpleNamespace(origin=str(tmp_path / "__init__.py"))
        file = tmp_path / shift_tolerant_module.WEIGHTS
        file.parent.mkdir(parents=True)
        file.write_bytes(b"other weights")
        monkeypatch.setattr(shift_tolerant_module, "find_spec", lambda name: package)
        with pytest.raises(ValueError, match=r"expected sha256 b356b382.*install it again"):
            shift_tolerant_module.load_shift_tolerant_lpips()
