"""NIQE and BRISQUE: quality from the statistics of natural scenes, without a reference.

Both begin alike. Divide each pixel's distance from its local mean by the local contrast, and the
values of a clean photo are spread like a Gaussian; noise, blur and compression change that shape.
36 numbers describe it: how the values and the products of neighbors are distributed, at two scales.
NIQE (Mittal, Soundararajan, Bovik 2013) compares them with those of clean photos and has seen no
rating. BRISQUE (Mittal, Moorthy, Bovik 2012) was fitted to the ratings of the data set LIVE.

The parameters are the authors'; ``weights/README.md`` says where they come from.
"""

from functools import lru_cache
from importlib import resources

import torch
import torch.nn.functional as F
from torch import Tensor

from dsd_lib.checks import check_images
from dsd_lib.files import read_safetensors
from dsd_lib.quality.luma import gray, luma
from dsd_lib.resize import imresize

BLOCK = 96  # pixels, NIQE's blocks
STRIP = 4  # rows of blocks that are measured together: memory is that of one such strip
HALO = 16  # pixels around a strip on which its values depend, at both scales
BRISQUE_MIN_SIDE = 32  # the half scale then has 256 values to fit distributions to
NEIGHBORS = ((0, 1), (1, 0), (1, 1), (-1, 1))  # right, below, and the two diagonals

# The shapes an asymmetric generalized Gaussian can be given, and the ratio that tells them apart:
# squared mean of |v| over mean of v². It grows with the shape, so the nearest one is looked up.
SHAPES = torch.arange(200, 10001, dtype=torch.float64) / 1000
RATIOS = torch.exp(
    2 * torch.lgamma(2 / SHAPES) - torch.lgamma(1 / SHAPES) - torch.lgamma(3 / SHAPES)
)


def niqe(x: Tensor, *, check_range: bool = True) -> Tensor:
    """NIQE, the natural image quality evaluator: the distance from the statistics of clean photos.

    Every whole 96×96 block, counted from the top left, gives 36 features. A Gaussian is fitted to
    the features of the image's blocks and compared with the one that the authors fitted to clean
    photos. Blocks without any texture have no such features and do not count. Brightness is
    MATLAB's ``rgb2ycbcr``, rounded to whole numbers, as in the values commonly published. No
    gradient flows back to ``x``.

    Args:
        x: images ``(N, 3, H, W)`` in [0, 1]. Gray ones repeat the channel.
        check_range: False leaves out the check of the values.

    Returns:
        ``(N,)``, 0 or more; lower is better, good photos have 2 to 5.

    Raises:
        TypeError, ValueError: ``x`` is not a valid image batch, holds fewer than two whole blocks
            (96×192 pixels at least), or fewer than two blocks show any texture.

    Source: Mittal, Soundararajan, Bovik, *Making a "completely blind" image quality analyzer*,
    IEEE Signal Processing Letters 2013; Table 2; chapter 7 of the book.

    >>> from dsd_lib import sample_images
    >>> niqe(sample_images()["coffee"])
    tensor([6.2364])
    """
    check_images(
        x, min_side=BLOCK, why="; NIQE needs two whole blocks of 96×96", check_range=check_range
    )
    rows, columns = (side // BLOCK for side in x.shape[2:])
    if rows * columns < 2:
        raise ValueError(
            f"x: expected at least two whole blocks of {BLOCK}×{BLOCK} pixels (96×192), got "
            f"{tuple(x.shape)}"
        )
    whole = x[..., : rows * BLOCK, : columns * BLOCK].detach()
    return torch.stack([_niqe(image) for image in whole.split(1)]).to(x)


def _niqe(x: Tensor) -> Tensor:
    """NIQE of one image ``(1, 3, H, W)``, sides multiples of 96."""
    tops = range(0, x.shape[2], STRIP * BLOCK)
    features = torch.cat([_strip_features(x, top) for top in tops])  # (blocks, 36)
    complete = features[features.isfinite().all(dim=1)]
    if len(complete) < 2:
        raise ValueError(
            f"x: expected an image with texture in at least two blocks of {BLOCK}×{BLOCK} pixels, "
            f"got {len(complete)} such blocks of {len(features)}"
        )
    clean = _parameters()
    difference = clean["niqe.mean"] - complete.mean(dim=0)
    covariance = (clean["niqe.covariance"] + complete.T.cov()) / 2
    return (difference @ torch.linalg.pinv(covariance) @ difference).sqrt()


def _strip_features(x: Tensor, top: int) -> Tensor:
    """The features ``(blocks, 36)`` of the strip of ``(1, 3, H, W)`` that begins at row ``top``."""
    height = min(STRIP * BLOCK, x.shape[2] - top)
    above = min(HALO, top)
    piece = x[:, :, top - above : top + height + HALO].cpu().double()
    y = _eight_bits(luma(piece))  # (1, 1, above + height + HALO, W)
    fine = mscn(y, border="replicate")[:, :, above : above + height]
    coarse = mscn(imresize(y, scale=0.5), border="replicate")
    coarse = coarse[:, :, above // 2 : (above + height) // 2]
    scales = (_blocks(fine, BLOCK), _blocks(coarse, BLOCK // 2))
    return torch.cat([_niqe_features(blocks) for blocks in scales], dim=1)


def _niqe_features(m: Tensor) -> Tensor:
    """18 numbers for each block ``(blocks, 1, B, B)`` of normalized brightness."""
    shape, left, right = asymmetric_fit(m)
    features = [shape, (_width(shape, left) + _width(shape, right)) / 2]
    for product in neighbor_products(m, border="circular"):
        shape, left, right = asymmetric_fit(product)
        a, b = _width(shape, left), _width(shape, right)
        features += [shape, _mean(shape, a, b), a, b]
    return torch.stack(features, dim=1)


def brisque(x: Tensor, *, check_range: bool = True) -> Tensor:
    """BRISQUE, the blind/referenceless image spatial quality evaluator.

    36 features of the whole image, through a support vector regression that was fitted to the
    ratings (DMOS) of LIVE's distorted images: on LIVE it is not a fair competitor. Details follow
    the C++ code to which the regression belongs: brightness of 8 bits, a half scale without
    antialiasing, products with what lies outside the image are 0. Scores are not cut at 0 or 100.
    No gradient flows back to ``x``.

    Args:
        x: images ``(N, 3, H, W)`` in [0, 1]. Gray ones repeat the channel.
        check_range: False leaves out the check of the values.

    Returns:
        ``(N,)``, mostly between 0 and 100; lower is better.

    Raises:
        TypeError, ValueError: ``x`` is not a valid image batch, is smaller than 32×32, or shows no
            texture.

    Source: Mittal, Moorthy, Bovik, *No-reference image quality assessment in the spatial domain*,
    IEEE Transactions on Image Processing 2012; Table 2; chapter 7 of the book.

    >>> from dsd_lib import sample_images
    >>> x = sample_images()["coffee"]
    >>> brisque(x) < brisque((x + 0.1 * torch.randn_like(x)).clamp(0, 1))
    tensor([True])
    """
    check_images(x, min_side=BRISQUE_MIN_SIDE, why=" for BRISQUE", check_range=check_range)
    features = brisque_features(x)
    if not features.isfinite().all():
        raise ValueError("x: expected images with texture, got one that is flat everywhere")
    svr = _parameters()
    low, high = svr["brisque.low"], svr["brisque.high"]
    scaled = 2 * (features - low) / (high - low) - 1
    squared = (scaled[:, None] - svr["brisque.support_vectors"]).square().sum(dim=2)
    kernel = torch.exp(-svr["brisque.gamma"] * squared)
    return (kernel @ svr["brisque.coefficients"] - svr["brisque.rho"]).to(x)


def brisque_features(x: Tensor) -> Tensor:
    """BRISQUE's features ``(N, 36)`` of images ``(N, 3, H, W)``: 18 at full and at half scale.

    Shape and variance of the normalized brightness, then for each of the four neighbors shape,
    mean, left and right variance of the products. NaN where an image is flat everywhere.
    """
    y = _eight_bits(gray(x.detach().cpu().double()))
    half = F.interpolate(y, scale_factor=0.5, mode="bicubic").round().clamp(0, 255)
    features = []
    for scale in (y, half):
        m = mscn(scale, border="reflect")
        shape, left, right = asymmetric_fit(m)
        features += [shape, (left**2 + right**2) / 2]
        for product in neighbor_products(m, border="constant"):
            shape, left, right = asymmetric_fit(product)
            mean = _mean(shape, _width(shape, left), _width(shape, right))
            features += [shape, mean, left**2, right**2]
    return torch.stack(features, dim=1)


def mscn(y: Tensor, *, border: str) -> Tensor:
    """Mean-subtracted, contrast-normalized brightness: ``(y - μ) / (σ + 1)``.

    Args:
        y: brightness ``(N, 1, H, W)`` in [0, 255].
        border: how the image continues beyond its border, as ``F.pad`` names it.

    Returns:
        ``(N, 1, H, W)``; μ and σ are mean and deviation under a 7×7 Gaussian of deviation 7/6.

    >>> mscn(torch.full((1, 1, 8, 8), 100.0, dtype=torch.float64), border="reflect").abs().max()
    tensor(0., dtype=torch.float64)
    """
    distance = torch.arange(-3, 4, dtype=y.dtype)
    window = torch.exp(-(distance**2) / (2 * (7 / 6) ** 2))
    window = (window / window.sum()).view(1, 1, 1, 7)

    def local_mean(v: Tensor) -> Tensor:
        return F.conv2d(F.conv2d(F.pad(v, (3, 3, 3, 3), mode=border), window), window.mT)

    mean = local_mean(y)
    deviation = (local_mean(y**2) - mean**2).abs().sqrt()
    m = (y - mean) / (deviation + 1)
    return m.where(m.abs() > 1e-9, 0)  # where the image is flat, rounding errors are no texture


def neighbor_products(m: Tensor, *, border: str) -> list[Tensor]:
    """Each value times its neighbor to the right, below and on the diagonals, ``(N, 1, H, W)`` all.

    ``border`` is what lies beyond: ``"circular"`` wraps around, ``"constant"`` is 0.
    """
    height, width = m.shape[2:]
    padded = F.pad(m, (1, 1, 1, 1), mode=border)
    return [m * padded[..., 1 + i : 1 + i + height, 1 + j : 1 + j + width] for i, j in NEIGHBORS]


def asymmetric_fit(v: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Fit an asymmetric generalized Gaussian to each set of values by its moments.

    Args:
        v: ``(N, ...)`` float64; everything but the first axis is one set.

    Returns:
        shape (2 for a Gaussian, 1 for a Laplacian), left and right deviation, each ``(N,)``;
        NaN where there are no values below 0 or none above.

    >>> generator = torch.Generator().manual_seed(0)
    >>> v = torch.randn(1, 100_000, generator=generator, dtype=torch.float64)
    >>> [round(parameter.item(), 1) for parameter in asymmetric_fit(v)]
    [2.0, 1.0, 1.0]
    """
    v = v.flatten(1)
    squares = v**2
    left = (squares.where(v < 0, 0).sum(dim=1) / (v < 0).sum(dim=1)).sqrt()
    right = (squares.where(v > 0, 0).sum(dim=1) / (v > 0).sum(dim=1)).sqrt()
    g = left / right
    ratio = v.abs().mean(dim=1) ** 2 / squares.mean(dim=1)
    ratio = ratio * (g**3 + 1) * (g + 1) / (g**2 + 1) ** 2  # as if both sides were equally wide
    between = (RATIOS[1:] + RATIOS[:-1]) / 2
    shape = SHAPES[torch.searchsorted(between, ratio)]
    return shape.where(ratio.isfinite(), torch.nan), left, right


def _width(shape: Tensor, deviation: Tensor) -> Tensor:
    """The distribution's scale β of one side, from the deviation of that side."""
    return deviation * torch.exp((torch.lgamma(1 / shape) - torch.lgamma(3 / shape)) / 2)


def _mean(shape: Tensor, left: Tensor, right: Tensor) -> Tensor:
    """The distribution's mean, from the scales of both sides."""
    return (right - left) * torch.exp(torch.lgamma(2 / shape) - torch.lgamma(1 / shape))


def _eight_bits(y: Tensor) -> Tensor:
    """Brightness ``(N, 1, H, W)`` in [0, 1] as whole numbers in [0, 255]."""
    return (255 * y).round()


def _blocks(m: Tensor, side: int) -> Tensor:
    """``(1, 1, H, W)`` -> ``(blocks, 1, side, side)``."""
    rows = torch.cat(m.split(side, dim=2))
    return torch.cat(rows.split(side, dim=3))


@lru_cache(maxsize=1)
def _parameters() -> dict[str, Tensor]:
    """The authors' numbers, float64: clean photos' statistics, and BRISQUE's regression."""
    file = resources.files("dsd_lib") / "weights" / "natural_scenes.safetensors"
    with resources.as_file(file) as path:
        tensors, _ = read_safetensors(path, dtype=torch.float64)
    return dict(sorted(tensors.items()))
