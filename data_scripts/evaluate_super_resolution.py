"""Measure super-resolution ×4: our networks, bicubic and published outputs (Table 3, Figs. 8-10).

    python -m data_scripts.evaluate_super_resolution

Test sets: Set5 and Set14 with the published outputs of SRResNet, SRGAN and EDSR, from
``$DSD_DATA/sr_outputs/{HR,SRResNet,SRGAN,EDSR}/<name>.webp``; BSD100, which is BSDS500's val, from
``$DSD_DATA/bsds500/val``, cut at the right and the bottom to multiples of 4. A network is given the
truth after MATLAB's bicubic downscaling, rounded to 8 bits. Networks are
``runs/sr_*/network.safetensors``, as ``data_scripts.train_restoration`` leaves them. The result is
``book/results/super_resolution.json`` with strips of crops beside it, which chapter 8 reads.

Restored images are rounded to 8 bits; networks run in bfloat16 where the hardware has it. PSNR,
SSIM and the grid measure are of the luma without 4 pixels along each side; the others see the whole
image.
LPIPS is measured where torchvision's AlexNet can be had. Both kinds of LPIPS and DSD see every
fourth image of BSD100. The published SRGAN files have lost some contrast, which alone moves PSNR
and DSD; so they are measured as they are and, as ``srgan_contrast``, with the contrast of the
network's input restored, which needs no truth.

About 0.5 s an image and method on one core with bfloat16, a minute a network. Finished values are
kept in ``runs/super_resolution.jsonl``; when more networks are there, the same command measures
only these. Where the other networks are not, ``--only`` adds one to the stored result:

    python -m data_scripts.evaluate_super_resolution --only sr_dsd_0 --sets set14
"""

import functools
from collections.abc import Iterable
from pathlib import Path

from torch import Tensor

import dsd_lib as dsd
from data_scripts.minimize_dsd import line
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
from dsd_lib.restoration.degradations import crop_to_multiple, downscale

FACTOR = 4
SET5 = ("baby", "bird", "butterfly", "head", "woman")
PUBLISHED = ("SRResNet", "SRGAN", "EDSR")
WITH_PUBLISHED = ("set5", "set14")


def set5() -> Images:
    """The five of the 19 images with published outputs."""
    return _cases(file for file in _with_published() if file.stem in SET5)


def set14() -> Images:
    """The others."""
    return _cases(file for file in _with_published() if file.stem not in SET5)


def bsd100() -> Images:
    """BSDS500's val."""
    return _cases(list_images(data_folder("bsds500") / "val"))


def _with_published() -> list[Path]:
    return list_images(data_folder("sr_outputs") / "HR")


def _cases(files: Iterable[Path]) -> Images:
    return {file.stem: functools.partial(_case, file) for file in files}


def _case(file: Path) -> Case:
    target = crop_to_multiple(dsd.load_image(file), FACTOR)
    given = downscale(target, FACTOR, eight_bits=True)
    return Case(given.to(DEVICE), target.to(DEVICE), border=FACTOR, facts={})


def all_runs(folder: Path) -> list[Run]:
    """Bicubic, the networks, the published outputs."""
    runs = [Run("bicubic", "Bicubic", "interpolation", _bicubic)]
    runs += trained_runs("sr", folder)
    for name in PUBLISHED:
        read = functools.partial(_published, name)
        runs.append(Run(name.lower(), name, "published", read, WITH_PUBLISHED))
        if name == "SRGAN":
            label = "SRGAN, contrast restored"
            runs.append(Run("srgan_contrast", label, "published", with_contrast, WITH_PUBLISHED))
    return runs


def _bicubic(_set: str, _name: str, case: Case) -> Tensor:
    return dsd.imresize(case.given, scale=FACTOR)


def _published(system: str, _set: str, name: str, case: Case) -> Tensor:
    x = dsd.load_image(data_folder("sr_outputs") / system / f"{name}.webp")
    return x.to(case.target)


def with_contrast(set_name: str, name: str, case: Case) -> Tensor:
    """SRGAN's output with brightness and contrast of what it was given.

    The line between what it was given and its downscaled output is fitted, and undone.
    """
    x = _published("SRGAN", set_name, name, case)
    slope, offset = line(x, case.target)  # which it downscales first
    return (x - offset) / slope


PLAN = Plan(
    "super_resolution",
    "Set5, Set14 and BSD100 (BSDS500 val), MATLAB's bicubic downscaling by 4",
    sets={"set5": set5, "set14": set14, "bsd100": bsd100},
    runs=all_runs,
    measures=("psnr_y", "ssim_y", "niqe", "lpips", "st_lpips", "dsd", "grid"),
    crops=(
        Crop("set14/baboon", (296, 330, 96, 96)),
        Crop("set14/comic", (40, 64, 96, 96)),
        Crop("set14/zebra", (140, 300, 96, 96)),
        Crop("bsd100/175043", (112, 200, 96, 96)),
    ),
    sparse={"bsd100": 4},
)


def main() -> None:
    """Measure what is there."""
    args = arguments(__doc__)
    evaluate(PLAN, args.runs, args.output, sets=args.sets, only=args.only)


if __name__ == "__main__":
    main()
