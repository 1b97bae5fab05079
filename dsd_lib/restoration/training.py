"""The training loop, for a CPU, a GPU, and several of them under ``accelerate launch``.

A run that is stopped anywhere resumes as if never interrupted: what a step sees follows from its
number (:mod:`dsd_lib.restoration.crops`), and the checkpoint holds the rest
(:mod:`dsd_lib.restoration.run_folder`).
"""

import math
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from dsd_lib.extras import needs
from dsd_lib.restoration.crops import Batch, Crops
from dsd_lib.restoration.networks import XSRResNet
from dsd_lib.restoration.run_folder import Checkpoint, Log, locked
from dsd_lib.restoration.settings import Settings
from dsd_lib.restoration.validation import Validation

with needs("restoration"):
    from tqdm import tqdm

if TYPE_CHECKING:
    from accelerate import Accelerator

BETAS = (0.9, 0.99)  # Adam's


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

    Adam with the paper's schedule; ``net`` ends with the moving average of its weights. The folder
    gets ``checkpoint.pt``, ``log.csv`` and the validation images; all machines must see the same
    folder. On a CPU a run that was stopped anywhere ends with the same weights, bit for bit, as one
    that was not. (On a GPU some kernels add in an order that differs from run to run, so that no
    two runs agree to the last bit.)

    Args:
        net: with its first weights; a checkpoint in the folder replaces them.
        loss: ``(prediction, target) -> terms``, 0-d tensors by name, among them ``"total"``.
        crops: ``(step, batch, members, device) -> (inputs, targets)``, the members of a step's
            batch, which follow from these numbers alone:
            :class:`~dsd_lib.restoration.crops.DegradedCrops`,
            :class:`~dsd_lib.restoration.crops.PairedCrops`.
        settings: see :class:`~dsd_lib.restoration.settings.Settings`.
        folder: where the run lives.
        accelerator: of accelerate; it knows devices, processes and precision.
        validation: images to look at on the way.
        workers: threads that prepare the steps to come.

    Returns:
        The seconds of the whole run, earlier parts included.

    Raises:
        ValueError: the checkpoint is damaged or of a run with other settings, or the processes
            cannot share the batch evenly.
        BlockingIOError: another run works in the folder.
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
    with locked(folder) if accelerator.is_main_process else nullcontext():
        return _train(net, loss, crops, settings, folder, accelerator, validation, workers)


def _train(
    net: XSRResNet,
    loss: nn.Module,
    crops: Crops,
    settings: Settings,
    folder: Path,
    accelerator: "Accelerator",
    validation: Validation | None,
    workers: int,
) -> float:
    device, main = accelerator.device, accelerator.is_main_process
    net.requires_grad_(True).train().to(device)
    loss.to(device)
    fused = device.type == "cuda"
    optimizer = torch.optim.Adam(net.parameters(), lr=settings.rate, betas=BETAS, fused=fused)
    average = AveragedModel(net, multi_avg_fn=moving_average(settings.ema))
    path = folder / "checkpoint.pt"
    checkpoint = Checkpoint(path, settings, net, average, optimizer, accelerator)
    start, seconds = checkpoint.load()
    model, optimizer = accelerator.prepare(net, optimizer)

    log = Log(folder / "log.csv", start) if main else None
    if validation and main and start == 0:
        validation(average.module, 0)
    began = last = time.time()
    began -= seconds
    window: list[dict[str, Tensor]] = []  # of each step since the last row, the terms
    share = (
        settings.batch,
        slice(accelerator.process_index, None, accelerator.num_processes),
        device,
    )
    batches = _prepared(crops, range(start, settings.steps), share, workers)
    bar = tqdm(total=settings.steps, initial=start, desc=folder.name, unit="step", disable=not main)
    with bar:
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
            means = _means(window, done, accelerator, path)
            seconds = time.time() - began
            speed = len(window) * settings.batch / (time.time() - last)
            window = []
            if log is not None:
                row: dict[str, float | str] = {
                    "step": done,
                    "seconds": round(seconds, 1),
                    "rate": settings.rate_at(step),
                    "crops_per_second": round(speed, 2),
                    **means,
                }
                if validation:
                    looks = ends or done % settings.validate_every == 0
                    row["psnr_y"] = validation(average.module, done) if looks else ""
                log.add(row)
                shown = {k: f"{v:.4g}" for k, v in means.items()}
                bar.set_postfix(shown | {"crops/s": f"{speed:.1f}"})
                if ends or done % settings.checkpoint_every == 0:
                    checkpoint.save(done, seconds)
            last = time.time()
    accelerator.wait_for_everyone()
    net.load_state_dict(average.module.state_dict())
    net.eval()
    return seconds


def moving_average(decay: float) -> Callable[..., None]:
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
