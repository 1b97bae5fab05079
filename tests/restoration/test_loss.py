"""Eq. (6): equal to its terms taken apart, in value, gradient and precision."""

import copy
import math

import pytest
import torch

import dsd_lib as dsd
from dsd_lib.restoration.loss import RestorationLoss

DISTANCES = {
    "dsd": dsd.dsd_distance,
    "multiscale_style": dsd.multiscale_style_distance,
    "style": dsd.style_distance,
    "projected_distribution": dsd.projected_distribution_distance,
    "contextual": dsd.contextual_distance,
}
SCALED = ("dsd", "multiscale_style")
WEIGHTS = (0.7, 0.9, 30.0)

each = pytest.mark.parametrize("distribution", DISTANCES)


@pytest.fixture
def batch(pair):
    """A prediction that is learned and leaves [0, 1], and its target: (2, 3, 49, 47)."""
    target = torch.nn.functional.pad(pair[0], (0, -1, 1, 0), mode="replicate")
    prediction = target + 0.08 * torch.randn_like(target)
    assert prediction.min() < 0 or prediction.max() > 1
    return prediction.requires_grad_(), target


@pytest.fixture
def small_batch(batch):
    """One image of the batch, for what is slow where bfloat16 is emulated: (1, 3, 49, 47)."""
    return tuple(x[:1].detach().requires_grad_(x.requires_grad) for x in batch)


def plainly(net, distribution, prediction, target, layers=None, **options):
    """The terms by the public functions, each with its own passes."""
    terms = {
        "reconstruction": (prediction - target).abs().mean(),
        "perceptual": dsd.perceptual_distance(prediction, target, net, check_range=False).mean(),
        "distribution": torch.zeros(()),
    }
    if distribution is not None:
        distance = DISTANCES[distribution]
        layers = layers or ("relu2_1", "relu2_2", "relu3_1")
        terms["distribution"] = distance(
            prediction, target, net, layers, check_range=False, **options
        ).mean()
    total = sum(w * t for w, t in zip(WEIGHTS, terms.values(), strict=True))
    return terms | {"total": total}


def counted(net):
    """A list that grows by the (pictures, height, layers' names) of each pass, and its handle."""
    passes = []

    def note(_, inputs, output):
        passes.append((*inputs[0].shape[0::2], tuple(output)))

    return passes, net.register_forward_hook(note)


# Values, gradients, passes


@pytest.mark.parametrize("distribution", [*DISTANCES, None])
def test_it_is_the_sum_of_the_public_functions(net, batch, distribution):
    prediction, target = batch
    loss = RestorationLoss(net, distribution, weights=WEIGHTS)
    ours = loss(prediction, target)
    expected = plainly(net, distribution, prediction, target)
    assert ours.keys() == expected.keys()
    for name in expected:
        assert ours[name].ndim == 0 and ours[name].dtype == torch.float32
        torch.testing.assert_close(ours[name], expected[name], rtol=1e-5, atol=0)
    (gradient,) = torch.autograd.grad(ours["total"], prediction)
    (by_parts,) = torch.autograd.grad(expected["total"], prediction)
    assert (gradient - by_parts).norm() <= 1e-4 * by_parts.norm()


@pytest.mark.parametrize(
    ("layers", "alpha"), [(("relu3_1",), 4), (("conv5_3", "relu1_1"), 2), (("pool2",), 3)]
)
@pytest.mark.parametrize("distribution", ["dsd", "multiscale_style"])
def test_other_layers_and_scales(net, batch, distribution, layers, alpha):
    prediction, target = batch
    loss = RestorationLoss(net, distribution, layers=layers, alpha=alpha, weights=WEIGHTS)
    expected = plainly(net, distribution, prediction, target, layers, alpha=alpha)["total"]
    ours = loss(prediction, target)["total"]
    torch.testing.assert_close(ours, expected, rtol=1e-5, atol=0)
    (gradient,) = torch.autograd.grad(ours, prediction)
    (by_parts,) = torch.autograd.grad(expected, prediction)
    assert (gradient - by_parts).norm() <= 1e-4 * by_parts.norm()


@pytest.mark.parametrize("distribution", [*DISTANCES, None])
def test_one_pass_a_scale_serves_both_terms(net, batch, distribution):
    prediction, target = batch
    loss = RestorationLoss(net, distribution)
    passes, handle = counted(net)
    with handle:
        loss(prediction, target)["total"].backward()
    sides = [49, 25] if distribution in SCALED else [49]
    assert [(count, side) for count, side, _ in passes] == [(2, side) for side in 2 * sides]
    assert "conv5_3" in passes[0][2]
    if distribution in SCALED:  # the small images go no deeper than the distribution's layers
        assert passes[1][2][-1] == "relu3_1"


@pytest.mark.parametrize("windows", [2, 3])
@pytest.mark.parametrize("distribution", ["dsd", "style", "multiscale_style"])
def test_windows_are_those_of_the_public_functions(net, batch, distribution, windows):
    prediction, target = batch
    loss = RestorationLoss(net, distribution, windows=windows, weights=WEIGHTS)
    ours = loss(prediction, target)
    expected = plainly(net, distribution, prediction, target, windows=windows)
    torch.testing.assert_close(ours["distribution"], expected["distribution"], rtol=1e-5, atol=0)
    whole = RestorationLoss(net, distribution)(prediction, target)["distribution"]
    assert abs(ours["distribution"] - whole) > 0.01 * whole
    (gradient,) = torch.autograd.grad(ours["total"], prediction)
    (by_parts,) = torch.autograd.grad(expected["total"], prediction)
    assert (gradient - by_parts).norm() <= 1e-4 * by_parts.norm()
    assert f"windows={windows}" in repr(loss)


def test_gradient_is_that_of_finite_differences(net, batch):
    double = copy.deepcopy(net).double()
    prediction, target = (x.detach()[:1, :, :16, :18].double() for x in batch)
    loss = RestorationLoss(double, "dsd", weights=WEIGHTS)
    prediction.requires_grad_()
    (gradient,) = torch.autograd.grad(loss(prediction, target)["total"], prediction)
    for seed in range(3):
        way = torch.randn(prediction.shape, generator=torch.Generator().manual_seed(seed)).double()
        step = 1e-7 * way / way.norm()
        with torch.no_grad():
            ahead, back = (loss(prediction + s, target)["total"] for s in (step, -step))
        slope = (ahead - back) / (2 * step.norm())
        expected = (gradient * way).sum() / way.norm()
        torch.testing.assert_close(slope, expected, rtol=1e-4, atol=1e-6)


@each
def test_the_target_carries_no_graph(net, batch, distribution):
    prediction, target = batch
    target = target.clone().requires_grad_()
    RestorationLoss(net, distribution)(prediction, target)["total"].backward()
    assert target.grad is None and prediction.grad.abs().sum() > 0


def test_without_a_prediction_to_learn_there_is_no_graph(net, batch):
    prediction, target = batch
    loss = RestorationLoss(net)
    with torch.no_grad():
        frozen = loss(prediction, target)["total"]
    assert not frozen.requires_grad
    assert not loss(prediction.detach(), target)["total"].requires_grad
    torch.testing.assert_close(frozen, loss(prediction, target)["total"].detach())


def test_a_perfect_prediction_costs_nothing(net, batch):
    _, target = batch
    for distribution in ("dsd", "multiscale_style", "style", "projected_distribution"):
        terms = RestorationLoss(net, distribution)(target.clone(), target)
        assert terms["total"] < 1e-4


def test_it_trains(net, small_batch):
    """A few steps of descent lower every term."""
    _, target = small_batch
    loss = RestorationLoss(net, "dsd")
    x = (target + 0.1 * torch.randn_like(target)).requires_grad_()
    before = {k: v.item() for k, v in loss(x, target).items()}
    optimizer = torch.optim.Adam([x], lr=0.01)
    for _ in range(8):
        optimizer.zero_grad()
        loss(x, target)["total"].backward()
        optimizer.step()
    after = loss(x, target)
    assert all(after[name] < before[name] for name in before)


# Precision and layout


@pytest.mark.parametrize("distribution", [*DISTANCES, None])
def test_bf16_is_within_one_percent(net, small_batch, distribution):
    prediction, target = small_batch
    loss = RestorationLoss(net, distribution, weights=WEIGHTS)
    with torch.autocast("cpu", torch.bfloat16):
        half = loss(prediction, target)
    full = loss(prediction, target)
    for name in full:
        assert half[name].dtype == torch.float32
        torch.testing.assert_close(half[name], full[name], rtol=0.01, atol=0)
    (gradient,) = torch.autograd.grad(half["total"], prediction)
    (expected,) = torch.autograd.grad(full["total"], prediction)
    assert gradient.dtype == torch.float32
    cosine = torch.nn.functional.cosine_similarity(gradient.flatten(), expected.flatten(), dim=0)
    assert cosine > 0.95


def test_bf16_gradient_is_that_of_autograd_in_bf16(net, small_batch):
    prediction, target = small_batch
    with torch.autocast("cpu", torch.bfloat16):
        ours = RestorationLoss(net, weights=WEIGHTS)(prediction, target)["total"]
        plain = plainly(net, "dsd", prediction, target)["total"]
    (gradient,) = torch.autograd.grad(ours, prediction)
    (expected,) = torch.autograd.grad(plain, prediction)
    assert (gradient - expected).norm() <= 0.02 * expected.norm()


def test_a_half_precision_prediction_and_channels_last(net, batch):
    prediction, target = batch
    loss = RestorationLoss(net)
    expected = loss(prediction, target)["total"]
    half = loss(prediction.bfloat16(), target)["total"]
    torch.testing.assert_close(half, expected, rtol=0.02, atol=0)
    last = [x.contiguous(memory_format=torch.channels_last) for x in batch]
    torch.testing.assert_close(loss(*last)["total"], expected, rtol=1e-5, atol=0)


# Weights


def test_a_term_of_weight_zero_is_not_computed(net, batch):
    prediction, target = batch
    passes, handle = counted(net)
    with handle:
        terms = RestorationLoss(net, "dsd", weights=(2, 0, 0))(prediction, target)
        assert passes == []
        assert terms["perceptual"] == terms["distribution"] == 0
        torch.testing.assert_close(terms["total"], 2 * (prediction - target).abs().mean())
        RestorationLoss(net, "dsd", weights=(1, 0, 1))(prediction, target)
        assert len(passes) == 4 and all("conv5_3" not in layers for *_, layers in passes)
        passes.clear()
        RestorationLoss(net, "dsd", weights=(1, 1, 0))(prediction, target)
        assert len(passes) == 2


@each
def test_calibrate_makes_the_terms_equal_on_average(net, batch, distribution):
    prediction, target = batch
    pairs = [(prediction, target), (0.8 * target[:1], target[:1])]
    loss = RestorationLoss(net, distribution, weights=(1.0, 0.5, 0.0))
    weight = loss.calibrate(pairs)
    assert loss.weights == (1.0, 0.5, weight) and isinstance(weight, float)
    sums = torch.zeros(2)
    for p, t in pairs:
        terms = loss(p, t)
        sums += len(p) * torch.stack([terms["perceptual"], terms["distribution"]]).detach()
    assert weight * sums[1] == pytest.approx(0.5 * sums[0].item(), rel=1e-4)
    assert prediction.grad is None


def test_calibrate_refuses_what_gives_no_weight(net, batch):
    prediction, target = batch
    with pytest.raises(ValueError, match="there is no distribution term"):
        RestorationLoss(net, None).calibrate([batch])
    with pytest.raises(ValueError, match="there is no perceptual term"):
        RestorationLoss(net, weights=(1, 0, 1)).calibrate([batch])
    loss = RestorationLoss(net, weights=WEIGHTS)
    with pytest.raises(ValueError, match="pairs: expected at least one"):
        loss.calibrate([])
    with pytest.raises(ValueError, match="perceptual term is 0 on average over 2 images"):
        loss.calibrate([(target, target)])
    with pytest.raises(ValueError, match="perceptual term is nan"):
        loss.calibrate([(prediction * math.nan, target)])
    assert loss.weights == WEIGHTS  # as before


# What is refused


@pytest.mark.parametrize(
    "weights", [(1, 1), (1, 1, -1), (1, math.nan, 1), (1, 1, math.inf), (1, "1", 1)]
)
def test_weights_are_checked(net, weights):
    with pytest.raises(ValueError, match="weights: expected three numbers of 0 or more"):
        RestorationLoss(net, weights=weights)
    loss = RestorationLoss(net)
    with pytest.raises(ValueError, match="weights: expected three numbers"):
        loss.weights = weights
    assert loss.weights == (1.0, 1.0, 100.0)


def test_options_are_checked(net):
    with pytest.raises(ValueError, match=r"distribution: expected one of dsd, .* got 'gan'"):
        RestorationLoss(net, "gan")
    with pytest.raises(ValueError, match="layers: expected different names"):
        RestorationLoss(net, layers=["relu9_1"])
    with pytest.raises(ValueError, match="alpha: expected a number above 1"):
        RestorationLoss(net, alpha=1)
    with pytest.raises(ValueError, match="bandwidth: expected a number above 0"):
        RestorationLoss(net, "contextual", bandwidth=0)
    for windows in (0, 1.5, None):
        with pytest.raises(ValueError, match="windows: expected a whole number of 1 or more, got"):
            RestorationLoss(net, windows=windows)
    for distribution in ("contextual", "projected_distribution", None):
        with pytest.raises(ValueError, match=r"windows: expected 1 for distribution=.* got 2"):
            RestorationLoss(net, distribution, windows=2)
    with pytest.raises(TypeError, match=r"net: expected a Backbone, .* got NoneType"):
        RestorationLoss(None)
    assert "distribution='style'" in repr(RestorationLoss(net, "style"))


def test_pictures_are_checked(net, batch):
    prediction, target = batch
    loss = RestorationLoss(net)
    with pytest.raises(ValueError, match="prediction and target of the same shape"):
        loss(prediction[:, :, :40], target)
    with pytest.raises(ValueError, match="target: expected shape"):
        loss(prediction, target[0])
    with pytest.raises(TypeError, match=r"prediction: expected a torch.Tensor, got NoneType"):
        loss(None, target)
    with pytest.raises(ValueError, match=r"at least 16 pixels.*to reach conv5_3"):
        loss(prediction[:, :, :15], target[:, :, :15])
    deep = RestorationLoss(net, layers=["relu5_1"])
    with pytest.raises(ValueError, match=r"at least 31 pixels.*to reach relu5_1 at alpha=2"):
        deep(prediction[:, :, :30], target[:, :, :30])
    deep(prediction[:, :, :31], target[:, :, :31])
    local = RestorationLoss(net, windows=8, weights=(1, 0, 1))
    with pytest.raises(ValueError, match=r"at least 63 pixels.* alpha=2 with 8 × 8 windows"):
        local(prediction, target)


@pytest.mark.cuda
@each
def test_a_gpu_agrees(net, batch, distribution):
    prediction, target = batch
    loss = RestorationLoss(copy.deepcopy(net).cuda(), distribution, weights=WEIGHTS)
    there = loss(prediction.cuda(), target.cuda())["total"]
    here = RestorationLoss(net, distribution, weights=WEIGHTS)(prediction, target)["total"]
    torch.testing.assert_close(there.cpu(), here, rtol=1e-2, atol=0)  # TF32 may be on
