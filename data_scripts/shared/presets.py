"""How long restoration networks train, and on what: a preset for each machine and task."""

from dataclasses import dataclass

from dsd_lib.restoration.degradations import Downscale, MotionBlur
from dsd_lib.restoration.settings import Settings

SCALES = {"sr": 4, "deblur": 1}


@dataclass(frozen=True)
class Preset:
    """One task on one machine.

    Attributes:
        start: steps of the L1 run that the others start from.
        steps: steps of the others.
        batch: crops a step.
        side: of a crop as the network is given it, in pixels.
        blocks: of the network.
        precision: of the convolutions; "auto" is bfloat16 on hardware that has it, float16 on other
            GPUs and float32 on other CPUs.
        start_rate: Adam's first learning rate in the L1 run.
        data: a data set of sharp photos, or REDS's pairs.
        kernel: side of the largest motion kernel.
        channels: of the network.
        log: steps between two rows of the log.
        keep: steps between two checkpoints and two looks at the validation images.
        calibrate: batches of Table 3's rule.
    """

    start: int
    steps: int
    batch: int
    side: int
    blocks: int
    precision: str = "auto"
    start_rate: float = Settings.rate
    data: str = "bsds500"
    kernel: int = 31
    channels: int = 64
    log: int = 100
    keep: int = 1000
    calibrate: int = 20


PRESETS = {
    "smoke": {
        "sr": Preset(
            start=4, steps=4, batch=2, side=8, blocks=1, precision="no",
            channels=8, log=1, keep=2, calibrate=1,
        ),
        "deblur": Preset(
            start=4, steps=4, batch=2, side=32, blocks=1, precision="no",
            kernel=5, channels=8, log=1, keep=2, calibrate=1,
        ),
    },
    # Seconds of one core a step, on a server's core that multiplies bfloat16 matrices (AMX):
    # super-resolution 0.14 (l1), 0.36 (perceptual), 0.45 to 0.53 (style, multiscale_style, dsd),
    # 0.55 (contextual), 1.05 (projected_distribution); deblurring 0.54 (l1), 0.84
    # (multiscale_style). Steps assume that two cores are 1.7 times as fast as one.
    "laptop": {
        "sr": Preset(
            start=54_000, steps=3000, batch=4, side=32, blocks=5, start_rate=5e-4, log=50, keep=200
        ),
        "deblur": Preset(
            start=14_000, steps=1800, batch=4, side=96, blocks=5, start_rate=5e-4, kernel=13,
            log=50, keep=200,
        ),
    },
    "gpu": {
        "sr": Preset(start=40_000, steps=20_000, batch=16, side=40, blocks=5, data="div2k"),
        "deblur": Preset(start=20_000, steps=15_000, batch=16, side=160, blocks=5),
    },
    "paper": {
        "sr": Preset(
            start=300_000, steps=300_000, batch=16, side=40, blocks=10, precision="no",
            data="div2k", keep=5000,
        ),
        "deblur": Preset(
            start=300_000, steps=300_000, batch=16, side=160, blocks=10, precision="no",
            data="reds", keep=5000,
        ),
    },
}  # fmt: skip


def degradation(task: str, preset: Preset) -> Downscale | MotionBlur:
    """What the network has to undo."""
    return Downscale(SCALES[task]) if task == "sr" else MotionBlur(preset.kernel)
