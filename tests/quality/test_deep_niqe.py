"""Deep NIQE: its distance, its patches, what must worsen it, what it refuses."""

import numpy as np
import pytest
import torch

import dsd_lib as dsd
from dsd_lib.book.damage import blur, jpeg, noise
from dsd_lib.quality import deep_niqe as module
from dsd_lib.quality.deep_niqe import deep_niqe, patch_features, patches
from dsd_lib.quality.measures import MEASURES

DAMAGES = {"noise": (noise, (0.1, 0.2)), "blur": (blur, (3, 6)), "jpeg": (jpeg, (5,))}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("image", ["astronaut", "cat", "coffee", "flower", "rocket", "temple"])
def test_grows_with_the_damage(net, pictures, image, damage):
    function, amounts = DAMAGES[damage]
    x = pictures[image]
    scores = [deep_niqe(z, net).item() for z in (x, *(function(x, a) for a in amounts))]
    assert scores == sorted(scores) and scores[-1] > 1.05 * scores[0]


def test_the_distance_by_hand(monkeypatch):
    """Two channels, three patches: the formula in NumPy."""
    features = torch.tensor([[1.0, 2.0], [3.0, 2.0], [2.0, 5.0]], dtype=torch.float64)
    clean = {"mean": torch.tensor([1.0, 1.0]), "covariance": torch.tensor([[2.0, 0.5], [0.5, 1.0]])}
    monkeypatch.setattr(module, "_gaussian", lambda: clean)
    own = np.cov(features.numpy(), rowvar=False)  # mean (2, 3)
    difference = np.array([1.0, 2.0])
    inverse = np.linalg.inv((own + clean["covariance"].numpy()) / 2)
    expected = np.sqrt(difference @ inverse @ difference)
    assert module._distance(features).item() == pytest.approx(expected, rel=1e-6)


def test_the_gaussian_is_one(net):
    gaussian = module._gaussian()
    channels = 64 + 128 + 256
    assert gaussian["mean"].shape == (channels,) and (gaussian["mean"] >= 0).all()
    covariance = gaussian["covariance"].double()
    assert torch.equal(covariance, covariance.T) and torch.linalg.eigvalsh(covariance)[0] > 0


def test_features_are_mean_activations(net, coffee):
    features = patch_features(coffee, net)
    assert features.shape == (6, 448) and features.dtype == torch.float64
    first = coffee[:, :, 24:120, 16:112]  # what is left over of 240 × 320 is left out on all sides
    maps = net(first, module.LAYERS)
    expected = torch.cat([f.mean(dim=(2, 3)) for f in maps.values()], dim=1)
    torch.testing.assert_close(features[:1].float(), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("size", "count"), [((96, 192), 2), ((300, 500), 15), ((700, 900), 16)])
def test_patches_are_whole_and_spread(size, count):
    x = torch.arange(size[0] * size[1]).float().view(1, 1, *size).expand(1, 3, *size)
    found = patches(x)
    assert found.shape == (count, 3, 96, 96)
    corners = found[:, 0, 0, 0].long()
    assert len(set(corners.tolist())) == count  # no patch twice
    places = torch.stack([corners // size[1], corners % size[1]], dim=1)
    for side, length in enumerate(size):  # the first and the last of the grid are among them
        assert places[:, side].min() == length % 96 // 2
        assert places[:, side].max() == length - length % 96 + length % 96 // 2 - 96


def test_memory_does_not_grow_with_the_image(net):
    """The network sees as many pixels of a large image as of a small one."""
    seen = []
    with net.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].shape)):
        deep_niqe(torch.rand(1, 3, 400, 400), net)
        deep_niqe(torch.rand(1, 3, 1000, 1200), net)
    assert seen == [(8, 3, 96, 96)] * 4
    assert MEASURES["deep_niqe"].bytes_per_pixel == 0


def test_a_batch_is_its_images(net, pictures):
    x = torch.cat([pictures[name] for name in ("cat", "flower")])
    assert torch.equal(deep_niqe(x, net), torch.cat([deep_niqe(z, net) for z in x.split(1)]))


def test_a_flat_image_has_a_score(net):
    """Its patches are all alike, so that their covariance is 0."""
    assert deep_niqe(torch.full((1, 3, 96, 192), 0.5), net).isfinite()


def test_refuses_what_is_no_image(net, bad_image):
    x, error, message = bad_image
    if isinstance(x, torch.Tensor) and x.ndim == 4 and min(x.shape[2:]) == 32:
        x = x.repeat(1, 1, 3, 6)  # large enough, so that what is wrong with it is what counts
        message = message.replace("32, 32", "96, 192").replace("32, 3", "96, 18")
    with pytest.raises(error, match=message):
        deep_niqe(x, net)


@pytest.mark.parametrize("size", [(96, 96), (191, 191), (191, 96)])
def test_two_patches_are_needed(net, size):
    with pytest.raises(ValueError, match=r"two whole patches of 96×96 pixels \(96×192\)"):
        deep_niqe(torch.rand(1, 3, *size), net)


def test_the_network_is_the_one_of_the_gaussian(coffee):
    with pytest.raises(ValueError, match="net: expected vgg16, to which the Gaussian belongs"):
        deep_niqe(coffee, dsd.Backbone("vgg19"))
    with pytest.raises(TypeError, match="net: expected a Backbone"):
        deep_niqe(coffee, None)
