"""ψ and the no-reference measure of Eq. (5)."""

import math

import pytest
import safetensors.torch
import torch
from torch import nn

import dsd_lib as dsd
from dsd_lib.no_reference import PSI_LAYERS, Psi, ResidualBlock, save_psi, stored


@pytest.fixture(scope="module")
def psi() -> Psi:
    return dsd.load_psi(alpha=4)


class Known(nn.Module):
    """A predictor that expects the same whatever it sees."""

    layers = ("relu1_2", "relu3_1")
    alpha = 2

    def __init__(self, *norms: float) -> None:
        super().__init__()
        self.register_buffer("norms", torch.tensor(norms))

    def forward(self, small: torch.Tensor) -> torch.Tensor:
        return self.norms.expand(len(small), -1)


def test_psi_is_the_network_of_the_paper():
    psi = Psi(alpha=4)
    blocks = [m for m in psi.features if isinstance(m, ResidualBlock)]
    assert [b.body[3].out_channels for b in blocks] == [
        w for w in (32, 32, 64, 64, 128, 128) for _ in (0, 1)
    ]
    assert [b.body[0].stride[0] for b in blocks] == [1, 1] + [2, 1] * 5
    assert psi.features[0].kernel_size == (5, 5)
    assert sum(isinstance(m, nn.Linear) for m in psi.head) == 2
    assert sum(p.numel() for p in psi.parameters()) == 1_510_716


def test_predictions_are_positive_and_in_units_of_the_scale():
    psi = Psi(alpha=4).eval()
    x = torch.rand(3, 3, 80, 80)
    before = psi(x)
    assert before.shape == (3, 4) and (before > 0).all()
    psi.scale.copy_(torch.tensor([1.0, 2.0, 3.0, 4.0]))
    torch.testing.assert_close(psi(x), before * psi.scale)


def test_a_gradient_reaches_every_parameter():
    psi = Psi(alpha=2)
    psi(torch.rand(4, 3, 80, 80)).sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in psi.parameters())


@pytest.mark.parametrize("alpha", [2, 4])
def test_the_trained_weights_are_there(alpha: int):
    psi = dsd.load_psi(alpha)
    assert (psi.alpha, psi.layers) == (alpha, PSI_LAYERS)
    assert not psi.training and not any(p.requires_grad for p in psi.parameters())
    assert (psi.scale > 0).all() and (psi.scale != 1).all()


def test_saving_and_loading_keeps_the_predictions(tmp_path, psi: Psi):
    save_psi(psi, tmp_path / "psi.safetensors")
    again = dsd.load_psi(weights=tmp_path / "psi.safetensors")
    x = torch.rand(2, 3, 80, 80)
    assert (again.alpha, again.layers) == (psi.alpha, psi.layers)
    torch.testing.assert_close(again(x), psi(x))


def test_half_precision_storage_costs_little(tmp_path):
    psi = Psi(alpha=4)
    with torch.no_grad():
        psi(torch.rand(8, 3, 80, 80))  # moves the batch statistics
    psi.eval()
    save_psi(psi, tmp_path / "psi.safetensors")
    x = torch.rand(4, 3, 80, 80)
    again = dsd.load_psi(weights=tmp_path / "psi.safetensors")
    torch.testing.assert_close(again(x), psi(x), rtol=5e-3, atol=0)


def test_wrong_weights_are_refused(tmp_path, psi: Psi):
    with pytest.raises(FileNotFoundError, match="no weights file at"):
        dsd.load_psi(weights=tmp_path / "none.safetensors")
    with pytest.raises(ValueError, match=r"alpha: expected 2 or 4, .* got 3"):
        dsd.load_psi(alpha=3)
    damaged = tmp_path / "damaged.safetensors"
    damaged.write_bytes(b"no such thing")
    with pytest.raises(ValueError, match="expected a safetensors file"):
        dsd.load_psi(weights=damaged)
    other = tmp_path / "other.safetensors"
    safetensors.torch.save_file({"a": torch.zeros(1)}, other)
    with pytest.raises(ValueError, match="expected alpha and layers in the metadata"):
        dsd.load_psi(weights=other)
    metadata = {"alpha": "4", "layers": " ".join(PSI_LAYERS)}
    safetensors.torch.save_file({"a": torch.zeros(1)}, other, metadata=metadata)
    with pytest.raises(ValueError, match="expected the tensors of ψ"):
        dsd.load_psi(weights=other)


@pytest.mark.parametrize("alpha", ["nan", "inf", "0", "-4", "1", "four"])
def test_files_of_an_alpha_that_cannot_be(tmp_path, psi: Psi, alpha):
    path = tmp_path / "psi.safetensors"
    safetensors.torch.save_file(
        stored(psi), path, metadata={"alpha": alpha, "layers": " ".join(PSI_LAYERS)}
    )
    with pytest.raises(ValueError, match=r"psi\.safetensors: not a file of ψ: "):
        dsd.load_psi(weights=path)


@pytest.mark.parametrize("layers", ["", "relu1_2 relu1_2", "relu9_1", "x " * 4, "relu2_1 " * 10**5])
def test_files_of_layers_that_cannot_be(tmp_path, psi: Psi, layers):
    path = tmp_path / "psi.safetensors"
    safetensors.torch.save_file(stored(psi), path, metadata={"alpha": "4", "layers": layers})
    with pytest.raises(ValueError, match="layers: expected different layers of a VGG, got"):
        dsd.load_psi(weights=path)


def test_files_of_other_shapes_or_of_weights_that_are_not_finite(tmp_path, psi: Psi):
    path, metadata = tmp_path / "psi.safetensors", {"alpha": "4", "layers": "relu1_2 relu2_1"}
    safetensors.torch.save_file(stored(psi), path, metadata=metadata)
    with pytest.raises(ValueError, match=r"tensors of ψ, got others for head\.2\.bias, head\.2\."):
        dsd.load_psi(weights=path)
    for value in (math.nan, math.inf):
        tensors = {k: v.clone() for k, v in stored(psi).items()}
        tensors["head.2.bias"][0] = value
        metadata["layers"] = " ".join(PSI_LAYERS)
        safetensors.torch.save_file(tensors, path, metadata=metadata)
        with pytest.raises(ValueError, match="expected finite weights, got NaN or infinity in hea"):
            dsd.load_psi(weights=path)


def test_the_measure_is_equation_5(net, pair):
    y, _ = pair
    norms = dsd.dsd_norm(y, net, Known.layers, alpha=2)
    expected = (torch.tensor([0.01, 0.02]) - norms).abs().sum(dim=1)
    measure = dsd.NoReferenceDSD(net=net, psi=Known(0.01, 0.02))
    torch.testing.assert_close(measure(y), expected)


def test_an_image_as_expected_scores_zero(net, pair):
    y = pair[0][:1]
    norms = dsd.dsd_norm(y, net, Known.layers, alpha=2)[0]
    assert dsd.NoReferenceDSD(net=net, psi=Known(*norms.tolist()))(y).item() < 1e-7


def test_psi_sees_only_the_downscaled_image(net, pair):
    """Two pictures that differ only in what the downscaling removes get one prediction."""
    y, _ = pair
    small = dsd.imresize(y, scale=1 / 4)
    measure = dsd.NoReferenceDSD(alpha=4, net=net)
    torch.testing.assert_close(measure.norms(y)[1], measure.psi(small))


def test_function_and_module_agree_and_a_batch_is_its_images(pictures):
    x = torch.cat([pictures["cat"], pictures["rocket"]])
    together = dsd.naturalness(x)
    assert together.shape == (2,) and (together > 0).all()
    torch.testing.assert_close(together, dsd.NoReferenceDSD()(x))
    alone = torch.cat([dsd.naturalness(x[:1]), dsd.naturalness(x[1:])])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-6)


def test_tiles_change_nothing(net, pictures):
    measure = dsd.NoReferenceDSD(net=net)
    whole, tiled = measure(pictures["cat"]), measure(pictures["cat"], tile=96)
    torch.testing.assert_close(whole, tiled, rtol=1e-4, atol=1e-6)


def test_odd_sides_gray_and_smallest_images():
    x = torch.rand(1, 1, 61, 83).expand(1, 3, 61, 83)
    assert dsd.naturalness(x).isfinite().all()
    with pytest.raises(ValueError, match=r"expected sides of at least 13 pixels, .* at alpha=4"):
        dsd.naturalness(torch.rand(1, 3, 12, 64))
    assert dsd.naturalness(torch.rand(1, 3, 13, 13)).isfinite().all()


def test_bad_images(bad_image):
    x, error, match = bad_image
    with pytest.raises(error, match=match):
        dsd.naturalness(x)


def test_the_gradient_reaches_the_image(net, pair):
    y = pair[0].clone().requires_grad_()
    dsd.NoReferenceDSD(net=net)(y).sum().backward()
    assert y.grad.isfinite().all() and y.grad.abs().sum() > 0


def test_direction_and_range():
    assert dsd.NoReferenceDSD.higher_is_better is False
    assert dsd.NoReferenceDSD.value_range == (0.0, math.inf)
