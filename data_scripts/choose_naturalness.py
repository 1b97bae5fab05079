"""Choose where the dial of `dsd.restore` stands by default, on photos held out of the training.

    python -m data_scripts.choose_naturalness

The photos are every twentieth of BSDS500's train and test parts, which no network was trained on;
its val, the test set BSD100, is not read. Of each, the middle is degraded as in training and
restored at several positions of the dial, from 0, the L1 network, to 1, the DSD network.

The rule: **the smallest naturalness whose mean ST-LPIPS is within 1 % of the best on the dial and
whose mean NIQE is at most half as far from the true images' as that of the L1 network; where there
is none, the one with the best ST-LPIPS.** A smaller naturalness is nearer to the truth pixel by
pixel, so it is taken unless people would see a difference, for which ST-LPIPS is our best guess.
NIQE, which sees no reference, keeps the choice away from texture that ST-LPIPS forgives.

The result is ``book/results/restoration_dial_bsds500.json``. The positions chosen go by hand into
``NATURALNESS`` in ``dsd_lib/restoration/restore.py``. About 8 minutes of one core.
"""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

import dsd_lib as dsd
from data_scripts.shared import results
from data_scripts.shared.presets import PRESETS, degradation
from data_scripts.shared.restored import DEVICE, MEASURES, Case
from data_scripts.shared.training_data import held_out
from dsd_lib.restoration.crops import seeded
from dsd_lib.restoration.degradations import to_eight_bits
from dsd_lib.restoration.networks import XSRResNet, interpolate
from dsd_lib.restoration.restore import DIAL, NATURALNESS, TASKS, load_restorer, restore

POSITIONS = (0.0, 0.2, 0.4, 0.6, 0.8, 0.9, 1.0)
SIDE = 288  # of the part of each photo: nine blocks of NIQE
BORDER = 8  # pixels that PSNR leaves out
MEASURED = ("psnr_y", "niqe", "st_lpips")
NEAR_BEST = 1.01  # of the best ST-LPIPS
NIQE_SHARE = 0.5  # of the L1 network's distance to the true images' NIQE


def make_case(task: str, file: Path, index: int, side: int = SIDE) -> Case:
    """The middle of a photo, degraded as in training, the same way every time."""
    x = dsd.load_image(file)
    top, left = ((n - side) // 2 for n in x.shape[2:])
    target = x[:, :, top : top + side, left : left + side]  # (1, 3, side, side)
    given, _ = degradation(task, PRESETS["laptop"][task])(target, seeded(index))
    return Case(to_eight_bits(given).to(DEVICE), target.to(DEVICE), BORDER, {})


@torch.no_grad()
def measure_dial(
    task: str,
    cases: Sequence[Case],
    ends: tuple[XSRResNet, XSRResNet],
    positions: Sequence[float] = POSITIONS,
    measured: Sequence[str] = MEASURED,
) -> dict[str, list]:
    """Each measure's values, ``[position][image]``, and the true images' NIQE, ``[image]``."""
    found: dict[str, list] = {name: [] for name in measured}
    for position in positions:
        net = interpolate(*ends, position).to(DEVICE)
        images = [to_eight_bits(restore(case.given, task, network=net)) for case in cases]
        for name in measured:
            pairs = zip(images, cases, strict=True)
            found[name].append([_value(name, x, case) for x, case in pairs])
    found["true_niqe"] = [_value("niqe", case.target, case) for case in cases]
    return found


def _value(name: str, x: Tensor, case: Case) -> float:
    return MEASURES[name][0](x, case).item()


def choose(positions: Sequence[float], found: Mapping[str, list]) -> float:
    """The position that the rule names.

    >>> found = {"st_lpips": [[0.3], [0.2005], [0.2]], "true_niqe": [4.0]}
    >>> choose((0, 0.5, 1), found | {"niqe": [[6.0], [4.5], [3.9]]})
    0.5
    >>> choose((0, 0.5, 1), found | {"niqe": [[6.0], [5.5], [3.9]]})
    1
    >>> choose((0, 0.5, 1), found | {"niqe": [[6.0], [8.0], [9.0]]})
    1
    """
    perceived = np.mean(found["st_lpips"], axis=1)
    unnatural = np.abs(np.mean(found["niqe"], axis=1) - np.mean(found["true_niqe"]))
    fits = (perceived <= NEAR_BEST * perceived.min()) & (unnatural <= NIQE_SHARE * unnatural[0])
    return positions[int(np.argmax(fits)) if fits.any() else int(np.argmin(perceived))]


def main() -> None:
    """Measure the dial of every task and print what the rule chooses."""
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()
    started, found = results.begin(), {}
    for task in TASKS:
        l1, dsd_loss = DIAL[task]
        ends = load_restorer(task, l1), load_restorer(task, dsd_loss)
        cases = [make_case(task, file, index) for index, file in enumerate(held_out())]
        values = measure_dial(task, cases, ends)
        chosen = choose(POSITIONS, values)
        found[task] = {
            "positions": POSITIONS,
            "values": values,
            "chosen": chosen,
            "images": [file.stem for file in held_out()],
            "networks": [net.record for net in ends],
        }
        print(f"{task}: true images' NIQE {np.mean(values['true_niqe']):.2f}")
        print("position" + "".join(f"{name:>10}" for name in MEASURED))
        for i, position in enumerate(POSITIONS):
            means = "".join(f"{np.mean(values[name][i]):10.4g}" for name in MEASURED)
            print(f"{position:8g}{means}")
        print(f"chosen: {chosen:g}; NATURALNESS has {NATURALNESS[task]:g}\n")
    results.write_result(
        "restoration_dial_bsds500",
        results.rounded(found, 5),
        data=f"every 20th photo of BSDS500's train and test parts, {SIDE} x {SIDE} in the middle",
        network=None,
        started=started,
        device=DEVICE,
    )


if __name__ == "__main__":
    main()
