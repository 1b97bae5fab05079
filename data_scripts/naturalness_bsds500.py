"""The naturalness (Eq. 5) of clean photos that ψ has not seen, for percentiles in the live page.

    python -m data_scripts.naturalness_bsds500

Asks ψ, for α = 2 and 4, about the 100 photos of BSDS500's ``val`` (``$DSD_DATA/bsds500``), whole,
and compares with their norms in ``book/results/dsd_histogram_bsds500.json``. ψ was trained on the
other 400 photos, so its errors on those would be too small. Writes
``book/_static/try/naturalness_bsds500.json``; takes half a minute on one core.
"""

import json
import time

import torch
from torch import tensor
from tqdm import tqdm

import dsd_lib as dsd
from data_scripts.shared.assets import TRY
from data_scripts.shared.results import RESULTS, rounded, write_result
from dsd_lib.files import data_folder
from dsd_lib.no_reference import load_psi

PART = "val/"


@torch.no_grad()
def main() -> None:
    """Measure BSDS500's val."""
    started = time.time()
    stored = json.loads((RESULTS / "dsd_histogram_bsds500.json").read_text("utf-8"))["results"]
    chosen = [i for i, name in enumerate(stored["names"]) if name.startswith(PART)]
    names = [stored["names"][i] for i in chosen]
    images = [dsd.load_image(data_folder("bsds500") / name) for name in tqdm(names)]
    results: dict[str, object] = {"layers": stored["layers"], "names": names}
    for alpha in (2, 4):
        psi = load_psi(alpha)
        if list(psi.layers) != stored["layers"]:
            raise ValueError(f"expected ψ of {stored['layers']}, got {psi.layers}")
        measured = tensor([stored["norms"][str(alpha)][i] for i in chosen])  # (photos, layers)
        expected = torch.cat([psi(dsd.imresize(x, scale=1 / alpha)) for x in tqdm(images)])
        results[str(alpha)] = {
            "expected": rounded(expected.tolist()),
            "score": rounded((expected - measured).abs().sum(dim=1).tolist()),
        }
    write_result(
        "naturalness_bsds500",
        results,
        data="BSDS500 val, 100 photos, 481×321 or 321×481, whole",
        network="vgg16",
        started=started,
        folder=TRY,
    )


if __name__ == "__main__":
    main()
