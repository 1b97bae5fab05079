"""Measure which differences between paper and official code put images in another order.

    python -m data_scripts.official_differences

For chapter 10. Takes the first 40 photos of ``$DSD_DATA/bsds500/test``, damages each in seven ways
and measures every version with both sides of each difference. Writes
``book/results/official_differences_bsds500.json``: measure -> values, one row per photo and one
column per version, from which the chapter counts reordered pairs. ``"partners"`` holds the scores
of the script of Table 2, photo × partner × version.
"""

import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm import tqdm

import dsd_lib as dsd
from data_scripts.shared.results import begin, rounded, write_result
from dsd_lib.book.bench import LAYERS, center, distance, grams, versions
from dsd_lib.book.official import (
    contextual,
    dequantize,
    imresize_rounded_down,
    partner_scores,
    psnr_y,
    sorted_differences,
)
from dsd_lib.descriptor import DEFAULT_LAYERS, self_dissimilarity
from dsd_lib.files import data_folder, list_images
from dsd_lib.no_reference import Psi

PHOTOS, SEED, BATCH = 40, 0, 16  # the authors' training batch
SIDE, PARTNER_SIDE, CONTEXTUAL_SIDE, CONTEXTUAL_LAYER = 128, 208, 64, "relu3_1"


def measure(x: Tensor, net: dsd.Backbone, seed: int) -> dict[str, Tensor]:
    """Measure -> its value ``(7,)`` of each damaged version of one photo.

    Args:
        x: the photo ``(1, 3, H, W)``.
        net: the feature network.
        seed: of the dequantization.
    """
    bench = versions(center(x, SIDE))  # (1 + 7, 3, 128, 128)
    maps = net(bench, (*LAYERS, net.last_conv))
    fine = {layer: dsd.gram_matrix(maps[layer])[None] for layer in LAYERS}  # (1, 1 + 7, C, C)
    small = grams([bench], net, alpha=2)
    matrices = {"style": fine, "style_small": small, "dsd": self_dissimilarity(fine, small)}
    noisy = torch.cat([dequantize(z[None], 10 * seed + i) for i, z in enumerate(bench)])
    matrices["dsd_dequantized"] = self_dissimilarity(
        grams([noisy], net), grams([noisy], net, alpha=2)
    )
    odd = bench[..., : SIDE - 1, : SIDE - 1]
    fine = grams([odd], net)
    for name, resize in (("up", dsd.imresize), ("down", imresize_rounded_down)):
        small = grams([odd], net, alpha=2, resize=resize)
        matrices[f"dsd_rounded_{name}"] = self_dissimilarity(fine, small)
    found = {
        f"{k}/{layer}": distance(m, [layer])[0] for k, m in matrices.items() for layer in LAYERS
    }
    for name in ("exact", "rounded"):
        found[f"psnr_{name}"] = psnr_y(bench[1:], bench[:1], rounded=name == "rounded")
    found["reconstruction"] = (bench[1:] - bench[:1]).abs().mean(dim=(1, 2, 3))
    return found | perceptual(maps[net.last_conv]) | projected_distribution(maps["relu2_1"])


def perceptual(f: Tensor) -> dict[str, Tensor]:
    """The perceptual distance before and after a ReLU."""
    after = f.relu()
    return {
        "perceptual": (f[1:] - f[:1]).abs().mean(dim=(1, 2, 3)),
        "perceptual_relu": (after[1:] - after[:1]).abs().mean(dim=(1, 2, 3)),
    }


def projected_distribution(f: Tensor) -> dict[str, Tensor]:
    """PDL in its four variants."""
    generator = torch.Generator().manual_seed(SEED)
    lines = F.normalize(torch.randn(128, 128, generator=generator), dim=0)
    found = {}
    for name, directions in (("channels", None), ("lines", lines)):
        difference = sorted_differences(f, directions)
        found[f"pdl_{name}_squared"] = difference.square().mean(dim=(1, 2))
        found[f"pdl_{name}_absolute"] = difference.abs().mean(dim=(1, 2))
    return found


def contextual_losses(photos: list[Tensor], net: dsd.Backbone) -> dict[str, list[list[float]]]:
    """The contextual loss around each target's own mean, and around that of a batch of 16."""
    benches = [versions(center(x, SIDE)) for x in photos]
    maps = [net(center(x, CONTEXTUAL_SIDE), [CONTEXTUAL_LAYER])[CONTEXTUAL_LAYER] for x in benches]
    means = torch.stack([f[0].mean(dim=(1, 2)) for f in maps])  # (photos, C), of the targets
    found: dict[str, list[list[float]]] = {"contextual_own": [], "contextual_batch": []}
    for i, f in enumerate(maps):
        batch = [(i + k) % len(photos) for k in range(BATCH)]
        for name, mean in (("own", means[i]), ("batch", means[batch].mean(dim=0))):
            found[f"contextual_{name}"].append(contextual(f[1:], f[:1], mean).tolist())
    return found


def partners(x: Tensor, psi: Psi, net: dsd.Backbone) -> list[list[float]]:
    """Scores of the versions of one photo, for each other one as the partner."""
    return partner_scores(versions(center(x, PARTNER_SIDE)), psi, net).tolist()


@torch.no_grad()
def main() -> None:
    """Measure everything."""
    started = begin()
    net, psi = dsd.load_backbone("vgg16"), dsd.load_psi(alpha=4)
    photos = [dsd.load_image(f) for f in list_images(data_folder("bsds500") / "test")[:PHOTOS]]
    rows, scores = [], []
    for i, x in enumerate(tqdm(photos)):
        rows.append({name: v.tolist() for name, v in measure(x, net, seed=i).items()})
        scores.append(partners(x, psi, net))
    values = {name: [row[name] for row in rows] for name in rows[0]}
    values |= contextual_losses(photos, net)
    write_result(
        "official_differences_bsds500",
        {
            "layers": DEFAULT_LAYERS,
            "values": rounded(values, 6),
            "partners": rounded(scores, 6),
        },
        data=f"{PHOTOS} photos of BSDS500 test",
        network="vgg16",
        started=started,
        seed=SEED,
    )


if __name__ == "__main__":
    main()
