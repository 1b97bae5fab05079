"""Gram matrices of maps and of patches."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dsd_lib import gram_matrix, patch_gram
from dsd_lib.gram import window_edges, window_grams

SHAPES = st.tuples(st.integers(1, 3), st.integers(1, 6), st.integers(1, 9), st.integers(1, 9))


def feature_map(*shape: int, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.randn(shape, dtype=dtype, generator=torch.Generator().manual_seed(0))


@given(SHAPES)
def test_it_is_the_sum_over_positions_by_channels_and_positions(shape):
    f = feature_map(*shape)
    expected = torch.einsum("nchw,ndhw->ncd", f, f) / f[0].numel()
    torch.testing.assert_close(gram_matrix(f), expected)


@given(SHAPES)
def test_symmetric_and_positive_semidefinite(shape):
    gram = gram_matrix(feature_map(*shape))
    torch.testing.assert_close(gram, gram.mT)
    assert torch.linalg.eigvalsh(gram).min() > -1e-12


@given(SHAPES)
def test_positions_may_be_permuted_and_the_map_flipped(shape):
    f = feature_map(*shape)
    shuffled = f.flatten(2)[..., torch.randperm(shape[2] * shape[3])].reshape(f.shape)
    for same in (shuffled, f.flip(2), f.flip(3), f.mT, f.reshape(*shape[:2], -1, 1)):
        torch.testing.assert_close(gram_matrix(same), gram_matrix(f))


@given(SHAPES)
def test_permuted_channels_permute_it(shape):
    f = feature_map(*shape)
    order = torch.randperm(shape[1])
    torch.testing.assert_close(gram_matrix(f[:, order]), gram_matrix(f)[:, order][:, :, order])


@given(SHAPES, st.floats(-100, 100))
def test_scaling_the_map_scales_it_by_the_square(shape, c):
    f = feature_map(*shape)
    torch.testing.assert_close(gram_matrix(c * f), c**2 * gram_matrix(f))


@given(SHAPES)
def test_its_trace_is_the_mean_square_of_the_map(shape):
    f = feature_map(*shape)
    trace = gram_matrix(f).diagonal(dim1=1, dim2=2).sum(1)
    torch.testing.assert_close(trace, f.square().mean(dim=(1, 2, 3)))


@given(st.tuples(st.integers(1, 40), st.integers(1, 40)))
def test_a_constant_map_has_the_same_at_every_size(sides):
    values = torch.tensor([0.5, -2.0, 3.0], dtype=torch.float64).view(1, 3, 1, 1)
    torch.testing.assert_close(gram_matrix(values.expand(1, 3, *sides)), gram_matrix(values))


@pytest.mark.parametrize("function", [gram_matrix, lambda x: patch_gram(x, 2)])
def test_batch_equals_loop_and_layout_does_not_matter(function):
    f = feature_map(3, 5, 6, 7, dtype=torch.float32)
    grams = function(f)
    torch.testing.assert_close(grams, torch.cat([function(one[None]) for one in f]))
    torch.testing.assert_close(grams, function(f.contiguous(memory_format=torch.channels_last)))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_brought_to_float32_before_the_product(dtype):
    f = (300 * feature_map(1, 4, 64, 64).abs()).to(
        dtype
    )  # F Fᵀ is about 4·10⁸, over float16's 65504
    gram = gram_matrix(f)
    assert gram.dtype == torch.float32
    torch.testing.assert_close(gram, gram_matrix(f.double()).float(), rtol=1e-5, atol=0)


def test_float64_stays():
    assert gram_matrix(feature_map(1, 2, 3, 3)).dtype == torch.float64
    assert patch_gram(feature_map(1, 2, 3, 3), 2).dtype == torch.float64


def test_autocast_changes_nothing():
    f = feature_map(1, 8, 16, 16, dtype=torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        inside, patches = gram_matrix(f), patch_gram(f, 3)
    assert torch.equal(inside, gram_matrix(f))
    assert torch.equal(patches, patch_gram(f, 3))


def test_gradcheck():
    f = feature_map(2, 3, 4, 5).requires_grad_()
    assert torch.autograd.gradcheck(gram_matrix, f, fast_mode=True)
    assert torch.autograd.gradcheck(lambda f: patch_gram(f, 2), f, fast_mode=True)


# Windows


@given(SHAPES, st.integers(1, 9))
def test_windows_are_the_grams_of_crops_row_by_row(shape, windows):
    windows = min(windows, *shape[2:])
    f = feature_map(*shape)
    grams = window_grams(f, windows)
    if windows == 1:
        assert torch.equal(grams, gram_matrix(f))
        return
    rows, columns = (window_edges(side, windows) for side in shape[2:])
    crops = [
        gram_matrix(f[:, :, rows[i] : rows[i + 1], columns[j] : columns[j + 1]])
        for i in range(windows)
        for j in range(windows)
    ]
    assert grams.shape == (shape[0], windows**2, shape[1], shape[1])
    torch.testing.assert_close(grams, torch.stack(crops, dim=1))


@given(st.integers(1, 300), st.integers(1, 40))
def test_windows_cover_the_side_at_equal_fractions_of_it(side, windows):
    windows = min(side, windows)
    edges = window_edges(side, windows)
    assert (edges[0], edges[-1], len(edges)) == (0, side, windows + 1)
    assert all(low < high for low, high in itertools.pairwise(edges))  # none is empty
    assert all(abs(edge - i * side / windows) <= 0.5 for i, edge in enumerate(edges))


def test_windows_of_equal_size_average_to_the_gram_of_the_whole():
    f = feature_map(2, 5, 12, 8)
    torch.testing.assert_close(window_grams(f, 4).mean(dim=1), gram_matrix(f))


def test_windows_of_a_periodic_map_are_all_the_same():
    f = feature_map(1, 4, 3, 5).repeat(1, 1, 4, 4)
    torch.testing.assert_close(window_grams(f, 4), gram_matrix(f)[:, None].expand(1, 16, 4, 4))


@given(st.tuples(st.integers(7, 40), st.integers(7, 40)), st.integers(2, 7))
def test_windows_of_a_constant_map_are_those_of_a_point(sides, windows):
    values = torch.tensor([0.5, -2.0, 3.0], dtype=torch.float64).view(1, 3, 1, 1)
    grams = window_grams(values.expand(1, 3, *sides), windows)
    torch.testing.assert_close(grams, gram_matrix(values)[:, None].expand_as(grams))


def test_gradcheck_of_windows():
    f = feature_map(2, 3, 5, 7).requires_grad_()
    assert torch.autograd.gradcheck(lambda f: window_grams(f, 3), f, fast_mode=True)


@pytest.mark.parametrize("windows", [0, -1, 6, 1.5, "2", None, True])
def test_bad_windows(windows):
    with pytest.raises(ValueError, match="windows: expected a whole number from 1 to 5, got"):
        window_grams(feature_map(1, 2, 5, 7), windows)


# Patches


@given(st.integers(1, 4), st.integers(4, 9), st.integers(4, 9))
def test_patch_gram_is_the_mean_over_all_patches_inside(n, height, width):
    x = feature_map(1, 3, height, width).numpy()
    total, count = np.zeros((3 * n * n, 3 * n * n)), 0
    for top in range(height - n + 1):
        for left in range(width - n + 1):
            patch = x[0, :, top : top + n, left : left + n].ravel()
            total += np.outer(patch, patch)
            count += 1
    expected = total / (count * 3 * n * n)
    np.testing.assert_allclose(patch_gram(torch.from_numpy(x), n)[0].numpy(), expected)


def test_patches_of_one_pixel_give_the_gram_of_the_image():
    x = feature_map(2, 3, 8, 7)
    torch.testing.assert_close(patch_gram(x, 1), gram_matrix(x))


def test_a_patch_as_large_as_the_image_is_its_outer_product():
    x = feature_map(1, 3, 4, 4)
    torch.testing.assert_close(
        patch_gram(x, np.int64(4))[0], torch.outer(x.flatten(), x.flatten()) / 48
    )


def test_flipping_the_image_flips_the_patches():
    x = feature_map(1, 2, 9, 8)
    flipped = patch_gram(x.flip(3), 3).view(2, 3, 3, 2, 3, 3).flip(2, 5)
    torch.testing.assert_close(flipped.reshape(1, 18, 18), patch_gram(x, 3))


BAD_MAPS = [
    (np.zeros((1, 2, 3, 3)), TypeError, "expected a floating-point tensor, got ndarray"),
    (torch.zeros(1, 2, 3, 3).int(), TypeError, "expected a floating-point tensor, got torch.int32"),
    (torch.zeros(1, 2, 3, 3).cdouble(), TypeError, "floating-point tensor, got torch.complex128"),
    (torch.zeros(2, 3, 3), ValueError, r"shape \(N, C, H, W\), none of them 0, got \(2, 3, 3\)"),
    (torch.zeros(0, 2, 3, 3), ValueError, r"none of them 0, got \(0, 2, 3, 3\)"),
    (torch.zeros(1, 2, 0, 3), ValueError, r"none of them 0, got \(1, 2, 0, 3\)"),
]


@pytest.mark.parametrize(("f", "error", "message"), BAD_MAPS)
def test_bad_maps(f, error, message):
    with pytest.raises(error, match=f"f: .*{message}"):
        gram_matrix(f)
    with pytest.raises(error, match=f"x: .*{message}"):
        patch_gram(f, 1)


@pytest.mark.parametrize("n", [0, -1, 5, 1.5, float("nan"), "2", None, (2, 2)])
def test_bad_patch_sizes(n):
    with pytest.raises(ValueError, match="n: expected a whole number from 1 to 4, got"):
        patch_gram(torch.zeros(1, 3, 4, 9), n)
