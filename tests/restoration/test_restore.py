"""Restored pictures: tiles that do not show, networks by name, files that keep what they carry."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import dsd_lib as dsd
from dsd_lib.restoration import restore as restoration
from dsd_lib.restoration.networks import UPSAMPLING, XSRResNet, save_network
from dsd_lib.restoration.restore import TASKS, choose_network, load_restorer, restore, restore_file
from tests.restoration.test_networks import EVERY, documented

TASK_OF = {scale: task for task, scale in TASKS.items()}


def small(task: str, blocks: int = 1, channels: int = 4, upsampling: str = "shuffle") -> XSRResNet:
    """A network with few weights, all of them away from 0, so that every pixel in reach counts."""
    net = XSRResNet(TASKS[task], blocks, channels, upsampling)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return net


def whole(net: XSRResNet, x: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        return net(x).clamp(0, 1)


# Tiles


@given(
    task=st.sampled_from(list(TASKS)),
    height=st.integers(1, 45),
    width=st.integers(1, 45),
    tile=st.integers(1, 50),
    upsampling=st.sampled_from(UPSAMPLING),
)
def test_tiles_do_not_show(task, height, width, tile, upsampling):
    torch.manual_seed(height)
    net, x = small(task, upsampling=upsampling), torch.rand(2, 3, height, width)
    tile = max(tile, max(height, width) // 6)  # not hundreds of tiles
    y = restore(x, task, network=net, tile=tile)
    torch.testing.assert_close(y, whole(net, x), rtol=0, atol=1e-5)


@pytest.mark.parametrize("sides", [(1, 300), (300, 1), (3, 211), (130, 97)])
@pytest.mark.parametrize("task", TASKS)
def test_tall_and_thin_pictures(task, sides):
    net, x = small(task, blocks=2), torch.rand(1, 3, *sides)
    y = restore(x, task, network=net, tile=37)
    torch.testing.assert_close(y, whole(net, x), rtol=0, atol=1e-5)


@pytest.mark.parametrize("task", TASKS)
def test_a_margin_one_pixel_narrower_would_show(task, monkeypatch):
    """The margins are as wide as they must be: this also says that the tests above can fail."""
    net = XSRResNet(TASKS[task], 1, 4).double()
    with torch.no_grad():  # means of all in reach, so that nothing cancels and nothing is clamped
        for parameter in net.parameters():
            parameter.copy_(torch.rand_like(parameter) / max(parameter[0].numel(), 20))
    x = torch.rand(1, 3, 40, 40, dtype=torch.float64) / 4
    look, draw = restoration._reaches(net)
    expected = whole(net, x)
    assert (expected < 1).all()
    for reaches, shows in (((look, draw), False), ((look - 1, draw), True), ((look, 2), True)):
        monkeypatch.setattr(restoration, "_reaches", lambda _, reaches=reaches: reaches)
        y = restore(x, task, network=net, tile=20)
        assert ((y - expected).abs().max() > 1e-13) == shows


@pytest.mark.parametrize(("blocks", "scale"), EVERY)
def test_margins_cover_the_documented_receptive_field(blocks, scale):
    net = XSRResNet(scale, blocks, channels=1)
    margin = sum(restoration._reaches(net))
    assert 2 * margin + 1 >= max(documented(blocks, scale)[1]) >= 2 * margin - 1


@pytest.mark.parametrize("task", TASKS)
def test_the_trained_networks_in_tiles(task, pictures):
    """Sides longer than a tile with its margin, so that a tile does not see the whole image."""
    net, tile = choose_network(task), 24
    margin = sum(restoration._reaches(net))
    side = tile + margin + 16
    wide = pictures["coffee"][:, :, 30:46, 20 : 20 + side]
    for x in (wide, wide.mT):
        y = restore(x, task, tile=tile)
        torch.testing.assert_close(y, whole(net, x), rtol=0, atol=1e-5)


def test_tiles_are_of_about_the_same_size():
    """No sliver at the end, which would cost a whole margin."""
    parts = restoration._split((slice(5, 135), slice(0, 9)), 128)
    assert parts == [(slice(5, 70), slice(0, 9)), (slice(70, 135), slice(0, 9))]
    for side in range(1, 60):
        for tile in range(1, 70):
            rows = [part[0] for part in restoration._split((slice(3, 3 + side), slice(0, 1)), tile)]
            lengths = [p.stop - p.start for p in rows]
            assert sum(lengths) == side and max(lengths) <= tile
            assert max(lengths) - min(lengths) <= 1
            assert rows[0].start == 3 and all(a.stop == b.start for a, b in pairwise(rows))


def test_what_a_network_is_given_is_bounded(monkeypatch):
    seen = []
    net = small("sr")
    look, draw = net.look, net.draw
    monkeypatch.setattr(net, "look", lambda x: seen.append(x.shape) or look(x))
    monkeypatch.setattr(net, "draw", lambda x, f: seen.append(f.shape) or draw(x, f))
    restore(torch.rand(2, 3, 96, 112), "sr", network=net, tile=32)
    looked, drawn = ([shape for shape in seen if shape[1] == c] for c in (3, 4))
    assert len(looked) == 2 * 3 * 4 and len(drawn) == len(looked) * 4 * 4
    assert max(max(shape[2:]) for shape in looked) == 32 + 2 * 10
    assert max(max(shape[2:]) for shape in drawn) == 32 / 4 + 2 * 3  # at the final size 32 again
    assert {shape[0] for shape in seen} == {1}


def test_progress_counts_the_tiles():
    told = []
    x = torch.rand(2, 3, 20, 10)
    restore(x, "deblur", network=small("deblur"), tile=10, progress=lambda *a: told.append(a))
    assert told == [(1, 4), (2, 4), (3, 4), (4, 4)]


# What comes out


@pytest.mark.parametrize(("task", "scale"), TASKS.items())
@pytest.mark.parametrize("sides", [(1, 1), (1, 9), (17, 4)])
def test_any_size(task, scale, sides):
    x = torch.rand(2, 3, *sides)
    y = restore(x, task)
    assert y.shape == (2, 3, sides[0] * scale, sides[1] * scale)
    assert y.dtype == x.dtype and 0 <= y.min() <= y.max() <= 1
    torch.testing.assert_close(y, whole(choose_network(task), x), rtol=0, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_the_type_is_kept(dtype):
    net, x = small("sr"), torch.rand(1, 3, 6, 7).to(dtype)
    y = restore(x, "sr", network=net)
    assert y.dtype == dtype
    torch.testing.assert_close(y, whole(net, x.float()).to(dtype))


def test_it_is_clamped_and_has_no_gradient():
    net = small("deblur")
    with torch.no_grad():
        net.tail[-1].bias.copy_(torch.tensor([5.0, -5.0, 0.0]))
    x = torch.rand(1, 3, 8, 8, requires_grad=True)
    y = restore(x, "deblur", network=net)
    assert (y[:, 0] == 1).all() and (y[:, 1] == 0).all()
    assert not y.requires_grad
    (y * torch.ones(1, requires_grad=True)).sum().backward()  # it may be used in training


def test_the_picture_and_the_network_stay_as_they_are():
    net, x = small("sr").train(), torch.rand(1, 3, 8, 8)
    before = x.clone(), [p.clone() for p in net.parameters()]
    restore(x, "sr", network=net)
    assert torch.equal(x, before[0]) and net.training
    for parameter, old in zip(net.parameters(), before[1], strict=True):
        assert parameter.requires_grad and torch.equal(parameter, old)


def test_a_batch_is_each_picture():
    net, x = small("sr"), torch.rand(3, 3, 9, 8)
    y = restore(x, "sr", network=net)
    for i in range(3):
        assert torch.equal(y[i : i + 1], restore(x[i : i + 1], "sr", network=net))


@pytest.mark.cuda
@pytest.mark.parametrize("task", TASKS)
def test_on_a_gpu(task, pictures):
    x = pictures["coffee"][:, :, :70, :90]
    cpu = restore(x, task)
    there = restore(x.cuda(), task, tile=32)
    assert there.is_cuda
    torch.testing.assert_close(there.cpu(), cpu, rtol=0, atol=2e-3)
    lent = restore(x, task, network=choose_network(task).cuda())  # tile by tile on the GPU
    assert not lent.is_cuda
    torch.testing.assert_close(lent, cpu, rtol=0, atol=2e-3)


# The dial


@pytest.mark.parametrize("task", TASKS)
def test_the_dial_ends_at_the_two_networks_and_runs_smoothly_between(task, pictures):
    x = pictures["temple"][:, :, 20:60, 30:74]
    path = [restore(x, task, naturalness=n) for n in (0, 0.25, 0.5, 0.75, 1.0)]
    l1, dsd_loss = restoration.DIAL[task]
    assert torch.equal(path[0], restore(x, task, network=load_restorer(task, l1)))
    assert torch.equal(path[-1], restore(x, task, network=load_restorer(task, dsd_loss)))
    ends = (path[-1] - path[0]).norm()
    steps = [(b - a).norm() for a, b in pairwise(path)]
    assert min(steps) > 0.1 * ends and max(steps) < 0.5 * ends
    default = restore(x, task, naturalness=restoration.NATURALNESS[task])
    assert torch.equal(restore(x, task), default)


@pytest.mark.parametrize("value", [-0.1, 1.1, float("nan"), "1", True])
def test_positions_that_the_dial_does_not_have(value):
    with pytest.raises(ValueError, match="naturalness: expected a number from 0 to 1, got"):
        restore(torch.rand(1, 3, 8, 8), "sr", naturalness=value)


def test_the_dial_is_the_packages_own():
    with pytest.raises(ValueError, match=r"naturalness: .* expected none with a network given"):
        restore(torch.rand(1, 3, 8, 8), "sr", naturalness=0.5, network=small("sr"))


# Networks


PACKAGED = [
    ("sr", "dsd"),
    ("sr", "l1"),
    ("sr", "dsd_10blocks"),
    ("sr", "l1_10blocks_resize"),
    ("sr", "dsd_10blocks_resize_windows4"),
    ("deblur", "dsd"),
    ("deblur", "l1"),
]


@pytest.mark.parametrize(("task", "loss"), PACKAGED)
def test_the_package_has_them(task, loss):
    net = load_restorer(task, loss)
    assert net.scale == TASKS[task] and net.blocks == (10 if "10" in loss else 5)
    assert net.record["task"] == task and loss.startswith(net.record["loss"])
    assert not net.training and not any(p.requires_grad for p in net.parameters())
    file = Path(dsd.__file__).parent / "weights" / f"{task}_{loss}.safetensors"
    assert file.stat().st_size <= 4e6


def test_networks_that_are_not_there():
    with pytest.raises(
        ValueError,
        match=r"loss: expected, for sr, one of dsd, dsd_10blocks, \w+, l1, \w+; got 'gan'",
    ):
        load_restorer("sr", "gan")
    for wrong in ("denoise", "", "SR", None):
        with pytest.raises(ValueError, match=r"task: expected one of sr, deblur; got"):
            load_restorer(wrong)
        with pytest.raises(ValueError, match=r"task: expected one of sr, deblur; got"):
            restore(torch.rand(1, 3, 8, 8), wrong)


def test_a_network_of_ones_own(tmp_path):
    net, x = small("sr"), torch.rand(1, 3, 8, 9)
    path = tmp_path / "mine.safetensors"
    save_network(net, path)
    mine = restore(x, "sr", network=path)
    torch.testing.assert_close(mine, whole(net, x), rtol=0.02, atol=0.02)  # half precision
    assert torch.equal(restore(x, "sr", network=str(path)), mine)
    compiled = torch.compile(net, backend="eager")
    assert torch.equal(restore(x, "sr", network=compiled), restore(x, "sr", network=net))


def test_a_network_that_does_not_fit(tmp_path):
    x = torch.rand(1, 3, 8, 8)
    for task, scale in (("sr", 2), ("sr", 1), ("deblur", 4)):
        message = rf"network: expected scale {TASKS[task]} for {task}, got scale {scale}"
        with pytest.raises(ValueError, match=message):
            restore(x, task, network=XSRResNet(scale, 1, 4))
    with pytest.raises(TypeError, match="network: expected an XSRResNet, got Conv2d"):
        restore(x, "sr", network=torch.nn.Conv2d(3, 3, 1))
    with pytest.raises(FileNotFoundError, match="no network at nowhere"):
        restore(x, "sr", network="nowhere")
    (tmp_path / "a").write_text("no network")
    with pytest.raises(ValueError, match="expected a safetensors file"):
        restore(x, "sr", network=tmp_path / "a")


def test_bad_pictures(bad_image):
    x, error, message = bad_image
    with pytest.raises(error, match=message):
        restore(x, "deblur")


@pytest.mark.parametrize("tile", [0, -1, 2.0, "8", True])
def test_bad_tiles(tile):
    with pytest.raises(ValueError, match="tile: expected a positive whole number of pixels, got"):
        restore(torch.rand(1, 3, 8, 8), "deblur", tile=tile)


# Files


def restored_8_bit(net: XSRResNet, array: np.ndarray) -> np.ndarray:
    x = dsd.image_from_array(array)
    return dsd.to_array(whole(net, x))


@pytest.mark.parametrize("task", TASKS)
def test_a_file(task, tmp_path, pictures, monkeypatch):
    net = small(task)
    array = dsd.to_array(pictures["cat"][:, :, 100:140, 150:200])
    source, target = tmp_path / "a.png", tmp_path / "new" / "b.png"
    Image.fromarray(array).save(source)
    monkeypatch.setattr(restoration, "TILE", 64)
    told = []
    notes = restore_file(source, target, net, progress=lambda *count: told.append(count))
    assert notes == () and told[-1] == (len(told), len(told)) and (len(told) > 1) == (task == "sr")
    result = np.asarray(Image.open(target)).astype(int)
    assert np.abs(result - restored_8_bit(net, array)).max() <= 1
    assert list(target.parent.iterdir()) == [target]


def test_an_existing_file_is_left_alone_unless_told_otherwise(tmp_path):
    net = small("deblur")
    source, target = tmp_path / "a.png", tmp_path / "b.png"
    Image.new("RGB", (4, 4), "red").save(source)
    target.write_text("mine")
    with pytest.raises(FileExistsError, match=r"a\.png: .*b\.png exists already and is left as"):
        restore_file(source, target, net)
    assert target.read_text() == "mine"
    restore_file(source, target, net, overwrite=True)
    assert Image.open(target).size == (4, 4)


def test_gray_stays_gray(tmp_path):
    net, array = small("sr"), np.arange(20, 240, dtype=np.uint8).reshape(10, 22)
    Image.fromarray(array).save(tmp_path / "gray.png")
    restore_file(tmp_path / "gray.png", tmp_path / "new.png", net)
    with Image.open(tmp_path / "new.png") as result:
        assert (result.mode, result.size) == ("L", (88, 40))
        expected = restored_8_bit(net, array).mean(axis=2)
        assert np.abs(np.asarray(result) - expected).max() <= 1.5


def test_16_bit_gray_keeps_its_precision(tmp_path):
    net = small("deblur")
    array = np.linspace(20_000, 20_500, 300).astype(np.uint16).reshape(12, 25)
    Image.fromarray(array).save(tmp_path / "deep.png")
    expected = whole(net, dsd.image_from_array(array)).mean(dim=1)[0].numpy()
    for suffix, levels in (("png", 65535), ("tif", 65535), ("webp", 255), ("jpg", 255)):
        restore_file(tmp_path / "deep.png", tmp_path / f"new.{suffix}", net)
        with Image.open(tmp_path / f"new.{suffix}") as result:
            assert result.mode == {"png": "I;16", "tif": "I;16", "jpg": "L", "webp": "RGB"}[suffix]
            got = np.asarray(result).reshape(12, 25, -1)[..., 0] / levels
        assert np.abs(got - expected).max() <= (15 if suffix == "jpg" else 0.51) / levels


def half_transparent(array: np.ndarray, hidden: tuple[int, int, int]) -> Image.Image:
    """Opaque to the left, a band of half transparency, and nothing, in a hidden color, right."""
    array = array.copy()
    height, width = array.shape[:2]
    alpha = np.full((height, width), 255, np.uint8)
    alpha[:, width // 2 - 2 :] = 128
    alpha[:, width // 2 :] = 0
    array[:, width // 2 :] = hidden
    picture = Image.fromarray(array)
    picture.putalpha(Image.fromarray(alpha))
    return picture


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("suffix", ["png", "webp", "tif"])
def test_transparency_is_kept_and_hidden_colors_do_not_show(task, suffix, tmp_path, pictures):
    net, scale = small(task), TASKS[task]
    array = dsd.to_array(pictures["flower"][:, :, :24, :40])
    results = []
    for hidden in ((0, 0, 0), (255, 0, 255)):
        half_transparent(array, hidden).save(tmp_path / "a.png")
        target = tmp_path / f"b.{suffix}"
        restore_file(tmp_path / "a.png", target, net, overwrite=True)
        with Image.open(target) as result:
            assert result.mode == "RGBA" and result.size == (40 * scale, 24 * scale)
            results.append(np.asarray(result))
    black, magenta = results
    visible = black[..., 3] > 0
    assert np.array_equal(black[visible], magenta[visible])
    alpha = np.asarray(half_transparent(array, (0, 0, 0)))[..., 3]
    if task == "deblur":
        assert np.array_equal(black[..., 3], alpha)
    else:
        given = torch.from_numpy(alpha / np.float32(255))[None, None]
        expected = dsd.imresize(given, scale=4).clamp(0, 1)[0, 0].numpy()
        assert np.abs(black[..., 3] / 255 - expected).max() < 0.51 / 255
        assert (black[:, :70, 3] == 255).all() and (black[:, 90:, 3] == 0).all()


def test_no_dark_fringe(tmp_path):
    """White on transparent black is white up to its edge when it is enlarged."""
    net = XSRResNet(4, 1, 4)
    with torch.no_grad():  # bilinear enlargement alone, which would mix in the hidden black
        net.tail[-1].weight.zero_()
    half_transparent(np.full((12, 20, 3), 255, np.uint8), (0, 0, 0)).save(tmp_path / "a.png")
    restore_file(tmp_path / "a.png", tmp_path / "b.png", net)
    with Image.open(tmp_path / "b.png") as result:
        pixels = np.asarray(result)
    assert (pixels[pixels[..., 3] > 0][:, :3] == 255).all()


def test_gray_with_transparency(tmp_path):
    picture = Image.new("LA", (10, 6), (200, 255))
    picture.putpixel((3, 3), (0, 0))
    picture.save(tmp_path / "a.png")
    restore_file(tmp_path / "a.png", tmp_path / "b.png", small("sr"))
    with Image.open(tmp_path / "b.png") as result:
        assert (result.mode, result.size) == ("LA", (40, 24))
        assert result.getchannel("A").getextrema()[0] < 20


def test_a_jpeg_file_holds_no_transparency(tmp_path):
    net = small("deblur")
    half_transparent(np.full((8, 8, 3), 90, np.uint8), (0, 0, 0)).save(tmp_path / "a.png")
    with pytest.raises(
        ValueError, match=r"b\.jpg: a JPEG file cannot hold transparency; write \.png"
    ):
        restore_file(tmp_path / "a.png", tmp_path / "b.jpg", net)
    assert not (tmp_path / "b.jpg").exists()
    Image.new("RGBA", (8, 8), (9, 9, 9, 255)).save(tmp_path / "opaque.png")  # nothing is lost
    restore_file(tmp_path / "opaque.png", tmp_path / "b.jpg", net)
    with Image.open(tmp_path / "b.jpg") as result:
        assert (result.format, result.mode) == ("JPEG", "RGB")


def test_errors_name_the_picture(tmp_path):
    net, target = small("deblur"), tmp_path / "b.png"
    with pytest.raises(FileNotFoundError, match=r"no image at .*gone\.png"):
        restore_file(tmp_path / "gone.png", target, net)
    (tmp_path / "text.png").write_text("no picture")
    with pytest.raises(ValueError, match=r"text\.png: expected an image file"):
        restore_file(tmp_path / "text.png", target, net)
    Image.fromarray(np.zeros((4, 4), np.int32)).save(tmp_path / "wide.tif")
    with pytest.raises(ValueError, match=r"wide\.tif: .*expected 8 or 16 bits a channel, got 32"):
        restore_file(tmp_path / "wide.tif", target, net)
    assert not target.exists()
