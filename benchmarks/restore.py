"""How long super-resolution of one image takes, as ratios within one run.

    python -m benchmarks.restore [--width 768] [--height 512] [--upsampling resize] [--blocks 10]
                                 [--device cpu]

Two ways, in float32, of the same weights:

* ours: :func:`dsd_lib.restore`. The blocks, which look far around, take tiles of 512 pixels, the
  part at the final size takes pieces of them, and a convolution after a nearest-neighbor
  enlargement is computed without enlarging,
* plain: the whole network in tiles of 128 pixels with the margins that it needs, every layer as it
  is written.

The ways take turns. On a CPU its own time counts, which other work on the machine hardly changes;
on a GPU the clock's, after one run of each way. The median of the repeats is shown, with the
largest difference between the two results.
"""

import argparse
import platform
import time
from collections.abc import Callable
from statistics import median

import torch
import torch.nn.functional as F
from torch import Tensor

import dsd_lib as dsd
from dsd_lib.restoration.networks import UPSAMPLING, XSRResNet

TILE = 128  # of the plain way


@torch.no_grad()
def plain(x: Tensor, net: XSRResNet) -> Tensor:
    """The result ``(1, 3, 4H, 4W)`` tile by tile."""
    height, width = x.shape[2:]
    y = x.new_empty(1, 3, 4 * height, 4 * width)
    margin = 5 + 5 * net.blocks
    for top in range(0, height, TILE):
        for left in range(0, width, TILE):
            above, before = max(top - margin, 0), max(left - margin, 0)
            part = x[..., above : top + TILE + margin, before : left + TILE + margin]
            large = net.tail(net.enlarge(net.body(net.head(part))))
            large += F.interpolate(part, scale_factor=4.0, mode="bilinear")
            rows, columns = 4 * (top - above), 4 * (left - before)
            target = y[..., 4 * top : 4 * (top + TILE), 4 * left : 4 * (left + TILE)]
            h, w = target.shape[2:]
            target.copy_(large[..., rows : rows + h, columns : columns + w])
    return y.clamp(0, 1)


def timed(way: Callable[[], Tensor], device: torch.device) -> tuple[float, Tensor]:
    """Seconds of the processor, or of the clock for a GPU, and the result."""
    if device.type == "cpu":
        begun = time.process_time()
        y = way()
        return time.process_time() - begun, y
    torch.cuda.synchronize(device)
    begun = time.perf_counter()
    y = way()
    torch.cuda.synchronize(device)
    return time.perf_counter() - begun, y


def name_of(device: torch.device) -> str:
    """The processor or the GPU."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return platform.processor() or platform.machine()


def main() -> None:
    """Time both ways and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--width", type=int, default=768)
    parser.add_argument("--height", type=int, default=512)
    parser.add_argument("--blocks", type=int, default=10)
    parser.add_argument("--upsampling", choices=UPSAMPLING, default="resize")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--device", type=torch.device, default=torch.device("cpu"))
    args = parser.parse_args()
    torch.manual_seed(0)
    net = XSRResNet(4, args.blocks, upsampling=args.upsampling).eval().requires_grad_(False)
    net = net.to(args.device)
    x = torch.rand(1, 3, args.height, args.width, device=args.device)
    ways = {"plain": lambda: plain(x, net), "ours": lambda: dsd.restore(x, "sr", network=net)}
    if args.device.type != "cpu":
        for way in ways.values():
            way()
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(args.repeats):
        results = []
        for name, way in ways.items():
            took, y = timed(way, args.device)
            seconds[name].append(took)
            results.append(y)
    base = median(seconds["plain"])
    print(f"{args.width} x {args.height}, {args.blocks} blocks, {args.upsampling}; ", end="")
    print(f"{name_of(args.device)}, torch {torch.__version__}")
    print(f"{'way':8}{'seconds':>9}{'ratio':>8}")
    for name, taken in seconds.items():
        print(f"{name:8}{median(taken):9.2f}{median(taken) / base:8.2f}")
    difference = (results[0] - results[1]).abs().max().item()
    print(f"largest difference: {255 * difference:.4f} levels of 255")


if __name__ == "__main__":
    main()
