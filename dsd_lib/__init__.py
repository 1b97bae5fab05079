"""Deep self-dissimilarity (DSD): how the deep features of one image differ between its scales.

The library behind the book. Images are float tensors ``(N, 3, H, W)``, RGB, in [0, 1].

>>> import dsd_lib as dsd
>>> net = dsd.load_backbone("vgg16")
>>> x = dsd.sample_images()["coffee"]
>>> dsd.dsd_norm(x, net, layers=("relu3_1",), alpha=2)
tensor([[0.0523]])
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dsd_lib.backbones import Backbone, load_backbone
    from dsd_lib.descriptor import dsd, dsd_norm
    from dsd_lib.gram import gram_matrix, patch_gram
    from dsd_lib.images import image_from_array, load_image, sample_images, to_array
    from dsd_lib.losses import (
        ContextualLoss,
        DSDLoss,
        MultiScaleStyleLoss,
        PerceptualLoss,
        ProjectedDistributionLoss,
        StyleLoss,
        contextual_distance,
        dsd_distance,
        multiscale_style_distance,
        perceptual_distance,
        projected_distribution_distance,
        style_distance,
    )
    from dsd_lib.no_reference import NoReferenceDSD, Psi, load_psi, naturalness
    from dsd_lib.resize import imresize
    from dsd_lib.restoration.loss import RestorationLoss
    from dsd_lib.restoration.restore import restore

__version__ = "0.1.0"

__all__ = [
    "Backbone",
    "ContextualLoss",
    "DSDLoss",
    "MultiScaleStyleLoss",
    "NoReferenceDSD",
    "PerceptualLoss",
    "ProjectedDistributionLoss",
    "Psi",
    "RestorationLoss",
    "StyleLoss",
    "contextual_distance",
    "dsd",
    "dsd_distance",
    "dsd_norm",
    "gram_matrix",
    "image_from_array",
    "imresize",
    "load_backbone",
    "load_image",
    "load_psi",
    "multiscale_style_distance",
    "naturalness",
    "patch_gram",
    "perceptual_distance",
    "projected_distribution_distance",
    "restore",
    "sample_images",
    "style_distance",
    "to_array",
]

# Which module has which names. They are imported when they are first used: PyTorch takes seconds,
# in which the command line must be able to answer an interrupt, and the core stands alone.
_HOMES = {
    "backbones": "Backbone load_backbone",
    "descriptor": "dsd dsd_norm",
    "gram": "gram_matrix patch_gram",
    "images": "image_from_array load_image sample_images to_array",
    "losses": (
        "ContextualLoss DSDLoss MultiScaleStyleLoss PerceptualLoss "
        "ProjectedDistributionLoss StyleLoss contextual_distance dsd_distance "
        "multiscale_style_distance perceptual_distance projected_distribution_distance "
        "style_distance"
    ),
    "no_reference": "NoReferenceDSD Psi load_psi naturalness",
    "resize": "imresize",
    "restoration.loss": "RestorationLoss",
    "restoration.restore": "restore",
}


def __getattr__(name: str) -> object:
    if name in _HOMES:
        return import_module(f"dsd_lib.{name}")
    for module, names in _HOMES.items():
        if name in names.split():
            value = globals()[name] = getattr(import_module(f"dsd_lib.{module}"), name)
            return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
