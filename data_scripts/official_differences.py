"""Measure which differences between paper and official code put images in another order.

    python -m data_scripts.official_differences

For chapter 10. Takes the first 100 photos of ``$DSD_DATA/bsds500/test``, damages each in seven ways
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

PHOTOS, SEED, BATCH = 100, 0, 16  # the authors' training batch
SIDE, PARTNER_SIDE, CONTEXTUAL_SIDE = 128, 208, 64


def measure(x: Tensor, companions: Tensor, net: dsd.Backbone, seed: int) -> dict[str, list[float]]:
    """Measure -> its value of each damaged version of one photo.

    Args:
        x: the photo ``(1, 3, H, W)``.
        companions: the other photos of a training batch, ``(15, 3, 64, 64)``.
        net: the feature network.
        seed: of the dequantization.
    """
    bench = versions(center(x, SIDE))  # (1 + 7, 3, 128, 128)
    fine, small = grams([bench], net), grams([bench], net, alpha=2)
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
    found |= other_losses(bench, net)
    middle = center(bench, CONTEXTUAL_SIDE)
    target = middle[:1].expand(len(middle) - 1, -1, -1, -1)
    for name, others in (("own", None), ("batch", companions)):
        found[f"contextual_{name}"] = contextual(middle[1:], target, others, net)
    for name in ("exact", "rounded"):
        found[f"psnr_{name}"] = psnr_y(bench[1:], bench[:1], rounded=name == "rounded")
    return {name: values.tolist() for name, values in found.items()}


def other_losses(bench: Tensor, net: dsd.Backbone) -> dict[str, Tensor]:
    """The other terms of Eq. (6), and PDL, each with its variants: name -> ``(7,)``."""
    maps = net(bench, ["relu2_1", net.last_conv])
    deep = maps[net.last_conv]
    found = {
        "reconstruction": (bench[1:] - bench[:1]).abs().mean(dim=(1, 2, 3)),
        "perceptual": (deep[1:] - deep[:1]).abs().mean(dim=(1, 2, 3)),
        "perceptual_relu": (deep[1:].relu() - deep[:1].relu()).abs().mean(dim=(1, 2, 3)),
    }
    generator = torch.Generator().manual_seed(SEED)
    lines = F.normalize(torch.randn(128, 128, generator=generator), dim=0)
    for name, directions in (("channels", None), ("lines", lines)):
        difference = sorted_differences(maps["relu2_1"], directions)
        found[f"pdl_{name}_squared"] = difference.square().mean(dim=(1, 2))
        found[f"pdl_{name}_absolute"] = difference.abs().mean(dim=(1, 2))
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
    middles = torch.cat([center(x, CONTEXTUAL_SIDE) for x in photos])
    rows, scores = [], []
    for i, x in enumerate(tqdm(photos)):
        companions = middles[[(i + 1 + k) % PHOTOS for k in range(BATCH - 1)]]
        rows.append(measure(x, companions, net, seed=i))
        scores.append(partners(x, psi, net))
    values = {name: [row[name] for row in rows] for name in rows[0]}
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
