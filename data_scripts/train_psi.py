"""Train ψ, which predicts ‖DSD_α‖₁ of a clean image from the image downscaled by α.

    python -m data_scripts.train_psi --alpha 4 --preset laptop

Pictures: BSDS500 train and test, 400 clean photos; every tenth is kept out of the training and
only watched, for the curves. val is never read here. First every picture gives a pool of random
crops with their targets, in three sizes, so that ψ learns from parts of a picture too, and works on
pictures of any size. Every step then shows crops of one size, the more the smaller they are. The
run lives in ``--folder`` and goes on from there when it was interrupted. ``--publish`` puts the
weights into the package and the training record into the book.

Several processes: ``accelerate launch -m data_scripts.train_psi …``. ``--mixed-precision bf16`` is
twice as fast where the processor knows bfloat16.
"""

import argparse
import io
import json
import math
import time
from dataclasses import dataclass, replace
from pathlib import Path

import safetensors.torch
import torch
from torch import Tensor

import dsd_lib as dsd
from data_scripts.shared import results
from dsd_lib.extras import needs
from dsd_lib.files import data_folder, list_images, read_safetensors, write_atomically
from dsd_lib.no_reference import PSI_LAYERS, Psi, save_psi

with needs("restoration"):
    from accelerate import Accelerator
    from tqdm import tqdm

CROP = 320  # pixels, the side of a training crop
PARTS = {160: 4, 224: 2, CROP: 1}  # side of a crop -> how many of them take the place of one
HOLD_OUT = 10  # every tenth picture is only watched
RATE = 1e-3  # Adam's, at its highest


@dataclass(frozen=True)
class Preset:
    """How long to train, on how many pictures."""

    epochs: int
    crops: int  # of ``CROP`` pixels of each picture, in the pool
    pictures: int | None = None
    batch: int = 16
    watch: int = 10  # epochs between two looks at the pictures kept out


PRESETS = {
    "smoke": Preset(epochs=2, crops=1, pictures=10, batch=3, watch=1),  # seconds: does it run?
    "laptop": Preset(epochs=120, crops=6),  # within an hour for alpha 4, two for alpha 2
    "paper": Preset(epochs=2000, crops=60),  # as many epochs as the paper's; a GPU
}


def run_folder(alpha: int, preset: str) -> Path:
    """Where a run lives unless told otherwise."""
    return results.ROOT / "runs" / f"psi_alpha{alpha}_{preset}"


def training_pictures() -> list[Path]:
    """The 400 photos of BSDS500's train and test parts."""
    folder = data_folder("bsds500")
    return [file for part in ("train", "test") for file in list_images(folder / part)]


def random_crops(x: Tensor, side: int, count: int, generator: torch.Generator) -> Tensor:
    """``count`` square crops of a picture ``(1, 3, H, W)``, mirrored and turned at random."""
    height, width = x.shape[2:]
    if min(height, width) < side:
        raise ValueError(f"expected sides of at least {side} pixels, got {height} x {width}")
    crops = []
    for _ in range(count):
        top = int(torch.randint(height - side + 1, (), generator=generator))
        left = int(torch.randint(width - side + 1, (), generator=generator))
        crop = x[:, :, top : top + side, left : left + side]
        turns, mirrored = torch.randint(4, (2,), generator=generator).tolist()
        crops.append(
            crop.rot90(turns, (2, 3)).flip(3) if mirrored < 2 else crop.rot90(turns, (2, 3))
        )
    return torch.cat(crops)


def make_pool(files: list[Path], preset: Preset, alpha: float, accelerator: Accelerator) -> dict:
    """Crops of every picture downscaled, with their targets.

    Returns:
        For every side of a crop, ``"small<side>"``, ``(pictures, crops, 3, side/α, side/α)`` in
        half precision, and ``"norms<side>"``, ``(pictures, crops, 4)``.
    """
    net = dsd.load_backbone("vgg16").to(accelerator.device)
    pool: dict[str, list[Tensor]] = {}
    quiet = not accelerator.is_main_process
    for index, file in enumerate(tqdm(files, desc="crops and targets", disable=quiet)):
        generator = torch.Generator().manual_seed(index)
        picture = dsd.load_image(file).to(accelerator.device)
        for side, parts in PARTS.items():
            crops = random_crops(picture, side, preset.crops * parts, generator)
            with torch.no_grad(), accelerator.autocast():
                some = [dsd.dsd_norm(c, net, PSI_LAYERS, alpha) for c in crops.split(4 * parts)]
            small = dsd.imresize(crops, scale=1 / alpha).half().cpu()
            pool.setdefault(f"small{side}", []).append(small)
            pool.setdefault(f"norms{side}", []).append(torch.cat(some).float().cpu())
    return {name: torch.stack(values) for name, values in pool.items()}


def load_pool(path: Path, files: list[Path], *settings: object) -> dict[str, Tensor]:
    """The pool at ``path``, made there first if need be."""
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, safetensors.torch.save(make_pool(files, *settings)))
    return read_safetensors(path, dtype=None)[0]


def learning_rate(progress: float) -> float:
    """A short rise, then a cosine down to zero; ``progress`` runs from 0 to 1."""
    return RATE * min(1, progress / 0.02) * (1 + math.cos(math.pi * progress)) / 2


def relative_errors(predicted: Tensor, norms: Tensor, mean_norm: Tensor) -> Tensor:
    """Mean squared error at each layer, in units of the squared mean norm."""
    return ((predicted - norms) / mean_norm).square().mean(dim=0)


def train(
    pool: dict[str, Tensor], alpha: float, preset: Preset, folder: Path, accelerator: Accelerator
) -> tuple[Psi, dict]:
    """Train ψ from a pool of crops; the network and its record.

    An epoch's order follows from its number, so a resumed run gives the weights of an unbroken one.
    """
    device = accelerator.device
    pictures = torch.arange(len(pool[f"norms{CROP}"]))
    watched, trained = (pictures[(pictures % HOLD_OUT == HOLD_OUT - 1) == kept] for kept in (1, 0))
    mean_norm = pool[f"norms{CROP}"][trained].mean(dim=(0, 1)).to(device)

    torch.manual_seed(0)
    psi = Psi(alpha)
    contrast = pool[f"small{CROP}"][trained].float().var(dim=(2, 3, 4)).mean()
    psi.scale.copy_(mean_norm / contrast)
    optimizer = torch.optim.Adam(psi.parameters(), lr=RATE)
    checkpoint = folder / "checkpoint.pt"
    record: dict = {"epochs": 0, "seconds": 0.0, "curve": []}
    if checkpoint.is_file():
        state = torch.load(checkpoint, map_location="cpu", weights_only=True)
        psi.load_state_dict(state["psi"])
        optimizer.load_state_dict(state["optimizer"])
        record = json.loads(state["record"])
    model, optimizer = accelerator.prepare(psi, optimizer)

    started = time.time() - record["seconds"]
    batches = len(trained) // preset.batch
    quiet = not accelerator.is_main_process
    epochs = tqdm(range(record["epochs"], preset.epochs), desc="epochs", disable=quiet)
    for epoch in epochs:
        generator = torch.Generator().manual_seed(epoch)
        order = trained[torch.randperm(len(trained), generator=generator)]
        model.train()
        total = torch.zeros(len(PSI_LAYERS), device=device)
        for batch in range(batches):
            optimizer.param_groups[0]["lr"] = learning_rate(
                (epoch + batch / batches) / preset.epochs
            )
            mine = order[batch * preset.batch : (batch + 1) * preset.batch]
            small, norms = draw(pool, mine, generator)
            mine = slice(accelerator.process_index, None, accelerator.num_processes)
            small, norms = small[mine].to(device), norms[mine].to(device)
            errors = relative_errors(model(small), norms, mean_norm)
            optimizer.zero_grad()
            accelerator.backward(errors.mean())
            accelerator.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            total += errors.detach() / batches
        if not total.isfinite().all():
            raise FloatingPointError(f"epoch {epoch}: the loss is not finite; see {checkpoint}")
        if (epoch + 1) % preset.watch == 0 or epoch + 1 == preset.epochs:
            record |= {"epochs": epoch + 1, "seconds": time.time() - started}
            row = {"epoch": epoch + 1, "train": total.tolist(), "unseen": watch(psi, pool, watched)}
            record["curve"].append(row)
            epochs.set_postfix(
                train=f"{sum(row['train']) / 4:.4f}", unseen=f"{sum(row['unseen']) / 4:.4f}"
            )
            if accelerator.is_main_process:
                file = io.BytesIO()
                state = {"psi": psi.state_dict(), "optimizer": optimizer.state_dict()}
                torch.save({**state, "record": json.dumps(record)}, file)
                write_atomically(checkpoint, file.getvalue())
    return psi.eval(), record


def draw(
    pool: dict[str, Tensor], pictures: Tensor, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Crops of one random size of some pictures, downscaled, and their norms."""
    side = list(PARTS)[torch.randint(len(PARTS), (), generator=generator)]
    small, norms = pool[f"small{side}"], pool[f"norms{side}"]
    pictures = pictures.repeat_interleave(PARTS[side])
    crops = torch.randint(norms.shape[1], (len(pictures),), generator=generator)
    return small[pictures, crops].float(), norms[pictures, crops]


@torch.no_grad()
def watch(psi: Psi, pool: dict[str, Tensor], pictures: Tensor) -> list[float]:
    """Relative errors on the large crops of pictures that are not trained on."""
    psi.eval()
    small, norms = (pool[f"{name}{CROP}"][pictures].flatten(0, 1) for name in ("small", "norms"))
    device = psi.scale.device
    predicted = torch.cat([psi(part.to(device).float()).cpu() for part in small.split(20)])
    return relative_errors(predicted, norms, norms.mean(dim=0)).tolist()


def main() -> None:
    """Train one ψ."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--alpha", type=int, choices=(2, 4), required=True)
    parser.add_argument("--preset", choices=PRESETS, required=True)
    parser.add_argument("--epochs", type=int, help="another number of epochs than the preset's")
    parser.add_argument("--folder", type=Path, help="where the run lives")
    parser.add_argument("--mixed-precision", choices=("no", "fp16", "bf16"), default="no")
    parser.add_argument("--publish", action="store_true", help="into the package and the book")
    args = parser.parse_args()

    if args.publish:
        results.begin()
    preset = PRESETS[args.preset]
    if args.epochs:
        preset = replace(preset, epochs=args.epochs)
    folder = args.folder or run_folder(args.alpha, args.preset)
    folder.mkdir(parents=True, exist_ok=True)
    accelerator = Accelerator(mixed_precision=args.mixed_precision)
    files = training_pictures()[: preset.pictures]
    with accelerator.main_process_first():
        pool = load_pool(folder / "pool.safetensors", files, preset, args.alpha, accelerator)
    psi, record = train(pool, args.alpha, preset, folder, accelerator)
    if not accelerator.is_main_process:
        return
    record |= {"preset": args.preset, "crops": preset.crops, "batch": preset.batch}
    record |= {"precision": args.mixed_precision, "pictures": len(files), "hold_out": HOLD_OUT}
    save_psi(
        psi, (results.WEIGHTS if args.publish else folder) / f"psi_alpha{args.alpha}.safetensors"
    )
    results.write_result(
        f"psi_training_alpha{args.alpha}",
        {"layers": PSI_LAYERS, "scale": psi.scale.tolist(), **record},
        data=f"BSDS500 train and test, {len(files)} images, crops of 160, 224 and 320 pixels",
        network="vgg16",
        started=time.time() - record["seconds"],
        seed=0,
        device=str(accelerator.device),
        folder=results.RESULTS if args.publish else folder,
    )


if __name__ == "__main__":
    main()
