"""Motion-blur kernels: of simulated camera paths, and the eight that Levin et al. measured.

A kernel tells how long the camera pointed at each offset. It is meant for **correlation**, as
PyTorch's ``conv2d`` computes it; for a convolution it would have to be turned by 180°.
"""

import math
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from dsd_lib.checks import check_whole_number
from dsd_lib.files import data_folder

Parameters = dict[str, Tensor]  # what was drawn at random; the first axis counts the images
Range = tuple[float, float]


def motion_trajectories(
    count: int,
    generator: torch.Generator,
    *,
    length: Range = (3.0, 40.0),
    anxiety: Range = (0.0005, 0.02),
    steps: int = 500,
) -> tuple[Tensor, Parameters]:
    """Random paths of a hand-held camera during the exposure, after Boracchi and Foi (2012).

    A point moves at constant speed. At each step its direction changes by a random push, by a pull
    back to where it started (a person holds against the drift), and now and then by an impulse that
    roughly reverses it (the button is pressed). All three grow with ``anxiety``; at 0 the path is a
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
        ValueError: ``count`` or ``steps`` is too small, or a range is not one of finite numbers,
            0 or more.

    Source: Boracchi and Foi, "Modeling the performance of image restoration from motion blur",
    IEEE Transactions on Image Processing 21, 2012; chapter 9 of the book.

    >>> paths, drawn = motion_trajectories(3, torch.Generator().manual_seed(0), length=(5, 9))
    >>> paths.shape, sorted(drawn)
    (torch.Size([3, 500, 2]), ['anxiety', 'length'])
    """
    check_whole_number(count, name="count")
    check_whole_number(steps, name="steps", low=2)
    check_range("length", length)
    check_range("anxiety", anxiety)

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
        velocity *= speed / np.abs(velocity).clip(min=np.finfo(float).tiny)  # 0 at length 0
        places[t + 1] = places[t] + velocity
    places -= places.mean(axis=0)
    paths = torch.from_numpy(np.stack([places.real.T, places.imag.T], axis=2))
    return paths, {"length": torch.from_numpy(lengths), "anxiety": torch.from_numpy(anxieties)}


def rasterize(paths: Tensor, size: int) -> Tensor:
    """The kernels of paths: how long the point stays on each pixel.

    A sample is shared among its four pixels bilinearly, which keeps the center of mass in the
    middle of the kernel. A path that leaves the kernel is shrunk to fit.

    Args:
        paths: ``(N, steps, 2)`` in pixels, (x, y), around the origin.
        size: side of the kernels, odd.

    Returns:
        ``(N, size, size)`` float32, each summing to 1.

    Raises:
        ValueError: ``size`` is even or below 3, or ``paths`` has another shape.

    Source: as :func:`motion_trajectories`.

    >>> rasterize(torch.zeros(1, 10, 2), 3)[0]
    tensor([[0., 0., 0.],
            [0., 1., 0.],
            [0., 0., 0.]])
    """
    check_size(size)
    if paths.ndim != 3 or paths.shape[2] != 2 or 0 in paths.shape:
        raise ValueError(f"paths: expected shape (N, steps, 2), got {tuple(paths.shape)}")
    places = paths.double() * _shrink(paths, size)[:, None, None] + size // 2
    corner = places.floor().clamp(0, size - 2)  # so that a path on the last pixel stays inside
    part = places - corner  # (N, steps, 2), each in [0, 1]
    x, y = corner.long().unbind(dim=2)
    kernels = torch.zeros(len(paths), size * size, dtype=torch.float64, device=paths.device)
    for dx in (0, 1):
        for dy in (0, 1):
            weight = (part[..., 0] if dx else 1 - part[..., 0]) * (
                part[..., 1] if dy else 1 - part[..., 1]
            )
            kernels.scatter_add_(1, (y + dy) * size + x + dx, weight)
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
    middle. Of the parameters returned, ``length`` is that of the path as it fits into the kernel.

    Source: as :func:`motion_trajectories`; chapter 9 of the book.

    >>> kernels, drawn = motion_kernels(2, 15, torch.Generator().manual_seed(0))
    >>> kernels.shape, kernels.sum(dim=(1, 2)).round(decimals=5)
    (torch.Size([2, 15, 15]), tensor([1., 1.]))
    """
    check_size(size)
    length = (min(3.0, size / 2), 1.3 * size) if length is None else length
    paths, drawn = motion_trajectories(
        count, generator, length=length, anxiety=anxiety, steps=steps
    )
    drawn["length"] = drawn["length"] * _shrink(paths, size)
    return rasterize(paths, size), drawn


def levin_kernels(path: str | Path | None = None, *, center: bool = True) -> tuple[Tensor, ...]:
    """The eight motion kernels that Levin et al. (2009) measured, float32, of odd sizes.

    Args:
        path: the file ``levin09.npz``; None is ``$DSD_DATA/kernels/levin09.npz``.
        center: move each by whole pixels so that its center of mass is in the middle, to half a
            pixel. As measured, some are up to 3 pixels off, which would shift the image.

    Raises:
        FileNotFoundError: there is no such file, or DSD_DATA is not set.

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

    The result is the smallest odd square that holds everything that is not 0.

    >>> center_kernel(torch.tensor([[0.0, 0.0, 1.0], [0.0, 0.0, 0.0], [0.0, 0.0, 0.0]]))
    tensor([[1.]])
    """
    rows, columns = (torch.arange(side, dtype=kernel.dtype) for side in kernel.shape)
    total = kernel.sum()
    middle = torch.tensor(
        [
            round(float((kernel.sum(dim=1) * rows).sum() / total)),
            round(float((kernel.sum(dim=0) * columns).sum() / total)),
        ]
    )
    places = kernel.nonzero()  # (n, 2)
    half = int((places - middle).abs().max())
    centered = kernel.new_zeros(2 * half + 1, 2 * half + 1)
    row, column = (places - middle + half).unbind(dim=1)
    centered[row, column] = kernel[places[:, 0], places[:, 1]]
    return centered


def check_size(size: int) -> None:
    """Raise a ValueError unless ``size``, the side of a kernel, is odd and at least 3."""
    check_whole_number(size, name="size", low=3)
    if size % 2 == 0:
        raise ValueError(f"size: expected an odd number, so that there is a middle, got {size}")


def check_range(name: str, value: Range) -> None:
    """Raise a ValueError unless ``value`` is (low, high) with 0 ≤ low ≤ high, both finite."""
    if not (len(value) == 2 and 0 <= value[0] <= value[1] < math.inf):
        raise ValueError(f"{name}: expected a range (low, high), 0 <= low <= high, got {value!r}")
