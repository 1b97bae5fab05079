"""Pictures in and out."""

import hashlib
import struct
import tempfile
import tracemalloc
import zlib
from pathlib import Path

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import dsd_lib as dsd
from dsd_lib.checks import check_images, check_pair

SHAPES = st.tuples(st.integers(1, 9), st.integers(1, 9), st.just(3))


@pytest.fixture
def array() -> np.ndarray:
    """A small picture with no two pixels alike, (20, 31, 3) uint8."""
    ramp = np.arange(20 * 31)
    return (
        np.stack([ramp % 256, ramp // 3, 255 - ramp % 256], axis=1)
        .astype(np.uint8)
        .reshape(20, 31, 3)
    )


def expected(array: np.ndarray) -> torch.Tensor:
    return torch.tensor(array / 255).float().permute(2, 0, 1)[None]


def stored(path: Path, what: str) -> object:
    with Image.open(path) as file:
        return getattr(file, what)


# Checks


def test_check_refuses_bad_images(bad_image):
    x, error, message = bad_image
    with pytest.raises(error, match=f"^x: .*{message}"):
        check_images(x)


def test_check_names_the_argument_and_the_reason():
    with pytest.raises(ValueError, match=r"^mask: expected sides of at least 8 pixels.*, because"):
        check_images(torch.zeros(1, 3, 7, 9), name="mask", min_side=8, why=", because")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_check_accepts_images(dtype):
    check_images(torch.rand(2, 3, 5, 4).to(dtype))
    check_images(torch.tensor([0.0, 0.5, 1.0]).to(dtype).view(1, 3, 1, 1))


@pytest.mark.parametrize("value", [-3.0, 255.0, torch.nan, torch.inf])
def test_check_leaves_out_the_values_when_asked(value):
    check_images(torch.full((1, 3, 4, 4), value), check_range=False)


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (torch.zeros(1, 3, 8, 9), r"same shape, got \(1, 3, 8, 8\) and \(1, 3, 8, 9\)"),
        (torch.zeros(2, 3, 8, 8), r"same shape, got \(1, 3, 8, 8\) and \(2, 3, 8, 8\)"),
        (torch.zeros(1, 3, 8, 8).double(), "same dtype, got torch.float32 and torch.float64"),
        (torch.zeros(1, 3, 8, 8, device="meta"), "same device, got cpu and meta"),
    ],
)
def test_check_refuses_pairs_that_differ(y, message):
    with pytest.raises(ValueError, match=message):
        check_pair(torch.zeros(1, 3, 8, 8), y, min_side=1, why="", check_range=False)


# Arrays


@given(hnp.arrays(np.uint8, SHAPES))
def test_arrays_of_8_bits_come_back_exactly(array):
    x = dsd.image_from_array(array)
    assert x.dtype == torch.float32 and x.is_contiguous()
    assert x.shape == (1, 3, *array.shape[:2])
    assert np.array_equal(dsd.to_array(x), array)


@given(hnp.arrays(np.uint16, SHAPES))
def test_arrays_of_16_bits_keep_their_precision(array):
    x = dsd.image_from_array(array)
    back = (x[0].double() * 65535).round().permute(1, 2, 0).numpy()
    assert np.array_equal(back, array)


def test_arrays_of_other_layouts_and_types(array):
    x = expected(array)
    for same in (array / 255, (array / 255).astype(np.float32)):
        torch.testing.assert_close(dsd.image_from_array(same), x)
    assert torch.equal(dsd.image_from_array(array[::-1]), x.flip(2))  # a negative stride
    grey = dsd.image_from_array(array[..., 0])
    assert torch.equal(grey, x[:, :1].expand(-1, 3, -1, -1))


def test_an_array_is_copied(array):
    values = (array / 255).astype(np.float32)
    x = dsd.image_from_array(values)
    values[:] = 0
    assert torch.equal(x, expected(array))


@pytest.mark.parametrize(
    ("array", "error", "message"),
    [
        ([[1, 2]], TypeError, "expected a NumPy array, got list"),
        (torch.zeros(4, 4, 3), TypeError, "expected a NumPy array, got Tensor"),
        (np.zeros((4, 4, 3), np.int32), TypeError, "expected uint8, uint16 or .* got int32"),
        (np.zeros((4, 4, 3), bool), TypeError, "expected uint8, uint16 or .* got bool"),
        (np.zeros((4, 4, 3), complex), TypeError, "expected uint8, uint16 or .* got complex128"),
        (np.zeros((4, 4, 4)), ValueError, r"\(H, W\) or \(H, W, 3\), got \(4, 4, 4\)"),
        (np.zeros((4, 4, 1)), ValueError, r"\(H, W\) or \(H, W, 3\), got \(4, 4, 1\)"),
        (np.zeros((3, 4, 5)), ValueError, r"\(H, W\) or \(H, W, 3\), got \(3, 4, 5\)"),
        (np.zeros((1, 4, 4, 3)), ValueError, r"\(H, W\) or \(H, W, 3\), got \(1, 4, 4, 3\)"),
        (np.zeros((0, 4, 3), np.uint8), ValueError, r"at least 1 pixels, got \(1, 3, 0, 4\)"),
        (np.full((4, 4, 3), 255.0), ValueError, r"in \[0, 1\], got \[255, 255\]; divide"),
        (np.full((4, 4, 3), -1.0), ValueError, r"in \[0, 1\], got \[-1, -1\]"),
        (np.full((4, 4, 3), np.nan), ValueError, "expected finite values"),
    ],
)
def test_bad_arrays_are_refused(array, error, message):
    with pytest.raises(error, match=message):
        dsd.image_from_array(array)


def test_to_array_clamps_and_rounds():
    x = torch.tensor([-0.5, 0.65, 1.5]).view(1, 3, 1, 1).requires_grad_()
    assert dsd.to_array(x).tolist() == [[[0, 166, 255]]]  # 0.65 is 165.75 of 255
    assert dsd.to_array(x).dtype == np.uint8


def test_to_array_takes_the_first_of_a_batch(pictures):
    batch = torch.cat([pictures["tissue"], pictures["gravel"]])
    assert np.array_equal(dsd.to_array(batch), dsd.to_array(pictures["tissue"]))
    with pytest.raises(ValueError, match=r"expected shape \(N, 3, H, W\)"):
        dsd.to_array(batch[0])


# Files


@pytest.mark.parametrize("name", ["x.png", "x.bmp", "x.tiff", "x.webp", "x.ppm"])
def test_lossless_files_come_back_exactly(tmp_path, array, name):
    path = tmp_path / name
    Image.fromarray(array).save(path, **({"lossless": True} if name == "x.webp" else {}))
    for form in (path, str(path)):
        x = dsd.load_image(form)
        assert x.dtype == torch.float32
        assert torch.equal(x, expected(array))


def test_jpeg_comes_back_nearly(tmp_path, coffee):
    path = tmp_path / "x.jpg"
    Image.fromarray(dsd.to_array(coffee)).save(path, quality=95)
    assert (dsd.load_image(path) - coffee).abs().mean() < 0.02


def test_grey_and_palette_become_rgb(tmp_path, array):
    path = tmp_path / "x.png"
    grey = Image.fromarray(array[..., 0])
    grey.save(path)
    assert torch.equal(dsd.load_image(path), expected(np.repeat(array[..., :1], 3, axis=2)))

    palette = Image.fromarray(array).quantize(16)
    palette.save(path)
    assert stored(path, "mode") == "P"
    assert torch.equal(dsd.load_image(path), expected(np.array(palette.convert("RGB"))))

    grey.point(lambda v: 255 * (v > 99)).convert("1").save(path)
    assert stored(path, "mode") == "1"
    black_white = np.where(array[..., :1] > 99, 255, 0).repeat(3, axis=2)
    assert torch.equal(dsd.load_image(path), expected(black_white))


@pytest.mark.parametrize("name", ["x.png", "x.tiff"])
def test_16_bit_grey_keeps_its_precision(tmp_path, name):
    values = np.arange(0, 65536, 97, dtype=np.uint16).reshape(26, 26)
    path = tmp_path / name
    Image.fromarray(values).save(path)
    x = dsd.load_image(path)
    assert np.array_equal((x[0, 2].double() * 65535).round().numpy(), values)
    assert x.shape == (1, 3, 26, 26) and (x[:, 0] == x[:, 1]).all()


@pytest.mark.parametrize("dtype", [np.int32, np.float32])
def test_32_bit_files_are_refused_and_not_clipped(tmp_path, dtype):
    path = tmp_path / "x.tiff"
    Image.fromarray(np.full((4, 4), 1000, dtype)).save(path)
    with pytest.raises(ValueError, match="expected 8 or 16 bits a channel, got 32"):
        dsd.load_image(path)


def test_transparency_is_laid_on_white(tmp_path):
    path = tmp_path / "x.png"
    rgba = np.array([[[200, 100, 0, 255], [200, 100, 0, 0], [200, 100, 0, 51]]], np.uint8)
    Image.fromarray(rgba).save(path)
    opaque, clear, faint = dsd.to_array(dsd.load_image(path))[0].astype(int)
    assert opaque.tolist() == [200, 100, 0]
    assert clear.tolist() == [255, 255, 255]
    assert np.abs(faint - [244, 224, 204]).max() <= 1  # a fifth of the color, four of white

    Image.fromarray(rgba[..., ::3]).convert("LA").save(path)  # grey with transparency
    assert dsd.to_array(dsd.load_image(path))[0, :, 0].tolist()[:2] == [200, 255]

    palette = Image.new("P", (2, 1))
    palette.putpalette([0, 0, 0, 10, 20, 30])
    palette.putdata([0, 1])
    palette.save(path, transparency=0)
    assert dsd.to_array(dsd.load_image(path))[0].tolist() == [[255, 255, 255], [10, 20, 30]]


def test_cmyk_jpeg_becomes_rgb(tmp_path, coffee):
    path = tmp_path / "x.jpg"
    Image.fromarray(dsd.to_array(coffee)).convert("CMYK").save(path, quality=95)
    assert stored(path, "mode") == "CMYK"
    assert (dsd.load_image(path) - coffee).abs().mean() < 0.03


@pytest.mark.parametrize(
    ("orientation", "undo"),
    [
        (1, lambda a: a),
        (2, lambda a: a[:, ::-1]),
        (3, lambda a: a[::-1, ::-1]),
        (4, lambda a: a[::-1]),
        (5, lambda a: a.swapaxes(0, 1)),
        (6, lambda a: np.rot90(a, -1)),
        (7, lambda a: a[::-1, ::-1].swapaxes(0, 1)),
        (8, lambda a: np.rot90(a)),
    ],
)
def test_the_cameras_orientation_is_applied(tmp_path, array, orientation, undo):
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / "x.png"
    Image.fromarray(array).save(path, exif=exif)
    assert np.array_equal(dsd.to_array(dsd.load_image(path)), undo(array))


@pytest.mark.parametrize("name", ["x.gif", "x.webp", "x.png", "x.tiff"])
def test_of_a_film_the_first_frame_is_read(tmp_path, name):
    frames = [Image.new("RGB", (8, 6), color) for color in ("red", "lime", "blue")]
    path = tmp_path / name
    options = {"lossless": True} if name == "x.webp" else {}
    frames[0].save(path, save_all=True, append_images=frames[1:], **options)
    assert stored(path, "n_frames") == 3
    assert np.array_equal(dsd.to_array(dsd.load_image(path)), np.array(frames[0]))


def test_missing_files_and_folders(tmp_path):
    for path in (tmp_path / "none.png", tmp_path):
        with pytest.raises(FileNotFoundError, match=f"no image at {path}"):
            dsd.load_image(path)


@pytest.mark.parametrize("data", [b"", b"not a picture", b"\x89PNG\r\n\x1a\n", bytes(1000)])
def test_a_file_that_is_no_image(tmp_path, data):
    path = tmp_path / "x.png"
    path.write_bytes(data)
    with pytest.raises(ValueError, match=r"x\.png: (expected an image file|the image cannot)"):
        dsd.load_image(path)


FORMATS = ("x.png", "x.jpg", "x.webp", "x.tiff", "x.gif", "x.bmp", "x.ppm")


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> dict[str, bytes]:
    """A picture of noise, which no format can shorten, in several formats."""
    noise = np.random.default_rng(0).integers(0, 256, (12, 10, 3), np.uint8)
    folder = tmp_path_factory.mktemp("files")
    for name in FORMATS:
        Image.fromarray(noise).save(folder / name)
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("kept", [0.05, 0.5, 0.9])
@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
def test_truncated_files_are_refused(tmp_path, files, name, kept):
    path = tmp_path / name
    path.write_bytes(files[name][: int(kept * len(files[name]))])
    with pytest.raises(ValueError, match=r"expected an image file|the image cannot be read"):
        dsd.load_image(path)


@given(data=st.data(), name=st.sampled_from(FORMATS))
def test_damaged_files_give_a_image_or_a_value_error(files, data, name):
    broken = bytearray(files[name])
    for _ in range(data.draw(st.integers(1, 8))):
        broken[data.draw(st.integers(0, len(broken) - 1))] = data.draw(st.integers(0, 255))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.write_bytes(broken)
        try:
            check_images(dsd.load_image(path))
        except ValueError as error:
            assert str(path) in str(error)


def _png_without_data(width: int, height: int) -> bytes:
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    checked = struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))
    return b"\x89PNG\r\n\x1a\n" + checked + struct.pack(">I", 8192) + b"IDAT"


@pytest.mark.parametrize(
    ("side", "message"),
    [
        (20_000, r"400000000 pixels\) exceeds limit"),  # Pillow's own
        (10_000, "expected at most max_pixels=80000000, got 10000 x 10000 pixels"),
        (5_000, "the image cannot be read"),
    ],
)
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_a_header_of_a_huge_image_without_data(tmp_path, side, message):
    path = tmp_path / "x.png"
    path.write_bytes(_png_without_data(side, side))
    with pytest.raises(ValueError, match=message):
        dsd.load_image(path)


@pytest.mark.parametrize("shape", [(1000, 1000), (1000, 1000, 3)])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_an_array_is_converted_without_a_copy_but_the_result(shape, dtype):
    array = np.zeros(shape, dtype)
    tracemalloc.start()
    try:
        x = dsd.image_from_array(array)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 1.1 * 4 * x.numel()


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_every_integer_becomes_the_nearest_float(dtype):
    values = np.arange(np.iinfo(dtype).max + 1, dtype=dtype).reshape(-1, 1)
    exact = (values / np.iinfo(dtype).max).astype(np.float32)
    np.testing.assert_array_equal(dsd.image_from_array(values)[0, 0].numpy(), exact)


def test_max_pixels(tmp_path):
    path = tmp_path / "x.png"
    Image.new("RGB", (10, 9)).save(path)
    assert dsd.load_image(path, max_pixels=90).shape == (1, 3, 9, 10)
    with pytest.raises(ValueError, match="expected at most max_pixels=89, got 10 x 9 pixels"):
        dsd.load_image(path, max_pixels=89)


# The embedded pictures


def test_sample_images(pictures):
    assert {name: tuple(x.shape) for name, x in pictures.items()} == {
        "astronaut": (1, 3, 256, 256),
        "cat": (1, 3, 256, 384),
        "coffee": (1, 3, 240, 320),
        "flower": (1, 3, 256, 384),
        "gravel": (1, 3, 256, 256),
        "rocket": (1, 3, 256, 384),
        "temple": (1, 3, 256, 384),
        "tissue": (1, 3, 256, 256),
    }
    for x in pictures.values():
        check_images(x)
        assert x.std() > 0.1
    grey = pictures["gravel"]
    assert torch.equal(grey, grey[:, :1].expand(-1, 3, -1, -1))


@pytest.mark.parametrize(
    ("name", "sha256"),
    [
        # of the uint8 pixels of skimage.data.astronaut()[0:256, 128:384]
        ("astronaut", "1d5f2942d784786d8654d116edef37ca49fa5dfb1ae4a1818db474ea2b27f27b"),
        # and of skimage.data.coffee()[80:320, 200:520]
        ("coffee", "cb66b337c7ac6455fc5f852a47f9233320085a8e99c3fd7da82e6f46c34fb8f6"),
    ],
)
def test_sample_images_are_scikit_images_to_the_pixel(pictures, name, sha256):
    assert hashlib.sha256(dsd.to_array(pictures[name]).tobytes()).hexdigest() == sha256


def test_every_sample_image_has_its_origin_written_down(pictures):
    text = (Path(dsd.__file__).parent / "pictures" / "README.md").read_text()
    assert all(f"`{name}.webp`" in text for name in pictures)
