"""How long a DSD distance and a DSD loss step take, as ratios within one run.

    python -m benchmarks.distance [--size 384 512] [--repeats 7] [--device cpu]

Three ways over the same pair of pictures, at the three default layers and alpha = 2:

* ours: ``dsd_lib.dsd_distance``, in float32 and with convolutions in bfloat16,
* (a) plain: the paper's formulas written down one by one, a network pass for each of the two
  pictures at each of the two scales, in PyTorch's default memory layout,
* (b) bare: nothing but those network passes, both pictures in one batch, in the default layout.

The loss step is the distance and its gradient in the first picture. The ways take turns and the
median of the repeats counts.
"""

import argparse
import platform
import time
from collections.abc import Callable
from statistics import median

import torch
from torch import Tensor, nn

import dsd_lib as dsd

LAYERS = ("relu2_1", "relu2_2", "relu3_1")


def plain_network(net: dsd.Backbone) -> nn.Sequential:
    """The same layers as an ordinary network in the default memory layout."""
    depth = net.layers.index(LAYERS[-1]) + 1
    stages = list(net.stages.values())[:depth]
    return nn.Sequential(*stages).to(memory_format=torch.contiguous_format)


def plain_features(x: Tensor, net: dsd.Backbone, plain: nn.Sequential) -> list[Tensor]:
    """The maps at the default layers, one picture after the other."""
    f, maps = (x - net.mean) / net.std, []
    for name, stage in zip(net.layers, plain, strict=False):
        f = stage(f)
        if name in LAYERS:
            maps.append(f)
    return maps


def plain_distance(x: Tensor, y: Tensor, net: dsd.Backbone, plain: nn.Sequential) -> Tensor:
    """Eqs. (1), (2) and (4), written down."""

    def gram(f: Tensor) -> Tensor:
        n, c, h, w = f.shape
        f = f.reshape(n, c, h * w)
        return f.bmm(f.transpose(1, 2)) / (c * h * w)

    def descriptor(z: Tensor) -> list[Tensor]:
        small = dsd.imresize(z, scale=0.5)
        fine = [gram(f) for f in plain_features(z, net, plain)]
        coarse = [gram(f) for f in plain_features(small, net, plain)]
        return [g - h for g, h in zip(fine, coarse, strict=True)]

    a = descriptor(x)
    with torch.set_grad_enabled(y.requires_grad):
        b = descriptor(y)
    return sum((p - q).abs().mean() for p, q in zip(a, b, strict=True))


def measure(ways: dict[str, Callable[[], object]], repeats: int, device: str) -> dict[str, float]:
    """Median seconds of each way; they take turns, so that a drift of the machine hits all."""
    seconds = {name: [] for name in ways}
    for turn in range(repeats + 1):  # the first turn warms up
        for name, way in ways.items():
            if device == "cuda":
                torch.cuda.synchronize()
            started = time.perf_counter()
            way()
            if device == "cuda":
                torch.cuda.synchronize()
            if turn:
                seconds[name].append(time.perf_counter() - started)
    return {name: median(values) for name, values in seconds.items()}


def main() -> None:
    """Measure and print one table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, nargs=2, default=(384, 512), metavar=("H", "W"))
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    torch.manual_seed(0)
    x = torch.rand(1, 3, *arguments.size, device=arguments.device)
    y = torch.rand_like(x)
    plain = plain_network(dsd.load_backbone("vgg16").to(arguments.device))
    net = dsd.load_backbone("vgg16").to(arguments.device)

    def bfloat16(function: Callable[..., Tensor], *inputs: Tensor) -> Tensor:
        with torch.autocast(arguments.device, dtype=torch.bfloat16):
            return function(*inputs)

    def ours(x: Tensor, y: Tensor) -> Tensor:
        return dsd.dsd_distance(x, y, net).sum()

    def bare(x: Tensor) -> None:
        small = dsd.imresize(x, scale=0.5)
        plain_features(x, net, plain)
        plain_features(small, net, plain)

    def bare_step(x: Tensor, y: Tensor) -> Tensor:
        """The passes a step cannot do without: x forward and back, y forward, at both scales."""
        maps = [f.mean() for z in (x, dsd.imresize(x, scale=0.5))
                for f in plain_features(z, net, plain)]  # fmt: skip
        with torch.no_grad():
            bare(y)
        return sum(maps)

    def step(function: Callable[..., Tensor]) -> Callable[[], object]:
        return lambda: function(x.clone().requires_grad_(), y).backward()

    @torch.no_grad()
    def distance_table() -> dict[str, float]:
        ways = {
            "ours": lambda: ours(x, y),
            "ours, bfloat16": lambda: bfloat16(ours, x, y),
            "(a) plain, four passes": lambda: plain_distance(x, y, net, plain),
            "(b) bare network passes": lambda: bare(torch.cat([x, y])),
        }
        return measure(ways, arguments.repeats, arguments.device)

    steps = {
        "ours": step(ours),
        "ours, bfloat16": step(lambda x, y: bfloat16(ours, x, y)),
        "(a) plain, four passes": step(lambda x, y: plain_distance(x, y, net, plain)),
        "(b) bare network passes": step(bare_step),
    }
    with torch.no_grad():
        difference = ours(x, y) / plain_distance(x, y, net, plain) - 1
    print(
        f"{platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}, "
        f"{arguments.device}, {arguments.size[1]} x {arguments.size[0]} pixels, "
        f"ours / plain - 1 = {difference:.1e}"
    )
    print(f"{'':14}{'way':26}{'seconds':>8}{'(a) / it':>10}{'(b) / it':>10}")
    tables = {
        "distance": distance_table(),
        "loss step": measure(steps, arguments.repeats, arguments.device),
    }
    for what, table in tables.items():
        a, b = table["(a) plain, four passes"], table["(b) bare network passes"]
        for name, seconds in table.items():
            print(f"{what:14}{name:26}{seconds:8.3f}{a / seconds:10.2f}{b / seconds:10.2f}")


if __name__ == "__main__":
    main()
