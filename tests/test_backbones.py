"""The feature networks."""

import copy
import hashlib
import os
import re
import socket
import sys
from pathlib import Path

import pytest
import safetensors.torch
import torch
import torch.nn.functional as F

import dsd_lib as dsd
from dsd_lib import Backbone, backbones, load_backbone

WEIGHTS = Path(dsd.__file__).parent / "weights" / "vgg16_conv_fp16.safetensors"


# Features


def test_features_are_those_of_the_convolutions_in_the_file(net):
    """Every convolution and pooling, by hand from the file's tensors and the file's own words."""
    tensors = {k: v.float() for k, v in safetensors.torch.load_file(WEIGHTS).items()}
    x = torch.rand(1, 3, 32, 48)
    mean = torch.tensor([123.68, 116.779, 103.939]).view(1, 3, 1, 1) / 255
    f, expected = (x - mean) / 0.226, {}
    for layer in net.layers:
        if layer.startswith("conv"):
            f = F.conv2d(f, tensors[f"{layer}.weight"], tensors[f"{layer}.bias"], padding=1)
        else:
            f = f.relu() if layer.startswith("relu") else F.max_pool2d(f, 2)
        expected[layer] = f
    maps = net(x, net.layers)
    assert list(maps) == list(net.layers)
    for layer in net.layers:
        torch.testing.assert_close(maps[layer], expected[layer], rtol=1e-4, atol=1e-4)


def test_layer_names():
    vgg16, vgg19 = Backbone("vgg16"), Backbone("vgg19")
    assert vgg16.layers[:6] == ("conv1_1", "relu1_1", "conv1_2", "relu1_2", "pool1", "conv2_1")
    assert vgg16.layers[-3:] == ("conv5_3", "relu5_3", "pool5") and len(vgg16.layers) == 31
    assert vgg19.layers[-3:] == ("conv5_4", "relu5_4", "pool5") and len(vgg19.layers) == 37
    assert (vgg16.last_conv, vgg19.last_conv) == ("conv5_3", "conv5_4")


def test_layers_come_in_the_order_asked_for(net):
    asked = ("relu3_1", "conv1_1", "relu2_2")
    assert tuple(net(torch.rand(1, 3, 16, 16), asked)) == asked
    assert tuple(net(torch.rand(1, 3, 16, 16), iter(asked))) == asked
    assert tuple(net(torch.rand(1, 3, 16, 16), "relu1_1")) == ("relu1_1",)


def test_one_pass_runs_every_stage_once_and_only_as_deep_as_asked(net):
    ran = []
    stages = {k: stage for k, stage in net.stages.items() if not k.startswith("relu")}
    hooks = [
        stage.register_forward_hook(lambda *_, name=name: ran.append(name))
        for name, stage in stages.items()
    ]
    try:
        net(torch.rand(1, 3, 16, 16), ("relu2_1", "conv1_1", "relu1_2"))
    finally:
        for hook in hooks:
            hook.remove()
    assert ran == ["conv1_1", "conv1_2", "pool1", "conv2_1"]


def test_relu_does_not_overwrite_the_convolution_asked_for_with_it(net):
    maps = net(torch.rand(1, 3, 16, 16), ("conv1_1", "relu1_1", "conv2_2", "relu2_2"))
    for name in ("1_1", "2_2"):
        assert maps[f"conv{name}"].min() < 0
        assert torch.equal(maps[f"relu{name}"], maps[f"conv{name}"].clamp(min=0))


def test_batch_equals_loop(net, pair):
    x, _ = pair
    batch = net(x, ["conv5_3"])["conv5_3"]
    loop = torch.cat([net(one[None], ["conv5_3"])["conv5_3"] for one in x])
    torch.testing.assert_close(batch, loop, rtol=1e-4, atol=1e-5)


def test_weights_are_frozen_and_images_get_a_gradient(net):
    assert not any(p.requires_grad for p in net.parameters()) and not net.training
    x = torch.rand(1, 3, 16, 16).requires_grad_()
    net(x, ["relu2_1"])["relu2_1"].sum().backward()
    assert x.grad.abs().min() > 0
    assert all(p.grad is None for p in net.parameters())


def test_it_follows_to_another_type():
    net = Backbone("vgg16").double()
    f = net(torch.rand(1, 3, 8, 8).double(), ["relu1_1"])["relu1_1"]
    assert f.dtype == torch.float64


def test_a_coarser_image_is_taken_in_the_networks_type(net):
    f = net(torch.rand(1, 3, 8, 8).half(), ["relu1_1"])["relu1_1"]
    assert f.dtype == torch.float32


# Geometry


@pytest.mark.parametrize(
    ("layer", "stride", "reach"),
    [
        ("conv1_1", 1, 1),
        ("relu1_2", 1, 2),
        ("pool1", 2, 2),
        ("relu2_1", 2, 4),
        ("relu3_1", 4, 10),
        ("pool3", 8, 18),
        ("conv4_3", 8, 42),
        ("relu5_1", 16, 58),
        ("conv5_3", 16, 90),
    ],
)
def test_stride_and_reach_are_the_receptive_field(layer, stride, reach):
    """A NaN reaches exactly the positions that see its pixel."""
    net = Backbone("vgg16").double()  # in float64 convolutions are plain products
    assert (net.stride(layer), net.reach(layer)) == (stride, reach)
    width = 2 * reach + 3 * stride
    for pixel in (reach + stride, reach + stride + 1, width - 1):
        x = torch.zeros(1, 3, 32, width, dtype=torch.float64)
        x[0, 0, 16, pixel] = torch.nan
        f = net(x, [layer], check_range=False)[layer]
        seen = f.isnan().any(dim=2)[0, 0]
        first = torch.arange(len(seen)) * stride
        expected = (first - reach <= pixel) & (pixel <= first + stride - 1 + reach)
        assert torch.equal(seen, expected)


@pytest.mark.parametrize("layer", ["relu1_2", "relu2_1", "relu3_1", "relu4_1", "relu5_1", "pool5"])
def test_the_smallest_image(net, layer):
    side = net.stride(layer)
    assert net(torch.rand(1, 3, side, side), [layer])[layer].shape[2:] == (1, 1)
    if side > 1:
        with pytest.raises(
            ValueError,
            match=rf"x: expected sides of at least {side} pixels, got \(1, 3, {side}, {side - 1}\)"
            f"; vgg16 needs them to reach {layer}",
        ):
            net(torch.rand(1, 3, side, side - 1), [layer])


# Bad input


def test_bad_images(net, bad_image):
    x, error, message = bad_image
    with pytest.raises(error, match=f"x: .*{message}"):
        net(x, ["relu1_1"])


def test_an_image_of_another_type_or_device(net):
    with pytest.raises(
        TypeError, match=r"x: expected torch.float32, the network's type, got torch.float64"
    ):
        net(torch.rand(1, 3, 8, 8).double(), ["relu1_1"])
    with pytest.raises(ValueError, match="x: expected it on cpu, where the network is, got meta"):
        net(torch.rand(1, 3, 8, 8, device="meta"), ["relu1_1"], check_range=False)


@pytest.mark.parametrize(
    "layers",
    [[], ["relu9_1"], ["relu1_1", "relu1_1"], ["relu1_1", 3], "Relu1_1", ["conv5_4"], [None]],
)
def test_bad_layers(net, layers):
    got = re.escape(str((layers,) if isinstance(layers, str) else tuple(layers)))
    with pytest.raises(
        ValueError, match=f"layers: expected different names out of conv1_1, .*, pool5; got {got}"
    ):
        net(torch.rand(1, 3, 16, 16), layers)


@pytest.mark.parametrize("name", ["vgg11", "", None])
def test_bad_names(name):
    with pytest.raises(
        ValueError, match=rf"name: expected one of \['vgg16', 'vgg19'\], got {name!r}"
    ):
        load_backbone(name)


# Weights


def test_the_embedded_weights_are_the_ones_named():
    assert hashlib.sha256(WEIGHTS.read_bytes()).hexdigest() == backbones.VGG16_SHA256
    assert backbones.VGG16_SHA256 in (WEIGHTS.parent / "README.md").read_text()
    tensors = safetensors.torch.load_file(WEIGHTS)
    assert len(tensors) == 26
    assert {t.dtype for t in tensors.values()} == {torch.float16}


def test_weights_from_a_file(net):
    again = load_backbone("vgg16", weights=str(WEIGHTS)).state_dict()
    assert all(torch.equal(v, again[k]) for k, v in net.state_dict().items())


def test_missing_weights(tmp_path):
    for path in (tmp_path / "none.safetensors", tmp_path / "none.pth", tmp_path):
        with pytest.raises(FileNotFoundError, match=f"no weights file at {path}"):
            load_backbone("vgg16", weights=path)


@pytest.fixture
def embedded(tmp_path, monkeypatch) -> Path:
    """A copy of the package's folder of weights, put in its place."""
    (tmp_path / "weights").mkdir()
    monkeypatch.setattr(backbones.resources, "files", lambda package: tmp_path)
    return tmp_path / "weights" / WEIGHTS.name


@pytest.mark.parametrize("damage", ["truncated", "one bit", "empty"])
def test_damaged_embedded_weights(embedded, damage):
    data = bytearray(WEIGHTS.read_bytes())
    if damage == "one bit":
        data[-1] ^= 1
    embedded.write_bytes(data[: {"truncated": 10**6, "one bit": None, "empty": 0}[damage]])
    with pytest.raises(
        ValueError, match=f"expected sha256 {backbones.VGG16_SHA256}, got .*damaged"
    ):
        load_backbone()


def test_missing_embedded_weights(embedded):
    with pytest.raises(FileNotFoundError, match=f"no weights file at {embedded}"):
        load_backbone()
    embedded.write_bytes(WEIGHTS.read_bytes())
    load_backbone()


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
@pytest.mark.parametrize("data", ["", "text", "truncated"])
def test_files_that_hold_no_weights(tmp_path, suffix, data):
    path = tmp_path / f"x{suffix}"
    if data == "truncated":
        if suffix == ".pth":
            torch.save({"features.0.weight": torch.rand(64, 3, 3, 3)}, path)
        whole = path.read_bytes() if suffix == ".pth" else WEIGHTS.read_bytes()
        path.write_bytes(whole[: len(whole) // 2])
    else:
        path.write_text(data)
    with pytest.raises(ValueError, match=rf"x{suffix}: expected a (safetensors|PyTorch) file"):
        load_backbone("vgg19", weights=path)


def test_files_of_other_tensors(tmp_path):
    path = tmp_path / "x.safetensors"
    tensors = safetensors.torch.load_file(WEIGHTS)
    for change in (
        lambda t: t.pop("conv2_1.bias"),
        lambda t: t.update({"conv2_1.bias": torch.zeros(127)}),
        lambda t: t.update({"conv2_1.bias_": torch.zeros(128)}),
    ):
        changed = dict(tensors)
        change(changed)
        safetensors.torch.save_file(changed, path)
        with pytest.raises(
            ValueError, match=r"expected the tensors of vgg16, got .* conv2_1\.bias"
        ):
            load_backbone("vgg16", weights=path)
    with pytest.raises(ValueError, match=r"expected the tensors of vgg19, got others for conv3_4"):
        load_backbone("vgg19", weights=WEIGHTS)


@pytest.mark.parametrize("state", [[torch.zeros(1)], torch.zeros(1), 3])
def test_pth_files_that_hold_no_dictionary(tmp_path, state):
    torch.save(state, tmp_path / "x.pth")
    with pytest.raises(ValueError, match=f"a dictionary of tensors, got {type(state).__name__}"):
        load_backbone("vgg19", weights=tmp_path / "x.pth")


@pytest.mark.parametrize("state", [{}, {0: torch.zeros(1)}, {"features.0.weight": 3}])
def test_pth_files_of_other_dictionaries(tmp_path, state):
    torch.save(state, tmp_path / "x.pth")
    with pytest.raises(ValueError, match="expected the tensors of vgg19, got others for conv1_1"):
        load_backbone("vgg19", weights=tmp_path / "x.pth")


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_weights_that_are_not_finite(tmp_path, value):
    tensors = safetensors.torch.load_file(WEIGHTS)
    tensors["conv1_2.weight"][3, 2, 1, 0] = value
    safetensors.torch.save_file(tensors, tmp_path / "x.safetensors")
    with pytest.raises(
        ValueError, match=r"x\.safetensors: expected finite weights, got .* in conv1_2\.weight"
    ):
        load_backbone("vgg16", weights=tmp_path / "x.safetensors")


class Malicious:
    """Unpickling it makes a folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_a_pth_file_of_code_is_not_run(tmp_path):
    path, trace = tmp_path / "x.pth", tmp_path / "trace"
    torch.save({"features.0.weight": Malicious(trace)}, path)
    with pytest.raises(ValueError, match=r"x\.pth: expected a PyTorch file of tensors"):
        load_backbone("vgg19", weights=path)
    assert not trace.exists()
    torch.load(path, weights_only=False)  # it does what it was made for when it is let
    assert trace.exists()


# VGG-19


def test_vgg19_is_torchvisions(tmp_path):
    vgg = pytest.importorskip("torchvision.models.vgg")
    theirs = vgg.make_layers(vgg.cfgs["E"]).eval()
    state = {f"features.{k}": v for k, v in theirs.state_dict().items()}
    torch.save(state | {"classifier.0.weight": torch.zeros(2, 2)}, tmp_path / "vgg19.pth")
    net = load_backbone("vgg19", weights=tmp_path / "vgg19.pth")

    x = torch.rand(1, 3, 32, 48)
    mean, std = (
        torch.tensor(v).view(1, 3, 1, 1) for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    )
    f, maps = (x - mean) / std, net(x, net.layers)
    assert len(theirs) == len(net.layers)
    for layer, stage in zip(net.layers, theirs, strict=True):
        f = stage(f.clone())  # their ReLUs are in place
        torch.testing.assert_close(maps[layer], f, rtol=1e-4, atol=1e-6)


def test_vgg19_that_cannot_be_downloaded(monkeypatch):
    models = pytest.importorskip("torchvision.models")

    def fail(*_, **__):
        raise OSError("no network")

    monkeypatch.setattr(models.VGG19_Weights, "get_state_dict", fail)
    with pytest.raises(
        FileNotFoundError,
        match=r"VGG-19 is not available from torchvision \(no network\)\. "
        r"Put vgg19-dcbb9e9d\.pth in .*checkpoints, or name your copy",
    ):
        load_backbone("vgg19")


def test_a_download_gets_a_time_limit_and_leaves_it_to_no_one_else(monkeypatch, capsys):
    models = pytest.importorskip("torchvision.models")

    def hang(*_, **__):
        print("Downloading")
        raise TimeoutError(f"no answer for {socket.getdefaulttimeout()} s")

    monkeypatch.setattr(models.VGG19_Weights, "get_state_dict", hang)
    before = socket.getdefaulttimeout()
    with pytest.raises(FileNotFoundError, match=r"no answer for 10\.0 s"):
        backbones.download_vgg19()
    assert socket.getdefaulttimeout() == before
    assert capsys.readouterr() == ("", "")


def test_vgg19_without_torchvision(monkeypatch):
    monkeypatch.setitem(sys.modules, "torchvision.models", None)
    with pytest.raises(FileNotFoundError, match=r"Put vgg19-dcbb9e9d\.pth in"):
        load_backbone("vgg19")


# Tiles


@pytest.mark.parametrize("tile", [0, -1, 1.5, float("nan"), "16", (16, 16), True - 1])
def test_bad_tiles(net, tile):
    with pytest.raises(ValueError, match="tile: expected a whole number of 1 or more pixels, got"):
        net.choose_tile(torch.rand(1, 3, 16, 16), tile)


def test_tiles_are_chosen_above_a_size(net, monkeypatch):
    monkeypatch.setattr(backbones, "LARGE_IMAGE", 100)
    assert net.choose_tile(torch.rand(1, 3, 10, 10), None) is None
    assert net.choose_tile(torch.rand(1, 3, 10, 11), None) == backbones.TILE
    assert net.choose_tile(torch.rand(1, 3, 10, 11), 7) == 7


@pytest.mark.parametrize("sides", [(61, 47), (32, 100), (16, 16)])
def test_tiles_put_together_are_the_whole_map(net, sides):
    net = copy.deepcopy(net).double()  # so that only the geometry could make a difference
    x, layers = torch.rand(1, 3, *sides).double(), ("conv1_1", "relu3_1", "relu2_1")
    whole = net(x, layers)
    parts = list(net.tiles(x, layers, 18))  # rounded up to 20, a multiple of relu3_1's stride
    for layer in layers:
        rows, row = [], []
        for _, part in parts:
            row.append(part[layer])
            if sum(f.shape[3] for f in row) == whole[layer].shape[3]:
                rows.append(torch.cat(row, dim=3))
                row = []
        torch.testing.assert_close(torch.cat(rows, dim=2), whole[layer])
        assert net.map_sides(x, layer) == whole[layer].shape[2:]
    corners = [(top, left) for (top, left), _ in parts]
    assert corners == sorted((t, s) for t in range(0, sides[0], 20) for s in range(0, sides[1], 20))


def test_a_copy_is_its_own(net):
    other = copy.deepcopy(net).double()
    assert other.mean.dtype == torch.float64 and net.mean.dtype == torch.float32
