"""Images made from Gram matrices alone (Gatys et al. 2015), with their path, for chapter 2.

    python -m data_scripts.texture_synthesis

Starts from noise and changes the pixels until the Gram matrices are those of a reference. Writes
``book/results/texture_synthesis_embedded.json`` (losses) and ``.webp`` (pictures, one row a
reference or a depth, the reference first). Needs the embedded pictures only, and a few minutes.
"""

import io
from collections.abc import Sequence

import torch
from PIL import Image
from torch import Tensor

import dsd_lib as dsd
from data_scripts.shared.results import RESULTS, begin, write_result
from dsd_lib.files import write_atomically

LAYERS = ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1")
SIDE = 128
SHOTS = (0, 4, 8, 12, 16, 24, 40, 80, 160)  # network passes after which a picture is kept
DEPTH_PASSES = 80
SEED = 0


def references() -> dict[str, Tensor]:
    """The references by name, each ``(1, 3, 128, 128)``.

    >>> {name: tuple(x.shape) for name, x in references().items()}["gravel"]
    (1, 3, 128, 128)
    """
    pictures = dsd.sample_images()
    return {
        "gravel": pictures["gravel"][..., :SIDE, :SIDE],
        "tissue": pictures["tissue"][..., 64 : 64 + SIDE, 64 : 64 + SIDE],
        "astronaut": dsd.imresize(pictures["astronaut"], size=(SIDE, SIDE)).clamp(0, 1),
    }


def synthesize(
    reference: Tensor, net: dsd.Backbone, layers: Sequence[str], passes: int, seed: int = SEED
) -> tuple[list[Tensor], list[float]]:
    """Search a picture whose Grams at ``layers`` are those of ``reference``, from noise.

    Args:
        reference: ``(1, 3, H, W)`` in [0, 1].
        net: the feature network.
        layers: names out of ``net.layers``.
        passes: how often the network may be asked.
        seed: of the noise.

    Returns:
        The picture ``(1, 3, H, W)`` in [0, 1] that each pass saw, and its loss: the sum over layers
        of the squared relative error of the Gram.

    >>> y = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    >>> path, losses = synthesize(y, dsd.load_backbone(), ["relu1_1"], passes=12)
    >>> losses[-1] < losses[0]
    True
    """
    with torch.no_grad():
        targets = {k: dsd.gram_matrix(f) for k, f in net(reference, layers).items()}
    noise = torch.randn(reference.shape, generator=torch.Generator().manual_seed(seed))
    z = (0.1 * noise).requires_grad_()  # the picture is sigmoid(z), so it stays in [0, 1]
    optimizer = torch.optim.LBFGS(
        [z], max_iter=passes, max_eval=passes, history_size=20, tolerance_grad=0,
        tolerance_change=0, line_search_fn="strong_wolfe",
    )  # fmt: skip
    path, losses = [], []

    def closure() -> Tensor:
        optimizer.zero_grad()
        x = torch.sigmoid(z)
        maps = net(x, layers, check_range=False)
        loss = sum(
            (dsd.gram_matrix(f) - targets[k]).square().sum() / targets[k].square().sum()
            for k, f in maps.items()
        )
        loss.backward()
        path.append(x.detach())
        losses.append(loss.item())
        return loss

    optimizer.step(closure)
    return path, losses


def main() -> None:
    """Synthesize from each reference, and from gravel at each depth."""
    started = begin()
    net = dsd.load_backbone("vgg16")
    rows, paths, depths = [], {}, {}
    for name, reference in references().items():
        path, losses = synthesize(reference, net, LAYERS, SHOTS[-1] + 1)
        rows.append([reference, *(path[i] for i in SHOTS)])
        paths[name] = [float(f"{losses[i]:.4g}") for i in SHOTS]
        print(name, paths[name], flush=True)
    gravel = references()["gravel"]
    rows.append([gravel])
    for depth in range(1, len(LAYERS) + 1):
        path, losses = synthesize(gravel, net, LAYERS[:depth], DEPTH_PASSES)
        rows[-1].append(path[-1])
        depths[LAYERS[depth - 1]] = float(f"{losses[-1]:.4g}")
        print(LAYERS[depth - 1], losses[-1], flush=True)
    rows[-1] += [torch.zeros_like(gravel)] * (len(rows[0]) - len(rows[-1]))
    sheet = torch.cat([torch.cat(row, dim=3) for row in rows], dim=2)
    buffer = io.BytesIO()
    Image.fromarray(dsd.to_array(sheet)).save(buffer, format="webp", quality=90, method=6)
    write_atomically(RESULTS / "texture_synthesis_embedded.webp", buffer.getvalue())
    write_result(
        "texture_synthesis_embedded",
        {
            "layers": LAYERS,
            "side": SIDE,
            "passes": SHOTS,
            "rows": [*paths, "gravel by depth"],
            "loss": paths,
            "depth_passes": DEPTH_PASSES,
            "depth_loss": depths,
        },
        data="embedded gravel, tissue and astronaut at 128×128",
        network="vgg16",
        started=started,
        seed=SEED,
    )


if __name__ == "__main__":
    main()
