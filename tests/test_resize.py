"""MATLAB's bicubic resize; its official values are in test_official_values."""

from fractions import Fraction

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import dsd_lib as dsd
from dsd_lib import imresize, resize

SIDES = st.integers(1, 40)
SIZES = st.tuples(SIDES, SIDES)


def picture(*shape: int, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.rand(shape, dtype=dtype, generator=torch.Generator().manual_seed(0))


@given(SIZES, st.integers(1, 12), st.integers(1, 12))
def test_output_sides_are_rounded_up(sides, p, q):
    exact = tuple(-(-side * p // q) for side in sides)
    assert imresize(picture(1, 2, *sides), scale=p / q).shape == (1, 2, *exact)


@pytest.mark.parametrize(
    ("side", "scale", "exact"),
    [
        (50, 0.14, 7),
        (23, 1 / 1.15, 20),
        (30, 1 / 3, 10),
        (31, 1 / 3, 11),
        (1, 0.01, 1),
        (7, np.float32(0.5), 4),
        (7, Fraction(3, 7), 3),
        (7, np.int64(2), 14),
    ],
)
def test_output_sides_do_not_suffer_from_binary(side, scale, exact):
    assert imresize(picture(1, 1, side, 1), scale=scale).shape[2] == exact


@given(SIZES, SIZES)
def test_size_gives_that_size(sides, size):
    assert imresize(picture(2, 1, *sides), size=size).shape == (2, 1, *size)
    assert imresize(picture(2, 1, *sides), size=list(np.array(size))).shape == (2, 1, *size)


@given(SIZES, SIZES, st.floats(-3, 3))
def test_constants_stay_constant(sides, size, value):
    x = torch.full((1, 1, *sides), value, dtype=torch.float64)
    expected = torch.full((1, 1, *size), value, dtype=torch.float64)
    torch.testing.assert_close(imresize(x, size=size), expected, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(
        imresize(x.float(), size=size), expected.float(), rtol=1e-5, atol=1e-6
    )


@given(SIZES, SIZES, st.floats(-2, 2))
def test_linear(sides, size, a):
    x, y = picture(2, 1, 2, *sides)
    torch.testing.assert_close(
        imresize(a * x + y, size=size), a * imresize(x, size=size) + imresize(y, size=size)
    )


@given(SIZES, SIZES)
def test_flips_and_transposition_commute(sides, size):
    x = picture(1, 2, *sides)
    small = imresize(x, size=size)
    for axes in ((2,), (3,), (2, 3)):
        torch.testing.assert_close(imresize(x.flip(axes), size=size), small.flip(axes))
    torch.testing.assert_close(imresize(x.mT, size=size[::-1]), small.mT)


def test_borders_are_mirrored():
    x = picture(1, 2, 12, 10)
    mirrored = torch.from_numpy(np.pad(x.numpy(), [(0, 0), (0, 0), (8, 8), (8, 8)], "symmetric"))
    inside = imresize(mirrored, scale=0.5)[..., 4:-4, 4:-4]
    torch.testing.assert_close(imresize(x, scale=0.5), inside)


@given(SIZES)
def test_the_same_size_changes_nothing(sides):
    x = picture(1, 2, *sides)
    torch.testing.assert_close(imresize(x, size=sides), x)
    torch.testing.assert_close(imresize(x, scale=1), x)


@given(st.integers(1, 12), st.integers(1, 12), st.sampled_from([2, 3, 4]))
def test_scale_and_size_agree_where_the_sides_divide(h, w, alpha):
    x = picture(1, 1, alpha * h, alpha * w)
    torch.testing.assert_close(imresize(x, scale=1 / alpha), imresize(x, size=(h, w)))


def test_batch_equals_loop_and_layout_does_not_matter():
    x = picture(3, 4, 21, 18, dtype=torch.float32)
    small = imresize(x, scale=0.5)
    torch.testing.assert_close(small, torch.cat([imresize(one[None], scale=0.5) for one in x]))
    last = x.contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(small, imresize(last, scale=0.5))


@pytest.mark.parametrize("size", [(30, 22), (15, 11), (9, 40), (100, 90)])
def test_inside_it_is_the_cubic_of_pillow(size):
    """An independent implementation of the same kernel; only the borders are padded differently."""
    x = picture(1, 1, 60, 44, dtype=torch.float32)
    theirs = Image.fromarray(x[0, 0].numpy()).resize(size[::-1], Image.Resampling.BICUBIC)
    margin = [int(3 * max(1, new / old)) for new, old in zip(size, (60, 44), strict=True)]
    inside = np.s_[margin[0] : -margin[0], margin[1] : -margin[1]]
    ours = imresize(x, size=size)[0, 0].numpy()
    assert ours[inside].size > 20
    np.testing.assert_allclose(ours[inside], np.asarray(theirs)[inside], atol=1e-5)


def test_it_removes_what_the_small_image_cannot_hold_and_interpolate_does_not():
    stripes = (torch.arange(64) % 2).float().expand(1, 1, 64, 64)
    ours = imresize(stripes, scale=1 / 3)
    plain = F.interpolate(stripes, scale_factor=1 / 3, mode="bicubic")
    assert (ours - 0.5).abs()[..., 2:-2].max() < 0.05
    assert (plain - 0.5).abs()[..., 2:-2].max() > 0.4


def test_values_overshoot_at_an_edge():
    edge = (torch.arange(32) > 15).float().expand(1, 1, 32, 32)
    small = imresize(edge, scale=0.5)
    assert small.min() < -0.01 and small.max() > 1.01


@pytest.mark.parametrize(
    ("dtype", "atol"),
    [(torch.float64, 1e-6), (torch.float32, 1e-6), (torch.float16, 2e-3), (torch.bfloat16, 2e-2)],
)
def test_the_type_is_kept(dtype, atol):
    x = picture(1, 3, 20, 17)
    small = imresize(x.to(dtype), scale=0.5)
    assert small.dtype == dtype
    torch.testing.assert_close(small.double(), imresize(x, scale=0.5), atol=atol, rtol=0)


def test_autocast_leaves_pixels_their_precision():
    x = picture(1, 3, 20, 17, dtype=torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        small = imresize(x, scale=0.5)
    assert torch.equal(small, imresize(x, scale=0.5))


@pytest.mark.parametrize(
    "options", [{"scale": 0.5}, {"scale": 0.25}, {"scale": 2}, {"size": (5, 9)}]
)
def test_gradcheck(options):
    x = picture(1, 2, 9, 7).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: imresize(x, **options), x, fast_mode=True)


def test_a_call_in_inference_mode_leaves_later_gradients_alone():
    x = picture(1, 1, 37, 35)  # float64 and a size of its own: the matrices are new to the cache
    with torch.inference_mode():
        imresize(x, scale=0.5)
    x.requires_grad_()
    imresize(x, scale=0.5).sum().backward()
    assert (x.grad > 0).any()


@given(st.tuples(st.integers(2, 20), st.integers(2, 20)))
def test_halving_keeps_the_mean(half):
    x = picture(1, 1, 2 * half[0], 2 * half[1])
    torch.testing.assert_close(imresize(x, scale=0.5).mean(), x.mean(), rtol=1e-9, atol=0)


@pytest.mark.parametrize(
    ("x", "options", "error", "message"),
    [
        (np.zeros((1, 1, 4, 4)), {"scale": 0.5}, TypeError, "floating-point tensor, got ndarray"),
        (torch.zeros(1, 1, 4, 4).byte(), {"scale": 0.5}, TypeError, "tensor, got torch.uint8"),
        (torch.zeros(1, 1, 4, 4).cfloat(), {"scale": 0.5}, TypeError, "got torch.complex64"),
        (torch.zeros(1, 4, 4), {"scale": 0.5}, ValueError, r"\(N, C, H, W\).*got \(1, 4, 4\)"),
        (
            torch.zeros(1, 1, 0, 4),
            {"scale": 0.5},
            ValueError,
            r"none of them 0, got \(1, 1, 0, 4\)",
        ),
        (torch.zeros(1, 1, 4, 4), {}, ValueError, "one of scale and size, got scale=None"),
        (
            torch.zeros(1, 1, 4, 4),
            {"scale": 1, "size": (2, 2)},
            ValueError,
            "one of scale and size",
        ),
        *(
            (
                torch.zeros(1, 1, 4, 4),
                {"scale": s},
                ValueError,
                "scale: expected a positive number, got",
            )
            for s in (0, -0.5, float("nan"), float("inf"), "0.5", (0.5, 0.5), 1j)
        ),
        *(
            (
                torch.zeros(1, 1, 4, 4),
                {"size": s},
                ValueError,
                "size: expected two positive whole num",
            )
            for s in (
                8,
                (8,),
                (8, 8, 8),
                (0, 8),
                (8, -1),
                (8, 4.5),
                (8, float("nan")),
                "ab",
                (8, "8"),
            )
        ),
    ],
)
def test_bad_input(x, options, error, message):
    with pytest.raises(error, match=message):
        imresize(x, **options)


@pytest.mark.parametrize(
    ("sides", "options"),
    [
        ((8, 8), {"size": (10**7, 10**7)}),
        ((8, 8), {"scale": 10**6}),
        ((8, 8), {"scale": 1e-9}),
        ((1, 10**6), {"size": (10**6, 1)}),  # the rows alone would be 10¹² values
    ],
)
def test_absurd_amounts_are_refused_at_once(sides, options):
    with pytest.raises(ValueError, match="expected a result of at most 1,073,741,824 values"):
        imresize(torch.zeros(1, 1, *sides), **options)


# Blocks


@given(SIZES, st.floats(0.05, 4), st.integers(1, 400))
def test_blocks_give_the_same(sides, scale, block):
    x = picture(1, 2, *sides)
    whole = imresize(x, scale=scale)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(resize, "BLOCK", block)
        torch.testing.assert_close(imresize(x, scale=scale), whole)


def test_a_large_image_takes_neither_a_large_matrix_nor_long():
    x = torch.rand(1, 1, 20_000, 64)
    resize._bicubic_matrix.cache_clear()
    small = imresize(x, scale=0.5)
    part = imresize(x[:, :, 4_000:6_000], scale=0.5)
    torch.testing.assert_close(small[:, :, 2_010:2_990], part[:, :, 10:-10])
    taken = []
    for start in range(0, 10_000, 724):
        _, matrix = resize._bicubic_matrix(
            20_000, start, min(start + 724, 10_000), 0.5, torch.float32, x.device
        )
        taken.append(matrix.numel())
    assert max(taken) <= 1.1 * resize.BLOCK


def test_matrices_of_images_of_many_sizes_are_not_all_kept():
    for side in range(20, 60):
        imresize(torch.rand(1, 1, side, side + 1), scale=0.5)
    assert resize._bicubic_matrix.cache_info().currsize <= 8


def test_it_is_the_package_function():
    assert dsd.imresize is imresize
