"""What all tests share: the network, pictures, bad pictures, and settings that make runs repeat."""

import os

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, settings
from torch import Tensor

import dsd_lib as dsd

# How many examples a property test tries: the same few in every run, or with `make test-thorough`
# (--hypothesis-profile=thorough) a thousand new ones.
settings.register_profile("ci", derandomize=True, deadline=None, max_examples=20, database=None)
settings.register_profile(
    "thorough", deadline=None, max_examples=1000, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("ci")
torch.set_num_threads(1)  # images are small: waking further threads costs more than it brings
os.environ.setdefault("OMP_NUM_THREADS", "1")  # the same in a chapter's kernel, one of several


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "cuda: needs a CUDA GPU (make gpu)")


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("cuda") and not torch.cuda.is_available():
        pytest.skip("no CUDA GPU")


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def net() -> dsd.Backbone:
    """The embedded VGG-16. Shared: a test that changes it takes a copy.deepcopy."""
    return dsd.load_backbone("vgg16")


@pytest.fixture(scope="session")
def pictures() -> dict[str, Tensor]:
    return dsd.sample_images()


@pytest.fixture
def coffee(pictures: dict[str, Tensor]) -> Tensor:
    return pictures["coffee"]


@pytest.fixture
def astronaut(pictures: dict[str, Tensor]) -> Tensor:
    return pictures["astronaut"]


@pytest.fixture
def pair(coffee: Tensor) -> tuple[Tensor, Tensor]:
    """Two small batches of real pictures, (2, 3, 48, 48): crops, and the same with noise."""
    x = torch.cat([coffee[:, :, 20:68, 20:68], coffee[:, :, 100:148, 150:198]])
    noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(1))
    return x, (x + 0.08 * noise).clamp(0, 1)


def _with(value: float) -> Tensor:
    x = torch.full((1, 3, 32, 32), 0.5)
    x[0, 1, 2, 3] = value
    return x


BAD_IMAGES = {  # what came: (the picture, the error, what its message must say)
    "array": (
        np.zeros((1, 3, 32, 32), np.float32),
        TypeError,
        "expected a torch.Tensor, got ndarray; dsd_lib.image_from_array converts it",
    ),
    "uint8 array": (np.zeros((32, 32, 3), np.uint8), TypeError, "got ndarray; dsd_lib.image_from"),
    "list": ([[0.5]], TypeError, "expected a torch.Tensor, got list"),
    "nothing": (None, TypeError, "expected a torch.Tensor, got NoneType"),
    "uint8": (
        torch.zeros(1, 3, 32, 32, dtype=torch.uint8),
        TypeError,
        "expected a floating-point tensor, got torch.uint8; divide 8-bit values by 255",
    ),
    "integers": (
        torch.zeros(1, 3, 32, 32, dtype=torch.int64),
        TypeError,
        "expected a floating-point tensor, got torch.int64",
    ),
    "booleans": (torch.ones(1, 3, 32, 32, dtype=torch.bool), TypeError, "got torch.bool"),
    "complex": (
        torch.zeros(1, 3, 32, 32, dtype=torch.complex64),
        TypeError,
        "expected a floating-point tensor, got torch.complex64",
    ),
    "0 to 255": (
        _with(0) * 2 * 255,
        ValueError,
        r"expected values in \[0, 1\], got \[0, 255\]; divide 8-bit values by 255",
    ),
    "-1 to 1": (
        _with(0) * 4 - 1,
        ValueError,
        r"expected values in \[0, 1\], got \[-1, 1\]; bring them there",
    ),
    "a little over": (_with(1.01), ValueError, r"expected values in \[0, 1\], got \[0.5, 1.01\]"),
    "NaN": (_with(torch.nan), ValueError, "expected finite values, got NaN or infinity"),
    "infinity": (_with(torch.inf), ValueError, "expected finite values, got NaN or infinity"),
    "minus infinity": (_with(-torch.inf), ValueError, "expected finite values, got NaN or infin"),
    "1 channel": (
        torch.zeros(1, 1, 32, 32),
        ValueError,
        r"expected 3 channels \(RGB\) in shape \(N, 3, H, W\), got \(1, 1, 32, 32\)",
    ),
    "4 channels": (
        torch.zeros(1, 4, 32, 32),
        ValueError,
        r"expected 3 channels \(RGB\) in shape \(N, 3, H, W\), got \(1, 4, 32, 32\)",
    ),
    "channels last": (
        torch.zeros(1, 32, 32, 3),
        ValueError,
        r"got \(1, 32, 32, 3\); channels come second: x.permute\(0, 3, 1, 2\)",
    ),
    "unbatched": (
        torch.zeros(3, 32, 32),
        ValueError,
        r"expected shape \(N, 3, H, W\), got \(3, 32, 32\); add the batch axis with x\[None\]",
    ),
    "five axes": (
        torch.zeros(1, 1, 3, 32, 32),
        ValueError,
        r"expected shape \(N, 3, H, W\), got \(1, 1, 3, 32, 32\)",
    ),
    "empty batch": (
        torch.zeros(0, 3, 32, 32),
        ValueError,
        r"expected at least one image, got an empty batch \(0, 3, 32, 32\)",
    ),
    "no pixels": (
        torch.zeros(1, 3, 0, 32),
        ValueError,
        r"expected sides of at least \d+ pixels, got \(1, 3, 0, 32\)",
    ),
}


@pytest.fixture(params=BAD_IMAGES.values(), ids=BAD_IMAGES.keys())
def bad_image(request: pytest.FixtureRequest) -> tuple[object, type[Exception], str]:
    """What every function that takes a picture must refuse: (picture, error, its message)."""
    return request.param
