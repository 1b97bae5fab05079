"""Check what every measure of the registry promises, and write the contract page.

    python -m data_scripts.make_contract            # the checks and the costs of a 512×384 pair
    python -m data_scripts.make_contract --large    # also a 12-megapixel photo; 15 minutes
    python -m data_scripts.make_contract --page     # only the page, from the stored result

The result is ``book/results/contract.json``, the page ``book/contract.md``. Costs are measured in a
process of their own for each measure, as ratios to the bare network passes of the same images
through VGG-16, all convolutions; memory is the peak above what is in use before the first call.
"""

import argparse
import json
import platform
import re
import subprocess
import sys
import time
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

import dsd_lib as dsd
from data_scripts.shared import results
from dsd_lib.files import write_atomically
from dsd_lib.quality import contract
from dsd_lib.quality.measures import MEASURES, Measure

RESULT = results.RESULTS / "contract.json"
PAGE = results.ROOT / "book" / "contract.md"
SIZES = {"pair": (384, 512), "large": (3000, 4000)}  # height, width
BARE = "vgg16"  # the network's own passes, in place of a measure
REPEATS = 3
MOST_MEMORY = 4e9  # bytes; a large image is not measured by what needs more


def check(measure: Measure) -> dict:
    """What all checks find."""
    found = {name: one.run(measure) for name, one in contract.CHECKS.items()}
    what, how, test = contract.AGREES_WITH[measure.key]
    return {
        "title": measure.title,
        "higher_is_better": measure.higher_is_better,
        "range": [str(v) if v in (float("inf"), -float("inf")) else v for v in measure.value_range],
        "needs_reference": measure.needs_reference,
        "tiled_above_4_megapixels": measure.tiled,
        "gigabytes_for_12_megapixels": results.rounded(measure.bytes_per_pixel * 12e6 / 1e9, 2),
        "weights": measure.weights or "none",
        "agrees_with": {"what": what, "tolerance": how, "test": test},
        **found,
    }


def image(size: str) -> Tensor:
    """A photo of the size, an embedded one enlarged."""
    return dsd.imresize(dsd.sample_images()["coffee"], size=SIZES[size]).clamp(0, 1)


def tiles(x: Tensor) -> list[Tensor]:
    """Parts of at most 1000×1000 pixels, which bound the memory of a bare pass."""
    return [tile for rows in x.split(1000, dim=2) for tile in rows.split(1000, dim=3)]


@torch.no_grad()
def cost(key: str, size: str) -> dict[str, float]:
    """Seconds of a call and megabytes at its peak; run it in a process of its own."""
    x = image(size)
    y = (0.9 * x).contiguous()
    if key == BARE:
        net = dsd.load_backbone()
        layer = (net.layers[-2],)  # the last ReLU

        def call() -> None:
            for tile in (*tiles(x), *tiles(y)):
                net(tile, layer, check_range=False)
    else:
        measure = MEASURES[key]

        def call() -> Tensor:
            return measure(x, y) if measure.needs_reference else measure(x)

        small = [z[:, :, :192, :192] for z in (x, y)]
        measure(*small[: 2 if measure.needs_reference else 1])  # networks loaded, packages imported
    before, times = start_of_peak(), []
    for _ in range(REPEATS if size == "pair" else 1):
        begun = time.process_time()
        call()
        times.append(time.process_time() - begun)
    return {"seconds": min(times), "megabytes": (memory("VmHWM") - before) / 1024}


def start_of_peak() -> int:
    """Forget the peak so far; the kilobytes in use now. Linux only."""
    Path("/proc/self/clear_refs").write_text("5")
    return memory("VmRSS")


def memory(field: str) -> int:
    """A line of this process's status: VmRSS is in use, VmHWM the peak, in kilobytes."""
    status = Path("/proc/self/status").read_text()
    return int(re.search(rf"^{field}:\s+(\d+) kB$", status, re.MULTILINE)[1])


def costs(size: str) -> dict:
    """The cost of every measure that works here, and its ratio to the bare passes.

    A measure without a reference is compared with the pass of one image.
    """
    height, width = SIZES[size]
    found = {}
    for key in tqdm((BARE, *MEASURES), desc=size):
        if key != BARE:
            needed = MEASURES[key].bytes_per_pixel * height * width
            if MEASURES[key].missing():
                continue
            if needed > MOST_MEMORY:
                found[key] = {"needs_megabytes": needed / 1e6}
                continue
        command = [sys.executable, "-m", "data_scripts.make_contract", "--cost", key, size]
        done = subprocess.run(command, capture_output=True, text=True, cwd=results.ROOT)
        if done.returncode != 0:
            raise RuntimeError(f"the cost of {key}: {done.stderr}")
        found[key] = json.loads(done.stdout.splitlines()[-1])
    bare = found.pop(BARE)
    for key, row in found.items():
        if "seconds" in row:
            passes = 1 if MEASURES[key].needs_reference else 0.5
            row["ratio"] = row["seconds"] / (passes * bare["seconds"])
    return results.rounded({BARE: bare, **found}, 3)


def machine() -> str:
    """The processor, in words."""
    cpu = Path("/proc/cpuinfo")
    names = [
        line.partition(":")[2].strip()
        for line in (cpu.read_text().splitlines() if cpu.is_file() else ())
        if line.startswith("model name")
    ]
    threads = torch.get_num_threads()
    return f"{names[0] if names else platform.machine()}, threads: {threads}"


def page() -> str:
    """The page of the stored result."""
    return render(json.loads(RESULT.read_text(encoding="utf-8")))


def render(result: dict) -> str:
    """The page, in Markdown."""
    found, run = result["results"]["measures"], result["provenance"]
    gpu = result["results"]["gpu"] or "not measured: no GPU"
    tests = "\n".join(
        f"- **{one.title}**: `tests/quality/test_contract.py::{one.test}`"
        for one in contract.CHECKS.values()
    )
    promises = _table(
        ["Measure", "Better", "Range", "Reached", "Identical images", "Swapped", "Smallest, H × W"],
        [
            [
                row["title"],
                "higher" if row["higher_is_better"] else "lower",
                _span(row["range"]),
                _reached(row["value_range"]),
                _number(row["identical"]),
                _change(row["symmetric"]),
                " × ".join(map(str, row["smallest"])),
            ]
            for row in found.values()
        ],
    )
    stability = _table(
        ["Measure", "In a batch", "Same bits again", "Threads", "GPU", "bfloat16", "Gradient"],
        [
            [
                row["title"],
                _change(row["in_a_batch"]),
                "yes" if row["repeated"] else "no",
                _change(row["threads"]),
                _change(row["on_a_gpu"], "not measured"),
                _change(row["in_bfloat16"]),
                _gradient(row["gradient"]),
            ]
            for row in found.values()
        ],
    )
    needs = _table(
        ["Measure", "Weights", "Works offline", "Above 4 megapixels", "Agrees with", "To"],
        [
            [
                row["title"],
                row["weights"],
                "yes" if row["offline"] else "no",
                _large(row),
                _linked(row["agrees_with"]),
                row["agrees_with"]["tolerance"] or "–",
            ]
            for row in found.values()
        ],
    )
    return f"""\
# What each measure promises

A score that changes with the batch, the processor or the number format is hard to trust. For every
measure, this page says what stays the same and what does not. It was written by
`python -m data_scripts.make_contract`, which ran the checks at commit {run["commit"]} on
{run["date"]}; the numbers are also in `book/results/contract.json`. GPU: {gpu}.

## Direction, range and size

*Reached* is the range of values over all pairs of six extreme images: a photo, its negative, a
checkerboard, its negative, black, and white. *Swapped* is the relative change when image and
reference trade places.

{promises}

## What does not change the value

These are relative changes of the value: in a batch of three rather than alone, on four threads
rather than one, on a GPU, and with the convolutions in bfloat16. *Gradient* is for a damaged image,
and also for two identical images where that differs.

{stability}

## What it needs, and what it agrees with

{needs}

LPIPS needs a download, and is missing from the checks if its weights are not available.
{_costs(result["results"]["costs"], found)}
## The tests

A test backs up each column, for every measure:

{tests}
"""


def _costs(measured: dict | None, found: dict) -> str:
    """The section on time and memory."""
    if not measured:
        return ""
    sizes = [s for s in SIZES if s in measured]
    titles = {"pair": "512×384", "large": "12 megapixels"}
    head = ["Measure"]
    for size in sizes:
        head += [f"{titles[size]}: time", "s", "MB"]
    rows = []
    for key in (BARE, *found):
        row = ["bare VGG-16 passes" if key == BARE else found[key]["title"]]
        for size in sizes:
            one = measured[size].get(key)
            if one is None:
                row += ["not measured", "–", "–"]
            elif "seconds" not in one:
                row += ["not measured", "–", f"about {one['needs_megabytes']:.0f}"]
            else:
                ratio = "1" if key == BARE else f"{one['ratio']:.2g}"
                row += [ratio, f"{one['seconds']:.3g}", f"{one['megabytes']:.0f}"]
        rows.append(row)
    return f"""
## Time and memory

These are the processor time of one call and its peak memory, on {measured["machine"]}. Times are
ratios to the bare passes of the same images through all of VGG-16: two images, or one for a measure
without a reference. Large images go through the network in tiles of 1000×1000 pixels. A measure
that needs more than {MOST_MEMORY / 1e9:g} GB is not run at that size; its memory is computed from
the number of pixels.

{_table(head, rows)}
"""


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def _number(value: float | str | None) -> str:
    if value is None:
        return "–"
    return str(value).replace("inf", "∞") if isinstance(value, str) else f"{value:.3g}"


def _span(ends: list) -> str:
    low, high = map(_number, ends)
    return f"{low} to {high}"


def _reached(found: dict) -> str:
    return _span(found["found"])


def _change(value: float | None, missing: str = "–") -> str:
    if value is None:
        return missing
    return "same" if value == 0 else f"{value:.1g}"


def _large(row: dict) -> str:
    """What happens to a large image."""
    if row["tiled_above_4_megapixels"]:
        return "in tiles"
    memory = row["gigabytes_for_12_megapixels"]
    return f"whole; 12 megapixels take {memory:.2g} GB" if memory >= 0.1 else "whole"


def _gradient(found: dict[str, str]) -> str:
    if found["damaged"] == found["identical"]:
        return found["damaged"]
    return f"{found['damaged']}; identical: {found['identical']}"


def _linked(agrees: dict[str, str]) -> str:
    return f"{agrees['what']} (`{agrees['test']}`)" if agrees["test"] else agrees["what"]


def main() -> None:
    """Run the checks and write the result and the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--large", action="store_true", help="also a 12-megapixel photo")
    parser.add_argument("--page", action="store_true", help="only the page")
    parser.add_argument("--cost", nargs=2, metavar=("KEY", "SIZE"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.cost:
        print(json.dumps(cost(*arguments.cost)))
        return
    if not arguments.page:
        started = results.begin()
        found = {
            key: check(measure)
            for key, measure in tqdm(MEASURES.items(), desc="checks")
            if not measure.missing()
        }
        sizes = [size for size in SIZES if size == "pair" or arguments.large]
        gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
        measured = {
            "gpu": gpu,
            "measures": found,
            "costs": {"machine": machine(), **{size: costs(size) for size in sizes}},
        }
        results.write_result(
            "contract",
            measured,
            data="crops of an embedded photo",
            network="vgg16",
            started=started,
            seed=0,
        )
    write_atomically(PAGE, page())


if __name__ == "__main__":
    main()
