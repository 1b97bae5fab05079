"""The torchmetrics metrics: whatever the batching, the mean of the library's own measures."""

import pickle

import pytest
import torch
from torch import nn
from torchmetrics import MeanSquaredError, MetricCollection

import dsd_lib as dsd
from dsd_lib.no_reference import NoReferenceDSD, Psi
from dsd_lib.quality.metrics import DeepSelfDissimilarity, Naturalness

LAYERS = ("relu1_2", "relu2_1")


@pytest.fixture
def metric(net) -> DeepSelfDissimilarity:
    return DeepSelfDissimilarity(net, LAYERS, alpha=2)


@pytest.fixture
def five(coffee):
    """Five crops and the same with noise, (5, 3, 32, 32) each."""
    x = torch.cat([coffee[:, :, 20 * i : 20 * i + 32, 30 * i : 30 * i + 32] for i in range(5)])
    noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(2))
    strength = torch.linspace(0.02, 0.1, 5).view(5, 1, 1, 1)
    return (x + strength * noise).clamp(0, 1), x


@pytest.fixture
def measure(net) -> NoReferenceDSD:
    return NoReferenceDSD(net=net, psi=Psi(alpha=2).eval().requires_grad_(False))


@pytest.mark.parametrize("batches", [(5,), (1, 1, 1, 1, 1), (3, 2), (1, 4)])
def test_it_is_the_mean_over_images_whatever_the_batching(net, metric, five, batches):
    preds, target = five
    start = 0
    for count in batches:
        metric.update(preds[start : start + count], target[start : start + count])
        start += count
    expected = dsd.dsd_distance(preds, target, net, LAYERS, 2)
    assert expected.min() < 0.5 * expected.max()  # a mean of equal numbers would show nothing
    torch.testing.assert_close(metric.compute(), expected.mean(), rtol=1e-5, atol=0)


def test_batches_may_differ_in_size(net, metric, five, pair):
    metric.update(*five)
    metric.update(*pair)
    expected = [dsd.dsd_distance(*p, net, LAYERS, 2) for p in (five, pair)]
    torch.testing.assert_close(metric.compute(), torch.cat(expected).mean(), rtol=1e-5, atol=0)


def test_the_defaults_are_the_librarys(pair):
    metric = DeepSelfDissimilarity()
    metric.update(*pair)
    expected = dsd.dsd_distance(*pair, dsd.load_backbone()).mean()
    torch.testing.assert_close(metric.compute(), expected, rtol=1e-6, atol=0)


def test_the_call_gives_the_batchs_value_and_goes_on_adding(net, metric, five):
    preds, target = five
    expected = dsd.dsd_distance(preds, target, net, LAYERS, 2)
    torch.testing.assert_close(metric(preds[:2], target[:2]), expected[:2].mean())
    torch.testing.assert_close(metric(preds[2:], target[2:]), expected[2:].mean())
    torch.testing.assert_close(metric.compute(), expected.mean())


def test_the_calls_value_has_the_functions_gradient(net, metric, five):
    preds, target = (v.clone() for v in five)
    metric(preds.requires_grad_(), target).backward()
    mine, preds.grad = preds.grad, None
    dsd.dsd_distance(preds, target, net, LAYERS, 2).mean().backward()
    assert mine.abs().max() > 0
    torch.testing.assert_close(mine, preds.grad)
    assert not metric.compute().requires_grad  # what is kept holds no graph


def test_what_torchmetrics_is_told(metric):
    assert metric.higher_is_better is False
    assert metric.is_differentiable is True
    assert metric.full_state_update is False
    assert metric.value_range == (0, float("inf"))


def test_reset(metric, five, pair):
    metric.update(*five)
    metric.reset()
    metric.update(*pair)
    fresh = DeepSelfDissimilarity(metric._network[0], LAYERS)
    assert metric.compute() == fresh(*pair)


def test_two_halves_merge_into_the_whole(net, metric, five):
    preds, target = five
    other = DeepSelfDissimilarity(net, LAYERS)
    metric.update(preds[:1], target[:1])
    other.update(preds[1:], target[1:])
    metric.merge_state(other)
    expected = dsd.dsd_distance(preds, target, net, LAYERS, 2).mean()
    torch.testing.assert_close(metric.compute(), expected)


def test_pickled_cloned_and_their_own(net, metric, five):
    metric.update(*five)
    expected = metric.compute()
    for other in (pickle.loads(pickle.dumps(metric)), metric.clone()):
        assert other.compute() == expected
        other.reset()
        assert other(*five) == expected
    assert metric.compute() == expected


def test_the_network_is_not_counted(metric, five):
    assert list(metric.parameters()) == []
    assert metric.state_dict() == {}
    model = nn.ModuleDict({"body": nn.Conv2d(3, 3, 1), "metric": metric})
    assert set(model.state_dict()) == {"body.weight", "body.bias"}
    model.load_state_dict(model.state_dict(), strict=True)


def test_a_saved_state_goes_on(net, five):
    preds, target = five
    whole, first, second = (DeepSelfDissimilarity(net, LAYERS, alpha=2.5) for _ in range(3))
    whole.update(preds, target)
    first.persistent(True)
    second.persistent(True)
    first.update(preds[:3], target[:3])
    second.load_state_dict(first.state_dict(), strict=True)
    second.update(preds[3:], target[3:])
    torch.testing.assert_close(second.compute(), whole.compute())


def test_a_models_change_of_precision_leaves_it_alone(metric, five):
    expected = metric(*five)
    metric.reset()
    nn.ModuleDict({"metric": metric}).half()
    assert metric(*five) == expected


def test_it_moves_with_its_network(net):
    metric = DeepSelfDissimilarity(dsd.load_backbone(), LAYERS).to("meta")
    assert metric._network[0].mean.device.type == "meta"
    assert metric.device.type == "meta"
    assert net.mean.device.type == "cpu"


@pytest.mark.cuda
def test_on_a_gpu(five):
    metric = DeepSelfDissimilarity(dsd.load_backbone(), LAYERS)
    expected = metric(*five)
    metric.to("cuda")
    metric.reset()
    torch.testing.assert_close(metric(*(v.cuda() for v in five)).cpu(), expected, rtol=1e-3, atol=0)


def test_in_a_collection(net, five, measure):
    preds, target = five
    collection = MetricCollection(
        {
            "dsd2": DeepSelfDissimilarity(net, LAYERS, alpha=2),
            "dsd4": DeepSelfDissimilarity(net, LAYERS, alpha=4),
            "natural": Naturalness(measure=measure),
            "mse": MeanSquaredError(),
        }
    )
    collection.update(target, target)  # all distances are 0, yet none must be taken for another
    collection.update(preds, target)
    got = collection.compute()
    for name, alpha in (("dsd2", 2), ("dsd4", 4)):
        expected = dsd.dsd_distance(preds, target, net, LAYERS, alpha).mean() / 2
        torch.testing.assert_close(got[name], expected)
    torch.testing.assert_close(got["natural"], (measure(preds) + measure(target)).mean() / 2)
    torch.testing.assert_close(got["mse"], (preds - target).square().mean() / 2)


def test_naturalness_is_the_mean_score(five, measure):
    preds, target = five
    metric = Naturalness(measure=measure)
    first = metric(preds)
    torch.testing.assert_close(first, measure(preds).mean())
    metric.update(target)
    both = measure(torch.cat([preds, target])).mean()
    torch.testing.assert_close(metric.compute(), both)
    assert metric.state_dict() == {} and list(metric.parameters()) == []
    assert metric.higher_is_better is False and metric.alpha == 2


def test_the_librarys_errors_come_through(metric, five):
    preds, target = five
    with pytest.raises(ValueError, match="expected x and y of the same shape"):
        metric.update(preds, target[:, :, :24])
    with pytest.raises(ValueError, match=r"expected values in \[0, 1\]"):
        metric.update(2 * preds, target)
    with pytest.raises(ValueError, match="layers: expected different names"):
        DeepSelfDissimilarity(metric._network[0], ["relu9_9"])
    with pytest.raises(ValueError, match="alpha: expected a number above 1"):
        DeepSelfDissimilarity(metric._network[0], alpha=1)
    with pytest.raises(ValueError, match="alpha: expected 2 or 4"):
        Naturalness(alpha=3)
    with pytest.raises(ValueError, match="Unexpected keyword arguments"):
        DeepSelfDissimilarity(metric._network[0], beta=2)


def test_predictions_that_overshoot_are_taken_when_asked(net, five):
    preds, target = five
    metric = DeepSelfDissimilarity(net, LAYERS, check_range=False)
    expected = dsd.dsd_distance(1.1 * preds, target, net, LAYERS, check_range=False).mean()
    assert metric(1.1 * preds, target) == expected


def test_processes_add_up(net, five):
    """Two processes, five images: each one's states, gathered as torch.distributed would."""
    preds, target = five
    parts = [slice(0, 4), slice(4, 5)]
    others = [DeepSelfDissimilarity(net, LAYERS) for _ in parts]
    for other, part in zip(others, parts, strict=True):
        other.update(preds[part], target[part])
    asked = iter(tuple(others[0]._defaults))

    def gather(state, group):
        name = next(asked)
        states = [getattr(other, name) for other in others]
        assert torch.equal(state, states[0])
        return states

    metric = DeepSelfDissimilarity(
        net, LAYERS, dist_sync_fn=gather, distributed_available_fn=lambda: True
    )
    metric.update(preds[parts[0]], target[parts[0]])
    whole = dsd.dsd_distance(preds, target, net, LAYERS).mean()
    torch.testing.assert_close(metric.compute(), whole)
    assert not torch.allclose(others[0].compute(), whole, rtol=1e-3)
    assert metric.images == 4  # afterwards the process goes on with its own
