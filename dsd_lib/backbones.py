"""The feature networks φ: VGG-16, which comes with the package, and VGG-19, the paper's."""

import contextlib
import io
import itertools
import math
import socket
from collections.abc import Iterable, Iterator
from importlib import resources
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dsd_lib.checks import check_images, check_whole_number
from dsd_lib.files import check_finite, check_shapes, read_safetensors
from dsd_lib.resize import output_side

VGG16_FILE = "vgg16_conv_fp16.safetensors"
VGG16_SHA256 = "dd69614041f6c2ea315ea764c79a0e815d2acf040e83b567c6c9195a629193c5"
VGG19_FILE = "vgg19-dcbb9e9d.pth"
DOWNLOAD_TIMEOUT = 10  # seconds without an answer
LARGE_IMAGE = 4_000_000  # pixels; above, Gram matrices are summed over tiles
TILE = 512  # pixels; the side of such a tile, whose maps take 0.2 GB

_CONVOLUTIONS = {"vgg16": (2, 2, 3, 3, 3), "vgg19": (2, 2, 4, 4, 4)}  # in each block
_CHANNELS = (64, 128, 256, 512, 512)
_NORMALIZATION = {  # mean, std of the input in [0, 1]
    "vgg16": ((123.68 / 255, 116.779 / 255, 103.939 / 255), (0.226, 0.226, 0.226)),
    "vgg19": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
}


class Backbone(nn.Module):
    """A frozen VGG with the usual layer names: ``conv1_1``, ``relu1_1``, …, ``pool5``.

    ``net(x, layers)`` runs only as deep as the deepest layer asked for and returns all of them from
    one pass. Weights need no gradient; gradients flow to the image.

    Attributes:
        name: ``"vgg16"`` or ``"vgg19"``.
        layers: all layer names in order.
        last_conv: the deepest convolution, the perceptual loss's layer.

    Source: section 3.1; chapter 2 of the book.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, name: str) -> None:
        super().__init__()
        if name not in _CONVOLUTIONS:
            raise ValueError(f"name: expected one of {sorted(_CONVOLUTIONS)}, got {name!r}")
        self.name = name
        mean, std = _NORMALIZATION[name]
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1), persistent=False)
        self.stages = nn.ModuleDict()
        channels = 3
        blocks = zip(_CONVOLUTIONS[name], _CHANNELS, strict=True)
        for block, (convolutions, width) in enumerate(blocks, start=1):
            for index in range(1, convolutions + 1):
                self.stages[f"conv{block}_{index}"] = nn.Conv2d(channels, width, 3, padding=1)
                self.stages[f"relu{block}_{index}"] = nn.ReLU()
                channels = width
            self.stages[f"pool{block}"] = nn.MaxPool2d(2)
        self.layers = tuple(self.stages)
        self.last_conv = f"conv5_{_CONVOLUTIONS[name][-1]}"
        self.requires_grad_(False).eval()
        self.to(memory_format=torch.channels_last)

    def forward(
        self, x: Tensor, layers: Iterable[str], *, check_range: bool = True
    ) -> dict[str, Tensor]:
        """Feature maps of ``x``: layer -> ``(N, C, H', W')``, in the order of ``layers``.

        Args:
            x: images ``(N, 3, H, W)`` in [0, 1].
            layers: names out of ``self.layers``.
            check_range: False skips the check of the values.

        Raises:
            TypeError: ``x`` is not a floating-point tensor, or of a finer type than the network.
            ValueError: ``x`` is not a valid image batch, is too small or on another device, or a
                layer is unknown.
        """
        layers = self.check_layers(layers)
        min_side, why = self.min_side(layers)
        check_images(x, min_side=min_side, why=why, check_range=check_range)
        if torch.promote_types(x.dtype, self.mean.dtype) != self.mean.dtype:
            raise TypeError(
                f"x: expected {self.mean.dtype}, the network's type, got {x.dtype}; convert one of "
                "the two with .to(dtype)"
            )
        if x.device != self.mean.device:
            raise ValueError(
                f"x: expected it on {self.mean.device}, where the network is, got {x.device}; move "
                "one of the two with .to(device)"
            )
        f = ((x - self.mean) / self.std).contiguous(memory_format=torch.channels_last)
        maps = {}
        for name, stage in self.stages.items():
            if name.startswith("relu"):
                # In place only where no one sees it: allocating a large map costs more than this.
                f = F.relu(f, inplace=f"conv{name[4:]}" not in layers)
            else:
                f = stage(f)
            if name in layers:
                maps[name] = f
                if len(maps) == len(layers):
                    break
        return {layer: maps[layer] for layer in layers}

    def check_layers(self, layers: Iterable[str]) -> tuple[str, ...]:
        """``layers`` as a tuple of known, different names; a ValueError otherwise."""
        layers = (layers,) if isinstance(layers, str) else tuple(layers)
        unknown = [layer for layer in layers if layer not in self.layers]
        if unknown or not layers or len(set(layers)) < len(layers):
            raise ValueError(
                f"layers: expected different names out of {', '.join(self.layers)}; got {layers}"
            )
        return layers

    def stride(self, layer: str) -> int:
        """Pixels of the image from one position of ``layer`` to the next.

        >>> Backbone("vgg16").stride("relu3_1")
        4
        """
        before = self.layers[: self.layers.index(layer) + 1]
        return 2 ** sum(name.startswith("pool") for name in before)

    def reach(self, layer: str) -> int:
        """How many pixels beyond its own cell of ``stride`` pixels a position of ``layer`` sees.

        >>> Backbone("vgg16").reach("relu3_1")
        10
        """
        before = self.layers[: self.layers.index(layer) + 1]
        return sum(self.stride(name) for name in before if name.startswith("conv"))

    def min_side(
        self, layers: tuple[str, ...], alpha: float = 1, windows: int = 1
    ) -> tuple[int, str]:
        """The shortest side of an image that gives each window of ``layers`` at x↓alpha a position.

        Also why, as the end of an error message.
        """
        deepest = max(layers, key=self.stride)
        needed = self.stride(deepest) * windows  # pixels at the coarser scale
        sides = itertools.count(max(needed, math.floor((needed - 1) * alpha)))
        side = next(side for side in sides if output_side(side, 1 / alpha) >= needed)
        why = f"; {self.name} needs them to reach {deepest}"
        why += f" at alpha={alpha:g}" if alpha != 1 else ""
        why += f" with {windows} × {windows} windows" if windows != 1 else ""
        return side, why

    def map_sides(self, x: Tensor, layer: str) -> tuple[int, int]:
        """Height and width of ``layer``'s map of ``x``."""
        stride = self.stride(layer)
        return x.shape[2] // stride, x.shape[3] // stride

    def choose_tile(self, x: Tensor, tile: int | None) -> int | None:
        """The tile to use: the one asked for, none for a small image, else ``TILE``."""
        if tile is None:
            return TILE if x.shape[2] * x.shape[3] > LARGE_IMAGE else None
        return check_whole_number(tile, name="tile", unit="pixels")

    def tiles(
        self, x: Tensor, layers: tuple[str, ...], tile: int
    ) -> Iterator[tuple[tuple[int, int], dict[str, Tensor]]]:
        """The feature maps of ``x`` piece by piece: every position of every layer exactly once.

        Each piece comes with the pixel (top, left) at which its tile begins. It is computed from
        the tile and a halo as wide as the layers' reach, so its values are those of the whole
        image, while memory is that of one tile.
        """
        stride = max(self.stride(layer) for layer in layers)
        halo = _round_up(max(self.reach(layer) for layer in layers), stride)
        tile = _round_up(tile, stride)
        height, width = x.shape[2:]
        for top in range(0, height, tile):
            for left in range(0, width, tile):
                bottom, right = min(top + tile, height), min(left + tile, width)
                above, before = max(top - halo, 0), max(left - halo, 0)
                piece = x[:, :, above : bottom + halo, before : right + halo]
                maps = self(piece, layers, check_range=False)
                pieces = {}
                for layer, f in maps.items():
                    s = self.stride(layer)
                    rows = slice((top - above) // s, bottom // s - above // s)
                    columns = slice((left - before) // s, right // s - before // s)
                    pieces[layer] = f[:, :, rows, columns]
                yield (top, left), pieces


def check_backbone(net: object) -> Backbone:
    """``net``, if it is a :class:`Backbone`.

    >>> check_backbone(None)
    Traceback (most recent call last):
    ...
    TypeError: net: expected a Backbone, as load_backbone returns, got NoneType
    """
    if not isinstance(net, Backbone):
        got = type(net).__name__
        raise TypeError(f"net: expected a Backbone, as load_backbone returns, got {got}")
    return net


def _round_up(value: int, multiple: int) -> int:
    return -(-value // multiple) * multiple


def load_backbone(name: str = "vgg16", weights: str | Path | None = None) -> Backbone:
    """A trained feature network, frozen, on the CPU (move it with ``.to(device)``).

    Args:
        name: ``"vgg16"`` comes with the package and needs no download. ``"vgg19"`` is the paper's
            and is downloaded by torchvision, once.
        weights: a local file instead: ``.safetensors`` with tensors ``conv1_1.weight``, …, or, for
            vgg19, torchvision's ``vgg19-dcbb9e9d.pth``.

    Raises:
        ValueError: unknown name, or a weights file that is damaged, incomplete, of another network
            or not finite.
        FileNotFoundError: no such weights file, or VGG-19 is not available; the text says what to
            do.

    Source: section 3.1; chapter 2 of the book.

    >>> net = load_backbone("vgg16")
    >>> maps = net(torch.rand(1, 3, 64, 64), layers=["relu2_1", "conv5_3"])
    >>> {layer: tuple(f.shape) for layer, f in maps.items()}
    {'relu2_1': (1, 128, 32, 32), 'conv5_3': (1, 512, 4, 4)}
    """
    net = Backbone(name)
    if weights is not None:
        path = Path(weights)
        if not path.is_file():
            raise FileNotFoundError(f"no weights file at {path}")
        if path.suffix == ".safetensors":
            tensors, _ = read_safetensors(path)
        else:
            tensors = _from_torchvision(_read_pth(path), net, path)
    elif name == "vgg16":
        with resources.as_file(resources.files("dsd_lib") / "weights" / VGG16_FILE) as path:
            tensors, _ = read_safetensors(path, VGG16_SHA256)
    else:
        path = Path(VGG19_FILE)
        tensors = _from_torchvision(download_vgg19(), net, path)
    check_shapes(tensors, net.stages.state_dict(), name, path)
    check_finite(tensors, path)
    net.stages.load_state_dict({k: v.float() for k, v in tensors.items()})
    return net


def _read_pth(path: Path) -> object:
    try:  # weights_only: tensors and nothing else is unpickled
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise ValueError(f"{path}: expected a PyTorch file of tensors, got {error}") from error


def _from_torchvision(state: object, net: Backbone, path: Path) -> dict[str, Tensor]:
    """torchvision numbers its layers, ``features.0`` is ``conv1_1``; the classifier is left out."""
    if not isinstance(state, dict):
        got = type(state).__name__
        raise ValueError(f"{path}: expected a dictionary of tensors, got {got}")
    return {
        f"{layer}.{kind}": state[key]
        for index, layer in enumerate(net.layers)
        for kind in ("weight", "bias")
        if isinstance(state.get(key := f"features.{index}.{kind}"), Tensor)
    }


def download_vgg19() -> dict[str, Tensor]:
    """torchvision's weights of VGG-19, classifier and all; downloaded once, then from its folder.

    Raises:
        FileNotFoundError: torchvision is missing, or the download fails or gets no answer for
            10 seconds; the text says where to put the file.

    Source: section 3.1; chapter 1 of the book.
    """
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(DOWNLOAD_TIMEOUT)  # behind a silent firewall the wait would be minutes
    quiet = io.StringIO()  # torch.hub announces what it downloads, on one stream or the other
    try:
        from torchvision.models import VGG19_Weights  # only VGG-19 needs torchvision

        with contextlib.redirect_stdout(quiet), contextlib.redirect_stderr(quiet):
            return dict(VGG19_Weights.IMAGENET1K_V1.get_state_dict(progress=False, check_hash=True))
    except Exception as error:  # no torchvision, a broken one, no network, a wrong hash
        raise FileNotFoundError(
            f"VGG-19 is not available from torchvision ({error}). Put {VGG19_FILE} in "
            f"{Path(torch.hub.get_dir()) / 'checkpoints'}, or name your copy: "
            f'load_backbone("vgg19", weights="path/to/{VGG19_FILE}").'
        ) from error
    finally:
        socket.setdefaulttimeout(before)
