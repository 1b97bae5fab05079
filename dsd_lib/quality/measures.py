"""The one registry of measures: what each is called, what it promises, and its function.

The command line, the evaluation scripts, the tables of restored images, the chapters and the
contract page read ``MEASURES``. To add a measure, add an entry; ``tests/quality`` then checks
its promises.
"""

import inspect
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import lru_cache, partial
from typing import Any

import torch
from torch import Tensor

from dsd_lib import losses
from dsd_lib.backbones import Backbone, load_backbone
from dsd_lib.checks import check_images, check_pair
from dsd_lib.descriptor import check_descriptor
from dsd_lib.no_reference import PSI_LAYERS, naturalness
from dsd_lib.quality import baselines, deep_niqe, grid, natural_scenes, rivals

OPTIONS = ("net", "layers", "alpha", "windows")  # what can be chosen, where a measure takes it
INF = math.inf


@dataclass(frozen=True)
class Prepared:
    """A measure that is ready to be called.

    Attributes:
        name: its key in the registry.
        higher_is_better: its direction.
        function: ``(image, reference) -> (N,)``, or ``(image) -> (N,)`` without a reference.
        settings: what its value depends on, in words and numbers.
        distance_to: ``(reference) -> function of images``, if a reference can be described once.
        bytes_per_pixel: the measure's own.
    """

    name: str
    higher_is_better: bool
    function: Callable[..., Tensor]
    settings: dict[str, Any] = field(default_factory=dict)
    distance_to: Callable[[Tensor], Callable[[Tensor], Tensor]] | None = None
    bytes_per_pixel: float = 0.0

    def __call__(self, *images: Tensor) -> Tensor:
        """The measure of an image, or of an image and its reference: ``(N,)``."""
        return self.function(*images)

    def against(self, reference: Tensor) -> Callable[[Tensor], Tensor]:
        """The measure of images against one reference, which is described once if possible.

        >>> y = torch.full((1, 3, 8, 8), 0.5)
        >>> MEASURES["psnr"].prepare().against(y)(y + 0.1)
        tensor([20.0000])
        """
        if self.distance_to is not None:
            return self.distance_to(reference)
        return lambda image: self.function(image, reference)


def _distance_to(
    key: str,
    reference: Tensor,
    net: Backbone,
    layers: tuple[str, ...],
    alpha: float = 2,
    windows: int = 1,
) -> Callable[[Tensor], Tensor]:
    """The distance of images to one reference, whose description is computed only once."""
    distance = losses.DISTANCES[key]
    min_side, why = distance.min_side(net, layers, alpha, windows)
    check_images(reference, name="y", min_side=min_side, why=why)

    def describe(z: Tensor) -> losses.Description:
        return distance.describe(z, net, layers, alpha, windows, tile=None)

    with torch.no_grad():
        described = describe(reference)
    # Its shape, type and device in the memory of one number: the reference need not be held.
    like = reference.new_zeros(()).expand(reference.shape)

    def distance_of(x: Tensor) -> Tensor:
        check_images(x, min_side=min_side, why=why)
        check_pair(x, like, check_range=False)
        return distance.between(describe(x), described)

    return distance_of


@dataclass(frozen=True)
class Measure:
    """A measure and what it promises; the promises are tested.

    Attributes:
        key: its one name, in code, files and on the command line.
        title: its name in tables.
        source: the equation, or authors and year.
        function: ``(x, y, ...) -> (N,)`` where y is the reference, or ``(x, ...) -> (N,)``.
        higher_is_better: its direction.
        value_range: smallest and largest value.
        needs_reference: whether it compares an image with a reference.
        min_size: shortest and longest side, in pixels, of the smallest image it takes.
        identical: its value for two identical images; None without a reference.
        symmetric: whether image and reference may trade places; None without a reference.
        differentiable: whether a gradient flows back to the image.
        smooth_at_best: whether that gradient is finite for identical images too.
        weights: the parameters it needs and where they come from; "" for none.
        downloads: whether these are downloaded at first use.
        fixed: settings that its value depends on and that cannot be chosen.
        bytes_per_pixel: memory it needs besides the images, measured on a CPU; 0 if tiles bound it.
    """

    key: str
    title: str
    source: str
    function: Callable[..., Tensor]
    higher_is_better: bool = False
    value_range: tuple[float, float] = (0.0, INF)
    needs_reference: bool = True
    min_size: tuple[int, int] = (1, 1)
    identical: float | None = 0.0
    symmetric: bool | None = True
    differentiable: bool = True
    smooth_at_best: bool = True
    weights: str = ""
    downloads: bool = False
    fixed: dict[str, object] = field(default_factory=dict)
    bytes_per_pixel: float = 0.0

    @property
    def tiled(self) -> bool:
        """Whether images above 4 megapixels are measured in tiles, which bounds the memory."""
        return "tile" in inspect.signature(self.function).parameters

    @property
    def options(self) -> tuple[str, ...]:
        """What can be chosen, out of ``OPTIONS``."""
        return tuple(
            name for name in OPTIONS if name in inspect.signature(self.function).parameters
        )

    def __call__(self, *images: Tensor) -> Tensor:
        """The measure with its defaults: ``measure(x, y)``, or ``measure(x)`` without a reference.

        >>> MEASURES["psnr"](torch.full((1, 3, 8, 8), 0.6), torch.full((1, 3, 8, 8), 0.5))
        tensor([20.0000])
        """
        if "net" in self.options:
            return self.function(*images, net=_default_network(images[0].device))
        return self.function(*images)

    def prepare(self, **chosen: Any) -> Prepared:
        """The measure with options chosen out of ``self.options``; None is its own default.

        Raises:
            TypeError: an option that the measure does not take.
            ValueError: an unknown layer, or an alpha not above 1.

        >>> MEASURES["dsd"].prepare(alpha=4).settings
        {'network': 'vgg16', 'layers': ['relu2_1', 'relu2_2', 'relu3_1'], 'alpha': 4}
        """
        if foreign := [name for name in chosen if name not in self.options]:
            raise TypeError(f"{self.key}: expected options out of {self.options}, got {foreign}")
        parameters = inspect.signature(self.function).parameters
        options = {
            name: parameters[name].default if chosen.get(name) is None else chosen[name]
            for name in self.options
        }
        settings = dict(self.fixed)
        if "net" in options:
            net = options["net"] = chosen.get("net") or load_backbone()
            settings["network"] = net.name
        if "layers" in options:
            layers = net.last_conv if options["layers"] is None else options["layers"]
            options["layers"] = check_descriptor(net, layers, options.get("alpha", 2))
            settings["layers"] = list(options["layers"])
        if "alpha" in options:
            settings["alpha"] = options["alpha"]
        if options.get("windows", 1) != 1:
            settings["windows"] = options["windows"]
        function, distance_to = partial(self.function, **options), None
        if self.key in losses.DISTANCES:
            distance_to = partial(_distance_to, self.key, **options)
        return Prepared(
            self.key,
            self.higher_is_better,
            function,
            settings,
            distance_to,
            self.bytes_per_pixel,
        )

    def missing(self) -> str:
        """Why the measure cannot be used here, a package or weights; "" where it can.

        >>> MEASURES["psnr"].missing()
        ''
        """
        height, width = self.min_size
        x = torch.linspace(0, 1, 3 * height * width).view(1, 3, height, width)
        try:
            self(x, x) if self.needs_reference else self(x)
        except (FileNotFoundError, ImportError) as error:
            return str(error)
        return ""


@lru_cache(maxsize=2)
def _default_network(device: torch.device) -> Backbone:
    return load_backbone().to(device)


_VGG = "VGG-16, in the package"
_ALEXNET = "torchvision's AlexNet, 244 MB, downloaded at first use"
_NATURAL_SCENES = "the authors' parameters, in the package"


def _deep(
    key: str, title: str, source: str, function: Callable[..., Tensor], **more: Any
) -> Measure:
    """A distance through the features of VGG-16."""
    return Measure(key, title, source, function, weights=_VGG, **more)


def _similarity(key: str, title: str, source: str, function: Callable, **more: Any) -> Measure:
    """A measure that is higher for images that are more alike."""
    return Measure(key, title, source, function, higher_is_better=True, **more)


def _blind(
    key: str, title: str, source: str, function: Callable[..., Tensor], **more: Any
) -> Measure:
    """A measure without a reference."""
    return Measure(
        key, title, source, function, needs_reference=False, identical=None, symmetric=None, **more
    )


def _naturalness(alpha: int) -> Measure:
    return _blind(
        f"dsd{alpha}",
        f"distance from a natural image's DSD, alpha {alpha}",
        "Eq. (5)",
        partial(_scored_naturalness, alpha),
        min_size={2: (7, 7), 4: (13, 13)}[alpha],
        weights="VGG-16 and ψ, in the package",
        fixed={"network": "vgg16", "layers": list(PSI_LAYERS), "alpha": alpha},
        bytes_per_pixel=540 / alpha**2,  # ψ sees the whole x↓α; DSD is summed over tiles
    )


def _scored_naturalness(alpha: int, x: Tensor, *, tile: int | None = None) -> Tensor:
    return naturalness(x, alpha, tile=tile)


MEASURES: dict[str, Measure] = {
    measure.key: measure
    for measure in (
        _deep("dsd", "DSD distance", "Eq. (4)", losses.dsd_distance, min_size=(7, 7)),
        _deep("style", "style distance", "section 3.4", losses.style_distance, min_size=(4, 4)),
        _deep(
            "multiscale_style",
            "style distance at two scales",
            "section 3.4",
            losses.multiscale_style_distance,
            min_size=(7, 7),
        ),
        _deep(
            "perceptual",
            "perceptual distance",
            "section 3.4",
            losses.perceptual_distance,
            min_size=(16, 16),
            bytes_per_pixel=1000,
        ),
        _deep(
            "projected_distribution",
            "projected distribution distance",
            "section 3.4",
            losses.projected_distribution_distance,
            min_size=(4, 4),
            bytes_per_pixel=1250,
        ),
        _deep(
            "contextual",
            "contextual distance",
            "Mechrez et al. 2018",
            losses.contextual_distance,
            min_size=(8, 8),
            symmetric=False,
            bytes_per_pixel=1200,
        ),
        _deep(
            "dists_form",
            "DISTS' form, unlearned",
            "Ding et al. 2022",
            rivals.dists_form,
            value_range=(0, 2),
            min_size=(16, 16),
            bytes_per_pixel=2250,
        ),
        _deep(
            "lpips_form",
            "LPIPS' form, unlearned",
            "Zhang et al. 2018",
            rivals.lpips_form,
            value_range=(0, 10),
            min_size=(16, 16),
            bytes_per_pixel=2000,
        ),
        _deep(
            "deep_wsd_form",
            "DeepWSD's form",
            "Liao et al. 2022",
            rivals.deep_wsd_form,
            min_size=(16, 16),
            bytes_per_pixel=2200,
        ),
        _deep(
            "sliced_wasserstein",
            "sliced Wasserstein distance",
            "Heitz et al. 2021",
            rivals.sliced_wasserstein_distance,
            min_size=(4, 4),
            bytes_per_pixel=1250,
        ),
        _similarity(
            "psnr",
            "PSNR",
            "",
            baselines.psnr,
            identical=INF,
            smooth_at_best=False,
        ),
        _similarity(
            "psnr_y",
            "PSNR of the luma",
            "",
            baselines.psnr_y,
            identical=INF,
            smooth_at_best=False,
        ),
        _similarity(
            "ssim",
            "SSIM",
            "Wang et al. 2004",
            baselines.ssim,
            value_range=(-1, 1),
            identical=1,
            bytes_per_pixel=440,
        ),
        _similarity(
            "ssim_y",
            "SSIM of the luma",
            "Wang et al. 2004",
            baselines.ssim_y,
            value_range=(-1, 1),
            min_size=(11, 11),
            identical=1,
            bytes_per_pixel=230,
        ),
        _similarity(
            "ms_ssim",
            "MS-SSIM of the luma",
            "Wang et al. 2003",
            baselines.ms_ssim,
            value_range=(0, 1),
            min_size=(176, 176),
            identical=1,
            bytes_per_pixel=220,
        ),
        Measure(
            "lpips",
            "LPIPS",
            "Zhang et al. 2018",
            baselines.lpips,
            min_size=(64, 64),
            weights=_ALEXNET,
            downloads=True,
        ),
        Measure(
            "st_lpips",
            "shift-tolerant LPIPS",
            "Ghildyal and Liu 2022",
            baselines.shift_tolerant_lpips,
            min_size=(64, 64),
            weights="in its authors' package, stlpips-pytorch",
            bytes_per_pixel=1000,
        ),
        Measure(
            "grid",
            "grid artifacts of ×4 networks",
            "Fig. 10",
            grid.grid_energy,
            min_size=(64, 64),
            identical=1,
            bytes_per_pixel=200,
        ),
        _naturalness(2),
        _naturalness(4),
        _blind(
            "niqe",
            "NIQE",
            "Mittal et al. 2013",
            natural_scenes.niqe,
            min_size=(96, 192),
            differentiable=False,
            weights=_NATURAL_SCENES,
        ),
        _blind(
            "deep_niqe",
            "deep NIQE, in the manner of MDFS",
            "after Ni et al. 2024",
            deep_niqe.deep_niqe,
            min_size=(96, 192),
            weights="VGG-16 and a Gaussian of clean photos' features, in the package",
            fixed={"layers": list(deep_niqe.LAYERS)},
        ),
        _blind(
            "brisque",
            "BRISQUE",
            "Mittal et al. 2012",
            natural_scenes.brisque,
            value_range=(-INF, INF),
            min_size=(32, 32),
            differentiable=False,
            weights=_NATURAL_SCENES,
            bytes_per_pixel=100,
        ),
    )
}
FULL_REFERENCE = {key: m for key, m in MEASURES.items() if m.needs_reference}
NO_REFERENCE = {key: m for key, m in MEASURES.items() if not m.needs_reference}

# Names in stored results and on older command lines, where they differ from the key.
OTHER_NAMES = {"pdl": "projected_distribution", "stlpips": "st_lpips"}


def find(names: str | Iterable[str], table: dict[str, Measure] = MEASURES) -> list[Measure]:
    """Measures by name; a hyphen is as good as an underscore.

    Raises:
        ValueError: no name, an unknown or a repeated one.

    >>> [m.key for m in find(["psnr-y", "dsd"])]
    ['psnr_y', 'dsd']
    """
    names = (names,) if isinstance(names, str) else tuple(names)
    keys = [name.replace("-", "_") for name in names]
    keys = [OTHER_NAMES.get(key, key) for key in keys]
    if not keys or len(set(keys)) < len(keys) or not table.keys() >= set(keys):
        raise ValueError(
            f"measures: expected different names out of {', '.join(table)}; got {', '.join(names)}"
        )
    return [table[key] for key in keys]


def of_stored(name: str) -> Measure:
    """The measure of a name in ``full_reference_*.json``, ``dsd2/relu4_1`` or ``psnr``.

    A layer comes after a slash. ``dsd`` is followed by its alpha and its number of windows.

    >>> of_stored("dsd2_windows4/relu4_1").key, of_stored("ms_ssim").key
    ('dsd', 'ms_ssim')
    """
    key, _, layer = name.partition("/")
    if layer and key.startswith("dsd"):
        key = "dsd"
    return find(key)[0]


def stored_title(name: str) -> str:
    """The title of a measure by its name in ``full_reference_*.json``, for tables and legends.

    >>> stored_title("dsd2_windows4/relu4_1")
    'DSD₂ in 4 × 4 windows, relu4_1'
    >>> stored_title("pdl/relu2_1"), stored_title("psnr")
    ('projected distribution distance, relu2_1', 'PSNR')
    """
    measure = of_stored(name)
    key, _, layer = name.partition("/")
    title = measure.title
    if layer and measure.key == "dsd":
        alpha, _, windows = key.removeprefix("dsd").partition("_windows")
        title = "DSD" + alpha.translate(str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉"))
        title += f" in {windows} × {windows} windows" if windows else ""
    return f"{title}, {layer}" if layer else title


def usable(keys: Iterable[str]) -> tuple[list[str], dict[str, str]]:
    """Those of the measures that work here, and why the others do not.

    >>> usable(["psnr", "dsd"])
    (['psnr', 'dsd'], {})
    """
    reasons = {key: MEASURES[key].missing() for key in keys}
    return [key for key, why in reasons.items() if not why], {k: v for k, v in reasons.items() if v}
