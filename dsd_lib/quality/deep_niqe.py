"""Deep NIQE: NIQE's recipe with the feature maps of VGG-16 in place of hand-made statistics.

The idea is that of MDFS (Ni et al. 2024): describe patches by statistics of deep features at
several depths, fit a Gaussian to the patches of clean photos, and score an image by the distance
of its own Gaussian from that one. No rating is ever seen. Network, layers, statistics and photos
differ from those of MDFS, so its published numbers do not belong to this measure.

The photos are BSDS500's train and test parts, on which ψ was trained too;
``data_scripts.make_deep_niqe`` fits the Gaussian.
"""

from functools import lru_cache
from importlib import resources

import torch
from torch import Tensor

from dsd_lib.backbones import Backbone, check_backbone
from dsd_lib.checks import check_images
from dsd_lib.files import read_safetensors

LAYERS = ("relu1_2", "relu2_2", "relu3_1")  # 64 + 128 + 256 channels
PATCH = 96  # pixels, the side of a patch, as NIQE's blocks
PATCHES = 16  # of an image at most, which bounds time and memory
BATCH = 8  # patches that go through the network together


def deep_niqe(x: Tensor, net: Backbone, *, check_range: bool = True) -> Tensor:
    """Deep NIQE: the distance of an image's deep features from those of clean photos.

    Up to 16 patches of 96×96 pixels, evenly spread over the image, go through the network. Each is
    described by the mean activation of every channel at three layers. With the mean μ and the
    covariance Σ of these over the image's patches, and μ₀ and Σ₀ over those of clean photos, the
    score is NIQE's: the square root of ``(μ - μ₀)ᵀ ((Σ + Σ₀) / 2)⁻¹ (μ - μ₀)``. Time and memory do
    not grow with the image beyond 16 patches.

    Args:
        x: images ``(N, 3, H, W)`` in [0, 1].
        net: VGG-16, to whose features the Gaussian belongs.
        check_range: False skips the check of the values.

    Returns:
        ``(N,)``, 0 or more; lower is better.

    Raises:
        TypeError: ``x`` is not a floating-point tensor, or ``net`` not a backbone.
        ValueError: ``x`` is not a valid image batch or holds fewer than two whole patches (96×192
            pixels at least), or the network is another one.

    Source: the recipe of Mittal, Soundararajan, Bovik, *Making a "completely blind" image quality
    analyzer*, 2013, on deep features as in Ni et al., *Opinion-unaware blind image quality
    assessment using multi-scale deep feature statistics*, IEEE Transactions on Multimedia 2024;
    chapter 7 of the book.

    >>> from dsd_lib import load_backbone, sample_images
    >>> x, net = sample_images()["coffee"], load_backbone()
    >>> deep_niqe(x, net) < deep_niqe((x + 0.1 * torch.randn_like(x)).clamp(0, 1), net)
    tensor([True])
    """
    if check_backbone(net).name != "vgg16":
        raise ValueError(f"net: expected vgg16, to which the Gaussian belongs, got {net.name}")
    check_images(x, min_side=PATCH, why="; deep NIQE needs two patches", check_range=check_range)
    if (x.shape[2] // PATCH) * (x.shape[3] // PATCH) < 2:
        raise ValueError(
            f"x: expected at least two whole patches of {PATCH}×{PATCH} pixels (96×192), got "
            f"{tuple(x.shape)}"
        )
    return torch.stack([_distance(patch_features(image, net)) for image in x.split(1)]).to(x)


def patch_features(x: Tensor, net: Backbone) -> Tensor:
    """The mean activations ``(patches, 448)`` of an image ``(1, 3, H, W)``, in float64.

    >>> from dsd_lib import load_backbone
    >>> patch_features(torch.rand(1, 3, 200, 300), load_backbone()).shape
    torch.Size([6, 448])
    """
    features = []
    # The Gaussian is narrow in some directions and would magnify the rounding of bfloat16.
    with torch.autocast(x.device.type, enabled=False):
        for batch in patches(x).split(BATCH):
            maps = net(batch, LAYERS, check_range=False)
            features.append(torch.cat([f.double().mean(dim=(2, 3)) for f in maps.values()], dim=1))
    return torch.cat(features)


def patches(x: Tensor) -> Tensor:
    """Up to 16 of the whole patches of an image, ``(patches, 3, 96, 96)``, evenly spread.

    >>> patches(torch.rand(1, 3, 1000, 1000)).shape
    torch.Size([16, 3, 96, 96])
    """
    rows, columns = (side // PATCH for side in x.shape[2:])
    top, left = (side % PATCH // 2 for side in x.shape[2:])  # what is left over, on all sides alike
    last = rows * columns - 1
    count = min(PATCHES, last + 1)
    found = []
    for k in range(count):
        row, column = divmod(k * last // max(count - 1, 1), columns)
        i, j = top + row * PATCH, left + column * PATCH
        found.append(x[:, :, i : i + PATCH, j : j + PATCH])
    return torch.cat(found)


def _distance(features: Tensor) -> Tensor:
    """NIQE's distance of patches' features ``(patches, 448)`` from clean photos: a number."""
    clean = {name: tensor.to(features) for name, tensor in _gaussian().items()}
    difference = features.mean(dim=0) - clean["mean"]  # (448,)
    covariance = (features.T.cov() + clean["covariance"]) / 2  # (448, 448)
    return (difference @ torch.linalg.solve(covariance, difference)).sqrt()


@lru_cache(maxsize=1)
def _gaussian() -> dict[str, Tensor]:
    """Mean ``(448,)`` and covariance ``(448, 448)`` of clean photos' features."""
    file = resources.files("dsd_lib") / "weights" / "deep_niqe.safetensors"
    with resources.as_file(file) as path:
        return read_safetensors(path)[0]
