"""The networks and images of the live page, made from ``dsd_lib`` and checked against it.

    python -m data_scripts.export_web            # write book/_static/try/{models,photos}
    python -m data_scripts.export_web --check    # compare what is there, write nothing

Models are ONNX: weights in half precision, every sum in float32.

========= ========================================== ========================================
model     inputs                                     outputs
========= ========================================== ========================================
dsd       image (1, 3, H, W), crop (4,)              for each layer ``F Fᵀ`` (C, C) of VGG-16's
                                                     map inside the crop, not yet divided
psi_alpha image x↓α (1, 3, h, w)                     expected ‖DSD_α‖₁ at four layers (1, 4)
sr_look   image (1, 3, h, w), dial (1,)              feature map (1, 64, h, w)
sr_draw   image, that map, dial (1,)                 image (1, 3, 4h, 4w)
========= ========================================== ========================================

Gram matrices come as sums over a piece of the image, so that the page can go piece by piece, show
how far it is, stop when told to, and stay small in memory. The resize x↓α is done by the page
itself (``parts/resize.js``), with the weights of ``dsd_lib.imresize``.

The two super-resolution networks, those of ``dsd_lib.restore``, are one model: ``dial`` = 0
computes with the weights of the L1 network, 1 with those of the DSD network, between them with the
weights between.

Each model is compared with ``dsd_lib`` on 20 images of odd sizes by onnxruntime, and the largest
relative difference goes into the manifest. Another version of torch may write another graph of the
same function: compare by ``--check``, which computes, rather than by hash.
"""

import argparse
import io
import itertools
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
import torch.nn.functional as F
from onnx import TensorProto, helper, numpy_helper
from onnxscript import optimizer
from PIL import Image
from torch import Tensor, nn

import dsd_lib as dsd
from data_scripts.shared.assets import TRY, pack, unpack
from data_scripts.shared.results import RESULTS
from dsd_lib.files import write_atomically
from dsd_lib.no_reference import PSI_LAYERS, load_psi
from dsd_lib.restoration.networks import XSRResNet, interpolate, summed_weights
from dsd_lib.restoration.restore import DIAL, load_restorer

OPSET = 18
LAYERS = PSI_LAYERS
SMALL = 1000  # tensors of fewer numbers, mostly of batch normalization, stay in float32
TOLERANCE = 1e-4
Inputs = dict[str, np.ndarray]


# The graphs


def dsd_graph(net: dsd.Backbone) -> onnx.ModelProto:
    """VGG-16 as deep as relu3_1 and the product ``F Fᵀ`` of each layer's map inside a crop."""
    nodes, weights = [], {}

    def node(kind: str, inputs: Sequence[str], output: str, **attributes: object) -> str:
        nodes.append(helper.make_node(kind, list(inputs), [output], **attributes))
        return output

    for name in ("mean", "std"):
        weights[name] = getattr(net, name).numpy()
    f = node("Sub", ["image", "mean"], "centered")
    f = node("Div", [f, "std"], "normalized")
    for name, stage in itertools.islice(net.stages.items(), net.layers.index(LAYERS[-1]) + 1):
        if isinstance(stage, nn.Conv2d):
            weights[f"{name}.weight"] = stage.weight.numpy()
            weights[f"{name}.bias"] = stage.bias.numpy()
            parameters = [f"{name}.weight", f"{name}.bias"]
            f = node("Conv", [f, *parameters], name, kernel_shape=[3, 3], pads=[1, 1, 1, 1])
        elif isinstance(stage, nn.ReLU):
            f = node("Relu", [f], name)
        else:
            f = node("MaxPool", [f], name, kernel_shape=[2, 2], strides=[2, 2])
        if name in LAYERS:
            weights[f"{name}.stride"] = np.array([net.stride(name)], np.int64)
            weights[f"{name}.flat"] = np.array([stage_channels(net, name), -1], np.int64)
            cells = node("Div", ["crop", f"{name}.stride"], f"{name}.cells")
            nodes.append(
                helper.make_node("Split", [cells], [f"{name}.first", f"{name}.end"], num_outputs=2)
            )
            cut = node("Slice", [f, f"{name}.first", f"{name}.end", "sides"], f"{name}.cut")
            flat = node("Reshape", [cut, f"{name}.flat"], f"{name}.map")
            turned = node("Transpose", [flat], f"{name}.turned", perm=[1, 0])
            node("MatMul", [flat, turned], f"{name}.gram")
    weights["sides"] = np.array([2, 3], np.int64)
    graph = helper.make_graph(
        nodes,
        "dsd",
        [
            helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, "height", "width"]),
            helper.make_tensor_value_info("crop", TensorProto.INT64, [4]),
        ],
        [
            helper.make_tensor_value_info(
                f"{name}.gram", TensorProto.FLOAT, [stage_channels(net, name)] * 2
            )
            for name in LAYERS
        ],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    return finished(graph)


def stage_channels(net: dsd.Backbone, layer: str) -> int:
    """Channels of a ReLU layer."""
    return net.stages[layer.replace("relu", "conv")].out_channels


def dial_ends() -> tuple[XSRResNet, XSRResNet]:
    """The networks at both ends of the dial of ``dsd_lib.restore(x, "sr")``: L1 and DSD."""
    l1, dsd_loss = DIAL["sr"]
    return load_restorer("sr", l1), load_restorer("sr", dsd_loss)


class Look(nn.Module):
    """The first part of a restoration network, as a module."""

    def __init__(self, net: XSRResNet) -> None:
        super().__init__()
        self.net = net

    def forward(self, image: Tensor) -> Tensor:
        """``(1, 3, h, w)`` -> ``(1, channels, h, w)``."""
        return self.net.look(image)


class Draw(Look):
    """The second part, written with operators that WebAssembly runs quickly."""

    def forward(self, image: Tensor, features: Tensor) -> Tensor:
        """``(1, 3, h, w)``, ``(1, channels, h, w)`` -> ``(1, 3, 4h, 4w)``."""
        f, stages = features, list(self.net.enlarge)
        for conv, activation in zip(stages[1::3], stages[2::3], strict=True):
            f = activation(enlarged_convolution(f, conv))  # (1, channels, 2h, 2w)
        enlarged = F.interpolate(image, scale_factor=float(self.net.scale), mode="bilinear")
        return enlarged + self.net.tail(f)


def enlarged_convolution(f: Tensor, conv: nn.Conv2d) -> Tensor:
    """As ``dsd_lib.restoration.networks.conv_of_enlarged``, interleaved by a pixel shuffle.

    That one assigns to every other pixel, which becomes a slow scatter in ONNX.
    """
    h, w = f.shape[2:]
    padded = F.pad(f, (1, 1, 1, 1))  # (1, C, h + 2, w + 2)
    parts = [
        F.conv2d(padded[:, :, row : row + h + 1, column : column + w + 1], weight, conv.bias)
        for (row, column), weight in summed_weights(conv.weight).items()
    ]  # 4 of (1, C', h, w)
    return F.pixel_shuffle(torch.stack(parts, 2).flatten(1, 2), 2)  # (1, C', 2h, 2w)


def traced_graph(module: nn.Module, example: dict[str, Tensor], output: str) -> onnx.GraphProto:
    """The graph of a module for inputs of any height and width, without traces of this machine."""
    program = torch.onnx.export(
        module,
        kwargs=example,
        dynamo=True,
        opset_version=OPSET,
        input_names=list(example),
        output_names=[output],
        dynamic_shapes={name: {2: "height", 3: "width"} for name in example},
        # No fusing of batch normalization: the stored weights are exact in half precision, the
        # fused ones would not be.
        optimize=False,
        verbose=False,
    )
    optimizer.fold_constants(program.model, onnx_shape_inference=False)
    optimizer.remove_unused_nodes(program.model)
    graph = program.model_proto.graph
    del graph.value_info[:], graph.metadata_props[:]
    for node in graph.node:
        del node.metadata_props[:]
        node.doc_string = ""
    for value in (*graph.input, *graph.output, *graph.initializer):
        del value.metadata_props[:]
    return graph


def psi_graph(alpha: float) -> onnx.ModelProto:
    """ψ for one α."""
    return finished(traced_graph(load_psi(alpha), {"small": torch.rand(1, 3, 37, 53)}, "expected"))


def sr_graph(
    part: type[Look], l1: XSRResNet, dsd_net: XSRResNet, example: dict[str, Tensor], output: str
) -> onnx.ModelProto:
    """One part of the super-resolution networks; ``dial`` goes from the L1 to the DSD weights."""
    graph = traced_graph(part(l1).eval(), example, output)
    targets = part(dsd_net).state_dict()
    nodes, kept = [], []
    for tensor in graph.initializer:
        if tensor.name not in targets:
            kept.append(tensor)
            continue
        name, start = tensor.name, numpy_helper.to_array(tensor)
        end = targets[name].numpy()
        kept += [
            numpy_helper.from_array(start, f"{name}.l1"),
            numpy_helper.from_array(end, f"{name}.dsd"),
        ]
        nodes += [
            helper.make_node("Mul", [f"{name}.l1", "one_minus_dial"], [f"{name}.from_l1"]),
            helper.make_node("Mul", [f"{name}.dsd", "dial"], [f"{name}.from_dsd"]),
            helper.make_node("Add", [f"{name}.from_l1", f"{name}.from_dsd"], [name]),
        ]
    if not nodes:
        raise ValueError("expected the network's weights among the graph's tensors, found none")
    one = numpy_helper.from_array(np.ones(1, np.float32), "one")
    rest = helper.make_node("Sub", ["one", "dial"], ["one_minus_dial"])
    graph = helper.make_graph(
        [rest, *nodes, *graph.node],
        "super_resolution",
        [*graph.input, helper.make_tensor_value_info("dial", TensorProto.FLOAT, [1])],
        list(graph.output),
        [one, *kept],
    )
    return finished(graph)


def finished(graph: onnx.GraphProto) -> onnx.ModelProto:
    """The checked model, its larger tensors stored in half precision and cast to float32.

    Raises:
        ValueError: a weight is not exact in half precision.
    """
    casts, tensors = [], []
    for tensor in graph.initializer:
        value = numpy_helper.to_array(tensor)
        if value.dtype == np.float32 and value.size >= SMALL:
            half = value.astype(np.float16)
            if not np.array_equal(half, value):
                raise ValueError(f"{tensor.name}: expected weights exact in half precision")
            casts.append(
                helper.make_node("Cast", [f"{tensor.name}.half"], [tensor.name], to=1)  # float32
            )
            tensors.append(numpy_helper.from_array(half, f"{tensor.name}.half"))
        else:
            tensors.append(numpy_helper.from_array(value, tensor.name))
    graph = helper.make_graph(
        [*casts, *graph.node], graph.name, list(graph.input), list(graph.output), tensors
    )
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", OPSET)], producer_name="dsd_lib"
    )
    model.ir_version = 10
    onnx.checker.check_model(model, full_check=True)
    return model


# The comparison with dsd_lib


def odd_images(count: int = 20) -> list[Tensor]:
    """Pieces of the embedded images, of odd and of unequal sides from 17 pixels on."""
    rng = np.random.default_rng(0)
    images = itertools.cycle(dsd.sample_images().values())
    pieces = []
    for x in itertools.islice(images, count):
        height, width = (2 * int(n) + 1 for n in rng.integers(8, 80, 2))
        top, left = (int(rng.integers(0, side - n)) for side, n in
                     zip(x.shape[2:], (height, width), strict=True))  # fmt: skip
        pieces.append(x[:, :, top : top + height, left : left + width].contiguous())
    return pieces


def session(model: bytes) -> onnxruntime.InferenceSession:
    """A model ready to run on the CPU."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def run(ready: onnxruntime.InferenceSession, **inputs: Tensor | np.ndarray) -> list[np.ndarray]:
    """What a model gives."""
    return ready.run(None, {k: np.asarray(v) for k, v in inputs.items()})


def difference(got: np.ndarray, expected: np.ndarray) -> float:
    """The largest difference, relative to the largest expected value."""
    return float(np.abs(got - expected).max() / np.abs(expected).max())


@torch.no_grad()
def dsd_difference(model: bytes) -> float:
    """Norms of DSD₂ and DSD₄, each relative to itself."""
    ready, net, worst = session(model), dsd.load_backbone("vgg16"), 0.0

    def grams(x: Tensor) -> list[np.ndarray]:
        height, width = x.shape[2:]
        sums = run(ready, image=x, crop=np.array([0, 0, height, width], np.int64))
        strides = [net.stride(layer) for layer in LAYERS]
        return [
            s / (len(s) * (height // stride) * (width // stride))
            for s, stride in zip(sums, strides, strict=True)
        ]

    for x, alpha in itertools.product(odd_images(), (2, 4)):
        fine, coarse = grams(x), grams(dsd.imresize(x, scale=1 / alpha))
        got = np.array([np.abs(g - h).mean() for g, h in zip(fine, coarse, strict=True)])
        expected = dsd.dsd_norm(x, net, LAYERS, alpha)[0].numpy()
        worst = max(worst, float(np.abs(got / expected - 1).max()))
    return worst


@torch.no_grad()
def psi_difference(model: bytes, alpha: float) -> float:
    """The four expected norms, each relative to itself."""
    ready, psi, worst = session(model), load_psi(alpha), 0.0
    for x in odd_images():
        small = dsd.imresize(x, scale=1 / alpha)
        got, expected = run(ready, small=small)[0], psi(small).numpy()
        worst = max(worst, float(np.abs(got / expected - 1).max()))
    return worst


@torch.no_grad()
def sr_differences(look: bytes, draw: bytes) -> tuple[float, float]:
    """The feature map and the enlarged image, at five places of the dial."""
    l1, dsd_net = dial_ends()
    first, second = session(look), session(draw)
    worst = [0.0, 0.0]
    for x, t in zip(odd_images(), itertools.cycle((0.0, 0.25, 0.5, 0.75, 1.0))):
        between = interpolate(l1, dsd_net, t)
        x = dsd.imresize(x, scale=1 / 2).clamp(0, 1)
        dial = np.array([t], np.float32)
        features = run(first, image=x, dial=dial)[0]
        enlarged = run(second, image=x, features=features, dial=dial)[0]
        worst[0] = max(worst[0], difference(features, between.look(x).numpy()))
        worst[1] = max(worst[1], difference(enlarged, between(x).numpy()))
    return worst[0], worst[1]


def reach(part: Callable[[Tensor], Tensor], channels: int) -> int:
    """How many input pixels beyond its own a position of the result depends on, by its gradient."""
    side = 99
    x = torch.rand(1, channels, side, side, dtype=torch.float64, requires_grad=True)
    y = part(x)
    scale = y.shape[2] // side
    own = slice(side // 2 * scale, side // 2 * scale + scale)
    y[:, :, own, own].square().sum().backward()
    rows = x.grad.abs().sum(dim=(0, 1, 3)).nonzero().flatten()
    return max(side // 2 - int(rows[0]), int(rows[-1]) - side // 2)


# The files


def models() -> dict[str, bytes]:
    """Every model, serialized; the same bytes whenever the versions are the same."""
    torch.manual_seed(0)
    l1, dsd_net = dial_ends()
    image, features = torch.rand(1, 3, 37, 53), torch.rand(1, l1.channels, 37, 53)
    made = {
        "dsd": dsd_graph(dsd.load_backbone("vgg16")),
        "psi_alpha2": psi_graph(2),
        "psi_alpha4": psi_graph(4),
        "sr_look": sr_graph(Look, l1, dsd_net, {"image": image}, "features"),
        "sr_draw": sr_graph(
            Draw, l1, dsd_net, {"image": image, "features": features}, "enlarged"
        ),
    }  # fmt: skip
    return {name: model.SerializeToString(deterministic=True) for name, model in made.items()}


def check(files: dict[str, bytes]) -> dict[str, float]:
    """The largest relative difference of each model from ``dsd_lib``."""
    look, draw = sr_differences(files["sr_look"], files["sr_draw"])
    return {
        "dsd": dsd_difference(files["dsd"]),
        "psi_alpha2": psi_difference(files["psi_alpha2"], 2),
        "psi_alpha4": psi_difference(files["psi_alpha4"], 4),
        "sr_look": look,
        "sr_draw": draw,
    }


def reference() -> dict[str, object]:
    """What the page compares an image with: percentiles 0 to 100 of measured photos."""

    def percentiles(values: object) -> list:
        every = np.percentile(np.array(values), np.arange(101), axis=0)
        return np.vectorize(lambda v: float(f"{v:.4g}"))(every.T).tolist()

    norms = json.loads((RESULTS / "dsd_histogram_bsds500.json").read_text("utf-8"))["results"]
    natural = json.loads((TRY / "naturalness_bsds500.json").read_text("utf-8"))["results"]
    assert tuple(norms["layers"]) == tuple(natural["layers"]) == LAYERS
    return {
        "layers": LAYERS,
        "photos": len(norms["names"]),
        "unseen": len(natural["names"]),
        "norms": {a: percentiles(norms["norms"][a]) for a in ("2", "4")},
        "naturalness": {a: percentiles(natural[a]["score"]) for a in ("2", "4")},
    }


def write_photos(folder: Path) -> dict[str, dict]:
    """The embedded images as scripts, bit for bit, and a thumbnail of each."""
    entries = {}
    (folder / "thumbs").mkdir(parents=True, exist_ok=True)
    pictures = Path(dsd.__file__).parent / "pictures"
    for path in sorted(pictures.glob("*.webp")):
        entries[path.stem] = pack(path.stem, path.read_bytes(), folder / f"{path.stem}.js")
        with Image.open(path) as image:
            side = min(image.size)
            left, top = (image.width - side) // 2, (image.height - side) // 2
            square = image.convert("RGB").crop((left, top, left + side, top + side))
        buffer = io.BytesIO()
        square.resize((112, 112), Image.Resampling.LANCZOS).save(buffer, "webp", quality=80)
        write_atomically(folder / "thumbs" / f"{path.stem}.webp", buffer.getvalue())
    return entries


def write(folder: Path = TRY) -> dict:
    """Write models, photos, percentiles and the manifest."""
    files = models()
    differences = check(files)
    bad = {name: value for name, value in differences.items() if not value <= TOLERANCE}
    if bad:
        raise ValueError(f"expected models within {TOLERANCE:g} of dsd_lib, got {bad}")
    net = dial_ends()[0].double()
    image = torch.rand(1, 3, 99, 99, dtype=torch.float64)
    manifest = {
        "opset": OPSET,
        "versions": {m.__name__: m.__version__ for m in (torch, onnx, onnxruntime, np)},
        "compare": "the function, by python -m data_scripts.export_web --check; the bytes are "
        "the same only where the versions are",
        "images": 20,
        "models": {
            name: pack(name, model, folder / "models" / f"{name}.js")
            | {"largest_relative_difference": float(f"{differences[name]:.1e}")}
            for name, model in files.items()
        },
        "photos": write_photos(folder / "photos"),
    }
    settings = reference() | {
        "halo": max(dsd.load_backbone("vgg16").reach(layer) for layer in LAYERS),
        "stride": max(dsd.load_backbone("vgg16").stride(layer) for layer in LAYERS),
        "look": reach(net.look, 3),
        "draw": reach(lambda f: net.draw(image, f), net.channels),
    }
    write_atomically(
        folder / "models" / "reference.js",
        f'DSDTry.deliver("reference", {json.dumps(settings, separators=(",", ":"))});\n',
    )
    write_atomically(folder / "manifest.json", json.dumps(manifest, indent=1) + "\n")
    return manifest


def main() -> None:
    """Write, or check what is there."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="compare only")
    if parser.parse_args().check:
        names = json.loads((TRY / "manifest.json").read_text("utf-8"))["models"]
        found = check({name: unpack(TRY / "models" / f"{name}.js") for name in names})
        for name, value in found.items():
            print(f"{name}: largest relative difference from dsd_lib {value:.1e}")
        sys.exit(not max(found.values()) <= TOLERANCE)
    for name, entry in write()["models"].items():
        print(
            f"{name}: {entry['bytes']:,} bytes, {entry['script_bytes']:,} packed, largest "
            f"relative difference from dsd_lib {entry['largest_relative_difference']:.1e}"
        )


if __name__ == "__main__":
    main()
