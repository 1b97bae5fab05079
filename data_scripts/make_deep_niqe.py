"""Fit deep NIQE's Gaussian of clean photos, ``dsd_lib/weights/deep_niqe.safetensors``.

    python -m data_scripts.make_deep_niqe OUTPUT.safetensors

The photos are those of ψ: the 400 of BSDS500's train and test parts, none of val, no rated image.
It takes a few minutes on one core. The numbers are the same everywhere to the rounding of
convolutions.
"""

import argparse
from pathlib import Path

import numpy as np
import safetensors.numpy
import torch
from torch import Tensor
from tqdm import tqdm

import dsd_lib as dsd
from data_scripts.make_vgg16_weights import with_metadata, write_new
from data_scripts.shared.training_data import bsds500
from dsd_lib.quality.deep_niqe import LAYERS, PATCH, patch_features

SHRINKAGE = 0.05  # how far covariances between channels are drawn towards 0
METADATA = {
    "what": "mean and covariance of the mean activations of patches of clean photos",
    "network": "vgg16",
    "layers": " ".join(LAYERS),
    "patch": str(PATCH),
    "photos": "BSDS500, train and test",
    "shrinkage": str(SHRINKAGE),
}


def fit(features: Tensor) -> dict[str, np.ndarray]:
    """Mean ``(C,)`` and covariance ``(C, C)`` of features ``(patches, C)``, in float32.

    Covariances between channels are multiplied by 0.95, which keeps the narrow directions of the
    Gaussian from being narrower than so many patches can tell.

    >>> fit(torch.tensor([[0.0, 0.0], [2.0, 4.0]]))["covariance"].astype(float).round(1).tolist()
    [[2.0, 3.8], [3.8, 8.0]]
    """
    covariance = features.T.cov()
    variances = torch.diag(covariance.diag())
    covariance = (1 - SHRINKAGE) * covariance + SHRINKAGE * variances
    tensors = {"mean": features.mean(dim=0), "covariance": covariance}
    return {name: tensor.numpy().astype("<f4") for name, tensor in tensors.items()}


def main() -> None:
    """Measure the photos, fit, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("output", type=Path)
    output = parser.parse_args().output
    net = dsd.load_backbone()
    with torch.no_grad():
        features = [patch_features(dsd.load_image(file), net) for file in tqdm(bsds500())]
    tensors = fit(torch.cat(features))
    write_new(output, with_metadata(safetensors.numpy.save(tensors), METADATA))


if __name__ == "__main__":
    main()
