"""A DSD distance between two 24-megapixel images: peak memory and time, whole and in tiles.

    python -m benchmarks.large_picture [--size 4000 6000] [--whole 1200 1800] [--device cpu]

Grams summed over tiles must equal those of the whole image, in memory that does not grow with
the image. Each case runs in a process of its own, whose peak resident memory is the operating
system's own figure (Linux); on a GPU it is the most memory that PyTorch had there. Tiles and whole
are compared at the size ``--whole``.
"""

import argparse
import json
import resource
import subprocess
import sys
import time


def run(height: int, width: int, tile: int | None, device: str = "cpu") -> dict[str, float]:
    """One distance in this process."""
    import torch

    import dsd_lib as dsd

    def peak_memory() -> float:
        if device == "cpu":
            return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
        torch.cuda.synchronize(device)
        return torch.cuda.max_memory_allocated(device) / 1e9

    net = dsd.load_backbone("vgg16").to(device)
    torch.manual_seed(0)
    # A smooth random image and a darker one; random pixels alone would all look alike.
    small = torch.rand(1, 3, height // 40, width // 40)
    x = dsd.imresize(small, size=(height, width)).clamp_(0, 1).to(device)
    y = 0.8 * x
    inputs = peak_memory()
    started = time.perf_counter()
    with torch.no_grad():
        distance = dsd.dsd_distance(x, y, net, tile=tile).item()
    seconds = time.perf_counter() - started
    return {
        "distance": distance,
        "seconds": seconds,
        "peak_gb": peak_memory(),
        "inputs_gb": inputs,
    }


def in_process(height: int, width: int, tile: int | None, device: str) -> dict[str, float]:
    """The same in a fresh process, for a peak of its own."""
    code = (
        "import json; from benchmarks.large_picture import run; "
        f"print(json.dumps(run({height}, {width}, {tile}, {device!r})))"
    )
    output = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True
    )
    return json.loads(output.stdout.splitlines()[-1])


def main() -> None:
    """Measure and print one table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, nargs=2, default=(4000, 6000), metavar=("H", "W"))
    parser.add_argument("--whole", type=int, nargs=2, default=(1200, 1800), metavar=("H", "W"))
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    cases = {
        "whole": (*arguments.whole, max(arguments.whole)),
        "tiles of 512": (*arguments.whole, 512),
        "as chosen": (*arguments.size, None),
    }
    print(
        f"{'way':14}{'pixels':>14}{'seconds':>9}{'s / Mpixel':>12}{'peak GB':>9}"
        f"{'of it inputs':>14}"
    )
    distances = {}
    for name, (height, width, tile) in cases.items():
        r = in_process(height, width, tile, arguments.device)
        distances[name] = r["distance"]
        per = r["seconds"] / (height * width / 1e6)
        print(
            f"{name:14}{width:>7} x {height:<5}{r['seconds']:8.1f}{per:12.2f}"
            f"{r['peak_gb']:9.2f}{r['inputs_gb']:14.2f}"
        )
    print(f"tiles / whole - 1 = {distances['tiles of 512'] / distances['whole'] - 1:.1e}")


if __name__ == "__main__":
    main()
