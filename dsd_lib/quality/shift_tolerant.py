"""Shift-tolerant LPIPS (Ghildyal and Liu 2022) with the AlexNet trunk: the network and its weights.

LPIPS whose strided steps are taken at stride 1 and blurred before every second pixel is dropped,
so that a shift by a pixel changes little. The package ``stlpips-pytorch`` has the trained weights
in a file; none of its code is run, so that what its code imports is not needed.
"""

import hashlib
import io
from importlib.util import find_spec
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

WEIGHTS = "weights/vST0.0/alex_shift_tolerant.pth"
SHA256 = "b356b382f96010f77d085ee8343ecd9fd322d0a56e8de2b2d0549fafcad8b9ee"
_MEAN, _STD = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)  # of ImageNet in [-1, 1]


class Blur(nn.Module):
    """Drops every second pixel after a binomial blur, 3×3, edges mirrored."""

    filt: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        binomial = torch.tensor([1.0, 2.0, 1.0]) / 4
        self.register_buffer("filt", (binomial[:, None] * binomial).repeat(channels, 1, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """``(N, C, H, W)`` to ``(N, C, ceil(H/2) + 1, ceil(W/2) + 1)``."""
        x = F.pad(x, (2, 2, 2, 2), mode="reflect")
        return F.conv2d(x, self.filt, stride=2, groups=x.shape[1])


def _trunk() -> nn.ModuleDict:
    """AlexNet in five slices, each to its ReLU; modules numbered as in the file of the weights."""
    modules = [
        *(nn.Conv2d(3, 64, 11, padding=2), Blur(64), nn.ReLU()),
        *(nn.MaxPool2d(3, 1), Blur(64), nn.Conv2d(64, 192, 5, padding=2), nn.ReLU()),
        *(nn.MaxPool2d(3, 1), Blur(192), nn.Conv2d(192, 384, 3, padding=1), nn.ReLU()),
        *(nn.Conv2d(384, 256, 3, padding=1), nn.ReLU()),
        *(nn.Conv2d(256, 256, 3, padding=1), nn.ReLU()),
    ]
    slices, first = nn.ModuleDict(), 0
    for number, last in enumerate((3, 7, 11, 13, 15), start=1):
        part = nn.Sequential()
        for index in range(first, last):
            part.add_module(str(index), modules[index])
        slices[f"slice{number}"], first = part, last
    return slices


class ShiftTolerantLPIPS(nn.Module):
    """The distance of two image batches: ``(N, 3, H, W)`` in [-1, 1] each, to ``(N,)``."""

    def __init__(self) -> None:
        super().__init__()
        self.net = _trunk()
        for number, channels in enumerate((64, 192, 384, 256, 256)):
            head = nn.Sequential(nn.Dropout(), nn.Conv2d(channels, 1, 1, bias=False))
            self.add_module(f"lin{number}", nn.ModuleDict({"model": head}))

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """Weighted squared differences of the unit-length features, averaged over positions."""
        total = x.new_zeros(len(x))
        for number, (f, g) in enumerate(zip(self._features(x), self._features(y), strict=True)):
            head = self.get_submodule(f"lin{number}.model")
            total = total + head((f - g) ** 2).mean(dim=(1, 2, 3))  # (N, C, h, w) to (N,)
        return total

    def _features(self, x: Tensor) -> list[Tensor]:
        """Five maps ``(N, C, h, w)``, each position's channels scaled to length 1."""
        mean, std = (x.new_tensor(v).view(3, 1, 1) for v in (_MEAN, _STD))
        f, maps = (x - mean) / std, []
        for part in self.net.values():
            f = part(f)
            maps.append(f / (f.square().sum(dim=1, keepdim=True).sqrt() + 1e-10))
        return maps


def load_shift_tolerant_lpips() -> ShiftTolerantLPIPS:
    """The network with its trained weights, for evaluation.

    Raises:
        ImportError: ``stlpips-pytorch`` is not installed.
        ValueError: its file is not the one that was released.
    """
    package = find_spec("stlpips_pytorch")
    if package is None or package.origin is None:
        raise ImportError(
            "shift-tolerant LPIPS needs the weights in stlpips-pytorch; "
            "install them with: pip install 'dsd_lib[quality]'"
        )
    path = Path(package.origin).parent / WEIGHTS
    data = path.read_bytes()
    got = hashlib.sha256(data).hexdigest()
    if got != SHA256:
        raise ValueError(f"{path}: expected sha256 {SHA256}, got {got}; install it again")
    state = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    net = ShiftTolerantLPIPS()
    net.load_state_dict({k: v for k, v in state.items() if k.startswith(("net.", "lin"))})
    return net.eval().requires_grad_(False)
