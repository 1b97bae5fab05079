"""What spoils a picture before a network restores it: small size, motion blur, noise, JPEG.

Functions take pictures ``(N, 3, H, W)`` in [0, 1] on any device and give the same type and device
back, in [0, 1]. The classes draw their parameters at random, one set a picture, and return them;
they are what training calls. Random numbers are drawn on the generator's device: with one on the
CPU every device sees the same degradations.

Blur is **correlation**, the same as PyTorch's ``conv2d``: the kernel is not turned around. That is
how the measured kernels of Levin et al. reproduce their measured blur.
"""

import io
import math
import numbers
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from dsd_lib.checks import check_images
from dsd_lib.files import data_folder
from dsd_lib.images import image_from_array, to_array
from dsd_lib.resize import imresize

Parameters = dict[str, Tensor]  # what was drawn; the first axis counts the pictures
Range = tuple[float, float]


def crop_to_multiple(x: Tensor, factor: int) -> Tensor:
    """The picture without the last rows and columns that make a side no multiple of ``factor``.

    Raises:
        TypeError, ValueError: ``x`` is no batch of pictures or has a side shorter than ``factor``.

    >>> crop_to_multiple(torch.rand(1, 3, 11, 8), 4).shape
    torch.Size([1, 3, 8, 8])
    """
    check_images(x, min_side=factor, check_range=False)
    height, width = (side - side % factor for side in x.shape[2:])
    return x[:, :, :height, :width]


def to_eight_bits(x: Tensor) -> Tensor:
    """Values rounded to the 256 that a picture file can hold, and clamped to [0, 1].

    >>> to_eight_bits(torch.tensor([0.5, 1.2])) * 255
    tensor([128., 255.])
    """
    return (x.clamp(0, 1) * 255).round() / 255


def downscale(
    x: Tensor, factor: int = 4, *, eight_bits: bool = False, check_range: bool = True
) -> Tensor:
    """MATLAB's bicubic downscaling by a whole factor, clamped to [0, 1].

    Args:
        x: pictures ``(N, 3, H, W)`` whose sides are multiples of ``factor``.
        factor: 2 or more.
        eight_bits: round to 8 bits, as the files of the super-resolution benchmarks are.
        check_range: False leaves out the check of the values, for which a GPU has to wait.

    Returns:
        ``(N, 3, H/factor, W/factor)``.

    Raises:
        TypeError, ValueError: ``x`` is no such batch, or ``factor`` no whole number above 1.

    Source: section 4.1; chapter 8 of the book.

    >>> downscale(torch.rand(1, 3, 16, 24), 4).shape
    torch.Size([1, 3, 4, 6])
    """
    if isinstance(factor, bool) or not isinstance(factor, numbers.Integral) or factor < 2:
        raise ValueError(f"factor: expected a whole number of at least 2, got {factor!r}")
    check_images(x, min_side=factor, check_range=check_range)
    if any(side % factor for side in x.shape[2:]):
        raise ValueError(
            f"x: expected sides that are multiples of {factor}, got {tuple(x.shape)}; "
            f"dsd_lib.restoration.degradations.crop_to_multiple cuts them"
        )
    small = imresize(x, scale=1 / factor)
    return to_eight_bits(small) if eight_bits else small.clamp(0, 1)


def motion_trajectories(
    count: int,
    generator: torch.Generator,
    *,
    length: Range = (3.0, 40.0),
    anxiety: Range = (0.0005, 0.02),
    steps: int = 500,
) -> tuple[Tensor, Parameters]:
    """Random paths of a hand-held camera during exposure, after Boracchi and Foi (2012).

    A point moves at constant speed. At each step its direction changes by a random push, by a pull
    back to where it started (a person holds against the drift), and now and then by an impulse that
    about reverses it (the button is pressed). All three grow with ``anxiety``; at 0 the path is a
    straight line.

    Args:
        count: how many paths.
        generator: the source of randomness.
        length: the range of path lengths in pixels, drawn evenly.
        anxiety: the range of anxieties, drawn evenly on a logarithmic scale.
        steps: samples of a path. The paper takes 2000; what happens in a step is scaled so that
            another number gives the same kind of path.

    Returns:
        paths ``(count, steps, 2)`` in pixels, (x, y), with their mean at the origin, float64 on the
        CPU; and the parameters ``length`` and ``anxiety`` of each, ``(count,)``.

    Raises:
        ValueError: a count, step number or range that makes no sense.

    Source: Boracchi and Foi, "Modeling the performance of image restoration from motion blur",
    IEEE Transactions on Image Processing 21, 2012; chapter 9 of the book.

    >>> paths, drawn = motion_trajectories(3, torch.Generator().manual_seed(0), length=(5, 9))
    >>> paths.shape, sorted(drawn)
    (torch.Size([3, 500, 2]), ['anxiety', 'length'])
    """
    _check_whole("count", count, 1)
    _check_whole("steps", steps, 2)
    _check_range("length", length)
    _check_range("anxiety", anxiety)

    def uniform(*shape: int) -> np.ndarray:
        drawn = torch.rand(*shape, generator=generator, device=generator.device)
        return drawn.cpu().double().numpy()

    lengths = length[0] + (length[1] - length[0]) * uniform(count)
    if anxiety[0] > 0:
        anxieties = anxiety[0] * (anxiety[1] / anxiety[0]) ** uniform(count)
    else:
        anxieties = anxiety[1] * uniform(count)
    coarse = 2000 / steps  # steps of the paper in one of ours
    pull = 0.7 * uniform(count) * coarse
    push = 10 * uniform(count) * math.sqrt(coarse)
    impulse = 0.2 * uniform(count) * coarse  # chance in a step, at anxiety 1
    first = 2 * math.pi * uniform(count)
    strikes = uniform(steps - 1, count) < impulse * anxieties
    turns = np.exp(1j * (math.pi + uniform(steps - 1, count) - 0.5))
    drawn = torch.randn(2, steps - 1, count, generator=generator, device=generator.device)
    normal = drawn.cpu().double().numpy()
    speed = lengths / (steps - 1)
    pushes = anxieties * speed * push * (normal[0] + 1j * normal[1])
    pull *= anxieties * speed
    impulses = np.where(strikes, 1 + 2 * turns, 1)
    velocity = speed * np.exp(1j * first)
    places = np.zeros((steps, count), complex)  # points of the plane as complex numbers
    for t in range(steps - 1):
        velocity = velocity * impulses[t] + pushes[t] - pull * places[t]
        velocity *= speed / np.abs(velocity)
        places[t + 1] = places[t] + velocity
    places -= places.mean(axis=0)
    paths = torch.from_numpy(np.stack([places.real.T, places.imag.T], axis=2))
    return paths, {"length": torch.from_numpy(lengths), "anxiety": torch.from_numpy(anxieties)}


def rasterize(paths: Tensor, size: int) -> Tensor:
    """Blur kernels of paths: how long the point stays on each pixel.

    A sample is shared among its four pixels bilinearly, which keeps the center of mass in the
    middle of the kernel. A path that leaves the kernel is shrunk to fit.

    Args:
        paths: ``(N, steps, 2)`` in pixels, (x, y), around the origin.
        size: side of the kernels, odd.

    Returns:
        ``(N, size, size)`` float32, each summing to 1.

    Raises:
        ValueError: an even or too small size, or another shape of paths.

    Source: as :func:`motion_trajectories`.

    >>> rasterize(torch.zeros(1, 10, 2), 3)[0]
    tensor([[0., 0., 0.],
            [0., 1., 0.],
            [0., 0., 0.]])
    """
    _check_size(size)
    if paths.ndim != 3 or paths.shape[2] != 2 or 0 in paths.shape:
        raise ValueError(f"paths: expected shape (N, steps, 2), got {tuple(paths.shape)}")
    half = size // 2
    places = paths.double() * _shrink(paths, size)[:, None, None] + half
    corner = places.floor().clamp(0, size - 2)  # so that a path on the last pixel stays inside
    part = places - corner
    corner = corner.long()
    kernels = torch.zeros(len(paths), size * size, dtype=torch.float64, device=paths.device)
    for dx in (0, 1):
        for dy in (0, 1):
            weight = (part[..., 0] if dx else 1 - part[..., 0]) * (
                part[..., 1] if dy else 1 - part[..., 1]
            )
            kernels.scatter_add_(1, (corner[..., 1] + dy) * size + corner[..., 0] + dx, weight)
    kernels /= kernels.sum(dim=1, keepdim=True)
    return kernels.view(-1, size, size).float()


def _shrink(paths: Tensor, size: int) -> Tensor:
    """The factor, at most 1, that brings each path into a kernel of that size: ``(N,)``."""
    farthest = paths.double().abs().amax(dim=(1, 2))
    return ((size // 2) / farthest.clamp_min(1e-12)).clamp(max=1)


def motion_kernels(
    count: int,
    size: int,
    generator: torch.Generator,
    *,
    length: Range | None = None,
    anxiety: Range = (0.0005, 0.02),
    steps: int = 500,
) -> tuple[Tensor, Parameters]:
    """Motion-blur kernels ``(count, size, size)`` of random camera paths, on the CPU.

    Arguments and errors are those of :func:`motion_trajectories` and :func:`rasterize`; ``length``
    None is from 3 pixels to ``1.3 * size``. Kernels sum to 1 and have their center of mass in the
    middle. The parameters returned are those of the kernels: ``length`` is the length of the path
    after it was shrunk, if it was.

    Source: as :func:`motion_trajectories`; chapter 9 of the book.

    >>> kernels, drawn = motion_kernels(2, 15, torch.Generator().manual_seed(0))
    >>> kernels.shape, kernels.sum(dim=(1, 2)).round(decimals=5)
    (torch.Size([2, 15, 15]), tensor([1., 1.]))
    """
    _check_size(size)
    length = (min(3.0, size / 2), 1.3 * size) if length is None else length
    paths, drawn = motion_trajectories(
        count, generator, length=length, anxiety=anxiety, steps=steps
    )
    drawn["length"] = drawn["length"] * _shrink(paths, size)
    return rasterize(paths, size), drawn


def motion_kernel(size: int, generator: torch.Generator, **options: Any) -> Tensor:
    """One kernel ``(size, size)`` of :func:`motion_kernels`, which has the options.

    >>> motion_kernel(9, torch.Generator().manual_seed(0)).shape
    torch.Size([9, 9])
    """
    return motion_kernels(1, size, generator, **options)[0][0]


def levin_kernels(path: str | Path | None = None, *, center: bool = True) -> tuple[Tensor, ...]:
    """The eight motion kernels that Levin et al. (2009) measured, float32, of odd sizes.

    Args:
        path: the file ``levin09.npz``; None is ``$DSD_DATA/kernels/levin09.npz``.
        center: move each by whole pixels so that its center of mass lies in the middle, to half a
            pixel. As measured some lie up to 3 pixels off, which would shift the picture.

    Raises:
        FileNotFoundError: no such file, or DSD_DATA is not set.

    Source: Levin, Weiss, Durand and Freeman, "Understanding and evaluating blind deconvolution
    algorithms", CVPR 2009; chapter 9 of the book.

    >>> levin_kernels("no-such-file.npz")
    Traceback (most recent call last):
    ...
    FileNotFoundError: no kernels at no-such-file.npz
    """
    path = data_folder("kernels") / "levin09.npz" if path is None else Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no kernels at {path}")
    with np.load(path) as file:
        kernels = [torch.from_numpy(file[f"k{i}"]).double() for i in range(1, 9)]
    if center:
        kernels = [center_kernel(kernel) for kernel in kernels]
    return tuple((kernel / kernel.sum()).float() for kernel in kernels)


def center_kernel(kernel: Tensor) -> Tensor:
    """The kernel moved by whole pixels so that its center of mass is nearest to the middle.

    Empty borders are cut, and the result is the smallest odd square that holds the rest.

    >>> center_kernel(torch.tensor([[0.0, 0.0, 1.0], [0.0, 0.0, 0.0], [0.0, 0.0, 0.0]]))
    tensor([[1.]])
    """
    rows, columns = (torch.arange(side, dtype=kernel.dtype) for side in kernel.shape)
    total = kernel.sum()
    middle = [
        round(float((kernel.sum(dim=1) * rows).sum() / total)),
        round(float((kernel.sum(dim=0) * columns).sum() / total)),
    ]
    places = kernel.nonzero()
    half = int((places - torch.tensor(middle)).abs().max())
    centered = kernel.new_zeros(2 * half + 1, 2 * half + 1)
    target = places - torch.tensor(middle) + half
    centered[target[:, 0], target[:, 1]] = kernel[places[:, 0], places[:, 1]]
    return centered


def blur(
    x: Tensor,
    kernels: Tensor,
    *,
    padding: str = "reflect",
    gamma: float = 1.0,
    check_range: bool = True,
) -> Tensor:
    """Correlate each picture with its kernel: ``out(p) = Σ_q kernel(q) · x(p + q)``.

    Args:
        x: pictures ``(N, 3, H, W)`` in [0, 1].
        kernels: ``(N, k, k)``, or one ``(k, k)`` for all; k odd.
        padding: what lies beyond the border: "reflect" mirrors the picture without repeating its
            edge, "replicate" repeats the edge. "valid" adds nothing and gives a picture smaller by
            ``k - 1``, in which every pixel is true.
        gamma: a camera sums light, a file stores about its power 1/2.2. Values are raised to
            ``gamma`` before and to ``1/gamma`` after; 1 blurs the stored values.
        check_range: False leaves out the check of the values, for which a GPU has to wait.

    Returns:
        ``(N, 3, H, W)``, with "valid" ``(N, 3, H - k + 1, W - k + 1)``.

    Raises:
        TypeError, ValueError: ``x`` or ``kernels`` is of another shape or type, ``x`` is smaller
            than the kernel allows, or another padding.

    Source: section 4.2; chapter 9 of the book.

    >>> blur(torch.rand(2, 3, 16, 16), torch.full((3, 3), 1 / 9)).shape
    torch.Size([2, 3, 16, 16])
    """
    check_images(x, check_range=check_range)
    if not isinstance(kernels, Tensor) or not kernels.is_floating_point():
        got = kernels.dtype if isinstance(kernels, Tensor) else type(kernels).__name__
        raise TypeError(f"kernels: expected a floating-point tensor, got {got}")
    count, shape = len(x), tuple(kernels.shape)
    kernels = kernels.expand(count, *shape) if kernels.ndim == 2 else kernels
    size = kernels.shape[-1]
    if kernels.ndim != 3 or kernels.shape != (count, size, size) or size % 2 == 0:
        raise ValueError(f"kernels: expected ({count}, k, k) or (k, k) with odd k, got {shape}")
    if padding not in ("reflect", "replicate", "valid"):
        raise ValueError(f"padding: expected 'reflect', 'replicate' or 'valid', got {padding!r}")
    if not (isinstance(gamma, numbers.Real) and math.isfinite(gamma) and gamma > 0):
        raise ValueError(f"gamma: expected a positive number, got {gamma!r}")
    half = size // 2
    smallest = {"reflect": half + 1, "valid": size, "replicate": 1}[padding]
    if min(x.shape[2:]) < smallest:
        raise ValueError(
            f"x: expected sides of at least {smallest} pixels for a kernel of {size} with "
            f"padding={padding!r}, got {tuple(x.shape)}"
        )
    light = x if gamma == 1 else x.clamp_min(1e-6) ** gamma
    if padding != "valid":
        light = F.pad(light, (half, half, half, half), mode=padding)
    channels = light.reshape(1, -1, *light.shape[2:])
    weight = kernels.to(light).repeat_interleave(3, dim=0)[:, None]
    with torch.autocast(x.device.type, enabled=False):
        out = F.conv2d(channels, weight, groups=3 * count).view(count, 3, *_valid(light, size))
    out = out.clamp(0, 1)
    return out if gamma == 1 else out ** (1 / gamma)


def _valid(x: Tensor, size: int) -> tuple[int, int]:
    return x.shape[2] - size + 1, x.shape[3] - size + 1


def add_noise(
    x: Tensor, sigma: float | Tensor, generator: torch.Generator, *, check_range: bool = True
) -> Tensor:
    """Add normal noise, clamped to [0, 1].

    Args:
        x: pictures ``(N, 3, H, W)`` in [0, 1].
        sigma: the standard deviation where 1 is white, one number or ``(N,)``; 0 or more.
        generator: the source of randomness.
        check_range: False leaves out the check of the values, for which a GPU has to wait.

    Raises:
        TypeError, ValueError: ``x`` is no such batch, or ``sigma`` of another shape or negative.

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


def jpeg(x: Tensor, quality: int | Sequence[int] | Tensor, *, subsampling: str = "4:2:0") -> Tensor:
    """The picture after it was a JPEG file, written and read by Pillow. No gradient.

    Args:
        x: pictures ``(N, 3, H, W)`` in [0, 1].
        quality: 1 to 100, for all or one for each picture; above 95 files only grow.
        subsampling: of the color channels: "4:2:0", "4:2:2" or "4:4:4".

    Raises:
        TypeError, ValueError: ``x`` is no such batch, another quality or subsampling.

    Source: the codec of picture files; chapter 4 of the book.

    >>> jpeg(torch.rand(1, 3, 16, 16), quality=50).shape
    torch.Size([1, 3, 16, 16])
    """
    check_images(x)
    if isinstance(quality, Tensor):
        quality = quality.tolist()
    qualities = list(quality) if isinstance(quality, Sequence) else [quality] * len(x)
    whole = all(isinstance(q, numbers.Integral) and 1 <= q <= 100 for q in qualities)
    if len(qualities) != len(x) or not whole:
        raise ValueError(f"quality: expected 1 to 100, one or {len(x)} of them, got {quality!r}")
    if subsampling not in ("4:2:0", "4:2:2", "4:4:4"):
        raise ValueError(f"subsampling: expected 4:2:0, 4:2:2 or 4:4:4, got {subsampling!r}")
    out = []
    for picture, q in zip(x, qualities, strict=True):
        file = io.BytesIO()
        array = to_array(picture[None])
        Image.fromarray(array).save(file, "JPEG", quality=int(q), subsampling=subsampling)
        out.append(image_from_array(np.array(Image.open(file))))
    return torch.cat(out).to(x)


class Downscale:
    """Training's super-resolution input: :func:`downscale`, rounded to 8 bits as files are.

    Attributes:
        scale: the factor that a network has to undo.

    Source: section 4.1; chapter 8 of the book.

    >>> small, _ = Downscale(4)(torch.rand(2, 3, 32, 32), torch.Generator())
    >>> small.shape
    torch.Size([2, 3, 8, 8])
    """

    def __init__(self, factor: int = 4, *, eight_bits: bool = True) -> None:
        self.scale, self.eight_bits = factor, eight_bits

    def __call__(self, x: Tensor, generator: torch.Generator) -> tuple[Tensor, Parameters]:
        """Pictures ``(N, 3, H, W)`` -> ``(N, 3, H/factor, W/factor)`` and no parameters."""
        return downscale(x, self.scale, eight_bits=self.eight_bits), {}


class MotionBlur:
    """Training's deblurring input: a random motion kernel and random noise for each picture.

    Args:
        size: side of the kernels, odd. Kernels that are given are brought to one size.
        length: range of path lengths in pixels; None as in :func:`motion_kernels`.
        anxiety: range of anxieties, see :func:`motion_trajectories`.
        noise: range of the noise's standard deviation where 1 is white, drawn evenly.
        kernels: kernels to draw from instead of random paths, such as :func:`levin_kernels`.
        padding: see :func:`blur`.
        gamma: see :func:`blur`; 2.2 is near to how the REDS and GoPro pictures were blurred.
        eight_bits: round the result to 8 bits, as files are.

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
        padding: str = "reflect",
        gamma: float = 1.0,
        eight_bits: bool = True,
    ) -> None:
        _check_size(size)
        _check_range("noise", noise)
        self.size, self.length, self.anxiety, self.noise = size, length, anxiety, noise
        self.padding, self.gamma, self.eight_bits = padding, gamma, eight_bits
        self.kernels = None
        if kernels is not None:
            if len(kernels) == 0:
                raise ValueError("kernels: expected at least one, got none")
            self.kernels = torch.stack([_pad_kernel(k, kernels) for k in kernels])

    def __call__(self, x: Tensor, generator: torch.Generator) -> tuple[Tensor, Parameters]:
        """Blurred pictures, and ``kernel`` ``(N, k, k)``, ``sigma`` ``(N,)`` and what made them.

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
        kernels = kernels.to(x)
        y = blur(x, kernels, padding=self.padding, gamma=self.gamma, check_range=False)
        y = add_noise(y, sigma, generator, check_range=False)
        y = to_eight_bits(y) if self.eight_bits else y
        return y, {"kernel": kernels, **drawn, "sigma": sigma}


class Jpeg:
    """JPEG of random quality for each picture.

    Args:
        quality: range of qualities, both ends included.

    Attributes:
        scale: 1, the factor that a network has to undo in size.

    Source: as :func:`jpeg`.

    >>> spoiled, drawn = Jpeg((20, 60))(torch.rand(2, 3, 16, 16), torch.Generator().manual_seed(0))
    >>> spoiled.shape, drawn["quality"].shape
    (torch.Size([2, 3, 16, 16]), torch.Size([2]))
    """

    scale = 1

    def __init__(self, quality: tuple[int, int] = (30, 95)) -> None:
        if not (1 <= quality[0] <= quality[1] <= 100):
            raise ValueError(f"quality: expected a range within 1 to 100, got {quality!r}")
        self.quality = quality

    def __call__(self, x: Tensor, generator: torch.Generator) -> tuple[Tensor, Parameters]:
        """Pictures after compression, and their ``quality`` ``(N,)``."""
        check_images(x)
        low, high = self.quality
        device = generator.device
        quality = torch.randint(low, high + 1, (len(x),), generator=generator, device=device).cpu()
        return jpeg(x, quality), {"quality": quality}


def _pad_kernel(kernel: Tensor, kernels: Sequence[Tensor]) -> Tensor:
    """The kernel in the middle of zeros, as large as the largest of ``kernels``."""
    for k in kernels:
        if k.ndim != 2 or k.shape[0] != k.shape[1] or k.shape[0] % 2 == 0:
            raise ValueError(f"kernels: expected (k, k) with odd k, got {tuple(k.shape)}")
    margin = (max(len(k) for k in kernels) - len(kernel)) // 2
    return F.pad(kernel, (margin,) * 4)


def _check_whole(name: str, value: int, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, numbers.Integral) or value < least:
        raise ValueError(f"{name}: expected a whole number of at least {least}, got {value!r}")


def _check_size(size: int) -> None:
    _check_whole("size", size, 3)
    if size % 2 == 0:
        raise ValueError(f"size: expected an odd number, so that there is a middle, got {size}")


def _check_range(name: str, value: Range) -> None:
    if not (len(value) == 2 and 0 <= value[0] <= value[1] < math.inf):
        raise ValueError(f"{name}: expected a range (low, high), 0 <= low <= high, got {value!r}")
