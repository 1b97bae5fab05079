"""A look at what the network makes of images that it is never trained on."""

import io
from collections.abc import Sequence
from pathlib import Path

import torch
from PIL import Image
from torch import nn

from dsd_lib.files import write_atomically
from dsd_lib.images import to_array
from dsd_lib.quality.baselines import psnr_y
from dsd_lib.restoration.crops import Batch


class Validation:
    """Images that are never trained on: what the network makes of them, and its PSNR-Y.

    Args:
        pairs: what the network is given and the target, each ``(1, 3, H, W)``; all of one size.
        folder: where the images go: a row each, the input enlarged, the result, the target.
    """

    def __init__(self, pairs: Sequence[Batch], folder: Path) -> None:
        self.pairs, self.folder = list(pairs), folder

    @torch.no_grad()
    def __call__(self, net: nn.Module, step: int) -> float:
        """Write ``step_<step>.png`` and return the mean PSNR-Y in dB."""
        device = next(net.parameters()).device
        rows, values = [], []
        net.eval()
        for given, target in self.pairs:
            result = net(given.to(device)).float().cpu().clamp(0, 1)
            values.append(psnr_y(result, target).item())
            factor = target.shape[2] // given.shape[2]
            large = given.repeat_interleave(factor, 2).repeat_interleave(factor, 3)
            rows.append(torch.cat([large, result, target], dim=3))
        net.train()
        file = io.BytesIO()
        Image.fromarray(to_array(torch.cat(rows, dim=2))).save(file, "PNG")
        self.folder.mkdir(parents=True, exist_ok=True)
        write_atomically(self.folder / f"step_{step:07d}.png", file.getvalue())
        return sum(values) / len(values)
