"""Deep self-dissimilarity; its official values are in test_official_values."""

import copy
import math
import re

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

import dsd_lib as dsd
from dsd_lib import backbones

LAYERS = ("relu1_2", "relu2_1")
BAD_ALPHAS = [1, 0.5, 0, -2, math.nan, math.inf, "2", None, (2,), 2j]


@pytest.mark.parametrize("alpha", [2, 4, 2.5, np.int64(3)])
def test_it_is_the_difference_of_the_grams_at_two_scales(net, pair, alpha):
    x, _ = pair
    small = dsd.imresize(x, scale=1 / alpha)
    matrices = dsd.dsd(x, net, LAYERS, alpha)
    assert list(matrices) == list(LAYERS)
    for layer in LAYERS:
        f, g = (net(z, [layer], check_range=False)[layer] for z in (x, small))
        expected = dsd.gram_matrix(f) - dsd.gram_matrix(g)
        assert matrices[layer].shape == (2, f.shape[1], f.shape[1])
        torch.testing.assert_close(matrices[layer], expected, rtol=1e-4, atol=1e-6)


def test_it_is_signed_and_symmetric(net, coffee):
    matrix = dsd.dsd(coffee, net, ["relu2_1"])["relu2_1"]
    assert matrix.min() < 0 < matrix.max()
    torch.testing.assert_close(matrix, matrix.mT, rtol=1e-4, atol=1e-6)


def test_the_defaults_are_the_papers(net, pair):
    x, _ = pair
    expected = dsd.dsd_norm(x, net, ("relu2_1", "relu2_2", "relu3_1"), alpha=2)
    assert torch.equal(dsd.dsd_norm(x, net), expected)


@pytest.mark.parametrize("layers", [["relu1_2"], ["relu2_1", "relu1_2"]])
@pytest.mark.parametrize("n", [1, 2])
def test_the_norm_is_the_mean_absolute_entry(net, pair, layers, n):
    x = pair[0][:n]
    norm = dsd.dsd_norm(x, net, layers)
    assert norm.shape == (n, len(layers))
    matrices = dsd.dsd(x, net, layers)
    expected = [[matrices[layer][i].abs().mean() for layer in layers] for i in range(n)]
    torch.testing.assert_close(norm, torch.tensor(expected))


@given(
    st.tuples(st.integers(4, 24), st.integers(4, 24)),
    st.sampled_from([1.5, 2, 3, 4]),
    st.integers(1, 2),
)
def test_the_norm_is_finite_and_not_negative(net, sides, alpha, n):
    min_side, _ = net.min_side(LAYERS, alpha)
    x = torch.rand(n, 3, *(max(side, min_side) for side in sides))
    norm = dsd.dsd_norm(x, net, LAYERS, alpha)
    assert norm.shape == (n, 2) and norm.isfinite().all() and (norm >= 0).all()


def test_batch_equals_loop(net, pair):
    x, _ = pair
    batch = dsd.dsd_norm(x, net)
    torch.testing.assert_close(batch, torch.cat([dsd.dsd_norm(one[None], net) for one in x]))
    last = x.contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(batch, dsd.dsd_norm(last, net))


def test_gradcheck(net):
    net = copy.deepcopy(net).double()
    x = torch.rand(1, 3, 8, 8, dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(
        lambda x: dsd.dsd(x, net, ["relu1_2"], check_range=False)["relu1_2"], x, fast_mode=True
    )


def test_frozen_weights_and_a_gradient_for_the_image(net):
    x = torch.rand(1, 3, 16, 16).requires_grad_()
    dsd.dsd_norm(x, net, LAYERS).sum().backward()
    assert x.grad.isfinite().all() and (x.grad != 0).float().mean() > 0.99
    assert all(p.grad is None for p in net.parameters())


def test_autocast_is_within_one_percent(net, pair):
    x, _ = pair
    with torch.autocast("cpu", torch.bfloat16):
        half = dsd.dsd_norm(x, net)
    assert half.dtype == torch.float32
    torch.testing.assert_close(half, dsd.dsd_norm(x, net), rtol=0.01, atol=0)


def test_a_float64_network_gives_float64(net, pair):
    double = copy.deepcopy(net).double()
    norm = dsd.dsd_norm(pair[0].double(), double, LAYERS)
    assert norm.dtype == torch.float64
    torch.testing.assert_close(norm.float(), dsd.dsd_norm(pair[0], net, LAYERS), rtol=1e-4, atol=0)


# Windows


@pytest.mark.parametrize("alpha", [2, 3])
@pytest.mark.parametrize("windows", [2, 3, 4])
def test_windows_are_the_grams_of_crops_of_the_maps(net, pair, windows, alpha):
    x = pair[0][:, :, :45, :47]  # windows that do not divide the sides
    ours = dsd.dsd(x, net, LAYERS, alpha, windows=windows)
    scales = [net(z, LAYERS, check_range=False) for z in (x, dsd.imresize(x, scale=1 / alpha))]
    for layer in LAYERS:
        c = scales[0][layer].shape[1]
        assert ours[layer].shape == (2, windows**2, c, c)
        for i in range(windows):
            for j in range(windows):
                crops = []
                for maps in scales:
                    h, w = maps[layer].shape[2:]
                    top, bottom = (math.floor(k * h / windows + 0.5) for k in (i, i + 1))
                    left, right = (math.floor(k * w / windows + 0.5) for k in (j, j + 1))
                    crops.append(dsd.gram_matrix(maps[layer][:, :, top:bottom, left:right]))
                part = ours[layer][:, i * windows + j]
                torch.testing.assert_close(part, crops[0] - crops[1], rtol=1e-5, atol=1e-7)


def test_the_norm_of_windows_is_the_mean_over_them(net, pair):
    matrices = dsd.dsd(pair[0], net, LAYERS, windows=3)
    each = [[matrices[k][n].abs().mean(dim=(1, 2)).mean() for k in LAYERS] for n in range(2)]
    norm = dsd.dsd_norm(pair[0], net, LAYERS, windows=3)
    assert norm.shape == (2, 2)
    torch.testing.assert_close(norm, torch.tensor(each))


def test_windows_say_where_the_texture_is(net):
    """An image whose left half is flat: only the windows on the right are dissimilar."""
    x = torch.rand(1, 3, 64, 64)
    x[..., :32] = 0.5
    norms = dsd.dsd(x, net, ["relu1_2"], windows=4)["relu1_2"].abs().mean(dim=(2, 3)).view(4, 4)
    assert norms[:, 3].min() > 5 * norms[1:3, 1].max()


def test_gradcheck_of_windows(net):
    net = copy.deepcopy(net).double()
    x = torch.rand(1, 3, 9, 11, dtype=torch.float64).requires_grad_()
    options = {"windows": 3, "check_range": False}
    assert torch.autograd.gradcheck(
        lambda x: dsd.dsd(x, net, ["relu1_2"], **options)["relu1_2"], x, fast_mode=True
    )


@given(
    st.tuples(st.integers(20, 50), st.integers(20, 50)),
    st.integers(9, 60),
    st.integers(2, 5),
    st.sampled_from([("relu1_1",), ("relu2_1", "pool1"), ("relu1_2", "relu3_1")]),
)
def test_windows_of_tiles_are_those_of_the_whole_image(net, sides, tile, windows, layers):
    min_side, _ = net.min_side(layers, 2, windows)
    x = torch.rand(1, 3, *(max(side, min_side) for side in sides))
    whole = dsd.dsd(x, net, layers, windows=windows)
    tiled = dsd.dsd(x, net, layers, windows=windows, tile=tile)
    assert all(close(tiled[layer], whole[layer]) for layer in layers)


@pytest.mark.parametrize("windows", [0, -1, 1.5, "2", None, (2, 2)])
@pytest.mark.parametrize("function", [dsd.dsd, dsd.dsd_norm])
def test_bad_windows(net, function, windows):
    got = re.escape(repr(windows))
    with pytest.raises(
        ValueError, match=f"windows: expected a whole number of 1 or more, got {got}"
    ):
        function(torch.rand(1, 3, 16, 16), net, LAYERS, windows=windows)


@pytest.mark.parametrize("alpha", [2, 5 / 3, 3])
@pytest.mark.parametrize("windows", [2, 5])
def test_the_smallest_image_of_windows(net, windows, alpha):
    side, _ = net.min_side(("relu2_1",), alpha, windows)
    x = torch.rand(1, 3, side, side + 1)
    assert dsd.dsd_norm(x, net, ["relu2_1"], alpha, windows=windows).isfinite().all()
    with pytest.raises(
        ValueError, match=f"sides of at least {side} pixels.* with {windows} × {windows} windows"
    ):
        dsd.dsd(x[:, :, 1:], net, ["relu2_1"], alpha, windows=windows)


# Tiles


def close(a: torch.Tensor, b: torch.Tensor) -> bool:
    """Equal within 1e-5 of the largest entry."""
    return bool((a - b).abs().max() <= 1e-5 * b.abs().max())


@pytest.mark.parametrize(
    ("sides", "layers", "tile"),
    [
        ((61, 47), ("relu1_2", "relu3_1"), 16),
        ((61, 47), ("relu3_1",), 17),  # rounded up to 20
        ((33, 80), ("relu2_1", "conv1_1"), 31),
        ((64, 64), ("pool1", "relu2_2"), 32),
        ((50, 70), ("relu3_1",), 1000),  # one tile
        ((90, 33), ("relu5_1", "relu1_2"), 30),
        ((33, 210), ("conv5_3",), 64),
    ],
)
def test_tiles_give_the_whole_images_result(net, pictures, sides, layers, tile):
    x = pictures["temple"][:, :, 30 : 30 + sides[0], 50 : 50 + sides[1]]
    whole, tiled = dsd.dsd(x, net, layers), dsd.dsd(x, net, layers, tile=tile)
    assert list(tiled) == list(layers)
    assert all(close(tiled[layer], whole[layer]) for layer in layers)
    norms = dsd.dsd_norm(x, net, layers), dsd.dsd_norm(x, net, layers, tile=tile)
    torch.testing.assert_close(*norms, rtol=1e-5, atol=0)


@given(
    st.tuples(st.integers(7, 50), st.integers(7, 50)),
    st.integers(9, 60),
    st.sampled_from([("relu1_1",), ("relu2_1", "pool1"), ("relu1_2", "relu3_1")]),
)
def test_tiles_give_the_whole_images_result_at_any_size(net, sides, tile, layers):
    x = torch.rand(1, 3, *sides)
    whole, tiled = dsd.dsd(x, net, layers), dsd.dsd(x, net, layers, tile=tile)
    assert all(close(tiled[layer], whole[layer]) for layer in layers)


def test_tiles_have_the_whole_images_gradient(net):
    x = torch.rand(1, 3, 37, 29)
    gradients = []
    for tile in (None, 16):
        z = x.clone().requires_grad_()
        dsd.dsd_norm(z, net, LAYERS, tile=tile).sum().backward()
        gradients.append(z.grad)
    torch.testing.assert_close(*gradients, rtol=1e-3, atol=1e-4 * gradients[0].abs().max().item())


def test_large_images_are_tiled_without_being_asked(net, monkeypatch):
    x = torch.rand(1, 3, 40, 50)
    whole = dsd.dsd_norm(x, net, LAYERS)
    sizes = []
    hook = net.stages["conv1_1"].register_forward_hook(
        lambda stage, args, output: sizes.append(tuple(output.shape[2:]))
    )
    monkeypatch.setattr(backbones, "LARGE_IMAGE", 1000)  # x has 2000 pixels, x↓2 has 500
    monkeypatch.setattr(backbones, "TILE", 16)
    try:
        torch.testing.assert_close(dsd.dsd_norm(x, net, LAYERS), whole, rtol=1e-5, atol=0)
    finally:
        hook.remove()
    assert len(sizes) == 3 * 4 + 1 and sizes[-1] == (20, 25)
    assert max(h * w for h, w in sizes[:-1]) == (16 + 2 * 4) ** 2  # a tile and its halo


# Bad input


@pytest.mark.parametrize("function", [dsd.dsd, dsd.dsd_norm])
def test_bad_images(net, bad_image, function):
    x, error, message = bad_image
    with pytest.raises(error, match=f"^x: .*{message}"):
        function(x, net, LAYERS)


@pytest.mark.parametrize("alpha", BAD_ALPHAS)
@pytest.mark.parametrize("function", [dsd.dsd, dsd.dsd_norm])
def test_bad_alphas(net, function, alpha):
    got = re.escape(repr(alpha))
    with pytest.raises(ValueError, match=f"alpha: expected a number above 1, got {got}"):
        function(torch.rand(1, 3, 16, 16), net, LAYERS, alpha)


@pytest.mark.parametrize("options", [{"layers": ["relu6_1"]}, {"layers": []}])
def test_bad_layers(net, options):
    with pytest.raises(
        ValueError, match=r"layers: expected different names out of conv1_1, .* got"
    ):
        dsd.dsd(torch.rand(1, 3, 16, 16), net, **options)


def test_bad_tiles(net):
    with pytest.raises(
        ValueError, match="tile: expected a whole number of 1 or more pixels, got 0"
    ):
        dsd.dsd(torch.rand(1, 3, 16, 16), net, LAYERS, tile=0)


def test_an_image_of_another_type(net):
    with pytest.raises(TypeError, match=r"expected torch\.float32, .* got torch\.float64"):
        dsd.dsd(torch.rand(1, 3, 16, 16).double(), net, LAYERS)


@pytest.mark.parametrize("alpha", [1.2, 2, 2.5, 3, 4, 10 / 7])
@pytest.mark.parametrize("layer", ["relu2_1", "relu3_1", "relu5_1"])
def test_the_smallest_image(net, layer, alpha):
    side, _ = net.min_side((layer,), alpha)
    assert -(-side // alpha) >= net.stride(layer)
    wide = torch.rand(1, 3, side, side + 3)
    assert dsd.dsd_norm(wide, net, [layer], alpha).isfinite().all()
    with pytest.raises(
        ValueError,
        match=rf"x: expected sides of at least {side} pixels, got \(1, 3, {side - 1}, {side + 3}\)"
        f"; vgg16 needs them to reach {layer} at alpha={alpha:g}",
    ):
        dsd.dsd_norm(wide[:, :, 1:], net, [layer], alpha)


@given(st.integers(1, 200), st.integers(1, 60), st.integers(1, 4))
@example(2, 3, 1)  # 1 + 2/3 is a little under 5/3: relu5_1 needs 25 pixels, not 26
def test_the_smallest_side_is_the_smallest_for_any_alpha(net, p, q, windows):
    alpha = 1 + p / q
    for layer in ("relu1_2", "relu3_1", "relu5_1", "pool5"):
        needed, (side, _) = net.stride(layer) * windows, net.min_side((layer,), alpha, windows)

        def reaches(side, needed=needed):
            small = dsd.imresize(torch.zeros(1, 1, max(side, 1), 1), scale=1 / alpha)
            return side >= needed and small.shape[2] >= needed

        assert reaches(side) and not reaches(side - 1)


def test_no_network(net):
    for function in (dsd.dsd, dsd.dsd_norm):
        with pytest.raises(TypeError, match=r"net: expected a Backbone, .* got NoneType"):
            function(torch.rand(1, 3, 16, 16), None)
