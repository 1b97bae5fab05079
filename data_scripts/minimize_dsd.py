"""Drive ‖DSD₄‖ of super-resolved images down, and up (Fig. 6), for chapter 6.

    python -m data_scripts.minimize_dsd standing
    python -m data_scripts.minimize_dsd path
    python -m data_scripts.minimize_dsd levels

Needs published 4× outputs on Set5 and Set14, and their truths, in ``$DSD_DATA/sr_outputs/{HR,EDSR,
SRResNet,SRGAN}/<name>.webp``. The layer is relu3_1.

- ``standing``: ‖DSD‖ of every output next to that of its truth (about 3 minutes on one core).
  SRGAN's outputs have lost some contrast, which alone lowers ‖DSD‖; so they are measured as they
  are and with the contrast of the network's input restored. The other two start from the latter.
- ``path``: the paper's experiment, 5000 steps of gradient descent on ‖DSD₄‖ from a GAN's output,
  and 2000 from a smooth one, with measures and pictures on the way (about 10 minutes).
- ``levels``: from both systems on all 19 pictures, down or up to given multiples of the truth's
  ‖DSD₄‖: where is the picture nearest to the truth, and where most natural (about 8 minutes)?

Each writes ``book/results/minimize_dsd_<what>.json``, the last two also pictures, ``.webp``.
Nothing is drawn at random but the noise of one control. Convolutions of the descent run in
bfloat16, whatever is measured in float32.
"""

import argparse
import io
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor
from tqdm import tqdm

import dsd_lib as dsd
from data_scripts.dsd_extremes import looks
from data_scripts.dsd_histogram import ALPHAS, LAYERS, norms
from data_scripts.fingerprint import finest
from data_scripts.shared.results import RESULTS, begin, rounded, write_result
from dsd_lib.files import data_folder, list_images, write_atomically
from dsd_lib.quality.baselines import psnr, shift_tolerant_lpips
from dsd_lib.quality.natural_scenes import niqe

LAYER, ALPHA = "relu3_1", 4
PUBLISHED = ("SRGAN", "SRResNet", "EDSR")
GAN, SMOOTH = "SRGAN restored", "SRResNet"  # one network, trained with a GAN and on squared error
SYSTEMS = ("SRGAN", GAN, "SRResNet", "EDSR")
STARTS = (GAN, SMOOTH)
SIDE, SHOWN = 192, 128  # the central crop that is changed, and what is kept of it as a picture
# Not in the paper. With 10, a third of the norm is left after about 500 steps, as in Fig. 6.
STEP_SIZE = 10.0
PATH_PICTURE = "comic"
MARKS = (0, 10, 25, 50, 100, 200, 350, 500, 750, 1000, 1500, 2000, 3000, 4000, 5000)
STEPS = {GAN: 5000, SMOOTH: 2000}  # the paper's 5000 from the GAN's output
SHOTS = (0, 25, 50, 100, 200, 500, 1000, 2000, 5000)  # those of MARKS kept as pictures
LEVELS = (1.5, 1.25, 1.1, 1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4)  # multiples of the truth's ‖DSD₄‖
LEVEL_STEP_SIZE = 30.0  # there only the places on the path matter, not how long it takes
MOST_STEPS = 800
LEVEL_PICTURES = ("baboon", "butterfly", "zebra")
SEED = 0


def pictures(name: str, folder: Path) -> dict[str, Tensor]:
    """The truth, ``HR``, and what each of ``SYSTEMS`` made of it, ``(1, 3, H, W)`` each."""
    out = {s: dsd.load_image(folder / s / f"{name}.webp") for s in ("HR", *PUBLISHED)}
    slope, offset = line(out["SRGAN"], out["HR"])
    out[GAN] = ((out["SRGAN"] - offset) / slope).clamp(0, 1)
    return {s: out[s] for s in ("HR", *SYSTEMS)}


def line(x: Tensor, truth: Tensor) -> tuple[float, float]:
    """Slope and offset of ``x↓4`` over ``truth↓4``, which is what the networks were given.

    A slope below 1 is a loss of contrast at scales where nothing had to be guessed.

    >>> y = dsd.sample_images()["cat"]
    >>> [round(v, 3) for v in line(0.9 * y + 0.05, y)]
    [0.9, 0.05]
    """
    a, b = (dsd.imresize(z, scale=1 / 4).flatten() for z in (x, truth))
    slope = (((a - a.mean()) * (b - b.mean())).sum() / (b - b.mean()).square().sum()).item()
    return slope, (a.mean() - slope * b.mean()).item()


def middle(x: Tensor, side: int) -> Tensor:
    """The central ``side`` × ``side`` pixels.

    >>> middle(torch.zeros(1, 3, 20, 30), 8).shape
    torch.Size([1, 3, 8, 8])
    """
    top, left = ((s - side) // 2 for s in x.shape[2:])
    return x[..., top : top + side, left : left + side].contiguous()


def norm(x: Tensor, net: dsd.Backbone) -> Tensor:
    """‖DSD₄‖ at relu3_1, ``(N,)``."""
    return dsd.dsd_norm(x, net, [LAYER], ALPHA, check_range=False)[:, 0]


def descend(
    start: Tensor, net: dsd.Backbone, steps: int, *, up: bool = False, step_size: float = STEP_SIZE
) -> Iterator[tuple[int, float, Tensor]]:
    """Plain gradient descent on ‖DSD₄‖ by the pixels of a picture, clamped to [0, 1].

    Args:
        start: ``(1, 3, H, W)`` in [0, 1].
        net: the feature network.
        steps: how many.
        up: ascend instead.
        step_size: what the gradient is multiplied by.

    Yields:
        ``steps + 1`` times: the step, ‖DSD₄‖ and the picture, beginning with ``start`` itself.

    >>> x = dsd.sample_images()["tissue"][..., :64, :64]
    >>> path = list(descend(x, dsd.load_backbone(), steps=3))
    >>> [step for step, _, _ in path], path[-1][1] < path[0][1]
    ([0, 1, 2, 3], True)
    """
    x = start.clone()
    for step in range(steps + 1):
        x.requires_grad_()
        with torch.enable_grad():  # in float32: many processors only emulate bfloat16, slowly
            value = norm(x, net).sum()
        (gradient,) = torch.autograd.grad(value, x)
        x = x.detach()
        yield step, value.item(), x
        x = (x + (step_size if up else -step_size) * gradient).clamp(0, 1)


def reach(
    start: Tensor,
    net: dsd.Backbone,
    targets: Sequence[float],
    *,
    most: int = MOST_STEPS,
    step_size: float = LEVEL_STEP_SIZE,
) -> dict[float, tuple[int, Tensor]]:
    """Move a picture's ‖DSD₄‖ to each target, from above or from below, and stop there.

    As long as it has not arrived, gradient descent on \\|‖DSD₄(x)‖ - t\\| takes the same steps for
    every target t on one side of the start. So one path down and one path up serve all targets.

    Args:
        start: ``(1, 3, H, W)`` in [0, 1].
        net: the feature network.
        targets: values of ‖DSD₄‖.
        most: steps after which a target that was not reached is left out.
        step_size: of :func:`descend`.

    Returns:
        target -> the step and the first picture at or past it.

    >>> x, net = dsd.sample_images()["tissue"][..., :64, :64], dsd.load_backbone()
    >>> value = norm(x, net).item()
    >>> found = reach(x, net, [0.95 * value, 1.05 * value])
    >>> norm(found[0.95 * value][1], net) < value < norm(found[1.05 * value][1], net)
    tensor([True])
    """
    found = {}
    with torch.no_grad():
        value = norm(start, net).item()
    for up in (False, True):
        left = sorted((t for t in targets if (t > value) == up), reverse=not up)
        for step, now, x in descend(start, net, most, up=up, step_size=step_size):
            while left and (now >= left[0] if up else now <= left[0]):
                found[left.pop(0)] = (step, x)
            if not left:
                break
    return found


def noise_to(start: Tensor, net: dsd.Backbone, target: float) -> tuple[float, Tensor] | None:
    """Lower ‖DSD₄‖ to ``target`` by adding white noise: its standard deviation and the picture.

    None where no noise of at most 0.1 does it. A control: the same number by other means.
    """
    noise = torch.randn(start.shape, generator=torch.Generator().manual_seed(SEED))

    def noisy(level: float) -> Tensor:
        return (start + level * noise).clamp(0, 1)

    with torch.no_grad():
        levels = [i / 100 for i in range(11)]
        high = next((v for v in levels if norm(noisy(v), net).item() <= target), None)
        if not high:
            return None
        low = high - 0.01
        for _ in range(6):
            level = (low + high) / 2
            low, high = (level, high) if norm(noisy(level), net).item() > target else (low, level)
    return high, noisy(high)


@torch.no_grad()
def measure(x: Tensor, truth: Tensor, net: dsd.Backbone) -> dict[str, float]:
    """What is recorded of a picture on the way.

    ``norm``: ‖DSD₄‖; ``dsd_distance``: ‖DSD₄(x) - DSD₄(truth)‖; ``psnr`` in dB and ``lpips``,
    the shift-tolerant one, against the truth; ``niqe``; ``gradient`` and ``contrast``: as in
    chapter 4; ``finest``: root mean square of the detail that ↓2 loses.
    """
    values = looks(x)
    return {
        "norm": norm(x, net).item(),
        "dsd_distance": dsd.dsd_distance(x, truth, net, [LAYER], ALPHA).item(),
        "psnr": min(psnr(x, truth).item(), 100.0),  # JSON has no infinity
        "lpips": shift_tolerant_lpips(x, truth).item(),
        "niqe": niqe(x).item(),
        "gradient": values["gradient"],
        "contrast": values["contrast"],
        "finest": finest(x),
    }


def sheet(rows: Sequence[Sequence[Tensor]], quality: int = 85) -> bytes:
    """A WebP of the middle 128×128 pixels of the pictures, row by row."""
    picture = torch.cat([torch.cat([middle(x, SHOWN) for x in row], dim=3) for row in rows], dim=2)
    buffer = io.BytesIO()
    Image.fromarray(dsd.to_array(picture)).save(buffer, format="webp", quality=quality, method=6)
    return buffer.getvalue()


def standing(names: Sequence[str], folder: Path, net: dsd.Backbone) -> dict:
    """‖DSD₂‖ and ‖DSD₄‖ of the truth and of every system's output, of whole pictures.

    Returns:
        ``norms``: ``"2"`` and ``"4"`` -> system -> layer -> a value a picture; ``slopes``: system
        -> the first number of :func:`line`, a value a picture.
    """
    systems = ("HR", *SYSTEMS)
    out = {str(a): {s: {k: [] for k in LAYERS} for s in systems} for a in ALPHAS}
    slopes = {s: [] for s in SYSTEMS}
    for name in tqdm(names):
        made = pictures(name, folder)
        for system, x in made.items():
            for alpha, values in norms(x, net).items():
                for layer, value in zip(LAYERS, values, strict=True):
                    out[alpha][system][layer].append(value)
        for system in SYSTEMS:
            slopes[system].append(line(made[system], made["HR"])[0])
    return {"norms": out, "slopes": slopes}


def path(
    start: Tensor, truth: Tensor, net: dsd.Backbone, marks: Sequence[int]
) -> tuple[list[dict[str, float]], dict[int, Tensor]]:
    """The descent from one start: measures at ``marks``, and the pictures there.

    Besides, the first picture with ‖DSD₄‖ at or below the truth's, if it comes, is measured as the
    entry that says ``"truth's value": True``.
    """
    with torch.no_grad():
        target = norm(truth, net).item()
    steps, kept, passed = [], {}, False
    for step, value, x in descend(start, net, marks[-1]):
        passes = not passed and step > 0 and value <= target < steps[0]["norm"]
        passed = passed or passes
        if passes or step in marks:
            entry = {"step": step, **measure(x, truth, net)}
            steps.append(entry | ({"truth's value": True} if passes else {}))
            kept[step] = x
    return steps, kept


def levels(
    start: Tensor,
    truth: Tensor,
    net: dsd.Backbone,
    multiples: Sequence[float] = LEVELS,
    most: int = MOST_STEPS,
) -> tuple[dict, dict[float, Tensor]]:
    """One start moved to multiples of the truth's ‖DSD₄‖: measures, and the pictures.

    ``at`` holds an entry a multiple that was reached; ``noise`` the control that comes to the
    truth's value by noise, where it can.
    """
    with torch.no_grad():
        target = norm(truth, net).item()
    found = reach(start, net, [m * target for m in multiples], most=most)
    at, kept = {}, {}
    for m in multiples:
        if m * target in found:
            step, x = found[m * target]
            at[f"{m:g}"] = {"step": step, **measure(x, truth, net)}
            kept[m] = x
    by_noise = noise_to(start, net, target)
    out = {"start": measure(start, truth, net), "at": at}
    if by_noise is not None:
        level, x = by_noise
        out["noise"] = {"level": level, **measure(x, truth, net)}
    return out, kept


def run_path(folder: Path, net: dsd.Backbone, name: str) -> tuple[dict, bytes]:
    """The long descent from both starts; result and pictures, a row a start, the truth first.

    Where one start went fewer steps than the other, its row ends in gray tiles.
    """
    cut = {s: middle(x, SIDE) for s, x in pictures(name, folder).items()}
    runs, rows = {}, []
    for system in STARTS:
        marks = [mark for mark in MARKS if mark <= STEPS[system]]
        runs[system], kept = path(cut[system], cut["HR"], net, marks)
        gray = torch.full_like(cut["HR"], 0.5)
        rows.append([cut["HR"], *(kept.get(step, gray) for step in SHOTS)])
        print(system, *(f"{e['step']}: {e['norm']:.4f}" for e in runs[system]), flush=True)
    out = {
        "picture": name,
        "shots": SHOTS,
        "truth": measure(cut["HR"], cut["HR"], net),
        "paths": runs,
    }
    return out, sheet(rows)


def run_levels(names: Sequence[str], folder: Path, net: dsd.Backbone) -> tuple[dict, bytes]:
    """All pictures, both starts; result and pictures, a row a picture and start.

    A row holds the truth, the start and one tile a level; levels not reached are gray.
    """
    out, rows = {}, []
    for name in tqdm(names):
        cut = {s: middle(x, SIDE) for s, x in pictures(name, folder).items()}
        out[name] = {"truth": measure(cut["HR"], cut["HR"], net)}
        for system in STARTS:
            out[name][system], kept = levels(cut[system], cut["HR"], net)
            if name in LEVEL_PICTURES:
                gray = torch.full_like(cut["HR"], 0.5)
                tiles = (kept.get(m, gray) for m in LEVELS)
                rows.append([cut["HR"], cut[system], *tiles])
    shown = {"multiples": LEVELS, "rows": [[n, s] for n in LEVEL_PICTURES for s in STARTS]}
    return {"pictures": out, **shown}, sheet(rows)


def main() -> None:
    """Run one of the experiments."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("standing", "path", "levels"))
    parser.add_argument("--output", type=Path, default=RESULTS, help="folder of the results")
    args = parser.parse_args()
    started = begin()
    folder = data_folder("sr_outputs")
    names = [f.stem for f in list_images(folder / "HR")]
    net = dsd.load_backbone("vgg16")
    net.requires_grad_(False)
    common = {"layer": LAYER, "alpha": ALPHA, "side": SIDE, "shown": SHOWN, "step_size": STEP_SIZE}
    data = "published 4× outputs on Set5 and Set14, 19 images"
    name, sheet_bytes = f"minimize_dsd_{args.what}", None
    if args.what == "standing":
        out = {"layers": LAYERS, "names": names, **standing(names, folder, net)}
    elif args.what == "path":
        out, sheet_bytes = run_path(folder, net, PATH_PICTURE)
        out |= common
        data = f"the published 4× outputs of {PATH_PICTURE}, central {SIDE}×{SIDE}"
    else:
        out, sheet_bytes = run_levels(names, folder, net)
        out |= common | {"step_size": LEVEL_STEP_SIZE}
        data += f", central {SIDE}×{SIDE}"
    if sheet_bytes is not None:
        args.output.mkdir(parents=True, exist_ok=True)
        write_atomically(args.output / f"{name}.webp", sheet_bytes)
    write_result(
        name,
        rounded(out),
        data=data,
        network="vgg16",
        started=started,
        seed=SEED if args.what == "levels" else None,
        folder=args.output,
    )


if __name__ == "__main__":
    main()
