"""Crops that a training step sees: drawn, turned, degraded, each from whole numbers alone.

What sample ``i`` of step ``s`` shows (image, place, turn, degradation) follows from
``(seed, s, i)``. There is no loader with a state to restore, and several processes share a step by
taking every n-th sample of it.
"""

import hashlib
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from dsd_lib.restoration.training_images import TrainingImages

Degradation = Callable[[Tensor, torch.Generator], tuple[Tensor, object]]
Batch = tuple[Tensor, Tensor]  # what the network is given and what it should make of it
Crops = Callable[[int, int, slice, torch.device], Batch]  # (step, batch, members, device)


def seeded(*numbers: int) -> torch.Generator:
    """A generator on the CPU that follows from whole numbers.

    They are hashed first: of a seed, torch's own generator looks at the low 32 bits only.

    >>> torch.rand(1, generator=seeded(0, 7)) == torch.rand(1, generator=seeded(0, 7))
    tensor([True])
    """
    digest = hashlib.sha256(repr(numbers).encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:4]))


class DegradedCrops:
    """Crops of clean images and the network's inputs for them, degraded on the fly.

    A crop is cut with a margin, degraded, and the margin cut off, so that no border of the crop is
    felt: what the network is given is what degrading the whole image would give there.

    Args:
        images: clean ones.
        degradation: ``(x, generator) -> (degraded, parameters)`` for ``x`` of ``(N, 3, H, W)`` on
            any device; the generator is on the CPU.
        side: of what the network is given, in its pixels.
        scale: how many times larger the target is.
        margin: in the network's pixels; the reach of the degradation.
        seed: of all draws.

    Attributes:
        fingerprint: a name for the files.
    """

    def __init__(
        self,
        images: TrainingImages,
        degradation: Degradation,
        *,
        side: int,
        scale: int = 1,
        margin: int = 0,
        seed: int = 0,
    ) -> None:
        self.images, self.degradation = images, degradation
        self.side, self.scale, self.margin, self.seed = side, scale, margin, seed
        self.cut = (side + 2 * margin) * scale
        self.fingerprint = images.fingerprint
        _check_sides(images, self.cut)

    def __call__(self, step: int, batch: int, members: slice, device: torch.device) -> Batch:
        """The samples ``members`` out of ``batch``: ``(n, 3, side, side)`` and ``side · scale``.

        The whole batch is degraded at once, which draws its parameters in one go, also where
        several processes take a part each.
        """
        generators = [seeded(self.seed, step, member) for member in range(batch)]
        target = _pixels([_draw((self.images,), self.cut, g)[0] for g in generators], device)
        given, _ = self.degradation(target, seeded(self.seed, step, batch))
        given, target = given[members], target[members]
        return _trim(given, self.margin), _trim(target, self.margin * self.scale)


class PairedCrops:
    """Crops of pairs that exist as images, such as REDS's: the same place in both.

    Args:
        degraded: what the network is given.
        clean: the targets, in the same order, ``scale`` times larger.
        side: of what the network is given, in pixels.
        scale: of the targets.
        seed: of all draws.

    Attributes:
        fingerprint: a name for the files.

    Raises:
        ValueError: the sides of a pair do not match, or are shorter than a crop.
    """

    def __init__(
        self,
        degraded: TrainingImages,
        clean: TrainingImages,
        *,
        side: int,
        scale: int = 1,
        seed: int = 0,
    ) -> None:
        if len(degraded) != len(clean):
            raise ValueError(
                f"expected as many degraded images as clean ones, got {len(degraded)} and "
                f"{len(clean)}"
            )
        for index, ((h, w), sides) in enumerate(zip(degraded.sides, clean.sides, strict=True)):
            if (h * scale, w * scale) != sides:
                raise ValueError(
                    f"{degraded.files[index]} and {clean.files[index]}: expected the second "
                    f"{scale} times the first, got {h} x {w} and {sides[0]} x {sides[1]}"
                )
        _check_sides(degraded, side)
        self.degraded, self.clean = degraded, clean
        self.fingerprint = f"{degraded.fingerprint} {clean.fingerprint}"
        self.side, self.scale, self.seed = side, scale, seed

    def __call__(self, step: int, batch: int, members: slice, device: torch.device) -> Batch:
        """The samples ``members`` out of ``batch``: ``(n, 3, side, side)`` and ``side · scale``."""
        pairs = [
            _draw((self.degraded, self.clean), self.side, seeded(self.seed, step, m), self.scale)
            for m in range(batch)[members]
        ]
        inputs, targets = zip(*pairs, strict=True)
        return _pixels(inputs, device), _pixels(targets, device)


def _check_sides(images: TrainingImages, side: int) -> None:
    for file, sides in zip(images.files, images.sides, strict=True):
        if min(sides) < side:
            raise ValueError(
                f"{file}: expected sides of at least {side} pixels, for a crop and its margin; "
                f"got {sides[0]} x {sides[1]}"
            )


def _draw(
    sources: Sequence[TrainingImages], side: int, generator: torch.Generator, scale: int = 1
) -> list[Tensor]:
    """One square crop at a random place of a random image, turned and mirrored, of each source.

    Sources after the first are ``scale`` times larger, and so are their crops.
    """

    def below(count: int) -> int:
        return int(torch.randint(count, (), generator=generator))

    index = below(len(sources[0]))
    height, width = sources[0].sides[index]
    top, left = below(height - side + 1), below(width - side + 1)
    turns, mirrored = below(4), below(2)
    crops = []
    for source, factor in zip(sources, (1, scale), strict=False):
        crop = source.crop(index, *(factor * n for n in (top, left, side, side)))
        crop = crop.rot90(turns, (1, 2))
        crops.append(crop.flip(2) if mirrored else crop)
    return crops


def _pixels(crops: Sequence[Tensor], device: torch.device) -> Tensor:
    """8-bit crops on the device, ``(N, 3, H, W)`` in [0, 1]: they travel as bytes."""
    stacked = torch.stack(tuple(crops))
    if device.type == "cuda":
        stacked = stacked.pin_memory()
    return stacked.to(device, non_blocking=True).float() / 255


def _trim(x: Tensor, margin: int) -> Tensor:
    return x[:, :, margin : x.shape[2] - margin, margin : x.shape[3] - margin]
