"""What restoration networks are trained on: files of images, and crops of them."""

import re
from collections.abc import Callable
from pathlib import Path

from data_scripts.shared.presets import SCALES, Preset, degradation
from dsd_lib.files import data_folder, list_images
from dsd_lib.restoration.crops import DegradedCrops, PairedCrops
from dsd_lib.restoration.training_images import TrainingImages

HOLD_OUT = 20  # every twentieth photo of BSDS500 is kept out of the training
OpenImages = Callable[[list[Path]], TrainingImages]


def bsds500() -> list[Path]:
    """The photos of BSDS500's train and test parts; its val is the test set BSD100."""
    folder = data_folder("bsds500")
    return [file for part in ("train", "test") for file in list_images(folder / part)]


def held_out() -> list[Path]:
    """The photos of BSDS500 that settings are chosen on, and no network is trained on."""
    return bsds500()[HOLD_OUT - 1 :: HOLD_OUT]


def sharp_photos(name: str) -> list[Path]:
    """The training photos of ``"bsds500"`` or ``"div2k"``."""
    if name == "div2k":
        return list_images(data_folder("div2k") / "train")
    kept_out = set(held_out())
    return [file for file in bsds500() if file not in kept_out]


def photos_or_bsds500(name: str, insist: bool) -> tuple[list[Path], str]:
    """A data set's photos and its name; those of BSDS500 where it is not there.

    Raises:
        FileNotFoundError: it is not there and ``insist`` is set, or BSDS500 is not there.
    """
    try:
        return sharp_photos(name), name
    except FileNotFoundError:
        if insist or name == "bsds500":
            raise
        return sharp_photos("bsds500"), "bsds500"


def pair_files(folder: Path) -> tuple[list[Path], list[Path]]:
    """Blurry images below a folder, and the sharp one of each.

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
        raise FileNotFoundError(f"no pairs of images below {folder}: none is named blur or _blur")
    return blurry, sharp


def degraded_crops(
    task: str, preset: Preset, files: list[Path], name: str, open_images: OpenImages, seed: int
) -> tuple[DegradedCrops, str]:
    """Crops of sharp photos that are degraded on the fly, and their description."""
    if task == "sr":  # a pixel of MATLAB's bicubic sees 2 beyond its own
        margin, what = 2, f"bicubic downscaling by {SCALES[task]}"
    else:
        margin, what = preset.kernel // 2, f"random motion kernels up to {preset.kernel} pixels"
    crops = DegradedCrops(
        open_images(files),
        degradation(task, preset),
        side=preset.side,
        scale=SCALES[task],
        margin=margin,
        seed=seed,
    )
    return crops, f"{name}, {len(crops.images)} images, {what}"


def paired_crops(
    preset: Preset, folder: Path, open_images: OpenImages, seed: int
) -> tuple[PairedCrops, str]:
    """Crops of pairs of blurry and sharp images, and their description."""
    blurry, sharp = (open_images(files) for files in pair_files(folder))
    crops = PairedCrops(blurry, sharp, side=preset.side, seed=seed)
    return crops, f"{len(sharp)} pairs of blurry and sharp images ({folder.name})"
