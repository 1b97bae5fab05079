"""How long a training step with the whole loss takes, as ratios within one run.

    python -m benchmarks.training_step [--batch 16] [--side 40] [--repeats 7] [--device cpu]

A step is: ×4 super-resolution of a batch, Eq. (6) with the DSD term at its default layers, the
gradient, Adam. Two ways:

* ours: :class:`dsd_lib.RestorationLoss`, where one network pass a scale serves the perceptual and
  the DSD term, and the target's passes build no graph; channels-last,
* plain: the same formulas written down one by one, each term with passes of its own, in PyTorch's
  default memory layout,

each in float32 and with convolutions in bfloat16; with ``--compile`` also ours with a compiled
network. The ways take turns and the median of the repeats counts. ``--processor-time`` counts that
instead of the clock's, for a CPU that is busy with other work.
"""

import argparse
import copy
import platform
import time
from collections.abc import Callable
from statistics import median

import torch
import torch.nn.functional as F
from torch import Tensor

import dsd_lib as dsd
from dsd_lib.restoration.loss import RestorationLoss
from dsd_lib.restoration.networks import XSRResNet

LAYERS = ("relu2_1", "relu2_2", "relu3_1")
WEIGHTS = (1.0, 1.0, 100.0)


def plain_features(x: Tensor, net: dsd.Backbone, layers: tuple[str, ...]) -> list[Tensor]:
    """The maps at some layers, without a word about memory layout."""
    f, maps = (x - net.mean) / net.std, []
    for name, stage in net.stages.items():
        f = stage(f)
        if name in layers:
            maps.append(f)
        if name == layers[-1]:
            return maps
    raise ValueError(f"layers: expected names in order, got {layers}")


def plain_loss(prediction: Tensor, target: Tensor, net: dsd.Backbone) -> Tensor:
    """Eq. (6), written down."""

    def gram(f: Tensor) -> Tensor:
        n, c, h, w = f.shape
        f = f.float().reshape(n, c, h * w)
        with torch.autocast(f.device.type, enabled=False):
            return f.bmm(f.transpose(1, 2)) / (c * h * w)

    def descriptor(x: Tensor) -> list[Tensor]:
        fine = [gram(f) for f in plain_features(x, net, LAYERS)]
        coarse = [gram(f) for f in plain_features(dsd.imresize(x, scale=0.5), net, LAYERS)]
        return [g - h for g, h in zip(fine, coarse, strict=True)]

    def perceptual(x: Tensor) -> Tensor:
        return plain_features(x, net, (net.last_conv,))[0].float()

    rec = (prediction - target).abs().mean()
    per = (perceptual(prediction) - perceptual(target)).abs().mean()
    pairs = zip(descriptor(prediction), descriptor(target), strict=True)
    distribution = sum((a - b).abs().mean() for a, b in pairs)
    return WEIGHTS[0] * rec + WEIGHTS[1] * per + WEIGHTS[2] * distribution


def plain_network(net: XSRResNet, x: Tensor) -> Tensor:
    """The network's layers in the layout that the tensors come in."""
    f = net.tail(net.enlarge(net.body(net.head(x))))
    return F.interpolate(x, scale_factor=float(net.scale), mode="bilinear") + f


def main() -> None:
    """Measure and print one table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--side", type=int, default=40, help="of the small crops, in pixels")
    parser.add_argument("--blocks", type=int, default=10)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--processor-time", action="store_true")
    args = parser.parse_args()
    device = torch.device(args.device)
    clock = time.process_time if args.processor_time else time.perf_counter

    torch.manual_seed(0)
    target = torch.rand(args.batch, 3, 4 * args.side, 4 * args.side, device=device)
    given = dsd.imresize(target, scale=1 / 4)
    net = XSRResNet(4, args.blocks).to(device)
    loss = RestorationLoss(dsd.load_backbone("vgg16"), "dsd", layers=LAYERS, weights=WEIGHTS)
    loss.to(device)
    plain = copy.deepcopy(net).to(memory_format=torch.contiguous_format)
    backbone = copy.deepcopy(loss.net).to(memory_format=torch.contiguous_format)

    def our_total(net: XSRResNet) -> Tensor:
        return loss(net(given), target)["total"]

    def plain_total(net: XSRResNet) -> Tensor:
        return plain_loss(plain_network(net, given).float(), target, backbone)

    def step(net: XSRResNet, total: Callable, low: bool, fused: bool) -> Callable[[], float]:
        optimizer = torch.optim.Adam(net.parameters(), lr=1e-9, fused=fused)

        def run() -> float:
            optimizer.zero_grad()
            with torch.autocast(device.type, dtype=torch.bfloat16, enabled=low):
                value = total(net)
            value.backward()
            optimizer.step()
            return value.detach()

        return run

    fused = device.type == "cuda"
    ways = {
        "ours": step(net, our_total, False, fused),
        "ours, bfloat16": step(net, our_total, True, fused),
        "plain": step(plain, plain_total, False, False),
        "plain, bfloat16": step(plain, plain_total, True, False),
    }
    if args.compile:
        compiled = copy.deepcopy(net)
        compiled.compile()
        ways["ours, bfloat16, compiled"] = step(compiled, our_total, True, fused)

    seconds: dict[str, list[float]] = {name: [] for name in ways}
    values = {}
    for turn in range(args.repeats + 1):  # the first turn warms up
        for name, way in ways.items():
            if fused:
                torch.cuda.synchronize()
            started = clock()
            values[name] = way()
            if fused:
                torch.cuda.synchronize()
            if turn:
                seconds[name].append(clock() - started)
    name = torch.cuda.get_device_name() if fused else platform.machine()
    print(
        f"{name}, {torch.get_num_threads()} threads, torch {torch.__version__}, batch "
        f"{args.batch}, crops {args.side} -> {4 * args.side} pixels, {args.blocks} blocks"
        f"{', processor time' if args.processor_time else ''}"
    )
    print(f"{'way':26}{'seconds':>8}{'plain / it':>12}{'plain bf16 / it':>17}{'loss':>10}")
    medians = {name: median(values) for name, values in seconds.items()}
    for name, value in medians.items():
        print(
            f"{name:26}{value:8.3f}{medians['plain'] / value:12.2f}"
            f"{medians['plain, bfloat16'] / value:17.2f}{values[name].item():10.4f}"
        )


if __name__ == "__main__":
    main()
