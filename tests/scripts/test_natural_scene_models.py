"""How the parameters of NIQE and BRISQUE get into the package."""

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from data_scripts import make_natural_scene_models as models
from dsd_lib.quality import natural_scenes


def test_the_packaged_parameters():
    tensors = natural_scenes._parameters()
    shapes = {name: tuple(v.shape) for name, v in tensors.items()}
    assert shapes == {
        "brisque.coefficients": (770,),
        "brisque.gamma": (),
        "brisque.high": (36,),
        "brisque.low": (36,),
        "brisque.rho": (),
        "brisque.support_vectors": (770, 36),
        "niqe.covariance": (36, 36),
        "niqe.mean": (36,),
    }
    covariance = tensors["niqe.covariance"]
    assert torch.equal(covariance, covariance.T) and torch.linalg.eigvalsh(covariance)[0] > 0
    assert tensors["brisque.coefficients"].sum().abs() < 1e-6  # as in any such regression
    assert (tensors["brisque.high"] > tensors["brisque.low"]).all()
    assert models.PACKAGED.stat().st_size < 150_000


def test_reading_a_regression():
    row = " ".join(f"{i}:{i / 100}" for i in range(1, 37))
    head = "svm_type epsilon_svr\nkernel_type rbf\ngamma 0.05\nnr_class 2\ntotal_sv 1\nrho -3\n"
    got = models.read_regression(f"{head}SV\n-2.5 {row}\n")
    assert got["brisque.coefficients"].tolist() == [-2.5]
    assert (got["brisque.gamma"], got["brisque.rho"]) == (0.05, -3)
    np.testing.assert_allclose(got["brisque.support_vectors"][0], np.arange(1, 37) / 100, rtol=1e-6)
    with pytest.raises(ValueError, match="expected 1 vectors of 36 numbers"):
        models.read_regression(f"{head}SV\n-2.5 {row}\n-2.5 {row}\n")
    with pytest.raises(ValueError, match="expected 1 vectors of 36 numbers"):
        models.read_regression(f"{head}SV\n-2.5 {row.rsplit(maxsplit=1)[0]}\n")
    with pytest.raises(ValueError, match="radial kernel"):
        models.read_regression(head.replace("rbf", "linear") + f"SV\n-2.5 {row}\n")


def test_reading_ranges_builds_no_object(tmp_path):
    low, high = list(np.arange(36) / 10), list(np.arange(36) + 1.0)
    ranges = {"min_": [float(v) for v in low], "max_": [float(v) for v in high]}
    got = models.read_ranges(pickle.dumps(ranges, protocol=4))
    assert (got["brisque.low"].tolist(), got["brisque.high"].tolist()) == (low, high)

    class Hostile:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "touched",))

    with pytest.raises(ValueError, match="expected 36 numbers"):
        models.read_ranges(pickle.dumps({"min_": Hostile()}, protocol=4))
    assert not (tmp_path / "touched").exists()


def test_another_package_is_refused(tmp_path):
    for name in models.PACKAGES:
        (tmp_path / name).write_bytes(b"another package")
    with pytest.raises(ValueError, match="expected sha256 b89b595a"):
        models.build(tmp_path)
