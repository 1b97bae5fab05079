"""Quality without a reference (Eq. 5): ψ predicts how self-dissimilar the clean image would be.

ψ sees only the downscaled image, where noise, blur and compression have mostly vanished, and
predicts ‖DSD_α‖₁ of the clean image at each layer. The distance between the image's own ‖DSD_α‖₁
and that prediction is its score.
"""

import re
from functools import lru_cache
from importlib import resources
from pathlib import Path

import safetensors.torch
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dsd_lib.backbones import Backbone, load_backbone
from dsd_lib.checks import check_alpha, check_images
from dsd_lib.descriptor import dsd_norm
from dsd_lib.files import check_shapes, read_safetensors, write_atomically
from dsd_lib.resize import imresize

PSI_LAYERS = ("relu1_2", "relu2_1", "relu2_2", "relu3_1")  # section 3.5, from the authors' code
_LAYER_NAME = re.compile(r"(conv|relu)[1-5]_[1-4]|pool[1-5]")
WIDTHS = (32, 32, 64, 64, 128, 128)  # two residual blocks each


class ResidualBlock(nn.Module):
    """Two 3×3 convolutions whose result, gated channel by channel, is added to the input."""

    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(channels, width, 3, stride, padding=1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
            nn.Conv2d(width, width, 3, padding=1, bias=False),
            nn.BatchNorm2d(width),
        )
        self.gate = nn.Sequential(  # squeeze and excitation
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(width, width // 16, 1),
            nn.ReLU(inplace=True),
            nn.Conv2d(width // 16, width, 1),
            nn.Sigmoid(),
        )
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or channels != width:
            self.shortcut = nn.Sequential(
                nn.Conv2d(channels, width, 1, stride, bias=False), nn.BatchNorm2d(width)
            )

    def forward(self, f: Tensor) -> Tensor:
        """``(N, channels, H, W)`` -> ``(N, width, H/stride, W/stride)``."""
        g = self.body(f)  # (N, width, H/stride, W/stride)
        return F.relu(self.shortcut(f) + g * self.gate(g))  # the gate is (N, width, 1, 1)


class Psi(nn.Module):
    """ψ: the regression network that predicts ``‖DSD_α(x)‖₁`` at four layers from ``x↓α``.

    A 5×5 convolution, 12 residual blocks (two each of widths 32, 32, 64, 64, 128, 128, the first of
    each pair from the second width on halving the sides), the average over positions, two linear
    layers; 1.5 million parameters.

    Gram matrices grow with the square of the contrast, which would take many images to learn. So
    the network sees the image at contrast 1 and returns the logarithm of the norm in units of
    ``scale`` times the image's squared contrast.

    Attributes:
        layers: the feature layers predicted, in the order of the output.
        alpha: the factor between the two scales.
        scale: buffer ``(len(layers),)``, the mean norm of the training images over their mean
            squared contrast.

    Raises:
        ValueError: alpha is not above 1, or ``layers`` are not different layers of a VGG.

    Source: section 3.5; chapter 7 of the book.

    >>> Psi(alpha=4)(torch.rand(2, 3, 80, 80)).shape
    torch.Size([2, 4])
    """

    scale: Tensor

    def __init__(self, alpha: float, layers: tuple[str, ...] = PSI_LAYERS) -> None:
        super().__init__()
        check_alpha(alpha)
        self.alpha, self.layers = alpha, tuple(layers)
        known = all(_LAYER_NAME.fullmatch(layer) for layer in self.layers)
        if not (known and 0 < len(set(self.layers)) == len(self.layers)):
            raise ValueError(f"layers: expected different layers of a VGG, got {self.layers}")
        self.register_buffer("scale", torch.ones(len(self.layers)))
        blocks, channels = [], WIDTHS[0]
        for index, width in enumerate(WIDTHS):
            blocks += [
                ResidualBlock(channels, width, stride=2 if index else 1),
                ResidualBlock(width, width, stride=1),
            ]
            channels = width
        self.features = nn.Sequential(
            nn.Conv2d(3, WIDTHS[0], 5, padding=2, bias=False),
            nn.BatchNorm2d(WIDTHS[0]),
            nn.ReLU(inplace=True),
            *blocks,
        )
        self.head = nn.Sequential(
            nn.Linear(channels, WIDTHS[0]),
            nn.LeakyReLU(0.1),
            nn.Linear(WIDTHS[0], len(self.layers)),
        )
        self.to(memory_format=torch.channels_last)

    def forward(self, small: Tensor) -> Tensor:
        """Predicted norms ``(N, len(layers))`` from downscaled images ``(N, 3, H/α, W/α)``."""
        contrast, mean = torch.std_mean(small, dim=(1, 2, 3), keepdim=True)  # (N, 1, 1, 1) each
        contrast = contrast.clamp_min(1e-3)  # an image of one color has none
        f = (small - mean) / contrast
        f = self.features(f.contiguous(memory_format=torch.channels_last))  # (N, 128, h, w)
        log_norm = self.head(f.mean(dim=(2, 3))).float()  # (N, len(layers))
        return self.scale * contrast[:, :, 0, 0] ** 2 * log_norm.exp()


def stored(psi: Psi) -> dict[str, Tensor]:
    """ψ's tensors without the batch counters, which only training uses."""
    tensors = psi.state_dict().items()
    return {k: v.contiguous() for k, v in tensors if not k.endswith("num_batches_tracked")}


def save_psi(psi: Psi, path: str | Path) -> None:
    """Write ψ in half precision, with alpha and layers in the file's metadata."""
    tensors = {k: v.half() for k, v in stored(psi).items()}
    metadata = {"alpha": f"{psi.alpha:g}", "layers": " ".join(psi.layers)}
    write_atomically(path, safetensors.torch.save(tensors, metadata=metadata))


def load_psi(alpha: float = 4, weights: str | Path | None = None) -> Psi:
    """A trained ψ, on the CPU, ready to predict.

    Args:
        alpha: 2 or 4; both come with the package, trained on BSDS500 with VGG-16.
        weights: a file written by ``save_psi`` instead; its alpha then counts.

    Raises:
        FileNotFoundError: no such file.
        ValueError: another alpha, or a file that is damaged, of another network or not finite.

    Source: section 3.5; chapter 7 of the book.

    >>> load_psi(alpha=4).layers
    ('relu1_2', 'relu2_1', 'relu2_2', 'relu3_1')
    """
    if weights is not None:
        return _read_psi(Path(weights))
    if alpha not in (2, 4):
        raise ValueError(f"alpha: expected 2 or 4, for which there is a trained ψ, got {alpha!r}")
    with resources.as_file(
        resources.files("dsd_lib") / "weights" / f"psi_alpha{alpha:g}.safetensors"
    ) as path:
        return _read_psi(path)


def _read_psi(path: Path) -> Psi:
    tensors, metadata = read_safetensors(path)
    if not {"alpha", "layers"} <= metadata.keys():
        raise ValueError(f"{path}: expected alpha and layers in the metadata, got {metadata}")
    layers = tuple(metadata["layers"].split())
    try:
        alpha = float(metadata["alpha"])
        check_alpha(alpha)
        with torch.device("meta"):  # names and shapes, before memory is taken for them
            expected = stored(Psi(alpha, layers))
    except ValueError as error:
        raise ValueError(f"{path}: not a file of ψ: {error}") from error
    check_shapes(tensors, expected, "ψ", path)
    psi = Psi(alpha, layers)
    psi.load_state_dict(tensors, strict=False)  # all but the batch counters
    return psi.requires_grad_(False).eval()


class NoReferenceDSD(nn.Module):
    """The no-reference measure ``Q(y) = |ψ(y↓α) - ‖DSD_α(y)‖₁|``, summed over layers (Eq. 5).

    ψ learned what clean photos look like at their own size. An image that never was a photo, or
    that was resized, may score badly without being bad.

    Args:
        alpha: the factor between the two scales, 2 or 4, for the trained ψ.
        net: the feature network; None is VGG-16, with which ψ was trained.
        psi: another predictor, with ``layers``, ``alpha`` and the call of :class:`Psi`; its alpha
            then counts.

    Source: Eq. (5); chapter 7 of the book.

    >>> from dsd_lib import sample_images
    >>> NoReferenceDSD()(sample_images()["cat"]).shape
    torch.Size([1])
    """

    higher_is_better = False
    value_range = (0.0, float("inf"))

    def __init__(
        self, alpha: float = 4, *, net: Backbone | None = None, psi: Psi | None = None
    ) -> None:
        super().__init__()
        self.net = load_backbone() if net is None else net
        self.psi = load_psi(alpha) if psi is None else psi

    def norms(
        self, y: Tensor, *, tile: int | None = None, check_range: bool = True
    ) -> tuple[Tensor, Tensor]:
        """What is measured, ``‖DSD_α(y)‖₁``, and what ψ predicts; both ``(N, len(layers))``."""
        alpha, layers = self.psi.alpha, self.psi.layers
        measured = dsd_norm(y, self.net, layers, alpha, tile=tile, check_range=check_range)
        return measured, self.psi(imresize(y, scale=1 / alpha))

    def forward(self, y: Tensor, *, tile: int | None = None, check_range: bool = True) -> Tensor:
        """The score of images ``(N, 3, H, W)`` in [0, 1]: ``(N,)``; 0 is best.

        Raises:
            TypeError: ``y`` is not a floating-point tensor.
            ValueError: ``y`` is not a valid image batch, or its sides are too short.
        """
        measured, expected = self.norms(y, tile=tile, check_range=check_range)  # (N, layers)
        return (expected - measured).abs().sum(dim=1)


@lru_cache(maxsize=2)
def _measure(alpha: float, device: torch.device) -> NoReferenceDSD:
    return NoReferenceDSD(alpha).to(device)  # kept, so that a call does not load two networks


def naturalness(y: Tensor, alpha: float = 4, *, tile: int | None = None) -> Tensor:
    """How far an image's self-dissimilarity is from that of a natural image (Eq. 5).

    :class:`NoReferenceDSD` as a function; the networks are loaded once. ``y`` is float32,
    ``alpha`` 2 or 4, ``tile`` as in :func:`dsd_lib.dsd`.

    Returns:
        ``(N,)``, 0 or more; lower is more natural.

    Raises:
        TypeError, ValueError: as :class:`NoReferenceDSD`, and where alpha is neither 2 nor 4.

    Source: Eq. (5); chapter 7 of the book.

    >>> from dsd_lib import sample_images
    >>> naturalness(sample_images()["cat"]).shape
    torch.Size([1])
    """
    check_images(y, name="y")
    return _measure(alpha, y.device)(y, tile=tile)
