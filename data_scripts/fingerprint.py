"""Give an image the fingerprint of another (Fig. 4), once by DSD and once by style, for chapter 4.

    python -m data_scripts.fingerprint

Changes the pixels of a content picture until its DSD pair, DSD₂ at scale 1 and at scale 1/2, is
that of a reference, and again until its style triple, the Grams at scales 1, 1/2 and 1/4, is.
Writes ``book/results/fingerprint.json`` (paths and measures), ``fingerprint_path.webp`` (the
pictures on the way of the first pair, a row an objective, a column a kept step) and
``fingerprint_results.webp`` (content, DSD, style, reference; a row a pair). Needs the embedded
pictures only. Nothing is drawn at random: each path starts at the content picture.
"""

import argparse
import io
import math

import torch
from PIL import Image
from torch import Tensor

import dsd_lib as dsd
from data_scripts.dsd_extremes import looks, smoothed
from data_scripts.shared.results import RESULTS, begin, rounded, write_result
from dsd_lib.descriptor import DEFAULT_LAYERS, self_dissimilarity
from dsd_lib.files import write_atomically
from dsd_lib.quality.luma import gray

SIDE, SHOWN = 192, 128
OBJECTIVES = ("dsd", "style")
SHOTS = (0, 2, 4, 7, 10, 15, 20, 30, 45, 70, 120, 250)  # steps after which a picture is kept
PROGRESS = (0.5, 0.25)  # shares of the objective left at which the two paths are compared
LEARNING_RATE = 0.005  # about one gray level of 255 a step
PAIRS = {  # content and reference, each with the corner of its 192×192 crop (top, left)
    "astronaut to gravel": (("astronaut", 0, 40), ("gravel", 0, 0)),
    "cat to tissue": (("cat", 20, 60), ("tissue", 32, 32)),
    "rocket to flower": (("rocket", 32, 96), ("flower", 32, 100)),
    "flower to temple": (("flower", 32, 100), ("temple", 40, 96)),
}


def pairs() -> dict[str, tuple[Tensor, Tensor]]:
    """Name -> content and reference, each ``(1, 3, 192, 192)``.

    >>> [tuple(x.shape) for x in pairs()["cat to tissue"]]
    [(1, 3, 192, 192), (1, 3, 192, 192)]
    """
    pictures = dsd.sample_images()

    def cut(name: str, top: int, left: int) -> Tensor:
        return pictures[name][..., top : top + SIDE, left : left + SIDE].contiguous()

    return {name: (cut(*content), cut(*reference)) for name, (content, reference) in PAIRS.items()}


def pyramid(x: Tensor, net: dsd.Backbone) -> list[dict[str, Tensor]]:
    """Gram matrices of ``x``, ``x↓2`` and ``x↓4`` at relu2_1, relu2_2 and relu3_1."""
    out = []
    for alpha in (1, 2, 4):
        small = x if alpha == 1 else dsd.imresize(x, scale=1 / alpha)
        maps = net(small, DEFAULT_LAYERS, check_range=False)
        out.append({layer: dsd.gram_matrix(f) for layer, f in maps.items()})
    return out


def fingerprints(grams: list[dict[str, Tensor]]) -> dict[str, list[Tensor]]:
    """The DSD pair and the style triple out of one pyramid of Grams, a matrix a scale and layer.

    The DSD of ``x↓2`` is taken between ``x↓2`` and ``x↓4``, one resize from the full picture.
    """
    fine, half, quarter = grams
    return {
        "dsd": [
            matrix
            for pair in ((fine, half), (half, quarter))
            for matrix in self_dissimilarity(*pair).values()
        ],
        "style": [level[k] for level in grams for k in level],
    }


def distance(a: list[Tensor], b: list[Tensor]) -> Tensor:
    """Mean absolute difference of the matrices, summed over scales and layers, ``(N,)``."""
    return sum((m - n).abs().mean(dim=(1, 2)) for m, n in zip(a, b, strict=True))


def match(
    content: Tensor,
    reference: Tensor,
    net: dsd.Backbone,
    objective: str,
    steps: int,
    *,
    stop: int | None = None,
) -> tuple[list[Tensor], list[dict[str, float]]]:
    """Move the pixels of ``content`` towards the fingerprint of ``reference``, by Adam.

    Args:
        content: where to start, ``(1, 3, H, W)`` in [0, 1].
        reference: the picture to match, of any size.
        net: the feature network.
        objective: ``"dsd"`` or ``"style"``.
        steps: how many; the learning rate falls to nearly 0 over them, as a cosine.
        stop: end after so many of them.

    Returns:
        The ``steps + 1`` pictures on the way and, for each, both distances to the reference.

    >>> x, y = (torch.full((1, 3, 32, 32), v) for v in (0.3, 0.6))
    >>> path, distances = match(x, y, dsd.load_backbone(), "style", steps=3)
    >>> len(path), distances[-1]["style"] < distances[0]["style"]
    (4, True)
    """
    with torch.no_grad():
        target = fingerprints(pyramid(reference, net))
    x = content.clone().requires_grad_()
    optimizer = torch.optim.Adam([x], lr=LEARNING_RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(
        optimizer, max(steps, 1), eta_min=LEARNING_RATE / 50
    )
    path, distances = [], []
    stop = steps if stop is None else stop
    for step in range(stop + 1):
        optimizer.zero_grad()
        found = fingerprints(pyramid(x, net))
        losses = {name: distance(found[name], target[name]).sum() for name in OBJECTIVES}
        path.append(x.detach().clone())
        distances.append({name: loss.item() for name, loss in losses.items()})
        if step == stop:
            break
        losses[objective].backward()
        optimizer.step()
        schedule.step()
        with torch.no_grad():
            x.clamp_(0, 1)
    return path, distances


def bands(change: Tensor) -> list[float]:
    """Energy (mean square) of a change by scale: finer than ↓2 keeps, between ↓2 and ↓4, coarser.

    >>> bands(torch.full((1, 3, 16, 16), 0.5))
    [0.0, 0.0, 0.25]
    """
    half, quarter = smoothed(change, 2), smoothed(change, 4)
    parts = (change - half, half - quarter, quarter)
    return [round(part.square().mean().item(), 10) for part in parts]


def finest(x: Tensor) -> float:
    """Root mean square of the brightness detail that ↓2 loses."""
    y = gray(x)
    return (y - smoothed(y, 2)).square().mean().sqrt().item()


def describe(x: Tensor, content: Tensor, net: dsd.Backbone) -> dict:
    """Measures of one picture on a path."""
    parts = bands(x - content)
    total = sum(parts)
    return {
        "finest": finest(x),
        "gradient": looks(x)["gradient"],
        "change": math.sqrt((x - content).square().mean().item()),
        "shares": [part / total if total else 0.0 for part in parts],
        "perceptual": dsd.perceptual_distance(x, content, net).item(),
    }


def experiment(
    content: Tensor, reference: Tensor, net: dsd.Backbone, steps: int, shots: tuple[int, ...]
) -> tuple[dict, dict[str, list[Tensor]]]:
    """Both objectives on one pair: measures, and the kept pictures of each."""
    out: dict = {
        "content": {"finest": finest(content), "gradient": looks(content)["gradient"]},
        "reference": {"finest": finest(reference), "gradient": looks(reference)["gradient"]},
    }
    kept = {}
    for objective in OBJECTIVES:
        path, distances = match(content, reference, net, objective, steps)
        left = {
            name: [d[name] / distances[0][name] for d in distances] for name in OBJECTIVES
        }  # as shares of the distance at the start
        with torch.no_grad():
            out[objective] = {
                "left": left,
                "path": [{"step": i, **describe(path[i], content, net)} for i in shots],
                "at": {},
            }
            for share in PROGRESS:
                step = next((i for i, v in enumerate(left[objective]) if v <= share), None)
                if step is not None:
                    at = {"step": step, **describe(path[step], content, net)}
                    out[objective]["at"][f"{share:g}"] = at
        kept[objective] = [path[i] for i in shots]
    return out, kept


def sheet(rows: list[list[Tensor]]) -> bytes:
    """A WebP of the middle 128×128 pixels of the pictures, row by row."""
    rim = (SIDE - SHOWN) // 2
    cut = [[x[..., rim : rim + SHOWN, rim : rim + SHOWN] for x in row] for row in rows]
    picture = torch.cat([torch.cat(row, dim=3) for row in cut], dim=2)
    buffer = io.BytesIO()
    Image.fromarray(dsd.to_array(picture)).save(buffer, format="webp", quality=90, method=6)
    return buffer.getvalue()


def main() -> None:
    """Run both objectives on every pair."""
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()
    started = begin()
    net = dsd.load_backbone("vgg16")
    out, finals, path = {}, [], None
    for name, (content, reference) in pairs().items():
        out[name], kept = experiment(content, reference, net, SHOTS[-1], SHOTS)
        path = path or [kept[objective] for objective in OBJECTIVES]
        finals.append([content, *(kept[objective][-1] for objective in OBJECTIVES), reference])
        print(name, {k: out[name][k]["path"][-1] for k in OBJECTIVES}, flush=True)
    write_atomically(RESULTS / "fingerprint_path.webp", sheet(path))
    write_atomically(RESULTS / "fingerprint_results.webp", sheet(finals))
    write_result(
        "fingerprint",
        {
            "layers": DEFAULT_LAYERS,
            "side": SIDE,
            "shown": SHOWN,
            "learning_rate": LEARNING_RATE,
            "shots": SHOTS,
            "pairs": rounded(out),
        },
        data=f"{len(PAIRS)} pairs of embedded images, {SIDE}×{SIDE}",
        network="vgg16",
        started=started,
    )


if __name__ == "__main__":
    main()
