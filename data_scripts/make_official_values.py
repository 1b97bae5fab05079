"""Write the official values of DSD as a file for other implementations, with how to get the images.

    python -m data_scripts.make_official_values

The values are those of ``tests/golden/official.json``, without what is not of DSD. The page
``book/dsd_for_others.md`` offers the file for download. A test fails when the stored file is not
what this script writes, and others hold the library and the plain reference against the values.
"""

import json

from data_scripts.shared.results import ROOT
from dsd_lib.backbones import VGG16_FILE, VGG16_SHA256
from dsd_lib.files import write_atomically

FILE = ROOT / "book" / "_static" / "dsd_official_values.json"
GOLDEN = ROOT / "tests" / "golden" / "official.json"
CROPS = {
    "astronaut": "skimage.data.astronaut()[0:256, 128:384] / 255",
    "coffee": "skimage.data.coffee()[80:320, 200:520] / 255",
}
DISTORTIONS = {
    "noise": "clip(y + 0.08 * n, 0, 1), n = numpy.random.default_rng(7).normal(0, 1, (1, 3, H, W)) "
    "as float32",
    "blur": "y made smaller by scale 0.5 and then enlarged to its own size, both by the resize of "
    "the definition, clipped to [0, 1]",
    "dark": "0.7 * y",
}
ABOUT = {
    "what": "Deep Self-Dissimilarity (Kligvasser, Rott Shaham, Bahat, Michaeli, NeurIPS 2021): "
    "the norm mean|DSD(y)| at each layer, the distance mean|DSD(x) - DSD(y)| summed over layers",
    "values_from": "the authors' released code, run once for this project with the network below, "
    "float32 on a CPU",
    "network": {
        "name": "VGG-16, Visual Geometry Group, University of Oxford",
        "file": f"dsd_lib/weights/{VGG16_FILE}",
        "sha256": VGG16_SHA256,
        "license": "CC BY 4.0",
        "input": "(x - (123.68, 116.779, 103.939) / 255) / 0.226, RGB in [0, 1]",
    },
    "tolerance": "1e-4 relative; 1e-5 absolute for the resize",
}


def content() -> dict:
    """What the file holds."""
    golden = json.loads(GOLDEN.read_text(encoding="utf-8"))
    norms: dict = {}
    distances: dict = {}
    for image in CROPS:
        norms[image] = _by_alpha(golden[image], "_norm")
        distances[image] = {name: _by_alpha(golden[image][name], "") for name in DISTORTIONS}
    return {
        "about": ABOUT,
        "images": {
            name: {"y": recipe, "shape": golden[name]["shape"], "mean": golden[name]["mean"]}
            for name, recipe in CROPS.items()
        },
        "distortions": DISTORTIONS,
        "norm": norms,
        "distance": distances,
        "resize": golden["imresize"],
    }


def _by_alpha(values: dict, suffix: str) -> dict[str, dict[str, float]]:
    """``"alpha 2"`` -> layers (joined by ``+`` where they are summed) -> value."""
    found = {}
    for alpha in (2, 4):
        start = f"dsd{alpha}{suffix}/"
        found[f"alpha {alpha}"] = {
            key.removeprefix(start): value for key, value in values.items() if key.startswith(start)
        }
    return found


def main() -> None:
    """Write the file."""
    write_atomically(FILE, json.dumps(content(), indent=1) + "\n")


if __name__ == "__main__":
    main()
