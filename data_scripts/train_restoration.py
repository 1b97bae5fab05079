"""Train a restoration network: super-resolution ×4 or motion deblurring, with one of the losses.

    python -m data_scripts.train_restoration sr --loss l1 --preset laptop
    python -m data_scripts.train_restoration sr --loss dsd --preset laptop --seed 1

The first command gives the start that all other losses share; it comes first. A run lives in
``runs/<task>_<loss>_<seed>/`` and goes on from there when it was interrupted: checkpoint, log,
validation pictures (of the package's own, never trained on), and at the end ``network.safetensors``
with its record. Several GPUs or machines:
``accelerate launch -m data_scripts.train_restoration …``; several processes on CPUs:
``torchrun --nproc-per-node 2 -m data_scripts.train_restoration …``. ``--publish``, also of a run
that is done, puts the network into the package and the training record into the book.

The weight of a distribution term follows from Table 3's rule: on the start's own predictions it is
on average as large as the perceptual term. ``--distribution-weight 100`` is the paper's for DSD.

Presets, each with its clean pictures:

* ``paper``: the paper's setting as it stands. DIV2K or REDS, 300 000 steps, 10 blocks, float32.
* ``gpu``: DIV2K where there is a folder ``div2k``, else BSDS500. Planned so that a start and a loss
  fit into 15 minutes of an H100 and into an evening of Colab's T4. **An estimate:** it has not been
  timed on either.
* ``laptop``: two cores with bfloat16, BSDS500: about 75 minutes for the start and 15 for a loss
  (twice that for projected_distribution). Its steps follow from the processor time of a step,
  which is beside them below.
* ``smoke``: seconds; it shows that everything runs.

The contextual term compares every position with every other: but for ``paper`` it stays at relu3_1,
at the other layers a step of ``laptop`` takes 16 times as long. For a comparison at equal layers
give ``--layers relu3_1`` to all.

BSDS500's val is the test set BSD100 and is never read.
"""

import argparse
import csv
import json
import re
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.utils import set_seed

import dsd_lib as dsd
from data_scripts.shared import results
from dsd_lib.descriptor import DEFAULT_LAYERS
from dsd_lib.files import data_folder, list_images, write_atomically
from dsd_lib.restoration import training
from dsd_lib.restoration.degradations import Downscale, MotionBlur
from dsd_lib.restoration.loss import RestorationLoss
from dsd_lib.restoration.networks import UPSAMPLING, XSRResNet, load_network, save_network

SCALES = {"sr": 4, "deblur": 1}
LOSSES = {  # name -> the distribution term, None for none
    "l1": None,
    "perceptual": None,
    "style": "style",
    "multiscale_style": "multiscale_style",
    "projected_distribution": "projected_distribution",
    "contextual": "contextual",
    "dsd": "dsd",
}
VALIDATION = ("cat", "coffee", "temple", "tissue")  # of the package's pictures
HOLD_OUT = 20  # every twentieth photo of BSDS500 is kept out of the training
CACHED = 20e9  # bytes; data sets that are larger when decoded are decoded crop by crop


@dataclass(frozen=True)
class Preset:
    """How long to train, on what; two numbers are for super-resolution and deblurring."""

    start: tuple[int, int]  # steps of the L1 run that the others start from
    steps: tuple[int, int]  # steps of the others
    batch: int
    side: tuple[int, int]  # of a crop as the network is given it, in pixels
    blocks: int
    precision: str  # of the convolutions; "auto" is bfloat16 where the GPU has it, else float16
    start_rate: float = training.Settings.rate  # Adam's first learning rate in the L1 run
    data: tuple[str, str] = ("bsds500", "bsds500")
    kernel: int = 31  # side of the largest motion kernel
    channels: int = 64
    log: int = 100  # steps between two rows
    keep: int = 1000  # steps between two checkpoints and two looks
    calibrate: int = 20  # batches of Table 3's rule


PRESETS = {
    "smoke": Preset(
        start=(4, 4), steps=(4, 4), batch=2, side=(8, 32), blocks=1, precision="no",
        kernel=5, channels=8, log=1, keep=2, calibrate=1,
    ),
    # Seconds of one core a step, on a server's core that multiplies bfloat16 matrices (AMX):
    # super-resolution 0.14 (l1), 0.36 (perceptual), 0.45 to 0.53 (style, multiscale_style, dsd),
    # 0.55 (contextual), 1.05 (projected_distribution); deblurring 0.54 (l1), 0.84
    # (multiscale_style). Steps assume that two cores are 1.7 times as fast as one.
    "laptop": Preset(
        start=(54_000, 14_000), steps=(3000, 1800), batch=4, side=(32, 96), blocks=5,
        precision="bf16", start_rate=5e-4, kernel=13, log=50, keep=200,
    ),
    "gpu": Preset(
        start=(40_000, 20_000), steps=(20_000, 15_000), batch=16, side=(40, 160), blocks=5,
        precision="auto", data=("div2k", "bsds500"),
    ),
    "paper": Preset(
        start=(300_000, 300_000), steps=(300_000, 300_000), batch=16, side=(40, 160), blocks=10,
        precision="no", data=("div2k", "reds"), keep=5000,
    ),
}  # fmt: skip


def run_folder(task: str, loss: str, seed: int, extra: str = "") -> Path:
    """Where a run lives unless told otherwise."""
    return results.ROOT / "runs" / f"{task}_{loss}_{seed}{extra}"


def clean_pictures(name: str) -> list[Path]:
    """The training pictures of a data set of sharp photos."""
    folder = data_folder(name)
    parts = {"bsds500": ("train", "test"), "div2k": ("train",)}[name]
    files = [file for part in parts for file in list_images(folder / part)]
    if name == "bsds500":  # what settings are chosen on is not trained on
        files = [file for index, file in enumerate(files) if index % HOLD_OUT != HOLD_OUT - 1]
    return files


def pair_files(folder: Path) -> tuple[list[Path], list[Path]]:
    """Blurry pictures below a folder, and the sharp one of each.

    A name or folder that is ``blur`` or ends in ``_blur`` has its partner under ``sharp``: the
    layouts of REDS (``train_blur/000/1.png``) and GoPro (``<video>/blur/1.png``). Folders whose
    names begin with val or test are left out.

    Raises:
        FileNotFoundError: there are none, or one has no partner.
    """
    blurry, sharp = [], []
    for file in list_images(folder):
        path = file.relative_to(folder).as_posix()
        partner = re.sub(r"(^|[/_])blur(?=[/.])", r"\1sharp", path)
        if partner != path and not re.match(r"val|test", path):
            blurry.append(file)
            sharp.append(folder / partner)
            if not sharp[-1].is_file():
                raise FileNotFoundError(f"{file} has no sharp partner {sharp[-1]}")
    if not blurry:
        raise FileNotFoundError(f"no pairs of pictures below {folder}: none is named blur or _blur")
    return blurry, sharp


def degradation(task: str, preset: Preset) -> Downscale | MotionBlur:
    """What the network has to undo."""
    return Downscale(SCALES[task]) if task == "sr" else MotionBlur(preset.kernel)


def make_crops(
    task: str, preset: Preset, args: argparse.Namespace, accelerator: Accelerator
) -> tuple[training.Crops, str]:
    """What the steps see, and its description."""
    which = list(SCALES).index(task)
    quiet = not accelerator.is_main_process
    options = {"side": preset.side[which], "scale": SCALES[task], "seed": args.seed}

    def pictures(files: list[Path]) -> training.Pictures:
        found = training.Pictures(files[: args.pictures], quiet=quiet)
        if found.decoded_bytes > CACHED:
            return found
        with accelerator.local_main_process_first():
            return training.Pictures(found.files, args.cache, quiet=quiet)

    name = preset.data[which]
    if args.pairs or (name == "reds" and not args.data):
        if task != "deblur":
            raise ValueError("--pairs: expected the task deblur, whose pairs have one size")
        folder = args.pairs or data_folder("reds")
        blurry, sharp = (pictures(files) for files in pair_files(folder))
        text = f"{len(sharp)} pairs of blurry and sharp pictures ({folder.name})"
        return training.PairedCrops(blurry, sharp, **options), text
    if args.data:
        files, name = list_images(args.data), args.data.name
    else:
        files, name = _pictures_of(name, args.preset)
    if task == "sr":  # a pixel of MATLAB's bicubic sees 2 beyond its own
        margin, what = 2, f"bicubic downscaling by {SCALES[task]}"
    else:
        margin, what = preset.kernel // 2, f"random motion kernels up to {preset.kernel} pixels"
    clean = pictures(files)
    text = f"{name}, {len(clean)} pictures, {what}"
    return training.DegradedCrops(clean, degradation(task, preset), margin=margin, **options), text


def _pictures_of(name: str, preset: str) -> tuple[list[Path], str]:
    """A data set's pictures; of the presets only ``paper`` insists on the large one."""
    try:
        return clean_pictures(name), name
    except FileNotFoundError:
        if name == "bsds500" or preset == "paper":
            raise
        return clean_pictures("bsds500"), "bsds500"


def make_validation(task: str, preset: Preset, folder: Path) -> training.Validation:
    """Parts of the package's pictures, degraded the same way every time."""
    side = min(160, 4 * preset.side[0])
    pairs = []
    for index, name in enumerate(VALIDATION):
        picture = dsd.sample_images()[name]
        top, left = ((n - side) // 2 for n in picture.shape[2:])
        target = picture[:, :, top : top + side, left : left + side]
        given, _ = degradation(task, preset)(target, training.seeded(index))
        pairs.append((given, target))
    return training.Validation(pairs, folder / "validation")


def make_network(task: str, preset: Preset, args: argparse.Namespace, start: Path) -> XSRResNet:
    """A new network for the L1 run, that run's for the others."""
    if args.loss == "l1" and not args.start:
        set_seed(args.seed)
        return XSRResNet(
            SCALES[task], args.blocks or preset.blocks, preset.channels, args.upsampling
        )
    if not start.is_file():
        raise FileNotFoundError(
            f"{start}: every loss but l1 starts from the L1-trained network; train it first "
            f"(--loss l1), or name a network with --from"
        )
    net = load_network(start)
    if net.scale != SCALES[task] or net.blocks != (args.blocks or preset.blocks):
        raise ValueError(
            f"{start}: expected scale {SCALES[task]} and {args.blocks or preset.blocks} blocks, "
            f"got {net.scale} and {net.blocks}"
        )
    if net.upsampling == args.upsampling:
        return net
    # Another way to enlarge: what the other parts have learned is kept.
    set_seed(args.seed)
    new = XSRResNet(net.scale, net.blocks, net.channels, args.upsampling)
    for part in ("head", "body", "tail"):
        getattr(new, part).load_state_dict(getattr(net, part).state_dict())
    return new


def set_weights(
    loss: RestorationLoss,
    net: XSRResNet,
    crops: training.Crops,
    preset: Preset,
    args: argparse.Namespace,
    folder: Path,
    accelerator: Accelerator,
) -> None:
    """Give the loss its weights; a calibration is kept with the run, which goes on with it."""
    if args.loss == "l1":
        loss.weights = (1, 0, 0)
    elif args.loss == "perceptual":
        loss.weights = (1, 1, 0)
    elif args.distribution_weight is not None:
        loss.weights = (1, 1, args.distribution_weight)
    else:
        file = folder / "distribution_weight.json"
        if accelerator.is_main_process and not file.is_file():
            net = net.to(accelerator.device).eval()
            everything = (preset.batch, slice(None), accelerator.device)
            # Steps that the run itself never comes to.
            batches = (crops(2**31 + step, *everything) for step in range(preset.calibrate))
            with torch.no_grad():
                weight = loss.calibrate((net(given), y) for given, y in batches)
            write_atomically(file, json.dumps(weight))
        accelerator.wait_for_everyone()
        loss.weights = (1, 1, json.loads(file.read_text()))


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("task", choices=SCALES)
    parser.add_argument("--loss", choices=LOSSES, required=True)
    parser.add_argument("--preset", choices=PRESETS, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--blocks", type=int, help="of the network, if not the preset's")
    parser.add_argument(
        "--upsampling", choices=UPSAMPLING, default="shuffle", help="of a super-resolution network"
    )
    parser.add_argument("--layers", nargs="+", metavar="LAYER", help="of the distribution term")
    parser.add_argument(
        "--windows",
        type=int,
        default=1,
        metavar="N",
        help="Gram matrices of N x N parts of a crop; 1, the paper's, unless given",
    )
    parser.add_argument("--steps", type=int, help="another number than the preset's")
    parser.add_argument("--rate", type=float, help="Adam's first learning rate; the paper's 2e-4")
    parser.add_argument("--distribution-weight", type=float, help="instead of Table 3's rule")
    parser.add_argument("--data", type=Path, help="a folder of sharp pictures to train on")
    parser.add_argument("--pairs", type=Path, help="a folder of blurry and sharp pictures")
    parser.add_argument("--pictures", type=int, help="only the first so many")
    # (torchrun would take --start for its own --start-method.)
    parser.add_argument("--from", dest="start", type=Path, help="the network to start from")
    parser.add_argument("--folder", type=Path, help="where the run lives")
    parser.add_argument("--cache", type=Path, default=results.ROOT / "runs" / "pictures")
    parser.add_argument("--network", choices=("vgg16", "vgg19"), default="vgg16")
    parser.add_argument("--mixed-precision", choices=("no", "fp16", "bf16"))
    parser.add_argument("--publish", action="store_true", help="into the package and the book")
    parser.add_argument("--compile", action="store_true", help="torch.compile the network")
    parser.add_argument("--workers", type=int, help="threads that prepare the steps to come")
    return parser.parse_args()


def precision(preset: Preset) -> str:
    """The preset's precision on this machine."""
    if preset.precision != "auto":
        return preset.precision
    cuda = torch.cuda.is_available()
    return "bf16" if not cuda or torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"


def curve(log: Path) -> list[dict[str, float]]:
    """The rows of a run's log in which it looked at the validation pictures."""
    with log.open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["psnr_y"]]
    return [{k: float(f"{float(v):.6g}") for k, v in row.items()} for row in rows]


def main() -> None:
    """Train one network."""
    args = parse()
    if args.publish:
        results.begin()
    preset, which = PRESETS[args.preset], list(SCALES).index(args.task)
    blocks = args.blocks or preset.blocks
    extra = f"_{blocks}blocks" if blocks != preset.blocks else ""
    start = args.start or run_folder(args.task, "l1", 0, extra) / "network.safetensors"
    if args.layers and LOSSES[args.loss]:
        extra += "_" + "_".join(args.layers)
    if args.windows != 1:
        extra += f"_windows{args.windows}"
    folder = args.folder or run_folder(args.task, args.loss, args.seed, extra)
    folder.mkdir(parents=True, exist_ok=True)

    mixed_precision = args.mixed_precision or precision(preset)
    # Several processes on CPUs find each other only when told that it is CPUs they run on.
    cpu = not (torch.cuda.is_available() or torch.backends.mps.is_available())
    accelerator = Accelerator(cpu=cpu, mixed_precision=mixed_precision)
    net = make_network(args.task, preset, args, start)
    crops, data = make_crops(args.task, preset, args, accelerator)
    layers = tuple(args.layers or DEFAULT_LAYERS)
    if args.loss == "contextual" and not args.layers and args.preset != "paper":
        layers = ("relu3_1",)
    backbone = dsd.load_backbone(args.network)
    loss = RestorationLoss(backbone, LOSSES[args.loss], layers=layers, windows=args.windows)
    loss.to(accelerator.device)
    set_weights(loss, net, crops, preset, args, folder, accelerator)
    if args.compile:
        net.compile()
    record = {
        "task": args.task,
        "loss": args.loss,
        "weights": loss.weights,
        "layers": layers if LOSSES[args.loss] else None,
        "windows": args.windows if LOSSES[args.loss] else None,
        "network": args.network,
        "start": None if args.loss == "l1" and not args.start else start.parent.name,
        "blocks": blocks,
        "upsampling": args.upsampling,
        "side": preset.side[which],
        "precision": mixed_precision,
        "data": data,
    }
    settings = training.Settings(
        steps=args.steps or (preset.start if args.loss == "l1" else preset.steps)[which],
        batch=preset.batch,
        rate=args.rate or (preset.start_rate if args.loss == "l1" else training.Settings.rate),
        log_every=preset.log,
        validate_every=preset.keep,
        checkpoint_every=preset.keep,
        seed=args.seed,
        about=json.dumps(record),
    )
    seconds = training.train(
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


if __name__ == "__main__":
    main()
