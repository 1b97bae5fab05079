"""Deep self-dissimilarity (DSD): how the deep features of one image differ between its scales.

The library behind the book. Images are float tensors ``(N, 3, H, W)``, RGB, in [0, 1].

>>> import dsd_lib as dsd
>>> net = dsd.load_backbone("vgg16")
>>> x = dsd.sample_images()["coffee"]
>>> dsd.dsd_norm(x, net, layers=("relu3_1",), alpha=2)
tensor([[0.0523]])
"""

import ast
from importlib import import_module
from pathlib import Path

__version__ = "0.1.0"

# Name -> module, read from the stub that type checkers read. A name is imported when it is first
# used: PyTorch takes seconds, in which the command line must be able to answer an interrupt, and
# the core stands alone.
_STUB = ast.parse(Path(__file__).with_suffix(".pyi").read_text(encoding="utf-8"))
_HOMES = {
    alias.name: f"dsd_lib.{line.module}"
    for line in _STUB.body
    if isinstance(line, ast.ImportFrom)
    for alias in line.names
}
__all__ = sorted(_HOMES)


def __getattr__(name: str) -> object:
    if name in _HOMES:
        value = globals()[name] = getattr(import_module(_HOMES[name]), name)
        return value
    if f"dsd_lib.{name}" in _HOMES.values():
        return import_module(f"dsd_lib.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
