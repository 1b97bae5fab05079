"""What degrades an image before a network restores it: reduction, motion blur, noise.

Functions take images ``(N, 3, H, W)`` in [0, 1] on any device and return the same type on the same
device, in [0, 1]. The two classes are what training calls: they draw parameters at random, one set
per image, and return them. Random numbers are drawn on the generator's device: with one on the CPU
every device sees the same degradations.
"""

import math
import numbers
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from dsd_lib.checks import check_images, check_whole_number
from dsd_lib.resize import imresize
from dsd_lib.restoration.kernels import Parameters, Range, check_range, check_size, motion_kernels


def crop_to_multiple(x: Tensor, factor: int) -> Tensor:
    """The image without its last rows and columns, so that both sides are multiples of ``factor``.

    Raises:
        TypeError, ValueError: ``x`` is not a valid image batch, or has a side below ``factor``.

    >>> crop_to_multiple(torch.rand(1, 3, 11, 8), 4).shape
    torch.Size([1, 3, 8, 8])
    """
    check_images(x, min_side=factor, check_range=False)
    height, width = (side - side % factor for side in x.shape[2:])
    return x[:, :, :height, :width]


def to_eight_bits(x: Tensor) -> Tensor:
    """Values clamped to [0, 1] and rounded to the 256 that an image file can hold.

    >>> to_eight_bits(torch.tensor([0.5, 1.2])) * 255
    tensor([128., 255.])
    """
    return (x.clamp(0, 1) * 255).round() / 255


def downscale(
    x: Tensor, factor: int = 4, *, eight_bits: bool = False, check_range: bool = True
) -> Tensor:
    """MATLAB's bicubic downscaling by a whole factor, clamped to [0, 1].

    Args:
        x: images ``(N, 3, H, W)`` whose sides are multiples of ``factor``.
        factor: 2 or more.
        eight_bits: round to 8 bits, as in the files of the super-resolution benchmarks.
        check_range: False skips the check of the values, for which a GPU has to wait.

    Returns:
        ``(N, 3, H/factor, W/factor)``.

    Raises:
        TypeError, ValueError: ``x`` is not a valid image batch with such sides, or ``factor`` is
            not a whole number of 2 or more.

    Source: section 4.1; chapter 8 of the book.

    >>> downscale(torch.rand(1, 3, 16, 24), 4).shape
    torch.Size([1, 3, 4, 6])
    """
    check_whole_number(factor, name="factor", low=2)
    check_images(x, min_side=factor, check_range=check_range)
    if any(side % factor for side in x.shape[2:]):
        raise ValueError(
            f"x: expected sides that are multiples of {factor}, got {tuple(x.shape)}; "
            f"dsd_lib.restoration.degradations.crop_to_multiple cuts them"
        )
    small = imresize(x, scale=1 / factor)
    return to_eight_bits(small) if eight_bits else small.clamp(0, 1)


def blur(
    x: Tensor,
    kernels: Tensor,
    *,
    padding: str = "reflect",
    gamma: float = 1.0,
    check_range: bool = True,
) -> Tensor:
    """Correlate each image with its kernel: ``out(p) = Σ_q kernel(q) · x(p + q)``.

    The kernel is not turned around, as in PyTorch's ``conv2d``. This is how the kernels that Levin
    et al. measured reproduce their measured blur.

    Args:
        x: images ``(N, 3, H, W)`` in [0, 1].
        kernels: ``(N, k, k)``, or one ``(k, k)`` for all; k odd.
        padding: "reflect" mirrors the image at its border without repeating the edge. "valid" adds
            nothing and returns an image smaller by ``k - 1``, in which every pixel is true.
        gamma: a camera adds up light, and a file stores roughly its power 1/2.2. Values are raised
            to ``gamma`` before and to ``1/gamma`` after; 1 blurs the stored values.
        check_range: False skips the check of the values, for which a GPU has to wait.

    Returns:
        ``(N, 3, H, W)``, with "valid" ``(N, 3, H - k + 1, W - k + 1)``.

    Raises:
        TypeError, ValueError: ``x`` is not a valid image batch or is smaller than the kernel
            allows, ``kernels`` has another shape or type, or another padding or gamma.

    Source: section 4.2; chapter 9 of the book.

    >>> blur(torch.rand(2, 3, 16, 16), torch.full((3, 3), 1 / 9)).shape
    torch.Size([2, 3, 16, 16])
    """
    check_images(x, check_range=check_range)
    kernels = _one_kernel_each(kernels, len(x))  # (N, k, k)
    size = kernels.shape[-1]
    smallest = {"reflect": size // 2 + 1, "valid": size}.get(padding)
    if smallest is None:
        raise ValueError(f"padding: expected 'reflect' or 'valid', got {padding!r}")
    if not (isinstance(gamma, numbers.Real) and math.isfinite(gamma) and gamma > 0):
        raise ValueError(f"gamma: expected a positive number, got {gamma!r}")
    if min(x.shape[2:]) < smallest:
        raise ValueError(
            f"x: expected sides of at least {smallest} pixels for a kernel of {size} with "
            f"padding={padding!r}, got {tuple(x.shape)}"
        )
    light = x if gamma == 1 else x.clamp_min(1e-6) ** gamma
    if padding == "reflect":
        light = F.pad(light, (size // 2,) * 4, mode="reflect")
    channels = light.reshape(1, -1, *light.shape[2:])  # (1, 3N, H, W)
    weight = kernels.to(light).repeat_interleave(3, dim=0)[:, None]  # (3N, 1, k, k)
    with torch.autocast(x.device.type, enabled=False):
        out = F.conv2d(channels, weight, groups=len(weight))  # (1, 3N, H', W')
    out = out.view(len(x), 3, *out.shape[2:]).clamp(0, 1)
    return out if gamma == 1 else out ** (1 / gamma)


def _one_kernel_each(kernels: Tensor, count: int) -> Tensor:
    """The kernels as ``(count, k, k)``; a TypeError or ValueError unless they can be that."""
    if not isinstance(kernels, Tensor) or not kernels.is_floating_point():
        got = kernels.dtype if isinstance(kernels, Tensor) else type(kernels).__name__
        raise TypeError(f"kernels: expected a floating-point tensor, got {got}")
    each = kernels.expand(count, *kernels.shape) if kernels.ndim == 2 else kernels
    size = each.shape[-1]
    if each.shape != (count, size, size) or size % 2 == 0:
        raise ValueError(
            f"kernels: expected ({count}, k, k) or (k, k) with odd k, got {tuple(kernels.shape)}"
        )
    return each


def add_noise(
    x: Tensor, sigma: float | Tensor, generator: torch.Generator, *, check_range: bool = True
) -> Tensor:
    """Add normal noise, clamped to [0, 1].

    Args:
        x: images ``(N, 3, H, W)`` in [0, 1].
        sigma: the standard deviation where 1 is white, one number or ``(N,)``; 0 or more.
        generator: the source of randomness.
        check_range: False skips the check of the values, for which a GPU has to wait.

    Raises:
        TypeError, ValueError: ``x`` is not a valid image batch, or ``sigma`` has another shape or
            is negative.

    Source: section 4.2; chapter 9 of the book.

    >>> x = torch.full((1, 3, 8, 8), 0.5)
    >>> torch.equal(add_noise(x, 0.0, torch.Generator().manual_seed(0)), x)
    True
    """
    check_images(x, check_range=check_range)
    sigma = torch.as_tensor(sigma)
    if tuple(sigma.shape) not in ((), (len(x),)) or not (sigma >= 0).all():
        raise ValueError(f"sigma: expected one number or ({len(x)},), 0 or more, got {sigma}")
    noise = torch.randn(x.shape, generator=generator, device=generator.device).to(x)
    return (x + sigma.to(x).view(-1, 1, 1, 1) * noise).clamp(0, 1)


class Downscale:
    """Training's super-resolution input: :func:`downscale`, rounded to 8 bits as files are.

    Attributes:
        scale: the factor that a network has to undo.

    Source: section 4.1; chapter 8 of the book.

    >>> small, _ = Downscale(4)(torch.rand(2, 3, 32, 32), torch.Generator())
    >>> small.shape
    torch.Size([2, 3, 8, 8])
    """

    def __init__(self, factor: int = 4) -> None:
        self.scale = factor

    def __call__(self, x: Tensor, generator: torch.Generator) -> tuple[Tensor, Parameters]:
        """Images ``(N, 3, H, W)`` -> ``(N, 3, H/factor, W/factor)`` and no parameters."""
        return downscale(x, self.scale, eight_bits=True), {}


class MotionBlur:
    """Training's deblurring input: a motion kernel and noise for each image, rounded to 8 bits.

    Args:
        size: side of the kernels, odd. Kernels that are given are brought to one size.
        length: range of path lengths in pixels; None as in
            :func:`~dsd_lib.restoration.kernels.motion_kernels`.
        anxiety: range of anxieties, see
            :func:`~dsd_lib.restoration.kernels.motion_trajectories`.
        noise: range of the noise's standard deviation where 1 is white, drawn evenly.
        kernels: kernels to draw from instead of random paths, such as
            :func:`~dsd_lib.restoration.kernels.levin_kernels`.
        gamma: see :func:`blur`; 2.2 is close to how the REDS and GoPro images were blurred.

    Attributes:
        scale: 1, the factor that a network has to undo in size.

    Raises:
        ValueError: as the functions do.

    Source: section 4.2; chapter 9 of the book.

    >>> make = MotionBlur(size=15)
    >>> blurred, drawn = make(torch.rand(2, 3, 32, 32), torch.Generator().manual_seed(0))
    >>> blurred.shape, {name: tuple(value.shape) for name, value in drawn.items()}
    (torch.Size([2, 3, 32, 32]),
     {'kernel': (2, 15, 15), 'length': (2,), 'anxiety': (2,), 'sigma': (2,)})
    """

    scale = 1

    def __init__(
        self,
        size: int = 31,
        *,
        length: Range | None = None,
        anxiety: Range = (0.0005, 0.02),
        noise: Range = (0.0, 0.01),
        kernels: Sequence[Tensor] | None = None,
        gamma: float = 1.0,
    ) -> None:
        check_size(size)
        check_range("noise", noise)
        self.size, self.length, self.anxiety = size, length, anxiety
        self.noise, self.gamma = noise, gamma
        self.kernels = None if kernels is None else _of_one_size(kernels)

    def __call__(self, x: Tensor, generator: torch.Generator) -> tuple[Tensor, Parameters]:
        """Blurred images, and ``kernel`` ``(N, k, k)``, ``sigma`` ``(N,)`` and what made them.

        For random paths that is ``length`` and ``anxiety``; for given kernels their ``index``.
        """
        check_images(x)
        count, device = len(x), generator.device
        if self.kernels is None:
            kernels, drawn = motion_kernels(
                count, self.size, generator, length=self.length, anxiety=self.anxiety
            )
        else:
            choice = torch.randint(
                len(self.kernels), (count,), generator=generator, device=device
            ).cpu()
            kernels, drawn = self.kernels[choice], {"index": choice}
        low, high = self.noise
        sigma = low + (high - low) * torch.rand(count, generator=generator, device=device).cpu()
        kernels = kernels.to(x)  # (N, k, k)
        y = blur(x, kernels, gamma=self.gamma, check_range=False)
        y = to_eight_bits(add_noise(y, sigma, generator, check_range=False))
        return y, {"kernel": kernels, **drawn, "sigma": sigma}


def _of_one_size(kernels: Sequence[Tensor]) -> Tensor:
    """The kernels, each in the middle of zeros, as large as the largest: ``(n, k, k)``."""
    if len(kernels) == 0:
        raise ValueError("kernels: expected at least one, got none")
    for k in kernels:
        if k.ndim != 2 or k.shape[0] != k.shape[1] or k.shape[0] % 2 == 0:
            raise ValueError(f"kernels: expected (k, k) with odd k, got {tuple(k.shape)}")
    largest = max(len(k) for k in kernels)
    return torch.stack([F.pad(k, ((largest - len(k)) // 2,) * 4) for k in kernels])
