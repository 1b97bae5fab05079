"""Restored pictures: the trained networks on pictures of any size, and on picture files.

What a network makes of a pixel depends on the pixels within its reach and on nothing else. So a
large picture is taken tile by tile, each with a margin as wide as that reach, and the result is
that of the whole picture.
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
from dsd_lib.restoration.networks import XSRResNet, load_network
from dsd_lib.restoration.picture_files import (
    fill_transparent,
    read_image,
    result_dtype,
    write_image,
)

TASKS = {"sr": 4, "deblur": 1}  # task -> the scale of its networks
TILE = 512  # output pixels; the side of a tile unless told otherwise
Network = XSRResNet | str | Path
Progress = Callable[[int, int], object]  # is told how many tiles are done, out of how many


def load_restorer(task: str, loss: str = "dsd") -> XSRResNet:
    """A trained network of the package, on the CPU, frozen. Its ``record`` tells the training.

    Args:
        task: ``"sr"``, super-resolution of pictures reduced ×4, or ``"deblur"``, motion blur.
        loss: what it was trained with, ``"dsd"`` (Eq. 6) or ``"l1"`` (L1 alone); for ``"sr"`` also
            ``"dsd_10blocks"``, twice as deep and trained longest.

    Raises:
        ValueError: there is no such network; the message lists those there are.

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
    network: Network | None = None,
    tile: int | None = None,
    progress: Progress | None = None,
) -> Tensor:
    """Pictures made sharp by a trained network: four times the size, or with less motion blur.

    Memory is bounded by the tile, whatever the size. No gradient is taken.

    Args:
        x: pictures ``(N, 3, H, W)`` in [0, 1], of any size.
        task: ``"sr"`` or ``"deblur"``.
        network: another network than ``load_restorer(task)``, or its file. Computing is done where
            a given network is, otherwise where ``x`` is.
        tile: side of the tiles in pixels of ``x``; None is 128 for ``"sr"``, 512 for ``"deblur"``.
            The result does not depend on it.
        progress: is called with the number of tiles done and the number of all.

    Returns:
        ``(N, 3, 4H, 4W)`` for ``"sr"``, ``(N, 3, H, W)`` for ``"deblur"``, in [0, 1], of the type
        and on the device of ``x``.

    Raises:
        TypeError: ``x`` is no such batch, or ``network`` is another kind of network.
        ValueError: ``x`` is no such batch; another task or tile, or a network of another scale.
        FileNotFoundError: there is no such network file.

    Source: section 4, Figs. 8 and 11; chapters 8 and 9 of the book.

    >>> from dsd_lib import sample_images
    >>> x = sample_images()["cat"][:, :, 60:100, 150:214]
    >>> restore(x, "sr").shape, restore(x, "deblur").shape
    (torch.Size([1, 3, 160, 256]), torch.Size([1, 3, 40, 64]))
    """
    check_images(x)
    net = choose_network(task, network, x.device)
    n, _, height, width = x.shape
    y = x.new_empty(n, 3, height * net.scale, width * net.scale)
    for i, rows, columns, piece in _restored_tiles(x, net, tile, progress):
        y[i, :, rows, columns] = piece
    return y


def choose_network(
    task: str, network: Network | None = None, device: torch.device | None = None
) -> XSRResNet:
    """The network for a task: the one given, or the package's on ``device``.

    Raises:
        TypeError, ValueError, FileNotFoundError: as :func:`dsd_lib.restore` has it.

    >>> choose_network("sr", XSRResNet(scale=2))
    Traceback (most recent call last):
    ...
    ValueError: network: expected scale 4 for sr, got scale 2
    """
    _check_task(task)
    if network is None:
        return _packaged(task, torch.device("cpu") if device is None else device)
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


@lru_cache(maxsize=2)
def _packaged(task: str, device: torch.device) -> XSRResNet:
    return load_restorer(task).to(device)  # kept, so that a call does not read a file


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
    """Restore a picture file into another: ``dsd restore`` for one picture.

    Gray pictures stay gray, 16-bit gray keeps its precision where the new format has it, color
    profile and transparency are kept. Fully transparent pixels have no color of their own, so they
    take that of their surroundings first, and it does not bleed into what can be seen.

    Args:
        source: the picture, read as :func:`dsd_lib.restoration.picture_files.read_image` has it.
        target: the file to write; its suffix says the format. It appears whole or not at all. Its
            folder is made where there is none.
        network: from :func:`load_restorer`, or another one; it computes where it is.
        overwrite: whether an existing ``target`` may be replaced.
        progress: as in :func:`dsd_lib.restore`.

    Returns:
        What its owner should know of the picture, in sentences; usually none.

    Raises:
        FileNotFoundError: there is no such picture.
        FileExistsError: ``target`` exists and may not be replaced.
        ValueError: the picture cannot be read, or cannot be kept in the format of ``target``.
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
    for _, rows, columns, y in _restored_tiles(x, network, None, progress):
        y = y.cpu().mean(dim=0) if picture.gray else y.cpu().permute(1, 2, 0)
        pixels[rows, columns] = (y * np.iinfo(dtype).max).round().numpy()
    write_image(target, pixels, alpha, picture.profile)
    return picture.notes


def _restored_tiles(
    x: Tensor, net: XSRResNet, tile: int | None, progress: Progress | None
) -> Iterator[tuple[int, slice, slice, Tensor]]:
    """Of each tile: the picture's index, rows and columns of the result, and those pixels."""
    if tile is None:
        tile = TILE // net.scale
    if isinstance(tile, bool) or not isinstance(tile, numbers.Integral) or tile < 1:
        raise ValueError(f"tile: expected a positive whole number of pixels, got {tile!r}")
    boxes = list(
        itertools.product(range(len(x)), *(_split(side, int(tile)) for side in x.shape[2:]))
    )
    for done, (i, rows, columns) in enumerate(boxes, start=1):
        y = _restore_tile(x[i : i + 1], net, rows, columns)
        yield i, _scaled(rows, net.scale), _scaled(columns, net.scale), y
        if progress is not None:
            progress(done, len(boxes))


def _split(side: int, tile: int) -> list[slice]:
    """Parts of about the same length, none of them longer than a tile."""
    count = math.ceil(side / tile)
    bounds = [side * i // count for i in range(count + 1)]
    return [slice(start, stop) for start, stop in itertools.pairwise(bounds)]


@torch.no_grad()
def _restore_tile(x: Tensor, net: XSRResNet, rows: slice, columns: slice) -> Tensor:
    """The result for a region of one picture: ``(3, rows·scale, columns·scale)`` in [0, 1].

    Margins end at the picture's own borders, where the convolutions then pad with zeros as they do
    in the whole picture. The second part, which costs most, has a margin of its own.
    """
    sides = x.shape[2:]
    look, draw = _reaches(net)
    inner = [_grown(part, draw, side) for part, side in zip((rows, columns), sides, strict=True)]
    outer = [_grown(part, look, side) for part, side in zip(inner, sides, strict=True)]
    weight = net.head[0].weight
    x = x[:, :, *outer].to(weight.device, weight.dtype, memory_format=torch.channels_last)
    f = net.look(x)
    cut = [_within(a, b) for a, b in zip(inner, outer, strict=True)]
    y = net.draw(x[:, :, *cut], f[:, :, *cut])
    cut = [_within(a, b) for a, b in zip((rows, columns), inner, strict=True)]
    return y[0, :, *(_scaled(part, net.scale) for part in cut)].clamp(0, 1)


def _reaches(net: XSRResNet) -> tuple[int, int]:
    """How far the two parts of a network see, in input pixels.

    A 5×5 convolution sees 2 pixels far, a block 1 + 3 + 1. In the second part the convolution of
    each stage sees 1 and those of the tail 1 + 2, of pixels that are smaller at higher scales: 3 at
    scale 1, 2.5 at 2, 2.25 at 4.
    """
    return 2 + 5 * net.blocks, 3


def _grown(part: slice, margin: int, side: int) -> slice:
    return slice(max(part.start - margin, 0), min(part.stop + margin, side))


def _within(part: slice, whole: slice) -> slice:
    return slice(part.start - whole.start, part.stop - whole.start)


def _scaled(part: slice, scale: int) -> slice:
    return slice(part.start * scale, part.stop * scale)
