"""Measure what decides how the paper divides its Gram matrices, for chapter 10.

    python -m data_scripts.gram_normalization

Writes ``book/results/gram_normalization_natural.json``: ‖DSD‖ at relu3_1 of natural photos
(imagenette, the test half of BSDS500, and one photo each of the paper's classes sandbar and
window screen), and how large the perceptual and the DSD loss of super-resolved images are. All
under the library's division by C·H·W; division by H·W multiplies a layer's values by its C.
"""

from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

import dsd_lib as dsd
from data_scripts.shared.results import begin, write_result
from dsd_lib.descriptor import matrix_norms, self_dissimilarity
from dsd_lib.files import data_folder, list_images
from dsd_lib.gram import feature_grams

LAYER = "relu3_1"
ALPHAS = (2, 4)
CLASSES = ("sandbar", "window_screen")
METHODS = ("SRResNet", "EDSR")  # trained without a perceptual loss, like the paper's start


def released_crop(x: Tensor) -> Tensor:
    """The central 224×224 pixels of the image resized to a shorter side of 256.

    The authors' script that measures ImageNet classes crops like this.

    >>> released_crop(torch.rand(1, 3, 375, 500)).shape
    torch.Size([1, 3, 224, 224])
    """
    scale = 256 / min(x.shape[2:])
    height, width = (round(side * scale) for side in x.shape[2:])
    x = dsd.imresize(x, size=(height, width)).clamp(0, 1)
    top, left = (height - 224) // 2, (width - 224) // 2
    return x[..., top : top + 224, left : left + 224]


def norms(x: Tensor, net: dsd.Backbone) -> list[float]:
    """‖DSD_α(x)‖₁ at ``LAYER`` for each of ``ALPHAS``, to 4 digits."""
    fine = feature_grams(x, net, [LAYER])
    found = []
    for alpha in ALPHAS:
        small = dsd.imresize(x, scale=1 / alpha)
        difference = self_dissimilarity(fine, feature_grams(small, net, [LAYER]))  # Eq. (2)
        found.append(float(f"{matrix_norms(difference).item():.4g}"))
    return found


def natural_photos(files: list[Path], net: dsd.Backbone) -> dict[str, list[float]]:
    """α -> ‖DSD_α‖₁ of each photo as it is."""
    rows = [norms(dsd.load_image(path), net) for path in tqdm(files)]
    return {str(alpha): [row[i] for row in rows] for i, alpha in enumerate(ALPHAS)}


def loss_sizes(net: dsd.Backbone) -> dict[str, dict[str, float]]:
    """Method -> means over its images: perceptual distance, and DSD distance by layer."""
    folder = data_folder("sr_outputs")
    sizes = {}
    for method in METHODS:
        rows = []
        for path in tqdm(list_images(folder / method)):
            x, y = dsd.load_image(path), dsd.load_image(folder / "HR" / path.name)
            a, b = dsd.dsd(x, net), dsd.dsd(y, net)
            rows.append(
                {"perceptual": dsd.perceptual_distance(x, y, net).item()}
                | {layer: (a[layer] - b[layer]).abs().mean().item() for layer in a}
            )
        sizes[method] = {
            key: float(f"{sum(row[key] for row in rows) / len(rows):.4g}") for key in rows[0]
        } | {"pictures": len(rows)}
    return sizes


@torch.no_grad()
def main() -> None:
    """Measure everything."""
    started = begin()
    net = dsd.load_backbone("vgg16")
    single = {}
    for name in CLASSES:
        x = dsd.load_image(data_folder("imagenet_two") / f"{name}.jpg")
        whole, crop = norms(x, net), norms(released_crop(x), net)
        single[name] = {
            str(alpha): {"whole": w, "crop": c}
            for alpha, w, c in zip(ALPHAS, whole, crop, strict=True)
        }
    write_result(
        "gram_normalization_natural",
        {
            "layer": LAYER,
            "imagenette": natural_photos(list_images(data_folder("imagenette")), net),
            "bsds500_test": natural_photos(list_images(data_folder("bsds500") / "test"), net),
            "classes": single,
            "super_resolution": loss_sizes(net),
        },
        data="imagenette, BSDS500 test, two ImageNet photos, Set5 and Set14",
        network="vgg16",
        started=started,
    )


if __name__ == "__main__":
    main()
