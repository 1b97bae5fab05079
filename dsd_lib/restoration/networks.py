"""The restoration network: xSRResNet, for super-resolution and, at scale 1, for deblurring."""

import copy
import itertools
import json
import math
import numbers
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dsd_lib.checks import check_images
from dsd_lib.files import read_safetensors, write_atomically

SCALES = (1, 2, 4)
UPSAMPLING = ("shuffle", "resize")
SLOPE = 0.1  # of the leaky ReLUs outside the residual blocks
SMALL_START = 0.1  # factor on the first weights of whatever is added to something


class XUnit(nn.Module):
    """An activation that looks around: ``f · sigmoid(depthwise 7×7 convolution of f)``."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 7, padding=3, groups=channels)

    def forward(self, f: Tensor) -> Tensor:
        """``(N, C, H, W)`` -> the same shape."""
        if f.device.type != "cpu":
            return f * torch.sigmoid(self.conv(f))
        # A CPU's gradient of a depthwise convolution is several times slower in bfloat16.
        with torch.autocast("cpu", enabled=False):
            weight = torch.sigmoid(self.conv(f.to(self.conv.weight.dtype)))
        return f * weight.to(f.dtype)


class XBlock(nn.Module):
    """``f + conv3(xUnit(conv3(f)))``, without batch normalization."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            XUnit(channels),
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
        )

    def forward(self, f: Tensor) -> Tensor:
        """``(N, C, H, W)`` -> the same shape."""
        return f + self.body(f)


def conv_of_enlarged(f: Tensor, conv: nn.Conv2d) -> Tensor:
    """A padded 3×3 convolution of ``f`` enlarged ×2 by nearest neighbor, which is never made.

    Of three neighbors in the enlarged map, two are the same pixel of ``f``. So the output pixels of
    even or odd row and even or odd column are four 2×2 convolutions of ``f``, whose weights are
    sums of the 3×3 ones: the same result, borders included, in 4/9 of the multiplications.

    >>> conv, f = nn.Conv2d(4, 4, 3, padding=1), torch.rand(1, 4, 5, 7)
    >>> torch.allclose(conv_of_enlarged(f, conv), conv(nn.Upsample(scale_factor=2)(f)), atol=1e-5)
    True
    """
    n, _, h, w = f.shape
    padded = F.pad(f, (1, 1, 1, 1))  # (N, C, h + 2, w + 2)
    y = f.new_empty(n, 2 * h, 2 * w, conv.out_channels).permute(0, 3, 1, 2)  # channels last
    for (row, column), weight in summed_weights(conv.weight).items():
        seen = padded[:, :, row : row + h + 1, column : column + w + 1]
        y[:, :, row::2, column::2] = F.conv2d(seen, weight, conv.bias)  # (N, C', h, w)
    return y


def summed_weights(weight: Tensor) -> dict[tuple[int, int], Tensor]:
    """(odd row, odd column) -> weights ``(C', C, 2, 2)`` of :func:`conv_of_enlarged`."""
    return {
        (row, column): _summed(_summed(weight, 2, row), 3, column)
        for row, column in itertools.product((0, 1), repeat=2)
    }


def _summed(weight: Tensor, dim: int, odd: int) -> Tensor:
    """Three weights along ``dim`` -> the two of an even or odd pixel: (a, b + c) or (a + b, c)."""
    a, b, c = weight.unbind(dim)
    return torch.stack((a + b, c) if odd else (a, b + c), dim)


class XSRResNet(nn.Module):
    """xSRResNet: what it computes is added to the bilinearly enlarged input.

    A 5×5 convolution, residual blocks with xUnits, one ×2 stage for each doubling, a 3×3 and a 5×5
    convolution. Every part works at any image size.

    The ×2 stages of the paper are pixel shuffles: each of the 16 output positions of a pixel has
    weights of its own, so that the network can paint a grid on a flat area. Nearest-neighbor
    enlargement followed by a 3×3 convolution (Odena et al. 2016) treats every position alike.

    With 64 channels and pixel shuffles, and with the receptive field in input pixels a side:

    ====== ======== ============ =================
    blocks scale    parameters   receptive field
    ====== ======== ============ =================
    10     4        1,111,299    109 or 110
    10     2          963,587    110
    10     1          815,875    111
    5      4          726,659    59 or 60
    5      2          578,947    60
    5      1          431,235    61
    ====== ======== ============ =================

    First weights are He's, those of the last convolution of each block and of the network a tenth
    of them, so that a new network is near to bilinear enlargement. (The authors' are all He's.)

    Attributes:
        scale: the factor from input to output sides: 4, 2, or 1 for deblurring.
        blocks: number of residual blocks; the paper's are 10, and 5 for Table 3.
        channels: width of every layer.
        upsampling: ``"shuffle"``, the paper's, or ``"resize"``, nearest neighbor + convolution.
        record: what :func:`save_network` was told about the training; empty in a new network.

    Raises:
        ValueError: another scale or upsampling, or ``blocks`` or ``channels`` not a positive whole
            number.

    Source: section 4 (architecture of Kligvasser et al. 2018); chapters 8 and 9 of the book.

    >>> XSRResNet(scale=4, blocks=5)(torch.rand(1, 3, 10, 13)).shape
    torch.Size([1, 3, 40, 52])
    """

    def __init__(
        self, scale: int, blocks: int = 10, channels: int = 64, upsampling: str = "shuffle"
    ) -> None:
        super().__init__()
        if upsampling not in UPSAMPLING:
            raise ValueError(f"upsampling: expected one of {UPSAMPLING}, got {upsampling!r}")
        if isinstance(scale, bool) or scale not in SCALES:
            raise ValueError(f"scale: expected one of {SCALES}, got {scale!r}")
        for name, value in (("blocks", blocks), ("channels", channels)):
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ValueError(f"{name}: expected a positive whole number, got {value!r}")
        self.scale, self.blocks, self.channels = int(scale), blocks, channels
        self.upsampling = upsampling
        self.record: dict[str, object] = {}
        self.head = nn.Sequential(nn.Conv2d(3, channels, 5, padding=2), nn.LeakyReLU(SLOPE))
        self.body = nn.Sequential(*(XBlock(channels) for _ in range(blocks)))
        stages = []
        for _ in range(int(math.log2(scale))):
            if upsampling == "shuffle":
                stages += [nn.Conv2d(channels, 4 * channels, 3, padding=1), nn.PixelShuffle(2)]
            else:
                stages += [nn.Upsample(scale_factor=2), nn.Conv2d(channels, channels, 3, padding=1)]
            stages.append(nn.LeakyReLU(SLOPE))
        self.enlarge = nn.Sequential(*stages)
        self.tail = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1),
            nn.LeakyReLU(SLOPE),
            nn.Conv2d(channels, 3, 5, padding=2),
        )
        self._first_weights()
        self.to(memory_format=torch.channels_last)

    def _first_weights(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        with torch.no_grad():
            for part in (*(block.get_submodule("body") for block in self.body), self.tail):
                last = list(part.children())[-1]
                last.get_parameter("weight").mul_(SMALL_START)

    def forward(self, x: Tensor) -> Tensor:
        """``(N, 3, h, w)`` in [0, 1] -> ``(N, 3, h·scale, w·scale)``, about in [0, 1].

        Values are not checked, and the result is not clamped: its overshoot teaches the network.

        Raises:
            TypeError, ValueError: ``x`` is not a batch of RGB images.
        """
        check_images(x, check_range=False)
        x = x.contiguous(memory_format=torch.channels_last)
        return self.draw(x, self.look(x))

    def look(self, x: Tensor) -> Tensor:
        """The first part, which looks far around: ``(N, 3, h, w)`` -> ``(N, channels, h, w)``."""
        return self.body(self.head(x))

    def draw(self, x: Tensor, f: Tensor) -> Tensor:
        """The second part, which sees little of ``x`` and ``f`` but works at the final size."""
        y = self.tail(self._enlarged(f))  # (N, 3, h·scale, w·scale)
        if self.scale == 1:
            return x + y
        return F.interpolate(x, scale_factor=float(self.scale), mode="bilinear") + y

    def _enlarged(self, f: Tensor) -> Tensor:
        """``self.enlarge(f)``, ``(N, channels, h·scale, w·scale)``, in fewer multiplications."""
        if self.upsampling == "shuffle":
            return self.enlarge(f)
        stages = list(self.enlarge)
        for conv, activation in zip(stages[1::3], stages[2::3], strict=True):
            assert isinstance(conv, nn.Conv2d)
            f = activation(conv_of_enlarged(f, conv))  # (N, channels, 2h, 2w)
        return f

    def extra_repr(self) -> str:
        """The configuration."""
        return (
            f"scale={self.scale}, blocks={self.blocks}, channels={self.channels}, "
            f"upsampling={self.upsampling!r}"
        )


def save_network(net: XSRResNet, path: str | Path, **record: object) -> None:
    """Write a network in half precision, with its configuration and record in the metadata.

    The file appears whole or not at all.

    Args:
        net: the network; one that ``torch.compile`` wrapped is unwrapped.
        path: the ``.safetensors`` file.
        record: whatever tells how it was trained: anything that JSON can hold.

    Raises:
        TypeError: another kind of network, or a record that JSON cannot hold.
        ValueError: a weight is not finite in half precision.

    Source: chapters 8 and 9 of the book.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save_network(XSRResNet(2, blocks=1, channels=8), f"{folder}/a.safetensors", steps=0)
    ...     load_network(f"{folder}/a.safetensors").record
    {'steps': 0}
    """
    net = getattr(net, "_orig_mod", net)
    if not isinstance(net, XSRResNet):
        raise TypeError(f"net: expected an XSRResNet, got {type(net).__name__}")
    tensors = {k: v.detach().half().cpu().contiguous() for k, v in net.state_dict().items()}
    bad = [k for k, v in tensors.items() if not v.isfinite().all()]
    if bad:
        raise ValueError(f"expected weights that are finite in half precision; {bad[0]} is not")
    metadata = {"config": json.dumps(_config(net)), "record": json.dumps(record)}
    data = safetensors.torch.save(tensors, metadata=metadata)
    write_atomically(path, data)


def load_network(path: str | Path) -> XSRResNet:
    """A network written by :func:`save_network`: on the CPU, in float32, frozen, in eval mode.

    Its ``record`` is what was stored. To train it further, call ``requires_grad_()`` and
    ``train()``.

    Raises:
        FileNotFoundError: no such file.
        ValueError: the file is damaged, holds another network, or weights that are not finite.

    Source: chapters 8 and 9 of the book.

    >>> load_network("no-such-network.safetensors")
    Traceback (most recent call last):
    ...
    FileNotFoundError: no network at no-such-network.safetensors
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no network at {path}")
    tensors, metadata = read_safetensors(path)
    try:
        config, record = json.loads(metadata["config"]), json.loads(metadata["record"])
        _check_config(config, tensors)
        net = XSRResNet(**config)
        net.load_state_dict(tensors)
    except (KeyError, TypeError, ValueError, ArithmeticError, RuntimeError) as error:
        raise ValueError(f"{path}: expected a network of save_network, got {error!r}") from error
    net.record = record
    return net.requires_grad_(False).eval()


def interpolate(a: XSRResNet, b: XSRResNet, position: float) -> XSRResNet:
    """A network whose weights lie between those of two others: ``a`` at 0, ``b`` at 1.

    Where ``b`` was trained further from ``a``, what it computes changes smoothly on the way.

    Raises:
        ValueError: the two have different configurations, or the position is outside [0, 1].

    Source: Wang et al. (2019), deep network interpolation; chapter 8 of the book.

    >>> a, b = XSRResNet(2, blocks=1, channels=8), XSRResNet(2, blocks=1, channels=8)
    >>> half = interpolate(a, b, 0.5)
    >>> torch.allclose(half.tail[2].weight, (a.tail[2].weight + b.tail[2].weight) / 2)
    True
    """
    if _config(a) != _config(b):
        raise ValueError(
            f"expected two networks of one configuration, got {_config(a)} and {_config(b)}"
        )
    check_fraction(position, "position")
    net, ends = copy.deepcopy(b), (a.state_dict(), b.state_dict())
    net.load_state_dict({k: torch.lerp(w, ends[1][k], float(position)) for k, w in ends[0].items()})
    return net


def check_fraction(value: Any, name: str) -> None:
    """Raise unless ``value`` is a number from 0 to 1.

    >>> check_fraction(1.5, "position")
    Traceback (most recent call last):
    ...
    ValueError: position: expected a number from 0 to 1, got 1.5
    """
    number = isinstance(value, numbers.Real) and not isinstance(value, bool)
    if not (number and 0 <= value <= 1):
        raise ValueError(f"{name}: expected a number from 0 to 1, got {value!r}")


def _check_config(config: dict[str, int | str], tensors: Mapping[str, Tensor]) -> None:
    """Raise if a file claims a much larger network than it has weights for.

    A few bytes of configuration could otherwise make us build a network of any size.
    """
    blocks, channels = int(config["blocks"]), int(config["channels"])
    count = sum(tensor.numel() for tensor in tensors.values())
    if 18 * blocks * channels**2 > count:  # the two 3×3 convolutions of every block
        raise ValueError(f"blocks={blocks}, channels={channels} with only {count} weights")


def _config(net: XSRResNet) -> dict[str, int | str]:
    config = {"scale": net.scale, "blocks": net.blocks, "channels": net.channels}
    return config | {"upsampling": net.upsampling}
