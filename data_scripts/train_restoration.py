"""Train a restoration network: super-resolution ×4 or motion deblurring, with one of the losses.

    python -m data_scripts.train_restoration sr --loss l1 --preset laptop
    python -m data_scripts.train_restoration sr --loss dsd --preset laptop --seed 1

The first command gives the start that all other losses share; it comes first. A run lives in
``runs/<task>_<loss>_<seed>/`` and resumes there after an interruption: checkpoint, log, validation
images (of the package's own, never trained on), and at the end ``network.safetensors`` with its
record. Several GPUs or machines:
``accelerate launch -m data_scripts.train_restoration …``; several processes on CPUs:
``torchrun --nproc-per-node 2 -m data_scripts.train_restoration …``. ``--publish``, also of a run
that is done, puts the network into the package and the training record into the book.

The weight of a distribution term follows from Table 3's rule: on the start's own predictions it is
on average as large as the perceptual term. ``--distribution-weight 100`` is the paper's for DSD.

Presets, each with its clean images:

* ``paper``: the paper's setting as it stands. DIV2K or REDS, 300 000 steps, 10 blocks, float32.
* ``gpu``: DIV2K where there is a folder ``div2k``, else BSDS500. Planned so that a start and a loss
  fit into 15 minutes of an H100 and into an evening of Colab's T4. **An estimate:** it has not been
  timed on either.
* ``laptop``: BSDS500; two cores with bfloat16 take about 75 minutes for the start and 15 for a loss
  (twice that for projected_distribution). Its steps follow from the processor time of a step,
  which is beside them below.
* ``smoke``: seconds; it shows that everything runs.

The contextual term compares every position with every other. At the default layers a step of
``laptop`` would take 16 times as long, so it stays at relu3_1, except for ``paper``. For a
comparison at equal layers give ``--layers relu3_1`` to all.

BSDS500's val is the test set BSD100 and is never read.
"""

import argparse
import csv
import json
import math
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.utils import set_seed

import dsd_lib as dsd
from data_scripts.shared import results
from data_scripts.shared.presets import PRESETS, SCALES, Preset, degradation
from data_scripts.shared.training_data import (
    OpenImages,
    degraded_crops,
    paired_crops,
    photos_or_bsds500,
)
from dsd_lib.descriptor import DEFAULT_LAYERS
from dsd_lib.files import data_folder, list_images, write_atomically
from dsd_lib.restoration.crops import Crops, DegradedCrops, PairedCrops, seeded
from dsd_lib.restoration.loss import RestorationLoss
from dsd_lib.restoration.networks import UPSAMPLING, XSRResNet, load_network, save_network
from dsd_lib.restoration.precision import fast_dtype
from dsd_lib.restoration.settings import Settings
from dsd_lib.restoration.training import train
from dsd_lib.restoration.training_images import TrainingImages
from dsd_lib.restoration.validation import Validation

LOSSES = {  # name -> the distribution term, None for none
    "l1": None,
    "perceptual": None,
    "style": "style",
    "multiscale_style": "multiscale_style",
    "projected_distribution": "projected_distribution",
    "contextual": "contextual",
    "dsd": "dsd",
}
VALIDATION = ("cat", "coffee", "temple", "tissue")  # of the package's images
CACHED = 20e9  # bytes; data sets that are larger when decoded are decoded crop by crop


def run_folder(task: str, loss: str, seed: int, extra: str = "") -> Path:
    """Where a run lives unless told otherwise."""
    return results.ROOT / "runs" / f"{task}_{loss}_{seed}{extra}"


def make_crops(
    args: argparse.Namespace, preset: Preset, open_images: OpenImages
) -> tuple[DegradedCrops | PairedCrops, str]:
    """What the steps see, and its description."""
    if args.pairs or (preset.data == "reds" and not args.data):
        if args.task != "deblur":
            raise ValueError("--pairs: expected the task deblur, whose pairs have one size")
        return paired_crops(preset, args.pairs or data_folder("reds"), open_images, args.seed)
    if args.data:
        files, name = list_images(args.data), args.data.name
    else:
        files, name = photos_or_bsds500(preset.data, insist=args.preset == "paper")
    return degraded_crops(args.task, preset, files, name, open_images, args.seed)


def image_opener(limit: int | None, cache: Path, accelerator: Accelerator) -> OpenImages:
    """What opens the first files of a list; all processes of a machine share one cache."""
    quiet = not accelerator.is_main_process

    def open_images(files: list[Path]) -> TrainingImages:
        found = TrainingImages(files[:limit], quiet=quiet)
        if found.decoded_bytes > CACHED:
            return found
        with accelerator.local_main_process_first():
            return TrainingImages(found.files, cache, quiet=quiet)

    return open_images


def make_validation(task: str, preset: Preset, folder: Path) -> Validation:
    """Parts of the package's images, degraded the same way every time."""
    side = min(160, 4 * preset.side)
    pairs = []
    for index, name in enumerate(VALIDATION):
        image = dsd.sample_images()[name]
        top, left = ((n - side) // 2 for n in image.shape[2:])
        target = image[:, :, top : top + side, left : left + side]
        given, _ = degradation(task, preset)(target, seeded(index))
        pairs.append((given, target))
    return Validation(pairs, folder / "validation")


def new_network(task: str, blocks: int, channels: int, upsampling: str, seed: int) -> XSRResNet:
    """A network with first weights that follow from the seed."""
    set_seed(seed)
    return XSRResNet(SCALES[task], blocks, channels, upsampling)


def started_network(start: Path, task: str, blocks: int, upsampling: str, seed: int) -> XSRResNet:
    """The network that a run starts from; its enlarging part is new where it enlarges otherwise.

    Raises:
        FileNotFoundError: it is not there.
        ValueError: it has another scale or depth.
    """
    if not start.is_file():
        raise FileNotFoundError(
            f"{start}: every loss but l1 starts from the L1-trained network; train it first "
            f"(--loss l1), or name a network with --from"
        )
    net = load_network(start)
    if net.scale != SCALES[task] or net.blocks != blocks:
        raise ValueError(
            f"{start}: expected scale {SCALES[task]} and {blocks} blocks, "
            f"got {net.scale} and {net.blocks}"
        )
    if net.upsampling == upsampling:
        return net
    new = new_network(task, blocks, net.channels, upsampling, seed)
    for part in ("head", "body", "tail"):  # what these have learned is kept
        getattr(new, part).load_state_dict(getattr(net, part).state_dict())
    return new


def calibrated(
    loss: RestorationLoss,
    net: XSRResNet,
    crops: Crops,
    batch: int,
    batches: int,
    file: Path,
    accelerator: Accelerator,
) -> float:
    """The distribution term's weight by Table 3's rule, kept in a file that a resumed run reads."""
    if accelerator.is_main_process and not file.is_file():
        net = net.to(accelerator.device).eval()
        everything = (batch, slice(None), accelerator.device)
        # Steps that the run itself never comes to.
        seen = (crops(2**31 + step, *everything) for step in range(batches))
        with torch.no_grad():
            weight = loss.calibrate((net(given), y) for given, y in seen)
        write_atomically(file, json.dumps(weight))
    accelerator.wait_for_everyone()
    return json.loads(file.read_text())


def whole_number(text: str) -> int:
    """A command line's count, at least 1."""
    if not (text.isdecimal() and int(text) > 0):
        raise argparse.ArgumentTypeError(f"expected a whole number above 0, got {text}")
    return int(text)


def positive(text: str) -> float:
    """A command line's number above 0."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"expected a number above 0, got {text}")
    return value


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    count = whole_number
    parser.add_argument("task", choices=SCALES)
    parser.add_argument("--loss", choices=LOSSES, required=True)
    parser.add_argument("--preset", choices=PRESETS, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--blocks", type=count, help="of the network, if not the preset's")
    parser.add_argument(
        "--upsampling", choices=UPSAMPLING, default="shuffle", help="of a super-resolution network"
    )
    parser.add_argument("--layers", nargs="+", metavar="LAYER", help="of the distribution term")
    parser.add_argument(
        "--windows",
        type=count,
        default=1,
        metavar="N",
        help="Gram matrices of N x N parts of a crop; 1, the paper's, unless given",
    )
    parser.add_argument("--steps", type=count, help="another number than the preset's")
    parser.add_argument(
        "--rate", type=positive, help="Adam's first learning rate; the paper's is 2e-4"
    )
    parser.add_argument("--distribution-weight", type=positive, help="instead of Table 3's rule")
    parser.add_argument("--data", type=Path, help="a folder of sharp images to train on")
    parser.add_argument("--pairs", type=Path, help="a folder of blurry and sharp images")
    parser.add_argument("--images", type=count, help="only the first so many")
    # (torchrun would take --start for its own --start-method.)
    parser.add_argument("--from", dest="start", type=Path, help="the network to start from")
    parser.add_argument("--folder", type=Path, help="where the run lives")
    parser.add_argument("--cache", type=Path, default=results.ROOT / "runs" / "images")
    parser.add_argument("--network", choices=("vgg16", "vgg19"), default="vgg16")
    parser.add_argument("--mixed-precision", choices=("no", "fp16", "bf16"))
    parser.add_argument("--publish", action="store_true", help="into the package and the book")
    parser.add_argument("--compile", action="store_true", help="torch.compile the network")
    parser.add_argument("--workers", type=count, help="threads that prepare the steps to come")
    return parser.parse_args(arguments)


def precision(preset: Preset, device: str) -> str:
    """The preset's precision on this machine, as accelerate names it."""
    if preset.precision != "auto":
        return preset.precision
    if fast_dtype(device) == torch.bfloat16:
        return "bf16"
    return "fp16" if device == "cuda" else "no"


def curve(log: Path) -> list[dict[str, float]]:
    """The rows of a run's log in which it looked at the validation images."""
    with log.open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["psnr_y"]]
    return [{k: float(f"{float(v):.6g}") for k, v in row.items()} for row in rows]


def run(args: argparse.Namespace) -> None:
    """Train one network."""
    if args.publish:
        results.begin()
    preset = PRESETS[args.preset][args.task]
    blocks = args.blocks or preset.blocks
    extra = f"_{blocks}blocks" if blocks != preset.blocks else ""
    extra += f"_{args.upsampling}" if args.upsampling != "shuffle" else ""
    start = args.start or run_folder(args.task, "l1", 0, extra) / "network.safetensors"
    if args.layers and LOSSES[args.loss]:
        extra += "_" + "_".join(args.layers)
    if args.windows != 1:
        extra += f"_windows{args.windows}"
    folder = args.folder or run_folder(args.task, args.loss, args.seed, extra)
    anew = args.loss == "l1" and not args.start

    device = "cuda" if torch.cuda.is_available() else "cpu"
    mixed_precision = args.mixed_precision or precision(preset, device)
    # Several processes on CPUs find each other only when told that it is CPUs they run on.
    cpu = not (torch.cuda.is_available() or torch.backends.mps.is_available())
    accelerator = Accelerator(cpu=cpu, mixed_precision=mixed_precision)
    if anew:
        net = new_network(args.task, blocks, preset.channels, args.upsampling, args.seed)
    else:
        net = started_network(start, args.task, blocks, args.upsampling, args.seed)
    crops, data = make_crops(args, preset, image_opener(args.images, args.cache, accelerator))
    layers = tuple(args.layers or DEFAULT_LAYERS)
    if args.loss == "contextual" and not args.layers and args.preset != "paper":
        layers = ("relu3_1",)
    backbone = dsd.load_backbone(args.network)
    loss = RestorationLoss(backbone, LOSSES[args.loss], layers=layers, windows=args.windows)
    loss.to(accelerator.device)
    folder.mkdir(parents=True, exist_ok=True)
    if LOSSES[args.loss] is None:
        loss.weights = (1, 1 if args.loss == "perceptual" else 0, 0)
    else:
        loss.weights = (1, 1, args.distribution_weight or 0)
        if args.distribution_weight is None:
            file = folder / "distribution_weight.json"
            sizes = (preset.batch, preset.calibrate)
            loss.weights = (1, 1, calibrated(loss, net, crops, *sizes, file, accelerator))
    if args.compile:
        net.compile()
    record = {
        "task": args.task,
        "loss": args.loss,
        "weights": loss.weights,
        "layers": layers if LOSSES[args.loss] else None,
        "windows": args.windows if LOSSES[args.loss] else None,
        "network": args.network,
        "start": None if anew else start.parent.name,
        "blocks": blocks,
        "upsampling": args.upsampling,
        "side": preset.side,
        "precision": mixed_precision,
        "data": data,
    }
    # What decides the weights; older checkpoints have neither of these two names.
    about = {k: v for k, v in record.items() if k != "data"}
    about |= {"crops": data, "files": crops.fingerprint}
    settings = Settings(
        steps=args.steps or (preset.start if args.loss == "l1" else preset.steps),
        batch=preset.batch,
        rate=args.rate or (preset.start_rate if args.loss == "l1" else Settings.rate),
        log_every=preset.log,
        validate_every=preset.keep,
        checkpoint_every=preset.keep,
        seed=args.seed,
        about=json.dumps(about),
    )
    seconds = train(
        net,
        loss,
        crops,
        settings,
        folder,
        accelerator,
        validation=make_validation(args.task, preset, folder),
        workers=args.workers or (4 if accelerator.device.type == "cuda" else 1),
    )
    if not accelerator.is_main_process:
        return
    record |= {
        "preset": args.preset,
        "steps": settings.steps,
        "batch": settings.batch,
        "rate": settings.rate,
        "clip": settings.clip,
        "ema": settings.ema,
        "seed": args.seed,
        "processes": accelerator.num_processes,
        "seconds": round(seconds),
    }
    save_network(net, folder / "network.safetensors", **record)
    provenance = {
        "data": data,
        "network": args.network,
        "started": time.time() - seconds,
        "seed": args.seed,
        "device": str(accelerator.device),
    }
    results.write_result("training", record, **provenance, folder=folder)
    if args.publish:
        name = f"{args.task}_{args.loss}{extra}"
        results.write_result(
            f"training_{name}",
            record | {"curve": curve(folder / "log.csv")},
            **provenance,
            folder=results.RESULTS,
        )
        save_network(net, results.WEIGHTS / f"{name}.safetensors", **record)


def main(arguments: Sequence[str] | None = None) -> None:
    """Train one network; what is wrong with the request is said in one line."""
    args = parse(arguments)
    try:
        run(args)
    except (OSError, ValueError, FloatingPointError) as error:
        sys.exit(f"train_restoration: {error}")
    except KeyboardInterrupt:
        sys.exit("train_restoration: stopped; the same command resumes from the last checkpoint")


if __name__ == "__main__":
    main()
