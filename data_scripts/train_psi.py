"""Train ψ, which predicts ‖DSD_α‖₁ of a clean picture from the picture downscaled by α.

    python -m data_scripts.train_psi --alpha 4 --preset laptop

Pictures: BSDS500 train and test, 400 clean photos; every tenth is kept out of the training and
only watched, for the curves. val is never read here. First every picture gives a pool of random
crops with their targets; an epoch then shows one crop of each picture. The run lives in
``--folder`` and goes on from there when it was interrupted. ``--publish`` puts the weights into
the package and the training record into the book.

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
from accelerate import Accelerator
from torch import Tensor
from tqdm import tqdm

import dsd_lib as dsd
from data_scripts import results
from dsd_lib.datasets import data_folder, list_pictures
from dsd_lib.noreference import PSI_LAYERS, Psi, save_psi

CROP = 320  # pixels, the side of a training crop
HOLD_OUT = 10  # every tenth picture is only watched
RATE = 1e-3  # Adam's, at its highest
WEIGHTS = Path(dsd.__file__).parent / "weights"


@dataclass(frozen=True)
class Preset:
    """How long to train, on how many pictures."""

    epochs: int
    crops: int  # of each picture, in the pool
    pictures: int | None = None
    batch: int = 16
    watch: int = 10  # epochs between two looks at the pictures kept out


PRESETS = {
    "smoke": Preset(epochs=2, crops=1, pictures=10, batch=3, watch=1),  # seconds: does it run?
    "laptop": Preset(epochs=400, crops=10),  # an hour or two on two cores, less for alpha 2
    "paper": Preset(epochs=2000, crops=100),  # as many epochs as the paper's; a GPU
}


def run_folder(alpha: int, preset: str) -> Path:
    """Where a run lives unless told otherwise."""
    return results.ROOT / "runs" / f"psi_alpha{alpha}_{preset}"


def training_pictures() -> list[Path]:
    """The 400 photos of BSDS500's train and test parts."""
    folder = data_folder("bsds500")
    return [file for part in ("train", "test") for file in list_pictures(folder / part)]


def random_crops(x: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """``count`` square crops of a picture ``(1, 3, H, W)``, each mirrored or not."""
    height, width = x.shape[2:]
    if min(height, width) < CROP:
        raise ValueError(f"expected sides of at least {CROP} pixels, got {height} x {width}")
    crops = []
    for _ in range(count):
        top = int(torch.randint(height - CROP + 1, (), generator=generator))
        left = int(torch.randint(width - CROP + 1, (), generator=generator))
        crop = x[:, :, top : top + CROP, left : left + CROP]
        crops.append(crop.flip(3) if torch.rand((), generator=generator) < 0.5 else crop)
    return torch.cat(crops)


def make_pool(files: list[Path], preset: Preset, alpha: float, accelerator: Accelerator) -> dict:
    """Crops of every picture downscaled, with their targets.

    Returns:
        ``{"small": (pictures, crops, 3, CROP/α, CROP/α) half, "norms": (pictures, crops, 4)}``.
    """
    net = dsd.load_backbone("vgg16").to(accelerator.device)
    small, norms = [], []
    quiet = not accelerator.is_main_process
    for index, file in enumerate(tqdm(files, desc="crops and targets", disable=quiet)):
        generator = torch.Generator().manual_seed(index)
        crops = random_crops(dsd.load_image(file), preset.crops, generator).to(accelerator.device)
        with torch.no_grad(), accelerator.autocast():
            parts = [dsd.dsd_norm(part, net, PSI_LAYERS, alpha) for part in crops.split(5)]
        norms.append(torch.cat(parts).float().cpu())
        small.append(dsd.imresize(crops, scale=1 / alpha).half().cpu())
    return {"small": torch.stack(small), "norms": torch.stack(norms)}


def load_pool(path: Path, files: list[Path], *settings: object) -> dict[str, Tensor]:
    """The pool at ``path``, made there first if need be."""
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        results.write_atomically(path, safetensors.torch.save(make_pool(files, *settings)))
    return safetensors.torch.load_file(path)


def learning_rate(progress: float) -> float:
    """A short rise, then a cosine down to zero; ``progress`` runs from 0 to 1."""
    return RATE * min(1, progress / 0.02) * (1 + math.cos(math.pi * progress)) / 2


def relative_errors(psi: torch.nn.Module, small: Tensor, norms: Tensor, scale: Tensor) -> Tensor:
    """Mean squared error at each layer, in units of the layer's squared scale."""
    return ((psi(small) - norms) / scale).square().mean(dim=0)


def train(
    pool: dict[str, Tensor], alpha: float, preset: Preset, folder: Path, accelerator: Accelerator
) -> tuple[Psi, dict]:
    """Train ψ from a pool of crops; the network and its record.

    An epoch's order follows from its number, so a resumed run gives the weights of an unbroken one.
    """
    device = accelerator.device
    watched = torch.arange(len(pool["norms"])) % HOLD_OUT == HOLD_OUT - 1
    small, norms = pool["small"][~watched], pool["norms"][~watched].to(device)
    unseen = pool["small"][watched].flatten(0, 1), pool["norms"][watched].flatten(0, 1).to(device)

    torch.manual_seed(0)
    psi = Psi(alpha)
    psi.scale.copy_(norms.mean(dim=(0, 1)))
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
    batches = len(norms) // preset.batch
    quiet = not accelerator.is_main_process
    epochs = tqdm(range(record["epochs"], preset.epochs), desc="epochs", disable=quiet)
    for epoch in epochs:
        generator = torch.Generator().manual_seed(epoch)
        order = torch.randperm(len(norms), generator=generator)
        crops = torch.randint(preset.crops, (len(norms),), generator=generator)
        model.train()
        total = torch.zeros(len(PSI_LAYERS), device=device)
        for batch in range(batches):
            optimizer.param_groups[0]["lr"] = learning_rate(
                (epoch + batch / batches) / preset.epochs
            )
            mine = order[batch * preset.batch : (batch + 1) * preset.batch]
            mine = mine[accelerator.process_index :: accelerator.num_processes]
            errors = relative_errors(
                model,
                small[mine, crops[mine]].to(device).float(),
                norms[mine, crops[mine]],
                psi.scale,
            )
            optimizer.zero_grad()
            accelerator.backward(errors.mean())
            accelerator.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            total += errors.detach() / batches
        if not total.isfinite().all():
            raise FloatingPointError(f"epoch {epoch}: the loss is not finite; see {checkpoint}")
        if (epoch + 1) % preset.watch == 0 or epoch + 1 == preset.epochs:
            record |= {"epochs": epoch + 1, "seconds": time.time() - started}
            row = {"epoch": epoch + 1, "train": total.tolist(), "unseen": watch(psi, *unseen)}
            record["curve"].append(row)
            epochs.set_postfix(
                train=f"{sum(row['train']) / 4:.4f}", unseen=f"{sum(row['unseen']) / 4:.4f}"
            )
            if accelerator.is_main_process:
                file = io.BytesIO()
                state = {"psi": psi.state_dict(), "optimizer": optimizer.state_dict()}
                torch.save({**state, "record": json.dumps(record)}, file)
                results.write_atomically(checkpoint, file.getvalue())
    return psi.eval(), record


@torch.no_grad()
def watch(psi: Psi, small: Tensor, norms: Tensor) -> list[float]:
    """Relative errors on pictures that are not trained on."""
    psi.eval()
    predicted = torch.cat([psi(part.to(norms.device).float()) for part in small.split(20)])
    return ((predicted - norms) / psi.scale).square().mean(dim=0).tolist()


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
    save_psi(psi, (WEIGHTS if args.publish else folder) / f"psi_alpha{args.alpha}.safetensors")
    results.write_result(
        f"psi_training_alpha{args.alpha}",
        {"layers": PSI_LAYERS, "scale": psi.scale.tolist(), **record},
        data="BSDS500 train and test, 400 pictures, random crops of 320 pixels",
        network="vgg16",
        started=time.time() - record["seconds"],
        seed=0,
        device=str(accelerator.device),
        folder=results.RESULTS if args.publish else folder,
    )


if __name__ == "__main__":
    main()
