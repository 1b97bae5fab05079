"""Training a restoration network, so that a run that is stopped goes on as if it never had been.

What sample ``i`` of step ``s`` shows (picture, place, turn, degradation) follows from
``(seed, s, i)`` alone. There is no loader with a state to restore, several processes share a step
by taking every n-th sample of it, and a checkpoint needs the weights, the optimizer and a number.
:func:`train` is the one loop for a CPU, a GPU, and several of them under ``accelerate launch``.
"""

import csv
import hashlib
import io
import json
import math
import os
import shutil
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from dsd_lib.extras import needs
from dsd_lib.files import write_atomically
from dsd_lib.images import load_image, to_array
from dsd_lib.quality.baselines import luma
from dsd_lib.restoration.networks import XSRResNet

with needs("restoration"):
    from tqdm import tqdm

if TYPE_CHECKING:
    from accelerate import Accelerator

Degradation = Callable[[Tensor, torch.Generator], tuple[Tensor, object]]
Batch = tuple[Tensor, Tensor]  # what the network is given and what it should make of it
Crops = Callable[[int, int, slice, torch.device], Batch]  # (step, batch, members, device)

HALVE_AT = (0.3, 0.6, 0.9)  # parts of the run after which the rate is halved (section 4)
BETAS = (0.9, 0.99)  # Adam's
_ORIENTATION = 0x0112  # the EXIF tag; from 5 on the picture lies on its side


@dataclass(frozen=True)
class Settings:
    """What decides the weights a run ends with, and how often it reports.

    Attributes:
        steps: updates of the weights.
        batch: crops a step, of all processes together.
        rate: Adam's learning rate, halved after 30, 60 and 90 % of the steps.
        clip: the gradient's norm is brought down to this where it is above; None leaves it.
        ema: decay of the exponential moving average of the weights, from 0 (the weights
            themselves) to below 1; see :func:`moving_average`. The average is what is validated
            and what the run ends with.
        log_every: steps between two rows of the log, which are means over these steps.
        validate_every: steps between two looks at the validation pictures.
        checkpoint_every: steps between two checkpoints.
        seed: of everything that is drawn.
        about: whatever else decides the weights (loss, data, start), in words. A run does not go on
            from a checkpoint with other words.

    Raises:
        ValueError: a number that is not positive, or the last two are no multiples of
            ``log_every``: the rows of a resumed run could not be those of an unbroken one.
    """

    steps: int
    batch: int = 16
    rate: float = 2e-4
    clip: float | None = 10.0
    ema: float = 0.999
    log_every: int = 100
    validate_every: int = 1000
    checkpoint_every: int = 1000
    seed: int = 0
    about: str = ""

    def __post_init__(self) -> None:
        for name in ("steps", "batch", "rate", "log_every", "validate_every", "checkpoint_every"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name}: expected a positive number, got {getattr(self, name)!r}")
        if self.clip is not None and not self.clip > 0:
            raise ValueError(f"clip: expected a positive number or None, got {self.clip!r}")
        if not 0 <= self.ema < 1:
            raise ValueError(f"ema: expected a number from 0 to below 1, got {self.ema!r}")
        for name in ("validate_every", "checkpoint_every"):
            if getattr(self, name) % self.log_every:
                raise ValueError(
                    f"{name}: expected a multiple of log_every={self.log_every}, "
                    f"got {getattr(self, name)}"
                )

    def rate_at(self, step: int) -> float:
        """The learning rate of a step, counted from 0.

        >>> [Settings(steps=300_000).rate_at(s) for s in (0, 89_999, 90_000, 299_999)]
        [0.0002, 0.0002, 0.0001, 2.5e-05]
        """
        return self.rate / 2 ** sum(step >= round(part * self.steps) for part in HALVE_AT)


def seeded(*numbers: int) -> torch.Generator:
    """A generator on the CPU that follows from whole numbers.

    They are hashed first: of a seed, torch's own generator looks at the low 32 bits only.

    >>> torch.rand(1, generator=seeded(0, 7)) == torch.rand(1, generator=seeded(0, 7))
    tensor([True])
    """
    digest = hashlib.sha256(repr(numbers).encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:4]))


class Pictures:
    """Picture files from which crops are cut without decoding the file each time.

    With ``cache``, every picture is decoded once into one flat file that is mapped into memory. The
    system keeps in memory what fits, several processes share it, and a crop reads its own rows
    only: the 400 photos of BSDS500 take 0.2 GB, the 800 of DIV2K 7 GB, which few machines would
    hold in the memory of each process. Without, a crop decodes its file: for data sets whose
    decoded size (REDS: 130 GB) no disk has room for, and then the decoding threads matter.

    Args:
        files: the pictures.
        cache: a folder for the flat file, made if need be; files that change give a new one.
        min_side: an error names the first picture with a shorter side.
        quiet: no progress bar.

    Raises:
        FileNotFoundError: no files, or one that is not there.
        ValueError: a picture too small.
        OSError: no room on the disk for the flat file.
    """

    def __init__(
        self,
        files: Sequence[Path],
        cache: Path | None = None,
        *,
        min_side: int = 1,
        quiet: bool = False,
    ) -> None:
        self.files = [Path(file) for file in files]
        if not self.files:
            raise FileNotFoundError("no pictures to train on")
        with ThreadPoolExecutor() as pool:
            self.sides = list(pool.map(_sides, self.files))  # of each, (height, width)
        for file, sides in zip(self.files, self.sides, strict=True):
            if min(sides) < min_side:
                raise ValueError(
                    f"{file}: expected sides of at least {min_side} pixels, "
                    f"got {sides[0]} x {sides[1]}"
                )
        self.offsets = np.cumsum([0, *(3 * h * w for h, w in self.sides)])
        self._bytes = None if cache is None else self._cached(cache, quiet)

    def __len__(self) -> int:
        return len(self.files)

    @property
    def decoded_bytes(self) -> int:
        """How large the flat file is or would be."""
        return int(self.offsets[-1])

    def crop(self, index: int, top: int, left: int, height: int, width: int) -> Tensor:
        """A part of one picture, ``(3, height, width)``, 8 bits."""
        if self._bytes is None:
            picture = to_array(load_image(self.files[index]))
        else:
            flat = self._bytes[self.offsets[index] : self.offsets[index + 1]]
            picture = flat.reshape(*self.sides[index], 3)
        part = picture[top : top + height, left : left + width]
        return torch.from_numpy(np.ascontiguousarray(part.transpose(2, 0, 1)))

    def _cached(self, cache: Path, quiet: bool) -> np.ndarray:
        names = hashlib.sha256()
        for file in self.files:
            stat = file.stat()
            names.update(f"{file.resolve()} {stat.st_size} {stat.st_mtime_ns}\n".encode())
        path = cache / f"pictures_{names.hexdigest()[:16]}.u8"
        if not path.is_file():
            cache.mkdir(parents=True, exist_ok=True)
            free = shutil.disk_usage(cache).free
            if self.decoded_bytes > free:
                raise OSError(
                    f"{cache}: expected {self.decoded_bytes / 1e9:.1f} GB of room for the decoded "
                    f"pictures, got {free / 1e9:.1f} GB; give another folder, or none"
                )
            part = path.with_name(f"{path.name}.{os.getpid()}.part")
            flat = np.memmap(part, np.uint8, "w+", shape=(self.decoded_bytes,))

            def decode(index: int) -> None:
                picture = to_array(load_image(self.files[index]))
                flat[self.offsets[index] : self.offsets[index + 1]] = picture.reshape(-1)

            try:
                with ThreadPoolExecutor() as pool:
                    work = pool.map(decode, range(len(self)))
                    list(tqdm(work, "pictures decoded", len(self), disable=quiet))
                flat.flush()
                part.replace(path)
            finally:
                part.unlink(missing_ok=True)
        return np.memmap(path, np.uint8, "r")


def _sides(file: Path) -> tuple[int, int]:
    """Height and width of a picture as :func:`load_image` turns it, from the file's head."""
    if not file.is_file():
        raise FileNotFoundError(f"no image at {file}")
    with Image.open(file) as picture:
        width, height = picture.size
        lies = picture.getexif().get(_ORIENTATION, 1) >= 5
    return (width, height) if lies else (height, width)


class DegradedCrops:
    """Crops of clean pictures with what the network is given of them, degraded on the fly.

    A crop is cut with a margin, degraded, and the margin cut off, so that no border of the crop is
    felt: what the network is given is what degrading the whole picture would give there.

    Args:
        pictures: clean ones.
        degradation: ``(x, generator) -> (degraded, parameters)`` for ``x`` of ``(N, 3, H, W)`` on
            any device; the generator is on the CPU.
        side: of what the network is given, in its pixels.
        scale: how many times larger the target is.
        margin: in the network's pixels; the reach of the degradation.
        seed: of all draws.
    """

    def __init__(
        self,
        pictures: Pictures,
        degradation: Degradation,
        *,
        side: int,
        scale: int = 1,
        margin: int = 0,
        seed: int = 0,
    ) -> None:
        self.pictures, self.degradation = pictures, degradation
        self.side, self.scale, self.margin, self.seed = side, scale, margin, seed
        self.cut = (side + 2 * margin) * scale
        _check_sides(pictures, self.cut)

    def __call__(self, step: int, batch: int, members: slice, device: torch.device) -> Batch:
        """The samples ``members`` out of ``batch``: ``(n, 3, side, side)`` and ``side · scale``.

        The whole batch is degraded at once, which draws its parameters in one go, also where
        several processes take a part each.
        """
        generators = [seeded(self.seed, step, member) for member in range(batch)]
        target = _pixels([_draw((self.pictures,), self.cut, g)[0] for g in generators], device)
        given, _ = self.degradation(target, seeded(self.seed, step, batch))
        given, target = given[members], target[members]
        return _trim(given, self.margin), _trim(target, self.margin * self.scale)


class PairedCrops:
    """Crops of pairs that exist as pictures, such as REDS's: the same place in both.

    Args:
        degraded: what the network is given.
        clean: the targets, in the same order, ``scale`` times larger.
        side: of what the network is given, in pixels.
        scale: of the targets.
        seed: of all draws.

    Raises:
        ValueError: the sides of a pair do not match, or are shorter than a crop.
    """

    def __init__(
        self, degraded: Pictures, clean: Pictures, *, side: int, scale: int = 1, seed: int = 0
    ) -> None:
        if len(degraded) != len(clean):
            raise ValueError(
                f"expected as many degraded pictures as clean ones, got {len(degraded)} and "
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
        self.side, self.scale, self.seed = side, scale, seed

    def __call__(self, step: int, batch: int, members: slice, device: torch.device) -> Batch:
        """The samples ``members`` out of ``batch``: ``(n, 3, side, side)`` and ``side · scale``."""
        pairs = [
            _draw((self.degraded, self.clean), self.side, seeded(self.seed, step, m), self.scale)
            for m in range(batch)[members]
        ]
        inputs, targets = zip(*pairs, strict=True)
        return _pixels(inputs, device), _pixels(targets, device)


def _check_sides(pictures: Pictures, side: int) -> None:
    for file, sides in zip(pictures.files, pictures.sides, strict=True):
        if min(sides) < side:
            raise ValueError(
                f"{file}: expected sides of at least {side} pixels, for a crop and its margin; "
                f"got {sides[0]} x {sides[1]}"
            )


def _draw(
    sources: Sequence[Pictures], side: int, generator: torch.Generator, scale: int = 1
) -> list[Tensor]:
    """One square crop at a random place of a random picture, turned and mirrored, of each source.

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


class Validation:
    """Pictures that are never trained on: what the network makes of them, and its PSNR-Y.

    Args:
        pairs: what the network is given and the target, each ``(1, 3, H, W)``; all of one size.
        folder: where the pictures go: a row each, the input enlarged, the result, the target.
    """

    def __init__(self, pairs: Sequence[Batch], folder: Path) -> None:
        self.pairs, self.folder = list(pairs), folder

    @torch.no_grad()
    def __call__(self, net: nn.Module, step: int) -> float:
        """Write ``step_<step>.png`` and return the mean PSNR-Y in dB."""
        device = next(net.parameters()).device
        rows, values = [], []
        net.eval()
        for given, target in self.pairs:
            result = net(given.to(device)).float().cpu().clamp(0, 1)
            values.append(-10 * (luma(result) - luma(target)).square().mean().log10().item())
            factor = target.shape[2] // given.shape[2]
            large = given.repeat_interleave(factor, 2).repeat_interleave(factor, 3)
            rows.append(torch.cat([large, result, target], dim=3))
        net.train()
        file = io.BytesIO()
        Image.fromarray(to_array(torch.cat(rows, dim=2))).save(file, "PNG")
        self.folder.mkdir(parents=True, exist_ok=True)
        write_atomically(self.folder / f"step_{step:07d}.png", file.getvalue())
        return sum(values) / len(values)


def moving_average(decay: float) -> Callable[[list[Tensor], list[Tensor], Tensor | int], None]:
    """The update of an exponential moving average of weights, for ``AveragedModel``.

    The decay rises to ``decay`` as ``(1 + n) / (10 + n)`` over the first updates. Otherwise a run
    of a few hundred steps would end with an average of mostly its first weights.
    """

    def update(averages: list[Tensor], weights: list[Tensor], count: Tensor | int) -> None:
        n = int(count)
        torch._foreach_lerp_(averages, weights, 1 - min(decay, (1 + n) / (10 + n)))

    return update


def backward(
    model: nn.Module, loss: nn.Module, batch: Batch, accelerator: "Accelerator"
) -> dict[str, Tensor]:
    """The loss of one batch and its gradient in the weights; returns the terms, detached.

    Several processes give the mean of their gradients, which is that of the batches joined: every
    term is a mean over samples.
    """
    inputs, targets = batch
    with accelerator.autocast():
        terms = loss(model(inputs), targets)
    accelerator.backward(terms["total"])
    return {name: term.detach() for name, term in terms.items()}


def train(
    net: XSRResNet,
    loss: nn.Module,
    crops: Crops,
    settings: Settings,
    folder: str | Path,
    accelerator: "Accelerator",
    *,
    validation: Validation | None = None,
    workers: int = 2,
) -> float:
    """Train ``net``, in place, from where the run in ``folder`` stands.

    Adam with the paper's schedule; ``net`` ends with the moving average of its weights.
    The folder gets ``checkpoint.pt``, ``log.csv`` and the
    validation pictures; all machines must see the same folder. On a CPU a run that was stopped
    anywhere ends with the same weights, bit for bit, as one that was not. (On a GPU some kernels
    add in an order that differs from run to run, so that no two runs agree to the last bit.)

    Args:
        net: with its first weights; a checkpoint in the folder replaces them.
        loss: ``(prediction, target) -> terms``, 0-d tensors by name, among them ``"total"``.
        crops: ``(step, batch, members, device) -> (inputs, targets)``, the members of a step's
            batch, which follow from these numbers alone: :class:`DegradedCrops`,
            :class:`PairedCrops`.
        settings: see :class:`Settings`.
        folder: where the run lives.
        accelerator: of accelerate; it knows devices, processes and precision.
        validation: pictures to look at on the way.
        workers: threads that prepare the steps to come.

    Returns:
        The seconds of the whole run, earlier parts included.

    Raises:
        ValueError: the checkpoint is of a run with other settings, or the batch cannot be shared
            evenly by the processes.
        FloatingPointError: a term of the loss or the gradient is not finite; the text names it, and
            the last checkpoint is from before.

    Source: section 4; chapter 8 of the book.
    """
    folder, processes = Path(folder), accelerator.num_processes
    if settings.batch % processes:
        raise ValueError(
            f"batch: expected a multiple of the {processes} processes, got {settings.batch}"
        )
    folder.mkdir(parents=True, exist_ok=True)
    net.requires_grad_(True).train().to(accelerator.device)
    loss.to(accelerator.device)
    fused = accelerator.device.type == "cuda"
    optimizer = torch.optim.Adam(net.parameters(), lr=settings.rate, betas=BETAS, fused=fused)
    checkpoint = folder / "checkpoint.pt"
    average = AveragedModel(net, multi_avg_fn=moving_average(settings.ema))
    start, seconds = _load(checkpoint, net, average, optimizer, settings, accelerator)
    model, optimizer = accelerator.prepare(net, optimizer)

    main = accelerator.is_main_process
    log = _Log(folder / "log.csv", start) if main else None
    if validation and main and start == 0:
        validation(average.module, 0)
    began = last = time.time()
    began -= seconds
    window: list[dict[str, Tensor]] = []
    share = (settings.batch, slice(accelerator.process_index, None, processes), accelerator.device)
    batches = _prepared(crops, range(start, settings.steps), share, workers)
    with tqdm(
        total=settings.steps, initial=start, desc=folder.name, unit="step", disable=not main
    ) as bar:
        for step, batch in batches:
            for group in optimizer.param_groups:
                group["lr"] = settings.rate_at(step)
            optimizer.zero_grad()
            terms = backward(model, loss, batch, accelerator)
            norm = accelerator.clip_grad_norm_(net.parameters(), settings.clip or math.inf)
            window.append(terms | {"gradient": norm.detach()})
            optimizer.step()
            average.update_parameters(net)
            bar.update()

            done = step + 1
            ends = done == settings.steps
            if not (ends or done % settings.log_every == 0):
                continue
            means = _means(window, done, accelerator, checkpoint)
            speed = len(window) * settings.batch / (time.time() - last)
            window = []
            if main:
                row = {"step": done, "seconds": round(time.time() - began, 1)}
                row |= {
                    "rate": settings.rate_at(step),
                    "crops_per_second": round(speed, 2),
                    **means,
                }
                if validation:
                    looks = ends or done % settings.validate_every == 0
                    row["psnr_y"] = validation(average.module, done) if looks else ""
                log.add(row)
                postfix = {k: f"{v:.4g}" for k, v in means.items()}
                bar.set_postfix(postfix | {"crops/s": f"{speed:.1f}"})
                if ends or done % settings.checkpoint_every == 0:
                    _save(checkpoint, net, average, optimizer, settings, accelerator, done, began)
            last = time.time()
    accelerator.wait_for_everyone()
    net.load_state_dict(average.module.state_dict())
    net.eval()
    return time.time() - began if start < settings.steps else seconds


def _prepared(
    crops: Crops, steps: range, share: tuple, workers: int
) -> Iterator[tuple[int, Batch]]:
    """The batches of all steps; threads prepare those to come while one is learned from."""
    with ThreadPoolExecutor(workers) as pool:
        coming = iter(steps)
        waiting: deque[Future[Batch]] = deque()
        for step in steps:
            while len(waiting) <= workers and (ahead := next(coming, None)) is not None:
                waiting.append(pool.submit(crops, ahead, *share))
            yield step, waiting.popleft().result()


def _means(
    window: list[dict[str, Tensor]], done: int, accelerator: "Accelerator", checkpoint: Path
) -> dict[str, float]:
    """Each term's mean over steps and processes; an error where one was not finite.

    The values stay on the device until here, so that no step waits for them.
    """
    names = list(window[0])
    values = torch.stack([torch.stack([terms[k].float() for k in names]) for terms in window])
    values = accelerator.reduce(values, "mean").cpu()
    bad = ~values.isfinite()
    if accelerator.scaler is not None:
        # float16: a gradient that overflows is skipped and the loss scaled down, as intended.
        overflows = bad[:, names.index("gradient")].clone()
        bad[:, names.index("gradient")] = False
        values[overflows, names.index("gradient")] = torch.nan
    if bad.any():
        first = int(bad.any(dim=1).nonzero()[0])
        which = [name for name, is_bad in zip(names, bad[first], strict=True) if is_bad]
        # The total is not finite whenever a term is not.
        which = [name for name in which if name not in ("total", "gradient")] or which[:1]
        found = ", ".join(f"{k} = {values[first, names.index(k)].item()}" for k in which)
        kept = (
            f"the last good checkpoint is {checkpoint}"
            if checkpoint.is_file()
            else "no checkpoint yet"
        )
        raise FloatingPointError(
            f"step {done - len(window) + first + 1}: {found}; the run has stopped, {kept}"
        )
    return dict(zip(names, values.nanmean(dim=0).tolist(), strict=True))


class _Log:
    """``log.csv``; rows beyond the step that a run goes on from are dropped."""

    def __init__(self, path: Path, start: int) -> None:
        self.path = path
        rows = []
        if start and path.is_file():
            with path.open(newline="") as file:
                reader = csv.reader(file)
                header = next(reader, [])
                whole = (row for row in reader if len(row) == len(header))
                rows = [header, *(row for row in whole if int(row[0]) <= start)]
        self.columns = rows[0] if rows else None
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows(rows)
        write_atomically(path, text.getvalue().encode())

    def add(self, row: dict[str, object]) -> None:
        """One row, on the disk when this returns."""
        with self.path.open("a", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            if self.columns is None:
                self.columns = list(row)
                writer.writerow(self.columns)
            writer.writerow(row[name] for name in self.columns)


def _load(
    checkpoint: Path,
    net: nn.Module,
    average: AveragedModel,
    optimizer: torch.optim.Optimizer,
    settings: Settings,
    accelerator: "Accelerator",
) -> tuple[int, float]:
    """Bring a run to where its checkpoint stands: steps done and seconds spent."""
    step, seconds = 0, 0.0
    if checkpoint.is_file():
        state = torch.load(checkpoint, map_location="cpu", weights_only=True)
        then, now = json.loads(state["settings"]), asdict(settings)
        different = [f"{k}: {then.get(k)!r} -> {now[k]!r}" for k in now if then.get(k) != now[k]]
        if different:
            raise ValueError(
                f"{checkpoint} is of a run with other settings ({', '.join(different)}); give "
                "another folder, or remove it"
            )
        net.load_state_dict(state["net"])
        average.load_state_dict(state["average"])
        optimizer.load_state_dict(state["optimizer"])
        if accelerator.scaler is not None and state["scaler"]:
            accelerator.scaler.load_state_dict(state["scaler"])
        step, seconds = state["step"], state["seconds"]
    steps = accelerator.gather(torch.tensor([step], device=accelerator.device))
    if steps.unique().numel() > 1:
        raise ValueError(
            f"{checkpoint}: expected all processes to see the same file, got steps {steps.tolist()}"
        )
    return step, seconds


def _save(
    checkpoint: Path,
    net: nn.Module,
    average: AveragedModel,
    optimizer: torch.optim.Optimizer,
    settings: Settings,
    accelerator: "Accelerator",
    step: int,
    began: float,
) -> None:
    state = {
        "net": net.state_dict(),
        "average": average.state_dict(),
        "optimizer": optimizer.state_dict(),
        "scaler": accelerator.scaler.state_dict() if accelerator.scaler is not None else {},
        "settings": json.dumps(asdict(settings)),
        "step": step,
        "seconds": time.time() - began,
    }
    file = io.BytesIO()
    torch.save(state, file)
    write_atomically(checkpoint, file.getvalue())
