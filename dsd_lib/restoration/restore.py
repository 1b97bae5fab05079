"""Restored images: the trained networks on images of any size, and on image files.

What a network makes of a pixel depends on the pixels within its reach and on nothing else. So a
large image is taken tile by tile, each with a margin as wide as that reach, and the result is that
of the whole image.
"""

import itertools
import math
import numbers
import re
from collections.abc import Callable, Iterator
from functools import lru_cache
from importlib import resources
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from dsd_lib.checks import check_images
from dsd_lib.resize import imresize
from dsd_lib.restoration.networks import (
    XSRResNet,
    check_fraction,
    interpolate,
    load_network,
)
from dsd_lib.restoration.picture_files import (
    fill_transparent,
    read_image,
    result_dtype,
    write_image,
)

TASKS = {"sr": 4, "deblur": 1}  # task -> the scale of its networks
TILE = 512  # pixels; the side of a tile unless told otherwise
# The dial's position unless told otherwise, from 0, the L1 network, to 1, the DSD network: chosen
# on photos held out of the training, by data_scripts/choose_naturalness.py.
NATURALNESS = {"sr": 1.0, "deblur": 0.9}
# The two ends of the dial: a network trained with L1 and the one that grew from it with DSD.
DIAL = {
    "sr": ("l1_10blocks_resize", "dsd_10blocks_resize_windows4"),
    "deblur": ("l1", "dsd"),
}
Network = XSRResNet | str | Path
Region = tuple[slice, slice]  # rows and columns of an image
Progress = Callable[[int, int], object]  # is told how many tiles are done, out of how many


def load_restorer(task: str, loss: str = "dsd") -> XSRResNet:
    """A trained network of the package, on the CPU, frozen. Its ``record`` tells the training.

    Args:
        task: ``"sr"``, super-resolution of images reduced ×4, or ``"deblur"``, motion blur.
        loss: what it was trained with, ``"dsd"`` (Eq. 6) or ``"l1"`` (L1 alone), for ``"sr"`` with
            the paper's pixel shuffles; there ``"dsd_10blocks"`` is twice as deep, and
            ``"dsd_10blocks_resize_windows4"``, of local DSD, enlarges without painting a grid, as
            does its start ``"l1_10blocks_resize"``. :func:`dsd_lib.restore` takes these two.

    Raises:
        ValueError: there is no such network; the message lists the available ones.

    Source: section 4; chapters 8 and 9 of the book.

    >>> load_restorer("sr").scale
    4
    """
    _check_task(task)
    folder = resources.files("dsd_lib") / "weights"
    found = (re.fullmatch(rf"{task}_(\w+)\.safetensors", file.name) for file in folder.iterdir())
    losses = sorted(match[1] for match in found if match)
    if loss not in losses:
        raise ValueError(
            f"loss: expected, for {task}, one of {', '.join(losses) or '(none)'}; got {loss!r}"
        )
    with resources.as_file(folder / f"{task}_{loss}.safetensors") as path:
        return load_network(path)


def restore(
    x: Tensor,
    task: str,
    *,
    naturalness: float | None = None,
    network: Network | None = None,
    tile: int | None = None,
    progress: Progress | None = None,
) -> Tensor:
    """Images made sharp by a trained network: four times the size, or with less motion blur.

    Memory is bounded by the tile, whatever the size. No gradient is taken.

    Args:
        x: images ``(N, 3, H, W)`` in [0, 1], of any size.
        task: ``"sr"`` or ``"deblur"``.
        naturalness: the dial between two networks of the package, whose weights are interpolated:
            at 0 the one trained with L1, nearest to the truth pixel by pixel; at 1 the one trained
            further with DSD (Eq. 6), whose texture looks most natural. None is
            ``NATURALNESS[task]``.
        network: another network than the package's, or its file. Computing is done where a given
            network is, otherwise where ``x`` is.
        tile: side of the tiles in pixels of ``x``; None is 512. The result does not depend on it.
        progress: is called with the number of parts done and the number of all.

    Returns:
        ``(N, 3, 4H, 4W)`` for ``"sr"``, ``(N, 3, H, W)`` for ``"deblur"``, in [0, 1], of the type
        and on the device of ``x``.

    Raises:
        TypeError: ``x`` is not a tensor of floats, or ``network`` is another kind of network.
        ValueError: ``x`` is not a valid image batch; another task or tile, naturalness outside
            [0, 1] or together with a network, or a network of another scale.
        FileNotFoundError: there is no such network file.

    Source: section 4, Figs. 8 and 11; chapters 8 and 9 of the book.

    >>> from dsd_lib import sample_images
    >>> x = sample_images()["cat"][:, :, 60:100, 150:214]
    >>> restore(x, "sr").shape, restore(x, "deblur", naturalness=0.5).shape
    (torch.Size([1, 3, 160, 256]), torch.Size([1, 3, 40, 64]))
    """
    check_images(x)
    net = choose_network(task, network, x.device, naturalness=naturalness)
    n, _, height, width = x.shape
    y = x.new_empty(n, 3, height * net.scale, width * net.scale)
    for i, rows, columns, part in _restored_parts(x, net, tile, progress):
        y[i, :, rows, columns] = part
    return y


def choose_network(
    task: str,
    network: Network | None = None,
    device: torch.device | None = None,
    *,
    naturalness: float | None = None,
) -> XSRResNet:
    """The network for a task: the one given, or the package's on ``device``.

    Raises:
        TypeError, ValueError, FileNotFoundError: as in :func:`dsd_lib.restore`.

    >>> choose_network("sr", XSRResNet(scale=2))
    Traceback (most recent call last):
    ...
    ValueError: network: expected scale 4 for sr, got scale 2
    """
    _check_task(task)
    if network is None:
        position = NATURALNESS[task] if naturalness is None else naturalness
        check_fraction(position, "naturalness")
        device = torch.device("cpu") if device is None else device
        return _packaged(task, float(position), device)
    if naturalness is not None:
        raise ValueError(
            "naturalness: it is between the package's networks; expected none with a network given"
        )
    if isinstance(network, str | Path):
        network = load_network(network)
        network = network if device is None else network.to(device)
    network = getattr(network, "_orig_mod", network)  # what torch.compile wrapped
    if not isinstance(network, XSRResNet):
        raise TypeError(f"network: expected an XSRResNet, got {type(network).__name__}")
    if network.scale != TASKS[task]:
        raise ValueError(
            f"network: expected scale {TASKS[task]} for {task}, got scale {network.scale}"
        )
    return network


@lru_cache(maxsize=4)  # kept, so that a call does not read files
def _packaged(task: str, naturalness: float, device: torch.device) -> XSRResNet:
    l1, dsd = DIAL[task]
    if naturalness == 1:
        return load_restorer(task, dsd).to(device)
    faithful, natural = load_restorer(task, l1), load_restorer(task, dsd)
    return interpolate(faithful, natural, naturalness).to(device)


def _check_task(task: str) -> None:
    if task not in TASKS:
        raise ValueError(f"task: expected one of {', '.join(TASKS)}; got {task!r}")


def restore_file(
    source: str | Path,
    target: str | Path,
    network: XSRResNet,
    *,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> tuple[str, ...]:
    """Restore an image file into another: ``dsd restore`` for one image.

    Gray images stay gray, 16-bit gray keeps its precision where the new format has it, color
    profile and transparency are kept. Fully transparent pixels have no color of their own, so they
    take that of their surroundings first, and it does not bleed into what can be seen.

    Args:
        source: the image, read as in :func:`dsd_lib.restoration.picture_files.read_image`.
        target: the file to write; its suffix says the format. It appears whole or not at all. Its
            folder is made where there is none.
        network: from :func:`load_restorer`, or another one; it computes where it is.
        overwrite: whether an existing ``target`` may be replaced.
        progress: as in :func:`dsd_lib.restore`.

    Returns:
        What its owner should know about the image, in sentences; usually nothing.

    Raises:
        FileNotFoundError: there is no such image.
        FileExistsError: ``target`` exists and may not be replaced.
        ValueError: the image cannot be read, or cannot be kept in the format of ``target``.
        OSError: ``target`` cannot be written.

    >>> import tempfile
    >>> from importlib.resources import files
    >>> source = str(files("dsd_lib") / "pictures" / "tissue.webp")
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     restore_file(source, f"{folder}/new.png", XSRResNet(1, blocks=1, channels=4))
    ()
    """
    source, target = Path(source), Path(target)
    if target.exists() and not overwrite:
        raise FileExistsError(f"{source}: {target} exists already and is left as it is")
    picture = read_image(source)
    x, alpha, scale = picture.colors, picture.alpha, network.scale
    dtype = result_dtype(picture, target)
    if alpha is not None:
        x = fill_transparent(x, alpha)
        if scale != 1:
            alpha = imresize(alpha, scale=scale).clamp(0, 1)
    height, width = (side * scale for side in x.shape[2:])
    # Numbers of the file's own size: floats of a large picture would take four times the memory.
    pixels = np.empty((height, width) if picture.gray else (height, width, 3), dtype)
    for _, rows, columns, y in _restored_parts(x, network, None, progress):
        y = y.cpu().mean(dim=0) if picture.gray else y.cpu().permute(1, 2, 0)
        pixels[rows, columns] = (y * np.iinfo(dtype).max).round().numpy()
    write_image(target, pixels, alpha, picture.profile)
    return picture.notes


def _restored_parts(
    x: Tensor, net: XSRResNet, tile: int | None, progress: Progress | None
) -> Iterator[tuple[int, slice, slice, Tensor]]:
    """Of each part of the result: the image's index, its rows and columns, and those pixels.

    The two parts of a network take regions of different size. The first looks far around, so small
    tiles would be mostly margin; the second works at the final size, where large ones would take
    much memory, and hardly needs a margin.
    """
    tile = TILE if tile is None else tile
    if isinstance(tile, bool) or not isinstance(tile, numbers.Integral) or tile < 1:
        raise ValueError(f"tile: expected a positive whole number of pixels, got {tile!r}")
    whole = tuple(slice(0, side) for side in x.shape[2:])
    tiles = [
        (i, region, _split(region, max(int(tile) // net.scale, 1)))
        for i in range(len(x))
        for region in _split(whole, int(tile))
    ]
    total, done = sum(len(parts) for *_, parts in tiles), 0
    weight = net.head[0].weight
    for i, region, parts in tiles:
        image = x[i : i + 1].to(weight.device)
        f, at = _looked(image, net, region)
        for part in parts:
            y = _drawn(image, net, part, f, at)
            yield i, *(_scaled(side, net.scale) for side in part), y
            done += 1
            if progress is not None:
                progress(done, total)


@torch.no_grad()
def _looked(x: Tensor, net: XSRResNet, region: Region) -> tuple[Tensor, Region]:
    """The feature maps that a region's result needs, and where they are in the image ``x``.

    Margins end at the image's own borders, where the convolutions then pad with zeros as they do in
    the whole image.
    """
    look, draw = _reaches(net)
    inner = _grown(region, draw, x)
    outer = _grown(inner, look, x)
    f = net.look(_pixels(x, outer, net))  # (1, C, outer height, outer width)
    return f[:, :, *_within(inner, outer)], inner


@torch.no_grad()
def _drawn(x: Tensor, net: XSRResNet, part: Region, f: Tensor, at: Region) -> Tensor:
    """The result for a part of a region: ``(3, rows·scale, columns·scale)`` in [0, 1]."""
    grown = _grown(part, _reaches(net)[1], x)
    y = net.draw(_pixels(x, grown, net), f[:, :, *_within(grown, at)])
    rows, columns = (_scaled(side, net.scale) for side in _within(part, grown))
    return y[0, :, rows, columns].clamp(0, 1)


def _pixels(x: Tensor, region: Region, net: XSRResNet) -> Tensor:
    """A region of the image as the network takes it."""
    return x[:, :, *region].to(next(net.parameters()).dtype, memory_format=torch.channels_last)


def _split(region: Region, tile: int) -> list[Region]:
    """Parts of about the same size, no side longer than a tile."""
    sides = []
    for side in region:
        length = side.stop - side.start
        count = math.ceil(length / tile)
        bounds = [side.start + length * i // count for i in range(count + 1)]
        sides.append([slice(start, stop) for start, stop in itertools.pairwise(bounds)])
    return list(itertools.product(sides[0], sides[1]))


def _reaches(net: XSRResNet) -> tuple[int, int]:
    """How far the two parts of a network see, in input pixels.

    A 5×5 convolution sees 2 pixels far, a block 1 + 3 + 1. In the second part the convolution of
    each stage sees 1 and those of the tail 1 + 2, of pixels that are smaller at higher scales: 3 at
    scale 1, 2.5 at 2, 2.25 at 4.
    """
    return 2 + 5 * net.blocks, 3


def _grown(region: Region, margin: int, x: Tensor) -> Region:
    rows, columns = (
        slice(max(part.start - margin, 0), min(part.stop + margin, side))
        for part, side in zip(region, x.shape[2:], strict=True)
    )
    return rows, columns


def _within(region: Region, whole: Region) -> Region:
    rows, columns = (
        slice(part.start - outer.start, part.stop - outer.start)
        for part, outer in zip(region, whole, strict=True)
    )
    return rows, columns


def _scaled(part: slice, scale: int) -> slice:
    return slice(part.start * scale, part.stop * scale)
