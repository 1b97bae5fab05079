"""Measure motion deblurring: our networks and the blurry image itself (Figs. 9b and 11).

    python -m data_scripts.evaluate_deblurring

Test sets:

* ``synthetic``: 24 images of BSD100 (BSDS500's val, ``$DSD_DATA/bsds500/val``), each blurred as
  in training: a random motion kernel of up to 13 pixels, noise of up to 0.01.
* ``levin``: 8 others, each with one of the 8 kernels that Levin et al. measured
  (``$DSD_DATA/kernels/levin09.npz``), and noise of 0.005. All but two are larger
  than any in training.
* ``gopro``: two pairs of the GoPro set, 1280×720
  (``$DSD_DATA/gopro_pairs/<name>_{blur,sharp}.webp``). Their blur differs from place to place and
  is a sum of video frames; no network saw any such.

Networks are ``runs/deblur_*/network.safetensors``, as ``data_scripts.train_restoration`` leaves
them. The result is ``book/results/deblurring.json`` with strips of crops beside it, which chapter 9
reads. Restored images are rounded to 8 bits. PSNR and SSIM are of the luma, without the part of
the border where the blur saw mirrored pixels; the other measures see the whole image.

Networks run in bfloat16 where the hardware has it. About a second an image and method on one core
with it, 8 on the two large ones: a minute a network. Finished values are kept in
``runs/deblurring.jsonl``; when more networks are there, the same command measures only these.
"""

import functools
from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

import dsd_lib as dsd
from data_scripts.shared.presets import PRESETS, degradation
from data_scripts.shared.restored import (
    DEVICE,
    Case,
    Crop,
    Images,
    Plan,
    Run,
    arguments,
    evaluate,
    trained_runs,
)
from dsd_lib.files import data_folder, list_images
from dsd_lib.restoration.crops import seeded
from dsd_lib.restoration.degradations import MotionBlur
from dsd_lib.restoration.kernels import levin_kernels

SYNTHETIC = 24
KERNELS = 8
TRAINING = "laptop"  # the preset whose degradations `synthetic` has
NOISE = 0.005  # of `levin`, the mean of training's
GOPRO = ("flower", "istanbul")


def synthetic(count: int = SYNTHETIC, beside: int = KERNELS) -> Images:
    """Blur as in training."""
    files, _ = _files(count, beside)
    return {f.stem: functools.partial(synthetic_case, f, i) for i, f in enumerate(files)}


def levin(kernels: Sequence[Tensor] | None = None, beside: int = SYNTHETIC) -> Images:
    """Measured kernels: Levin's, unless others are given."""
    kernels = levin_kernels() if kernels is None else kernels
    _, files = _files(beside, len(kernels))
    pairs = enumerate(zip(files, kernels, strict=True))
    return {f.stem: functools.partial(levin_case, f, i, kernel) for i, (f, kernel) in pairs}


def gopro() -> Images:
    """Real blur."""
    folder = data_folder("gopro_pairs")
    return {name: functools.partial(gopro_case, folder / f"{name}_sharp.webp") for name in GOPRO}


def _files(synthetic: int, levin: int) -> list[list[Path]]:
    return spread(list_images(data_folder("bsds500") / "val"), synthetic, levin)


def spread(files: list[Path], *counts: int) -> list[list[Path]]:
    """That many files, evenly spread over the list, dealt out to lists of these lengths.

    >>> [[p.name for p in part] for part in spread([Path(str(i)) for i in range(12)], 4, 2)]
    [['0', '4', '6', '10'], ['2', '8']]
    """
    total = sum(counts)
    chosen = [files[i * len(files) // total] for i in range(total)]
    found: list[list[Path]] = [[] for _ in counts]
    for number, file in enumerate(chosen, 1):
        # To whichever is farthest behind its share.
        behind = [
            count * number / total - len(part) for count, part in zip(counts, found, strict=True)
        ]
        found[behind.index(max(behind))].append(file)
    return found


def synthetic_case(file: Path, index: int) -> Case:
    """An image blurred as in training, the same way every time."""
    return _blurred(file, degradation("deblur", PRESETS[TRAINING]["deblur"]), index)


def levin_case(file: Path, index: int, kernel: Tensor) -> Case:
    """An image blurred with a measured kernel."""
    return _blurred(file, MotionBlur(len(kernel), kernels=[kernel], noise=(NOISE, NOISE)), index)


def _blurred(file: Path, blur: MotionBlur, index: int) -> Case:
    target = dsd.load_image(file)
    given, drawn = blur(target, seeded(index))
    facts = {"kernel_size": drawn["kernel"].shape[-1], "noise": drawn["sigma"].item()}
    if "length" in drawn:
        facts["length"] = drawn["length"].item()
    border = facts["kernel_size"] // 2
    return Case(given.to(DEVICE), target.to(DEVICE), border, facts)


def gopro_case(file: Path) -> Case:
    """A sharp frame and the blurry one of the same moment."""
    given = dsd.load_image(file.with_name(file.name.replace("_sharp", "_blur")))
    return Case(given.to(DEVICE), dsd.load_image(file).to(DEVICE), border=0, facts={})


def all_runs(folder: Path) -> list[Run]:
    """The blurry image itself, and the networks."""
    nothing = Run("blurry", "Blurry", "input", lambda _set, _name, case: case.given)
    return [nothing, *trained_runs("deblur", folder)]


PLAN = Plan(
    "deblurring",
    "BSD100 (BSDS500 val) with random and with Levin's motion kernels, two GoPro pairs",
    sets={"synthetic": synthetic, "levin": levin, "gopro": gopro},
    runs=all_runs,
    measures=("psnr_y", "ssim_y", "niqe", "lpips", "st_lpips", "dsd"),
    crops=(
        Crop("synthetic/41033", (118, 165, 112, 112)),  # about the median of what L1 gains
        Crop("synthetic/160068", (80, 120, 112, 112)),  # gains nothing
        Crop("levin/108005", (70, 150, 112, 112)),
        Crop("gopro/flower", (190, 500, 112, 112)),
        Crop("gopro/istanbul", (140, 1150, 112, 112)),
    ),
)


def main() -> None:
    """Measure what is there."""
    args = arguments(__doc__)
    evaluate(PLAN, args.runs, args.output, sets=args.sets, only=args.only)


if __name__ == "__main__":
    main()
