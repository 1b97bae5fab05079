"""Picture files that are read to be written again, and which file a result goes to."""

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageCms

import dsd_lib as dsd
from dsd_lib.restoration.picture_files import (
    FORMATS,
    fill_transparent,
    plan_results,
    read_image,
    write_image,
)

PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


@pytest.fixture
def array() -> np.ndarray:
    """(7, 9, 3) uint8, no two pixels alike."""
    return np.random.default_rng(5).integers(0, 256, (7, 9, 3), dtype=np.uint8)


def save(picture: Image.Image | np.ndarray, path: Path, **options: object) -> Path:
    picture = Image.fromarray(picture) if isinstance(picture, np.ndarray) else picture
    picture.save(path, **options)
    return path


def png_16_bit_color(array: np.ndarray) -> bytes:
    """Pillow cannot write such a file."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    height, width = array.shape[:2]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in array)
    header = struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0)
    parts = [chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


# Reading


@pytest.mark.parametrize(
    ("mode", "suffix", "gray", "alpha", "bits"),
    [
        ("RGB", "png", False, False, 8),
        ("RGBA", "png", False, True, 8),
        ("L", "png", True, False, 8),
        ("LA", "png", True, True, 8),
        ("1", "png", True, False, 8),
        ("I;16", "png", True, False, 16),
        ("I;16", "tif", True, False, 16),
        ("P", "png", False, False, 8),
        ("CMYK", "jpg", False, False, 8),
        ("L", "jpg", True, False, 8),
    ],
)
def test_what_a_file_holds(mode, suffix, gray, alpha, bits, array, tmp_path):
    picture = Image.fromarray(array)
    if mode == "I;16":
        picture = Image.fromarray(array[..., 0].astype(np.uint16) * 200)
    elif "A" in mode:
        picture.putalpha(Image.fromarray(array[..., 1]))
    path = save(picture if mode == "I;16" else picture.convert(mode), tmp_path / f"a.{suffix}")
    got = read_image(path)
    assert (got.gray, got.alpha is not None, got.bits) == (gray, alpha, bits)
    assert (got.profile, got.notes) == (None, ())
    if alpha:
        assert np.array_equal(got.alpha[0, 0].numpy() * 255, array[..., 1])
    else:  # the colors are those that load_image gives
        assert torch.equal(got.colors, dsd.load_image(path))


def test_colors_below_transparency_are_as_stored(array, tmp_path):
    picture = Image.fromarray(array)
    picture.putalpha(0)
    got = read_image(save(picture, tmp_path / "a.png"))
    assert np.array_equal(dsd.to_array(got.colors), array) and (got.alpha == 0).all()


def test_a_transparent_palette_and_a_transparent_color(tmp_path):
    palette = Image.new("P", (4, 3), 1)
    palette.putpalette([255, 0, 0, 0, 255, 0])
    palette.putpixel((0, 0), 0)
    path = save(palette, tmp_path / "a.gif", transparency=0)
    got = read_image(path)
    assert got.alpha[0, 0, 0, 0] == 0 and got.alpha.sum() == 11
    got = read_image(save(Image.new("RGB", (2, 2)), tmp_path / "b.png", transparency=(0, 0, 0)))
    assert (got.alpha == 0).all()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_stored_orientation_is_applied(orientation, array, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = save(array, tmp_path / "a.png", exif=exif)
    got = read_image(path)
    assert torch.equal(got.colors, dsd.load_image(path))
    assert tuple(got.colors.shape[2:]) == ((9, 7) if orientation > 4 else (7, 9))


def test_notes_on_what_is_left_out(array, tmp_path):
    frames = [Image.new("RGB", (4, 4), color) for color in ("red", "blue", "green")]
    path = save(frames[0], tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    got = read_image(path)
    assert got.notes == (f"{path}: only the first of its 3 frames is read",)
    assert got.colors[0, :, 0, 0].tolist() == [1, 0, 0]

    path = tmp_path / "deep.png"
    path.write_bytes(png_16_bit_color(array.astype(np.uint16) * 257))
    got = read_image(path)
    assert got.notes == (f"{path}: its 16 bits per channel are read as 8",)
    assert np.array_equal(dsd.to_array(got.colors), array)

    path = save(Image.fromarray(array).convert("CMYK"), tmp_path / "a.jpg", icc_profile=PROFILE)
    got = read_image(path)
    assert got.notes == (f"{path}: CMYK becomes RGB, and its color profile is left out",)
    assert got.profile is None


def test_a_phones_second_picture_is_no_frame(array, tmp_path):
    photo, preview = Image.fromarray(array), Image.fromarray(array[:4, :4])
    path = save(photo, tmp_path / "a.jpg", format="MPO", save_all=True, append_images=[preview])
    with Image.open(path) as opened:
        assert opened.n_frames == 2
    assert read_image(path).notes == ()


def test_what_cannot_be_read(array, tmp_path):
    with pytest.raises(FileNotFoundError, match="no image at nowhere"):
        read_image("nowhere")
    path = save(array, tmp_path / "a.png")
    with pytest.raises(ValueError, match="expected at most max_pixels=62, got 9 x 7 pixels"):
        read_image(path, max_pixels=62)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(ValueError, match=r"a\.png: the image cannot be read"):
        read_image(path)


# Writing


KINDS = ("gray", "color", "gray, alpha", "color, alpha", "16 bits")
WRITTEN = [(k, s) for k in KINDS for s in (".png", ".tif", ".TIFF", ".webp")]
WRITTEN.remove(("16 bits", ".webp"))  # WebP has 8


@pytest.mark.parametrize(("kind", "suffix"), WRITTEN)
def test_what_is_written_is_read_again(kind, suffix, array, tmp_path):
    pixels = array if "color" in kind else array[..., 0]
    alpha = None
    if "alpha" in kind:
        alpha = torch.from_numpy(array[..., 1].clip(1) / np.float32(255))[None, None]
    if kind == "16 bits":
        pixels = array[..., 0].astype(np.uint16) * 255 + 7
    path = tmp_path / "new" / f"a{suffix}"
    write_image(path, pixels, alpha, PROFILE)
    got = read_image(path)
    assert got.profile == PROFILE and got.notes == ()
    assert got.gray == (pixels.ndim == 2 and suffix != ".webp")  # WebP has no gray
    assert torch.equal(got.colors, dsd.image_from_array(pixels))
    assert got.alpha is None if alpha is None else torch.equal(got.alpha, alpha)
    assert list(path.parent.iterdir()) == [path]


def test_jpeg(array, tmp_path):
    smooth = dsd.to_array(dsd.imresize(dsd.image_from_array(array), scale=8).clamp(0, 1))
    write_image(tmp_path / "a.jpeg", smooth, torch.ones(1, 1, *smooth.shape[:2]), PROFILE)
    got = read_image(tmp_path / "a.jpeg")
    assert got.alpha is None and got.profile == PROFILE
    assert np.abs(dsd.to_array(got.colors).astype(int) - smooth).mean() < 2


def test_what_cannot_be_written(array, tmp_path, monkeypatch):
    for name in ("a.gif", "a.bmp", "a"):
        with pytest.raises(ValueError, match=rf"{name}: images are written as \.png \.jpg"):
            write_image(tmp_path / name, array)
    with pytest.raises(ValueError, match=r"a\.webp: the image cannot be written: "):
        write_image(tmp_path / "a.webp", np.zeros((1, 16384), np.uint8))
    assert list(tmp_path.iterdir()) == []

    write_image(tmp_path / "a.png", array)
    before = (tmp_path / "a.png").read_bytes()

    def full(*_: object) -> None:
        raise OSError("no room")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OSError, match="no room"):
        write_image(tmp_path / "a.png", 255 - array)
    assert (tmp_path / "a.png").read_bytes() == before
    assert list(tmp_path.iterdir()) == [tmp_path / "a.png"]


def test_every_format_is_one_that_pillow_writes():
    for options in FORMATS.values():
        file = io.BytesIO()
        Image.new("RGB", (2, 2)).save(file, **options)
        assert Image.open(file).format == options["format"]


# Hidden colors


@given(
    height=st.integers(1, 40), width=st.integers(1, 40), share=st.sampled_from([0, 0.02, 0.5, 1])
)
def test_transparent_pixels_take_colors_from_around(height, width, share):
    generator = torch.Generator().manual_seed(height)
    alpha = torch.rand(1, 1, height, width, generator=generator)
    alpha *= torch.rand(alpha.shape, generator=generator) < share
    x = 0.4 + 0.2 * torch.rand(1, 3, height, width, generator=generator)
    hidden = (alpha == 0).expand_as(x)
    x[hidden] = 1.0
    y = fill_transparent(x, alpha)
    assert torch.equal(y[~hidden], x[~hidden])
    if hidden.any() and not hidden.all():
        assert 0.399 < y[hidden].min() <= y[hidden].max() < 0.601
    assert y.isfinite().all()


def test_the_nearest_color_counts_most():
    x = torch.zeros(1, 3, 16, 64)
    alpha = torch.zeros(1, 1, 16, 64)
    x[..., :8], alpha[..., :8] = 0.2, 1
    x[..., -8:], alpha[..., -8:] = 0.8, 1
    y = fill_transparent(x, alpha)[0, 0, 8]
    assert y[9] < 0.3 and y[-10] > 0.7 and 0.35 < y[32] < 0.65


# Which file


def touch(*names: str) -> None:
    for name in names:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).touch()


@pytest.fixture
def here(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    touch("a/1.png", "a/b/2.jpg", "a/note.txt", "3.webp")
    return tmp_path


def planned(*arguments: object) -> list[tuple[str, str]]:
    return [tuple(map(str, pair)) for pair in plan_results(*arguments)]


def test_results_beside_the_originals(here):
    assert planned(["3.webp", "a", "gone.png"], "_sr") == [
        ("3.webp", "3_sr.png"),
        ("a/1.png", "a/1_sr.png"),
        ("a/b/2.jpg", "a/b/2_sr.png"),
        ("gone.png", "gone_sr.png"),
    ]


def test_earlier_results_are_no_originals(here):
    touch("a/1_sr.png", "a/1_deblur.png", "a/alone_sr.png")
    results = dict(planned(["a"], "_sr"))
    assert sorted(results) == ["a/1.png", "a/1_deblur.png", "a/alone_sr.png", "a/b/2.jpg"]
    in_folder = planned(["a"], "_sr", "out")
    assert [path for path, _ in in_folder] == list(results)
    assert ("a/1_deblur.png", "out/1_deblur.png") in in_folder
    assert planned(["a/1_sr.png"], "_sr") == [("a/1_sr.png", "a/1_sr_sr.png")]  # by its own name


def test_results_in_a_folder(here):
    assert planned(["a", "3.webp"], "_sr", "out") == [
        ("a/1.png", "out/1.png"),
        ("a/b/2.jpg", "out/b/2.png"),
        ("3.webp", "out/3.png"),
    ]
    assert planned(["3.webp"], "_sr", "v1.0/") == [("3.webp", "v1.0/3.png")]
    Path("v1.0").mkdir()
    assert planned(["3.webp"], "_sr", "v1.0") == [("3.webp", "v1.0/3.png")]


def test_a_result_in_a_file(here):
    assert planned(["3.webp"], "_sr", "new.jpg") == [("3.webp", "new.jpg")]
    assert planned(["a/b"], "_sr", "new.jpg") == [("a/b/2.jpg", "new.jpg")]


def test_a_picture_given_twice_is_taken_once(here):
    assert len(planned(["a", "a/1.png", "./a/1.png"], "_sr")) == 2


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((["a"], "_sr", "new.png"), ValueError, "^new.png: one file for 2 images; give a folder"),
        ((["a"], "_sr", "a"), ValueError, "^a/1.png: its result would overwrite a/1.png"),
        ((["a", "3.webp"], "_sr", "./x/../a"), ValueError, "would overwrite a/1.png"),
        ((["3.webp"], "_sr", "3.webp"), ValueError, "^3.webp: its .* overwrite 3.webp"),
        ((["a/1.png", "a/1_sr.png"], "_sr"), ValueError, "^a/1.png: its .* overwrite a/1_sr.png"),
        ((["a/1.png", "c/1.jpg"], "_sr", "o"), ValueError, "1.png and c/1.jpg: both .* o/1.png"),
        ((["3.webp"], "_sr", "new.gif"), ValueError, r"^new.gif: images are written as \.png"),
        ((["3.webp"], "_sr", "plain"), ValueError, r"^plain: images are written as \.png"),
        ((["3.webp"], "_sr", "no/3.png"), FileNotFoundError, "there is no folder no to write"),
        ((["empty"], "_sr"), FileNotFoundError, "no images below empty"),
    ],
)
def test_plans_that_are_refused(arguments, error, message, here):
    touch("plain", "x/y", "empty/note.txt")
    with pytest.raises(error, match=message):
        plan_results(*arguments)


def test_a_link_to_an_original_is_not_written_over(here):
    Path("o").mkdir()
    Path("o/3.png").symlink_to(here / "3.webp")
    with pytest.raises(ValueError, match=r"3.webp: its result would overwrite 3.webp"):
        plan_results(["3.webp"], "_sr", "o")
