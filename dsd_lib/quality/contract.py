"""What each measure promises, as checks that run: the contract page and its tests call these.

Every check takes a :class:`~dsd_lib.quality.measures.Measure` and returns what it found, as JSON
takes it. The images are crops of an embedded photo, only as large as the measure needs.
"""

import math
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from unittest.mock import patch

import torch
from torch import Tensor

from dsd_lib.images import sample_images
from dsd_lib.quality.measures import Measure

SIDE = 64  # pixels; the shorter side of the images, where the measure allows so few


def photo(measure: Measure) -> Tensor:
    """A photo just large enough, ``(1, 3, H, W)``."""
    height, width = (max(SIDE, side) for side in measure.min_size)
    return sample_images()["coffee"][:, :, 40 : 40 + height, 60 : 60 + width].contiguous()


def damage(measure: Measure, strength: float) -> Tensor:
    """The photo with noise, or with a grid of 4 pixels for the measure of grids."""
    x = photo(measure)
    if measure.key == "grid":
        pattern = torch.zeros(4, 4)
        pattern[0, 0] = 1
        noise = pattern.repeat(x.shape[2] // 4, x.shape[3] // 4)
    else:
        noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(0))
    return (x + strength * noise).clamp(0, 1)


def value(measure: Measure, x: Tensor, reference: Tensor | None = None) -> Tensor:
    """The measure of ``x`` against ``reference``, which is the photo unless given."""
    if not measure.needs_reference:
        return measure(x)
    return measure(x, photo(measure).expand_as(x).to(x) if reference is None else reference)


def relative_difference(a: Tensor, b: Tensor) -> float:
    """The largest ``|a - b| / |b|``, to two digits; 0 where both are equal, infinities included.

    >>> relative_difference(torch.tensor([1.0, torch.inf]), torch.tensor([1.1, torch.inf]))
    0.091
    """
    a, b = a.double().cpu(), b.double().cpu()
    difference = torch.where(a == b, 0.0, (a - b).abs() / b.abs().clamp_min(1e-12))
    return float(f"{difference.max().item():.2g}")


def direction(measure: Measure) -> list[float | str]:
    """Values for the photo, a little damage, and more; each worse than the one before."""
    levels = torch.cat([photo(measure), damage(measure, 0.03), damage(measure, 0.2)])
    return _numbers(value(measure, levels))


def value_range(measure: Measure) -> dict[str, list[float | str] | bool]:
    """The smallest and the largest value over extreme images, and whether the ends are attained."""
    x = photo(measure)
    checks = torch.zeros_like(x)
    checks[..., ::2, ::2] = checks[..., 1::2, 1::2] = 1
    extremes = [x, 1 - x, checks, 1 - checks, torch.zeros_like(x), torch.ones_like(x)]
    found = []
    for a in extremes:
        for b in extremes if measure.needs_reference else [None]:
            try:
                found.append(value(measure, a, b).item())
            except ValueError:  # NIQE and BRISQUE need texture, and say so
                continue
    low, high = measure.value_range
    return {
        "found": _numbers(torch.tensor([min(found), max(found)])),
        "low attained": min(found) <= low + 1e-6,
        "high attained": max(found) >= high - 1e-6,
    }


def identical(measure: Measure) -> float | str | None:
    """The value for two identical images; None without a reference."""
    return _numbers(value(measure, photo(measure)))[0] if measure.needs_reference else None


def symmetric(measure: Measure) -> float | None:
    """How much the value changes when image and reference trade places; None without one."""
    if not measure.needs_reference:
        return None
    x, y = damage(measure, 0.1), photo(measure)
    return relative_difference(measure(y, x), measure(x, y))


def in_a_batch(measure: Measure) -> float:
    """How much a value changes when the image is measured together with others."""
    images = torch.cat([damage(measure, s) for s in (0.05, 0.1, 0.2)])
    alone = torch.cat([value(measure, x) for x in images.split(1)])
    return relative_difference(value(measure, images), alone)


def repeated(measure: Measure) -> bool:
    """Whether a second call gives the same bits."""
    x = damage(measure, 0.1)
    return torch.equal(value(measure, x), value(measure, x))


def threads(measure: Measure) -> float:
    """How much the value changes from one thread to four."""
    x, before = damage(measure, 0.1), torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        one = value(measure, x)
        torch.set_num_threads(4)
        return relative_difference(value(measure, x), one)
    finally:
        torch.set_num_threads(before)


def on_a_gpu(measure: Measure) -> float | None:
    """How much the value changes from CPU to GPU; None where there is no GPU."""
    if not torch.cuda.is_available():
        return None
    x = damage(measure, 0.1)
    return relative_difference(value(measure, x.cuda()), value(measure, x))


def in_bfloat16(measure: Measure) -> float:
    """How much the value changes when convolutions run in bfloat16 (autocast)."""
    x = damage(measure, 0.1)
    with torch.autocast(x.device.type, dtype=torch.bfloat16):
        low = value(measure, x)
    return relative_difference(low.float(), value(measure, x))


def gradient(measure: Measure) -> dict[str, str]:
    """Whether there is a gradient and it is finite, for a damaged image and identical ones."""
    found = {}
    for name, x in (("damaged", damage(measure, 0.1)), ("identical", photo(measure))):
        x.requires_grad_()
        with torch.enable_grad():
            y = value(measure, x, photo(measure))
        if not y.requires_grad:
            found[name] = "none"
            continue
        (gradient,) = torch.autograd.grad(y.sum(), x)
        found[name] = "finite" if gradient.isfinite().all() else "not finite"
    return found


def smallest(measure: Measure) -> list[int]:
    """The sides of the smallest image, after trying it, and the rejection of a smaller one.

    Raises:
        AssertionError: an image that is a pixel smaller is not rejected.
    """
    height, width = measure.min_size
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(1, 3, height, width, generator=generator)
    value(measure, x, 1 - x)
    for part in (x[:, :, 1:], x[:, :, :, 1:]):
        if 0 in part.shape:
            continue
        try:
            value(measure, part, part)
        except ValueError:
            continue
        raise AssertionError(f"{measure.key} takes {tuple(part.shape)}")
    return [height, width]


def offline(measure: Measure) -> bool:
    """Whether the measure works with every connection refused."""
    with _no_connections():
        return not measure.missing()


@contextmanager
def _no_connections() -> Iterator[None]:
    def refuse(*_: object) -> None:
        raise OSError("no connections in this check")

    with patch.object(socket.socket, "connect", refuse):
        yield


def _numbers(values: Tensor) -> list[float | str]:
    """To four digits; JSON has no infinity."""
    return [str(v) if math.isinf(v) else float(f"{v:.4g}") for v in values.tolist()]


_OFFICIAL = "tests/test_official_values.py::test_distance"
_BASELINES = "tests/quality/test_baselines.py::"
_RIVALS = "tests/quality/test_rivals.py::"
_SCENES = "tests/quality/test_natural_scenes.py::"
_NATURALNESS = (
    "the authors' code for ‖DSD‖; ψ was trained here",
    "1e-4, relative",
    "tests/test_official_values.py::test_norm",
)
# Key -> what the values agree with, how closely, and the test that shows it
AGREES_WITH = {
    "dsd": ("the authors' code", "1e-4, relative", _OFFICIAL),
    "style": ("the authors' code", "1e-4, relative", _OFFICIAL),
    "multiscale_style": (
        "the paper's formula; the authors' code for its first term",
        "1e-4, relative",
        "tests/test_official_values.py::test_multiscale_style_is_the_papers_formula",
    ),
    "perceptual": ("the authors' code", "1e-4, relative", _OFFICIAL),
    "projected_distribution": ("the authors' code", "1e-4, relative", _OFFICIAL),
    "contextual": ("the authors' code", "1e-4, relative", _OFFICIAL),
    "dists_form": ("a case by hand", "1e-6", f"{_RIVALS}test_dists_by_hand"),
    "lpips_form": ("a case by hand", "1e-6, relative", f"{_RIVALS}test_lpips_by_hand"),
    "deep_wsd_form": ("a case by hand", "1e-6, relative", f"{_RIVALS}test_deep_wsd_by_hand"),
    "sliced_wasserstein": (
        "a case by hand",
        "1e-6, relative",
        f"{_RIVALS}test_sliced_wasserstein_by_hand",
    ),
    "psnr": ("a case by hand", "1e-5, relative", f"{_BASELINES}test_psnr_by_hand"),
    "psnr_y": (
        "the authors' code",
        "1e-5, relative",
        f"{_BASELINES}test_the_official_codes_values",
    ),
    "ssim": ("the authors' code", "2e-5, relative", f"{_BASELINES}test_the_official_codes_values"),
    "ssim_y": ("its formula in float64", "1e-4, relative", f"{_BASELINES}test_ssim_is_its_formula"),
    "ms_ssim": ("torchmetrics, which computes it", "the same", ""),
    "lpips": ("torchmetrics, which computes it", "the same", ""),
    "st_lpips": (
        "its authors' package, which computes it",
        "1e-5, relative",
        f"{_BASELINES}TestShiftTolerant::test_the_authors_code_gives_the_same",
    ),
    "grid": ("nothing: it is ours", "", ""),
    "dsd2": _NATURALNESS,
    "dsd4": _NATURALNESS,
    "niqe": ("BasicSR 1.4.2", "1e-3", f"{_SCENES}test_niqe_of_another_implementation"),
    "deep_niqe": (
        "a case by hand",
        "1e-6, relative",
        "tests/quality/test_deep_niqe.py::test_the_distance_by_hand",
    ),
    "brisque": (
        "the authors' features scored by LIBSVM 3.37",
        "0.1",
        f"{_SCENES}test_brisque_of_another_implementation",
    ),
}


@dataclass(frozen=True)
class Check:
    """One column of the contract.

    Attributes:
        title: of the column.
        run: what finds it out.
        test: the test that proves it, in ``tests/quality/test_contract.py``.
    """

    title: str
    run: Callable[[Measure], object]
    test: str


CHECKS = {
    "direction": Check("photo, little noise, more noise", direction, "test_direction"),
    "value_range": Check("range, ends attained", value_range, "test_value_range"),
    "identical": Check("identical images", identical, "test_identical"),
    "symmetric": Check("swapped", symmetric, "test_symmetric"),
    "in_a_batch": Check("in a batch", in_a_batch, "test_in_a_batch"),
    "repeated": Check("same bits again", repeated, "test_repeated"),
    "threads": Check("one thread, four", threads, "test_threads"),
    "on_a_gpu": Check("CPU, GPU", on_a_gpu, "test_on_a_gpu"),
    "in_bfloat16": Check("bfloat16", in_bfloat16, "test_in_bfloat16"),
    "gradient": Check("gradient", gradient, "test_gradient"),
    "smallest": Check("smallest image", smallest, "test_smallest"),
    "offline": Check("offline", offline, "test_offline"),
}
