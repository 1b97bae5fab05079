"""The distances, as functions and as modules; official values are in test_official_values."""

import copy
import shutil

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import settings

import dsd_lib as dsd
from dsd_lib import backbones, losses

SHALLOW = ("relu1_2", "relu2_1")
PAIRS = {  # function, module
    "perceptual": (dsd.perceptual_distance, dsd.PerceptualLoss),
    "style": (dsd.style_distance, dsd.StyleLoss),
    "multiscale style": (dsd.multiscale_style_distance, dsd.MultiScaleStyleLoss),
    "dsd": (dsd.dsd_distance, dsd.DSDLoss),
    "projected": (dsd.projected_distribution_distance, dsd.ProjectedDistributionLoss),
    "contextual": (dsd.contextual_distance, dsd.ContextualLoss),
}
TILED = [dsd.style_distance, dsd.multiscale_style_distance, dsd.dsd_distance]
SCALED = [dsd.multiscale_style_distance, dsd.dsd_distance]

each_function = pytest.mark.parametrize(
    "distance", [function for function, _ in PAIRS.values()], ids=PAIRS
)
each_pair = pytest.mark.parametrize(("distance", "module"), PAIRS.values(), ids=PAIRS)


# What a distance is


@each_function
def test_zero_on_itself(net, pair, distance):
    x, _ = pair
    torch.testing.assert_close(distance(x, x, net), torch.zeros(2), rtol=0, atol=1e-6)
    torch.testing.assert_close(distance(x, x.clone(), net), torch.zeros(2), rtol=0, atol=1e-6)


@each_function
def test_positive_on_others_and_growing_with_the_noise(net, pair, distance):
    x, y = pair
    far, near = distance(x, y, net), distance(x, (x + y) / 2, net)
    assert far.shape == (2,) and far.dtype == torch.float32
    assert (far > near).all() and (near > 0).all()


@each_function
def test_symmetric_but_for_the_contextual(net, pair, distance):
    x, y = pair
    there, back = distance(x, y, net), distance(y, x, net)
    if distance is dsd.contextual_distance:  # it looks for a match of each of y's vectors in x
        assert ((there - back).abs() > 1e-3 * there).all()
    else:
        torch.testing.assert_close(there, back, rtol=1e-5, atol=0)


@each_function
def test_batch_equals_loop_and_one_image_keeps_its_axis(net, pair, distance):
    x, y = pair
    loop = [distance(x[i : i + 1], y[i : i + 1], net) for i in range(2)]
    assert loop[0].shape == (1,)
    torch.testing.assert_close(distance(x, y, net), torch.cat(loop), rtol=1e-4, atol=0)


@each_function
def test_layers_add_up(net, pair, distance):
    x, y = pair
    both = distance(x, y, net, ("relu3_1", "relu4_1"))
    each = distance(x, y, net, "relu3_1") + distance(x, y, net, ["relu4_1"])
    torch.testing.assert_close(both, each, rtol=1e-5, atol=0)


def test_default_layers(net, pair):
    loss_layers = ("relu2_1", "relu2_2", "relu3_1")
    for name, (distance, _) in PAIRS.items():
        layers = {"perceptual": ["conv5_3"], "contextual": ["relu4_1"]}.get(name, loss_layers)
        assert torch.equal(distance(*pair, net), distance(*pair, net, layers))


@each_function
def test_autocast_is_within_one_percent(net, pair, distance):
    with torch.autocast("cpu", torch.bfloat16):
        half = distance(*pair, net)
    assert half.dtype == torch.float32
    torch.testing.assert_close(half, distance(*pair, net), rtol=0.01, atol=0)


# Formulas


def maps(net, z, layer):
    return net(z, [layer], check_range=False)[layer].double()


def test_perceptual_formula(net, pair):
    x, y = (maps(net, z, "conv5_3") for z in pair)
    torch.testing.assert_close(
        dsd.perceptual_distance(*pair, net).double(),
        (x - y).abs().mean(dim=(1, 2, 3)),
        rtol=1e-4,
        atol=0,
    )


def test_dsd_formula(net, pair):
    x, y = (dsd.dsd(z, net, SHALLOW, alpha=4) for z in pair)
    expected = sum((x[k] - y[k]).abs().mean(dim=(1, 2)) for k in SHALLOW)
    torch.testing.assert_close(
        dsd.dsd_distance(*pair, net, SHALLOW, alpha=4), expected, rtol=1e-4, atol=0
    )


def test_style_formulas(net, pair):
    def style(x, y):
        grams = [dsd.gram_matrix(maps(net, z, "relu2_1")) for z in (x, y)]
        return (grams[0] - grams[1]).abs().mean(dim=(1, 2)).float()

    coarse = [dsd.imresize(z, scale=1 / 3) for z in pair]
    torch.testing.assert_close(
        dsd.style_distance(*pair, net, ["relu2_1"]), style(*pair), rtol=1e-4, atol=0
    )
    torch.testing.assert_close(
        dsd.multiscale_style_distance(*pair, net, ["relu2_1"], alpha=3),
        style(*pair) + style(*coarse),
        rtol=1e-4,
        atol=0,
    )


def test_projected_distribution_formula(net, pair):
    x, y = (np.sort(maps(net, z, "relu2_1").flatten(2).numpy(), axis=2) for z in pair)
    expected = ((x - y) ** 2).mean(axis=(1, 2))
    ours = dsd.projected_distribution_distance(*pair, net, ["relu2_1"])
    np.testing.assert_allclose(ours.numpy(), expected, rtol=1e-4)


@pytest.mark.parametrize("sides", [(24, 24), (66, 64)])
def test_contextual_formula(net, sides):
    """Mechrez et al.'s on the whole matrix of pairs; 66·64 positions are over one block of rows."""
    x, y = torch.rand(2, 1, 3, *sides)
    f, g = (net(z, ["relu1_1"])["relu1_1"].flatten(2)[0].T for z in (x, y))  # (positions, C)
    f, g = (F.normalize(v - g.mean(dim=0), dim=1) for v in (f, g))
    distance = 1 - f @ g.T
    relative = distance / (distance.amin(dim=1, keepdim=True) + 1e-5)
    for bandwidth in (0.5, 0.1):
        weight = torch.exp((1 - relative) / bandwidth)
        similarity = (weight / weight.sum(dim=1, keepdim=True)).amax(dim=0).mean()
        expected = -torch.log(similarity + 1e-5).item()
        ours = dsd.contextual_distance(x, y, net, ["relu1_1"], bandwidth=bandwidth).item()
        assert ours == pytest.approx(expected, rel=1e-3)


def test_contextual_is_never_below_zero(net):
    x = torch.rand(1, 3, 8, 8)  # one position: a perfect match, whatever it is
    assert dsd.contextual_distance(x, 1 - x, net).item() == 0


@pytest.mark.parametrize("windows", [2, 3])
def test_windows_average_over_the_crops_of_the_maps(net, pair, windows):
    def edges(side):
        return [int(i * side / windows + 0.5) for i in range(windows + 1)]

    def grams(z):
        f = maps(net, z, "relu2_1")
        rows, columns = (edges(side) for side in f.shape[2:])
        return torch.stack(
            [
                dsd.gram_matrix(f[:, :, rows[i] : rows[i + 1], columns[j] : columns[j + 1]])
                for i in range(windows)
                for j in range(windows)
            ]
        )  # (windows², N, C, C)

    def mean(a, b):
        return (a - b).abs().mean(dim=(0, 2, 3)).float()

    x, y = (z[:, :, :46, :] for z in pair)
    fine, coarse = [grams(z) for z in (x, y)], [grams(dsd.imresize(z, scale=0.5)) for z in (x, y)]
    for distance, expected in (
        (dsd.style_distance, mean(*fine)),
        (dsd.multiscale_style_distance, mean(*fine) + mean(*coarse)),
        (dsd.dsd_distance, mean(fine[0] - coarse[0], fine[1] - coarse[1])),
    ):
        ours = distance(x, y, net, ["relu2_1"], windows=windows)
        torch.testing.assert_close(ours, expected, rtol=1e-4, atol=0)


@pytest.mark.parametrize("distance", TILED)
def test_one_window_is_the_papers_distance_exactly(net, pair, distance):
    assert torch.equal(distance(*pair, net, windows=1), distance(*pair, net))


# Modules


@each_pair
def test_function_equals_module_with_every_reduction(net, pair, distance, module):
    expected = distance(*pair, net)
    assert torch.equal(module(net, reduction="none")(*pair), expected)
    assert torch.equal(module(net, reduction="sum")(*pair), expected.sum())
    assert torch.equal(module(net, reduction="mean")(*pair), expected.mean())
    assert torch.equal(module(net)(*pair), expected.mean())


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("perceptual", {}),
        ("style", {"windows": 2, "tile": 32}),
        ("multiscale style", {"alpha": 4, "windows": 2, "tile": 32}),
        ("dsd", {"alpha": 4, "windows": 2, "tile": 32}),
        ("projected", {}),
        ("contextual", {"bandwidth": 0.1}),
    ],
)
def test_modules_hand_their_options_on(net, pair, name, options):
    distance, module = PAIRS[name]
    options = {"layers": ("relu3_1",), "check_range": False, **options}
    x, y = 2 * pair[0], pair[1]
    loss = module(net, reduction="none", **options)
    assert torch.equal(loss(x, y), distance(x, y, net, **options))
    assert all(f"{key}={value!r}" in repr(loss) for key, value in options.items())


@each_pair
def test_modules_state_direction_and_range(net, pair, distance, module):
    loss = module(net, iter(["relu3_1"]), reduction="none")
    low, high = loss.value_range
    assert loss.higher_is_better is False and low == 0
    first, second = loss(*pair), loss(*pair)  # an iterator of layers lasts
    assert torch.equal(first, second) and ((low < first) & (first < high)).all()
    assert not any(p.requires_grad for p in loss.parameters())


@each_pair
def test_modules_refuse_bad_options_at_once(net, distance, module):
    with pytest.raises(ValueError, match="reduction: expected 'mean', 'sum' or 'none', got 'max'"):
        module(net, reduction="max")
    with pytest.raises(ValueError, match=r"layers: expected different names .* got \('relu9_9',\)"):
        module(net, ["relu9_9"])


# Gradients


@each_function
def test_only_the_image_that_is_learned_costs_a_backward_pass(net, pair, distance):
    """The target is described without gradient; x's gradient is that of the joint batch."""
    graphs = []
    hook = net.stages["conv1_1"].register_forward_hook(
        lambda stage, args, output: graphs.append(output.requires_grad)
    )
    gradients = {}
    try:
        for learned in ("x", "y", "x and y"):
            x, y = (
                z.clone().requires_grad_(n in learned.split())
                for z, n in zip(pair, "xy", strict=True)
            )
            graphs.clear()
            distance(x, y, net, ["relu3_1"]).sum().backward()
            passes = 2 if distance in SCALED else 1
            described = {"x": [1] * passes + [0] * passes, "y": [0] * passes + [1] * passes}
            assert graphs == described.get(learned, [1] * passes)
            gradients[learned] = x.grad, y.grad
    finally:
        hook.remove()
    assert all(p.grad is None for p in net.parameters())
    assert gradients["x"][1] is None and gradients["y"][0] is None
    joint = gradients["x and y"]
    for alone, together in zip((gradients["x"][0], gradients["y"][1]), joint, strict=True):
        size = together.abs().max().item()
        assert size > 0
        torch.testing.assert_close(alone, together, rtol=1e-3, atol=1e-4 * size)


@each_function
def test_no_graph_is_built_where_none_is_wanted(net, pair, distance):
    assert not distance(*pair, net, ["relu3_1"]).requires_grad
    x = pair[0].clone().requires_grad_()
    with torch.no_grad():
        assert not distance(x, pair[1], net, ["relu3_1"]).requires_grad
    with torch.inference_mode():
        assert distance(*pair, net, ["relu3_1"]).shape == (2,)


@pytest.mark.parametrize("name", ["perceptual", "style", "multiscale style", "dsd", "projected"])
def test_gradcheck(net, name):
    net = copy.deepcopy(net).double()
    x, y = torch.rand(2, 1, 3, 6, 6, dtype=torch.float64)
    x.requires_grad_()
    distance, _ = PAIRS[name]
    assert torch.autograd.gradcheck(
        lambda x: distance(x, y, net, ["relu1_2"], check_range=False), x, fast_mode=True
    )


@pytest.mark.parametrize("name", ["style", "multiscale style", "dsd"])
def test_gradcheck_of_windows(net, name):
    net = copy.deepcopy(net).double()
    x, y = torch.rand(2, 1, 3, 7, 9, dtype=torch.float64)
    x.requires_grad_()
    distance, _ = PAIRS[name]
    options = {"windows": 3, "check_range": False}
    assert torch.autograd.gradcheck(
        lambda x: distance(x, y, net, ["relu1_2"], **options), x, fast_mode=True
    )


def test_a_few_steps_bring_the_fingerprints_together(net, pair):
    x, target = pair[1][:1].clone().requires_grad_(), pair[0][:1]
    loss = dsd.DSDLoss(net, ["relu2_1"], check_range=False)
    optimizer = torch.optim.Adam([x], lr=0.01)
    values = []
    for _ in range(5):
        optimizer.zero_grad()
        values.append(loss(x, target))
        values[-1].backward()
        optimizer.step()
    assert values[-1] < 0.7 * values[0]


# Tiles


@pytest.mark.parametrize("distance", TILED)
@pytest.mark.parametrize(
    ("sides", "layers", "tile"),
    [
        ((61, 47), ("relu2_1", "relu3_1"), 16),
        ((45, 90), ("relu1_2",), 33),
        ((150, 33), ("relu5_1",), 60),
        ((33, 210), ("conv5_3",), 64),
        ((40, 40), ("relu2_1",), 500),
    ],
)
def test_tiles_give_the_whole_images_distance(net, pictures, distance, sides, layers, tile):
    x, y = (
        pictures[name][:, :, 60 : 60 + sides[0], 40 : 40 + sides[1]] for name in ("temple", "cat")
    )
    for windows in (1, 2) if min(sides) >= net.min_side(layers, 2, 2)[0] else (1,):
        tiled = distance(x, y, net, layers, windows=windows, tile=tile)
        whole = distance(x, y, net, layers, windows=windows)
        torch.testing.assert_close(tiled, whole, rtol=1e-5, atol=0)


@pytest.mark.parametrize("distance", TILED)
def test_large_images_are_tiled_and_described_one_by_one(net, pair, monkeypatch, distance):
    whole = distance(*pair, net, ["relu2_1"])
    sizes = []
    hook = net.stages["conv1_1"].register_forward_hook(
        lambda stage, args, output: sizes.append(tuple(output.shape))
    )
    for module in (backbones, losses):
        monkeypatch.setattr(module, "LARGE_IMAGE", 1000)  # the pair has 2304 pixels each
    monkeypatch.setattr(backbones, "TILE", 24)
    try:
        torch.testing.assert_close(distance(*pair, net, ["relu2_1"]), whole, rtol=1e-5, atol=0)
    finally:
        hook.remove()
    coarse = [(2, 64, 24, 24)] if distance in SCALED else []
    assert sizes == 2 * ([(2, 64, 28, 28)] * 4 + coarse)  # a tile of 24 and its halo of 4


# Compiled


@each_function
def test_compiled_it_gives_the_same(net, distance):
    """Traced, forward and backward, with PyTorch's own operations; needs no compiler."""
    x, y = torch.rand(2, 1, 3, 16, 18)
    compiled = torch.compile(distance, backend="aot_eager")
    values, gradients = [], []
    for function in (distance, compiled):
        z = x.clone().requires_grad_()
        values.append(function(z, y, net, ["relu1_2"], check_range=False))
        values[-1].sum().backward()
        gradients.append(z.grad)
    torch.testing.assert_close(values[1], values[0], rtol=1e-5, atol=0)
    size = gradients[0].abs().max().item()
    torch.testing.assert_close(gradients[1], gradients[0], rtol=1e-3, atol=1e-4 * size)


@pytest.mark.skipif(shutil.which("g++") is None, reason="no compiler")
def test_compiled_to_machine_code_it_gives_the_same(net):
    if settings().max_examples < 1000:
        pytest.skip("compiling takes a minute: make test-thorough")
    x, y = torch.rand(2, 1, 3, 16, 18)
    compiled = torch.compile(dsd.dsd_distance)(x, y, net, ["relu1_1"], check_range=False)
    plain = dsd.dsd_distance(x, y, net, ["relu1_1"], check_range=False)
    torch.testing.assert_close(compiled, plain, rtol=1e-5, atol=0)


# Bad input


@each_function
def test_bad_images(net, bad_image, distance):
    bad, error, message = bad_image
    good = torch.full((1, 3, 32, 32), 0.5)
    with pytest.raises(error, match=f"^x: .*{message}"):
        distance(bad, good, net)
    with pytest.raises(error, match=f"^y: .*{message}"):
        distance(good, bad, net)


@each_function
def test_pairs_that_differ(net, distance):
    x = torch.rand(1, 3, 32, 32)
    for y, message in (
        (torch.rand(1, 3, 32, 40), r"same shape, got \(1, 3, 32, 32\) and \(1, 3, 32, 40\)"),
        (torch.rand(2, 3, 32, 32), r"same shape, got \(1, 3, 32, 32\) and \(2, 3, 32, 32\)"),
        (x.double(), r"same dtype, got torch\.float32 and torch\.float64"),
    ):
        with pytest.raises(ValueError, match=f"expected x and y of the {message}"):
            distance(x, y, net)
    with pytest.raises(ValueError, match="expected x and y of the same device, got cpu and meta"):
        distance(x, x.to("meta"), net, check_range=False)


@each_function
def test_other_types_than_the_networks(net, distance):
    x = torch.rand(1, 3, 32, 32).double()
    with pytest.raises(
        TypeError, match=r"expected torch\.float32, the network's type, got torch\.f"
    ):
        distance(x, x, net)


@each_function
def test_the_smallest_pair(net, distance):
    side = 5 if distance in SCALED else 4  # relu2_1 needs 2 pixels; x↓4 of 5 pixels has 2
    options = {"alpha": 4} if distance in SCALED else {}
    layer = "relu2_1" if distance in SCALED else "relu3_1"
    x, y = torch.rand(2, 1, 3, side, side)
    assert distance(x, y, net, [layer], **options).isfinite().all()
    why = f"vgg16 needs them to reach {layer}" + (" at alpha=4" if options else "")
    with pytest.raises(ValueError, match=f"^x: expected sides of at least {side} pixels.*{why}"):
        distance(x[..., 1:], y[..., 1:], net, [layer], **options)


@each_function
@pytest.mark.parametrize("layers", [[], ["relu9_1"], ["relu2_1", "relu2_1"], "relu"])
def test_bad_layers(net, pair, distance, layers):
    with pytest.raises(
        ValueError, match=r"layers: expected different names out of conv1_1, .*; got"
    ):
        distance(*pair, net, layers)


@pytest.mark.parametrize("distance", SCALED)
@pytest.mark.parametrize("alpha", [1, 0, -2, float("nan"), float("inf"), "2", None])
def test_bad_alphas(net, pair, distance, alpha):
    with pytest.raises(ValueError, match=f"alpha: expected a number above 1, got {alpha!r}"):
        distance(*pair, net, SHALLOW, alpha)


@pytest.mark.parametrize("distance", TILED)
@pytest.mark.parametrize("windows", [0, -1, 1.5])
def test_bad_windows(net, pair, distance, windows):
    with pytest.raises(ValueError, match=f"windows: expected a whole number .*, got {windows}"):
        distance(*pair, net, SHALLOW, windows=windows)


@pytest.mark.parametrize("distance", TILED)
def test_more_windows_than_positions(net, pair, distance):
    with pytest.raises(ValueError, match=r"sides of at least \d+ pixels.* with 30 × 30 windows"):
        distance(*pair, net, SHALLOW, windows=30)


@each_pair
def test_no_network(pair, distance, module):
    with pytest.raises(TypeError, match=r"net: expected a Backbone, .* got NoneType"):
        distance(*pair, None)
    with pytest.raises(TypeError, match=r"net: expected a Backbone, .* got NoneType"):
        module(None)


@pytest.mark.parametrize("distance", TILED)
@pytest.mark.parametrize("tile", [0, -1, 1.5])
def test_bad_tiles(net, pair, distance, tile):
    with pytest.raises(
        ValueError, match=f"tile: expected a whole number of 1 or more pixels, got {tile}"
    ):
        distance(*pair, net, SHALLOW, tile=tile)


@pytest.mark.parametrize("bandwidth", [0, -1, float("nan"), "0.5", None])
def test_bad_bandwidths(net, pair, bandwidth):
    with pytest.raises(
        ValueError, match=f"bandwidth: expected a number above 0, got {bandwidth!r}"
    ):
        dsd.contextual_distance(*pair, net, bandwidth=bandwidth)


@each_function
def test_training_may_leave_the_range(net, pair, distance):
    x = 1.5 * pair[0] - 0.2
    with pytest.raises(ValueError, match=r"x: expected values in \[0, 1\]"):
        distance(x, pair[1], net)
    assert distance(x, pair[1], net, check_range=False).isfinite().all()
