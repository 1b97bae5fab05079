"""How well ψ predicts ‖DSD_α‖₁ of clean photos it never saw, next to three simpler predictors.

    python -m data_scripts.psi_predictors

Every predictor sees what ψ sees, the image downscaled by α, and is fitted to the crops that ψ was
trained on: ``mean`` to nothing, ``line`` to ‖DSD₂‖₁ of the small image at the same layer, and
``log_linear`` to the logarithms of the small image's ‖DSD₂‖₁ and mean absolute Gram entry at all
four layers and of its contrast. Measured on BSD100 (BSDS500 val), the central 320 pixels of each.
The crops are those of the ``laptop`` runs of ``data_scripts.train_psi``; made anew if missing.
"""

import argparse
import json
from pathlib import Path

import torch
from torch import Tensor, nn

import dsd_lib as dsd
from data_scripts.shared import results
from data_scripts.train_psi import CROP, HOLD_OUT, PRESETS, load_pool, run_folder, training_pictures
from dsd_lib.descriptor import matrix_norms, self_dissimilarity
from dsd_lib.extras import needs
from dsd_lib.files import data_folder, list_images
from dsd_lib.gram import feature_grams
from dsd_lib.no_reference import PSI_LAYERS, load_psi

with needs("restoration"):
    from accelerate import Accelerator

RESULT = "psi_predictors_bsd100"
SIMPLE = ("mean", "line", "log_linear")


def statistics(small: Tensor, net: dsd.Backbone) -> Tensor:
    """What the simple predictors know of downscaled images ``(N, 3, H, W)``: ``(N, 9)``.

    ‖DSD₂‖₁ at the four layers, the mean absolute Gram entry at the four layers, the contrast
    (standard deviation of the pixel values).
    """
    fine, coarse = (
        feature_grams(x, net, PSI_LAYERS) for x in (small, dsd.imresize(small, scale=0.5))
    )
    contrast = small.std(dim=(1, 2, 3))[:, None]  # (N, 1)
    return torch.cat(
        [matrix_norms(self_dissimilarity(fine, coarse)), matrix_norms(fine), contrast], dim=1
    )


def design(kind: str, layer: int, known: Tensor) -> Tensor:
    """The columns ``(N, columns)`` of one predictor's least-squares fit at one layer."""
    columns = {
        "mean": known[:, :0],
        "line": known[:, layer : layer + 1],
        "log_linear": known.clamp_min(1e-8).log(),
    }[kind]
    return torch.cat([torch.ones(len(known), 1, dtype=known.dtype), columns], dim=1)


def fit(kind: str, known: Tensor, norms: Tensor) -> list[list[float]]:
    """Coefficients at each layer; ``known`` ``(N, 9)``, ``norms`` ``(N, 4)``, both float64."""
    targets = norms.log() if kind == "log_linear" else norms
    return [
        torch.linalg.lstsq(design(kind, layer, known), targets[:, layer]).solution.tolist()
        for layer in range(norms.shape[1])
    ]


class SimplePredictor(nn.Module):
    """A fitted predictor, called as ψ is."""

    layers = PSI_LAYERS

    def __init__(
        self, kind: str, alpha: float, coefficients: list[list[float]], net: dsd.Backbone
    ) -> None:
        super().__init__()
        self.kind, self.alpha, self.net = kind, alpha, net
        self.coefficients = coefficients

    def forward(self, small: Tensor) -> Tensor:
        """Predicted norms ``(N, 4)`` from downscaled images ``(N, 3, H/α, W/α)``."""
        return self.predict(statistics(small, self.net)).to(small)

    def predict(self, known: Tensor) -> Tensor:
        """The same from their :func:`statistics` ``(N, 9)``, in float64 on the CPU."""
        known = known.double().cpu()
        predicted = torch.stack(
            [
                design(self.kind, layer, known) @ torch.tensor(c, dtype=torch.float64)
                for layer, c in enumerate(self.coefficients)
            ],
            dim=1,
        )
        return predicted.exp() if self.kind == "log_linear" else predicted


def load_predictors(alpha: int, net: dsd.Backbone) -> dict[str, nn.Module]:
    """ψ and the simple predictors by name, from the weights and the stored fits."""
    path = results.RESULTS / f"{RESULT}.json"
    fits = json.loads(path.read_text())["results"][f"alpha{alpha}"]["fits"]
    simple = {kind: SimplePredictor(kind, alpha, fits[kind], net) for kind in SIMPLE}
    return {"psi": load_psi(alpha), **simple}


def quality(predicted: Tensor, true: Tensor) -> dict[str, list[float]]:
    """R², Pearson correlation and mean absolute error in units of the mean norm, at each layer."""
    error = predicted - true
    spread = (true - true.mean(dim=0)).square().sum(dim=0)
    r2 = 1 - error.square().sum(dim=0) / spread
    relative = error.abs().mean(dim=0) / true.mean(dim=0)
    pairs = zip(predicted.T, true.T, strict=True)
    correlation = [torch.corrcoef(torch.stack(pair))[0, 1].nan_to_num() for pair in pairs]
    return {
        "r2": r2.tolist(),
        "correlation": torch.stack(correlation).tolist(),
        "relative_error": relative.tolist(),
    }


def central_crops(files: list[Path]) -> Tensor:
    """The central ``CROP`` pixels of every image, ``(N, 3, CROP, CROP)``."""
    crops = []
    for file in files:
        x = dsd.load_image(file)
        top, left = ((side - CROP) // 2 for side in x.shape[2:])
        crops.append(x[:, :, top : top + CROP, left : left + CROP])
    return torch.cat(crops)


@torch.no_grad()
def measure(alpha: int, pool: dict[str, Tensor], crops: Tensor, net: dsd.Backbone) -> dict:
    """Fit the simple predictors to the pool, and measure all on the crops."""
    small, norms = pool[f"small{CROP}"], pool[f"norms{CROP}"]
    trained = torch.arange(len(norms)) % HOLD_OUT != HOLD_OUT - 1
    small, norms = small[trained].flatten(0, 1), norms[trained].flatten(0, 1).double()
    known = torch.cat([statistics(part.float(), net) for part in small.split(16)]).double()
    fits = {kind: fit(kind, known, norms) for kind in SIMPLE}
    predictors = {"psi": load_psi(alpha)}
    predictors |= {kind: SimplePredictor(kind, alpha, fits[kind], net) for kind in SIMPLE}
    true = torch.cat([dsd.dsd_norm(x, net, PSI_LAYERS, alpha) for x in crops.split(4)])
    small = dsd.imresize(crops, scale=1 / alpha)
    predicted = {k: torch.cat([p(x) for x in small.split(10)]) for k, p in predictors.items()}
    return {
        "fits": fits,
        "quality": {k: quality(v, true) for k, v in predicted.items()},
        "true": results.rounded(true.tolist()),
        "predicted": {k: results.rounded(v.tolist()) for k, v in predicted.items() if k != "mean"},
    }


def main() -> None:
    """Measure for both alphas."""
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()
    started = results.begin()
    net = dsd.load_backbone("vgg16")
    val = list_images(data_folder("bsds500") / "val")
    crops = central_crops(val)
    measured = {"layers": PSI_LAYERS, "pictures": [file.stem for file in val]}
    for alpha in (2, 4):
        path = run_folder(alpha, "laptop") / "pool.safetensors"
        pool = load_pool(path, training_pictures(), PRESETS["laptop"], alpha, Accelerator())
        measured[f"alpha{alpha}"] = measure(alpha, pool, crops, net)
    results.write_result(
        RESULT,
        measured,
        data="BSD100 (BSDS500 val), central 320 pixels; fits to crops of BSDS500 train and test",
        network="vgg16",
        started=started,
        seed=0,
    )


if __name__ == "__main__":
    main()
