"""The restoration network and its files."""

import json
import re
from pathlib import Path

import pytest
import safetensors
import safetensors.torch
import torch
import torch.nn.functional as F

from dsd_lib.restoration.networks import (
    UPSAMPLING,
    XSRResNet,
    conv_of_enlarged,
    interpolate,
    load_network,
    save_network,
)

EVERY = [(blocks, scale) for blocks in (10, 5) for scale in (4, 2, 1)]


def small(scale: int = 4, **options: int | str) -> XSRResNet:
    """A network with few weights, all of them away from 0."""
    net = XSRResNet(scale, **({"blocks": 2, "channels": 8} | options))
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return net


def documented(blocks: int, scale: int) -> tuple[int, set[int]]:
    """Parameters and receptive field as the class's description states them."""
    row = re.search(
        rf"^ *{blocks} +{scale} +([\d,]+) +(\d+)(?: or (\d+))?$", XSRResNet.__doc__, re.M
    )
    return int(row[1].replace(",", "")), {int(side) for side in row.groups()[1:] if side}


# What it computes


def written_out(net: XSRResNet, x: torch.Tensor) -> torch.Tensor:
    """The forward pass from the stored tensors, by name, as the description has it."""
    w = net.state_dict()

    def conv(f, name, **options):
        return F.conv2d(f, w[f"{name}.weight"], w.get(f"{name}.bias"), **options)

    f = F.leaky_relu(conv(x, "head.0", padding=2), 0.1)
    for i in range(net.blocks):
        g = conv(f, f"body.{i}.body.0", padding=1)
        gate = conv(g, f"body.{i}.body.1.conv", padding=3, groups=net.channels)
        f = f + conv(g / (1 + (-gate).exp()), f"body.{i}.body.2", padding=1)
    for stage in range({1: 0, 2: 1, 4: 2}[net.scale]):
        if net.upsampling == "shuffle":
            f = F.pixel_shuffle(conv(f, f"enlarge.{3 * stage}", padding=1), 2)
        else:
            f = f.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
            f = conv(f, f"enlarge.{3 * stage + 1}", padding=1)
        f = F.leaky_relu(f, 0.1)
    f = conv(F.leaky_relu(conv(f, "tail.0", padding=1), 0.1), "tail.2", padding=2)
    sides = [side * net.scale for side in x.shape[2:]]
    return f + F.interpolate(x, sides, mode="bilinear", align_corners=False)


@pytest.mark.parametrize("upsampling", UPSAMPLING)
@pytest.mark.parametrize("scale", [1, 2, 4])
def test_it_is_what_the_description_says(scale, upsampling):
    net, x = small(scale, upsampling=upsampling), torch.rand(2, 3, 9, 14)
    torch.testing.assert_close(net(x), written_out(net, x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("upsampling", "can_paint"), [("shuffle", True), ("resize", False)])
@pytest.mark.parametrize("scale", [2, 4])
def test_only_pixel_shuffles_can_paint_a_grid_on_a_flat_image(scale, upsampling, can_paint):
    """Away from the borders, whose zeros are felt, one weight for all positions gives one color."""
    net = small(scale, upsampling=upsampling).double()
    flat = torch.rand(1, 3, 1, 1, dtype=torch.float64).expand(1, 3, 48, 48)
    middle = net(flat)[:, :, 20 * scale : 28 * scale, 20 * scale : 28 * scale]
    contrast = (middle.amax(dim=(2, 3)) - middle.amin(dim=(2, 3))).max()
    assert (contrast > 1e-2) == can_paint and (contrast < 1e-9) != can_paint


@pytest.mark.parametrize(("blocks", "scale"), EVERY)
def test_number_of_parameters_is_the_documented(blocks, scale):
    net = XSRResNet(scale, blocks)
    assert sum(p.numel() for p in net.parameters()) == documented(blocks, scale)[0]
    assert 2 * documented(blocks, scale)[0] < 4e6  # a file in half precision stays below 4 MB


@pytest.mark.parametrize(("blocks", "scale"), EVERY)
def test_receptive_field_is_the_documented(blocks, scale):
    net = XSRResNet(scale, blocks, channels=1).double()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.fill_(0.05)  # no path from input to output may cancel
    side = 117
    x = torch.rand(1, 3, 1, side, dtype=torch.float64, requires_grad=True)
    row = net(x)[0, 0, 0]
    seen = set()
    for offset in range(scale):
        (gradient,) = torch.autograd.grad(row[side // 2 * scale + offset], x, retain_graph=True)
        seen.add(int((gradient != 0).any(dim=1).sum()))
    assert seen == documented(blocks, scale)[1]


@pytest.mark.parametrize("scale", [1, 2, 4])
def test_a_new_network_is_near_to_bilinear_enlargement(scale):
    x = torch.rand(1, 3, 16, 16)
    enlarged = F.interpolate(x, scale_factor=float(scale), mode="bilinear")
    error = (XSRResNet(scale, blocks=5)(x) - enlarged).std()
    assert 0 < error < 0.15


@pytest.mark.parametrize("sides", [(1, 1), (1, 7), (5, 3), (16, 31)])
@pytest.mark.parametrize("scale", [1, 2, 4])
def test_any_size(scale, sides):
    y = small(scale)(torch.rand(2, 3, *sides))
    assert y.shape == (2, 3, sides[0] * scale, sides[1] * scale)
    assert y.isfinite().all()


def test_batch_equals_loop_and_shifts_with_the_input():
    net = small(2)
    x = torch.rand(2, 3, 40, 40)
    y = net(x)
    torch.testing.assert_close(y, torch.cat([net(x[:1]), net(x[1:])]), rtol=1e-4, atol=1e-5)
    shifted = net(x[:, :, 2:, 3:])
    inside = slice(34, 42)  # away from the borders, whose zeros are near
    torch.testing.assert_close(
        y[:, :, 4:, 6:][:, :, inside, inside], shifted[:, :, inside, inside], rtol=1e-4, atol=1e-5
    )


def test_every_weight_learns():
    net = small(4)
    net(torch.rand(1, 3, 8, 8)).square().sum().backward()
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name


@pytest.mark.parametrize("sides", [(1, 1), (1, 6), (7, 2), (9, 12)])
def test_a_convolution_of_an_enlarged_map_without_enlarging_it(sides):
    """The same values, borders included, and the same gradients."""
    conv = torch.nn.Conv2d(5, 4, 3, padding=1).double()
    f = torch.randn(2, 5, *sides, dtype=torch.float64, requires_grad=True)
    expected = conv(f.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3))
    got = conv_of_enlarged(f, conv)
    torch.testing.assert_close(got, expected)
    way, inputs = torch.randn_like(expected), (f, conv.weight, conv.bias)
    for a, b in zip(*(torch.autograd.grad(y, inputs, way) for y in (got, expected)), strict=True):
        torch.testing.assert_close(a, b)


def test_the_network_enlarges_as_its_layers_say():
    net, f = small(4, upsampling="resize").double(), torch.randn(1, 8, 6, 5, dtype=torch.float64)
    torch.testing.assert_close(net._enlarged(f), net.enlarge(f))


def test_weights_between_those_of_two_networks():
    a, b, x = small(2), small(2), torch.rand(1, 3, 8, 9)
    for position, end in ((0, a), (1, b)):
        assert torch.equal(interpolate(a, b, position)(x), end(x))
    quarter = interpolate(a, b, 0.25).state_dict()
    for name, value in quarter.items():
        expected = 0.75 * a.state_dict()[name] + 0.25 * b.state_dict()[name]
        torch.testing.assert_close(value, expected)
    for other in (
        small(4),
        small(2, blocks=1),
        small(2, channels=4),
        small(2, upsampling="resize"),
    ):
        with pytest.raises(ValueError, match="expected two networks of one configuration, got"):
            interpolate(a, other, 0.5)
    for bad in (-0.01, 1.01, float("nan"), "0.5", None, True):
        with pytest.raises(ValueError, match="position: expected a number from 0 to 1, got"):
            interpolate(a, b, bad)


# How it is run


def test_memory_layouts_agree():
    net = small(4)
    x = torch.rand(2, 3, 11, 12)
    usual, last = x.clone().requires_grad_(), x.contiguous(memory_format=torch.channels_last)
    last.requires_grad_()
    y = net(usual)
    gradient = torch.randn_like(y)
    (expected,) = torch.autograd.grad(y, usual, gradient)
    (got,) = torch.autograd.grad(net(last), last, gradient)
    torch.testing.assert_close(net(last), y, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(got, expected, rtol=1e-3, atol=1e-4)
    assert net.head[0].weight.is_contiguous(memory_format=torch.channels_last)
    plain = small(4)
    plain.load_state_dict(net.state_dict())
    plain.to(memory_format=torch.contiguous_format)
    torch.testing.assert_close(plain(usual), y, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("upsampling", UPSAMPLING)
def test_compiles_in_one_piece(upsampling):
    net, x = small(2, blocks=1, upsampling=upsampling), torch.rand(1, 3, 8, 9)
    # Nothing of the network may break the graph. This backend needs no C++ compiler.
    compiled = torch.compile(net, fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(x), net(x), rtol=1e-4, atol=1e-5)


def test_autocast_is_near():
    net, x = small(4), torch.rand(1, 3, 12, 12)
    with torch.autocast("cpu", torch.bfloat16):
        y = net(x)
    assert y.dtype == torch.float32  # the enlarged input keeps its precision
    assert (y - net(x)).norm() < 0.02 * net(x).norm()


# What is refused


@pytest.mark.parametrize("scale", [0, 3, 8, -2, 0.5, "4", None, True])
def test_scale_is_checked(scale):
    with pytest.raises(ValueError, match=r"scale: expected one of \(1, 2, 4\), got"):
        XSRResNet(scale)


@pytest.mark.parametrize("option", ["blocks", "channels"])
@pytest.mark.parametrize("value", [0, -1, 2.0, "3", None, True])
def test_sizes_are_checked(option, value):
    with pytest.raises(ValueError, match=f"{option}: expected a positive whole number, got"):
        XSRResNet(4, **{option: value})


@pytest.mark.parametrize("upsampling", ["bilinear", "", None])
def test_upsampling_is_checked(upsampling):
    with pytest.raises(ValueError, match=r"upsampling: expected one of .*'resize'.*, got"):
        XSRResNet(4, upsampling=upsampling)


def test_pictures_are_checked():
    with pytest.raises(ValueError, match="expected 3 channels"):
        small()(torch.rand(1, 1, 8, 8))
    with pytest.raises(TypeError, match="divide 8-bit values by 255"):
        small()(torch.zeros(1, 3, 8, 8, dtype=torch.uint8))


# Files


@pytest.mark.parametrize("upsampling", UPSAMPLING)
def test_a_file_gives_the_network_back(tmp_path, upsampling):
    net, path = small(2, upsampling=upsampling), tmp_path / "network.safetensors"
    save_network(net, path, loss="dsd", steps=300, weights=[1, 1, 100.0], data={"train": "x"})
    back = load_network(path)
    assert (back.scale, back.blocks, back.channels, back.upsampling) == (2, 2, 8, upsampling)
    assert back.record == {
        "loss": "dsd",
        "steps": 300,
        "weights": [1, 1, 100.0],
        "data": {"train": "x"},
    }
    assert not back.training and not any(p.requires_grad for p in back.parameters())
    for name, value in net.state_dict().items():
        assert torch.equal(back.state_dict()[name], value.half().float()), name
    x = torch.rand(1, 3, 10, 10)
    torch.testing.assert_close(back(x), net(x), rtol=1e-2, atol=1e-2)
    assert net.training and net.head[0].weight.dtype == torch.float32  # saving changes nothing


def test_a_file_is_half_precision_and_carries_its_configuration(tmp_path):
    path = tmp_path / "network.safetensors"
    save_network(small(), path)
    with safetensors.safe_open(path, framework="pt") as file:
        config = json.loads(file.metadata()["config"])
        assert config == {"scale": 4, "blocks": 2, "channels": 8, "upsampling": "shuffle"}
        assert {file.get_tensor(k).dtype for k in file.keys()} == {torch.float16}  # noqa: SIM118


def test_a_file_from_before_there_was_a_choice_of_upsampling_holds_pixel_shuffles(tmp_path):
    net, path = small(), tmp_path / "network.safetensors"
    tensors = {k: v.contiguous() for k, v in net.state_dict().items()}
    metadata = {"config": '{"scale": 4, "blocks": 2, "channels": 8}', "record": "{}"}
    safetensors.torch.save_file(tensors, path, metadata=metadata)
    back, x = load_network(path), torch.rand(1, 3, 9, 7)
    assert back.upsampling == "shuffle" and torch.equal(back(x), net(x))


def test_a_compiled_network_is_saved_like_the_plain(tmp_path):
    net = small()
    compiled = torch.compile(net, backend="eager")
    save_network(net, tmp_path / "plain.safetensors")
    save_network(compiled, tmp_path / "compiled.safetensors")
    plain, other = (
        load_network(tmp_path / f"{name}.safetensors") for name in ("plain", "compiled")
    )
    for name, value in plain.state_dict().items():
        assert torch.equal(other.state_dict()[name], value), name


def test_writing_is_all_or_nothing(tmp_path, monkeypatch):
    path = tmp_path / "network.safetensors"
    save_network(small(), path, steps=1)
    before = path.read_bytes()

    def fail(*_):
        raise OSError("no space left")

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(OSError, match="no space left"):
        save_network(small(), path, steps=2)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]  # no leftovers


@pytest.mark.parametrize("value", [torch.nan, torch.inf, 1e6])
def test_weights_that_do_not_fit_are_not_written(tmp_path, value):
    net = small()
    with torch.no_grad():
        net.tail[0].weight[0, 0, 0, 0] = value
    with pytest.raises(ValueError, match=r"finite in half precision; tail.0.weight is not"):
        save_network(net, tmp_path / "network.safetensors")
    assert list(tmp_path.iterdir()) == []


def test_saving_checks_what_it_gets(tmp_path):
    with pytest.raises(TypeError, match="expected an XSRResNet, got Conv2d"):
        save_network(torch.nn.Conv2d(3, 3, 1), tmp_path / "a.safetensors")
    with pytest.raises(TypeError, match="not JSON serializable"):
        save_network(small(), tmp_path / "a.safetensors", loss=torch.zeros(1))
    assert list(tmp_path.iterdir()) == []


def test_other_files_are_refused(tmp_path):
    path = tmp_path / "network.safetensors"
    with pytest.raises(FileNotFoundError, match=r"no network at .*network.safetensors"):
        load_network(path)
    path.write_bytes(b"nothing of the kind")
    with pytest.raises(ValueError, match="expected a safetensors file"):
        load_network(path)
    safetensors.torch.save_file({"a": torch.zeros(1)}, path)
    with pytest.raises(ValueError, match="expected a network of save_network"):
        load_network(path)
    save_network(small(), path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match="expected a safetensors file"):
        load_network(path)
    tensors = {k: v.contiguous() for k, v in small(scale=2).state_dict().items()}
    config = {"scale": 4, "blocks": 2, "channels": 8}
    for wrong in (config, config | {"scale": 3}, config | {"depth": 2}, [4, 2, 8]):
        metadata = {"config": json.dumps(wrong), "record": "{}"}
        safetensors.torch.save_file(tensors, path, metadata=metadata)
        with pytest.raises(ValueError, match="expected a network of save_network"):
            load_network(path)


@pytest.mark.parametrize(
    "config", [{"channels": 5000}, {"blocks": 10**6}, {"channels": 10**30}, {"channels": 1e200}]
)
def test_a_configuration_larger_than_the_file_is_refused_before_anything_is_built(
    config, tmp_path, monkeypatch
):
    path = tmp_path / "network.safetensors"
    config = {"scale": 4, "blocks": 2, "channels": 8} | config
    tensors = {k: v.contiguous() for k, v in small().state_dict().items()}
    metadata = {"config": json.dumps(config), "record": "{}"}
    safetensors.torch.save_file(tensors, path, metadata=metadata)
    monkeypatch.setattr(torch.nn, "Conv2d", None)  # would be the first thing built
    with pytest.raises(ValueError, match=r"with only 9571 weights|OverflowError"):
        load_network(path)


@pytest.mark.parametrize("value", [torch.nan, -torch.inf])
def test_weights_that_are_not_finite_are_refused_on_loading(value, tmp_path):
    path = tmp_path / "network.safetensors"
    save_network(small(), path)
    with safetensors.safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    tensors = safetensors.torch.load_file(path)
    tensors["tail.2.bias"][1] = value
    safetensors.torch.save_file(tensors, path, metadata=metadata)
    with pytest.raises(ValueError, match=r"expected finite weights, got NaN .* in tail\.2\.bias"):
        load_network(path)
