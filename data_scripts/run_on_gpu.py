"""What wants a CUDA GPU, in order: the CUDA tests, the benchmarks, the long training runs.

    python -m data_scripts.run_on_gpu [--dry-run]     (make gpu, make gpu DRY=1)

1. the tests marked ``cuda``;
2. the benchmarks on the GPU: each times the library beside the plain implementation, in one run;
3. super-resolution and deblurring with the preset ``gpu``: L1 and DSD of the ten-block network that
   enlarges by nearest neighbor and convolution, then the paper's network with every loss and two
   seeds.

A step that is done is not run again, and a training run resumes from its checkpoint, so an
interrupted run is started again with the same command. Each step's output and seconds are in
``runs/gpu/``. The first step that fails ends the run.
"""

import argparse
import json
import shlex
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import torch

from data_scripts.shared.results import ROOT
from data_scripts.train_restoration import LOSSES
from dsd_lib.files import write_atomically

FOLDER = ROOT / "runs" / "gpu"
SEEDS = (0, 1)


@dataclass(frozen=True)
class Step:
    """A name, which is also that of its log, and the arguments of ``python -m``."""

    name: str
    arguments: tuple[str, ...]

    @property
    def command(self) -> list[str]:
        """What is run."""
        return [sys.executable, "-m", *self.arguments]


def steps() -> list[Step]:
    """All steps, in order."""
    found = [Step("tests", ("pytest", "-m", "cuda", "tests"))]
    for name in ("distance", "large_picture", "restore", "training_step"):
        found.append(Step(f"benchmark_{name}", (f"benchmarks.{name}", "--device", "cuda")))
    compiled = ("benchmarks.training_step", "--device", "cuda", "--compile")
    found.append(Step("benchmark_training_step_compiled", compiled))
    ten = ("--blocks", "10", "--upsampling", "resize")
    start = _training("sr", "l1", 0, "_10blocks_resize", *ten)
    found.append(start)
    network = str(_run_folder(start.name) / "network.safetensors")
    found.append(_training("sr", "dsd", 0, "_10blocks_resize", *ten, "--from", network))
    for task in ("sr", "deblur"):
        found.append(_training(task, "l1", 0))
        network = str(_run_folder(f"{task}_l1_0") / "network.safetensors")
        for seed in SEEDS:
            for loss in LOSSES:
                if loss != "l1":
                    found.append(_training(task, loss, seed, "", "--from", network))
    return found


def _run_folder(name: str) -> Path:
    return FOLDER / name


def _training(task: str, loss: str, seed: int, extra: str = "", *options: str) -> Step:
    name = f"{task}_{loss}_{seed}{extra}"
    where = ("--seed", str(seed), "--folder", str(_run_folder(name)))
    script = ("data_scripts.train_restoration", task, "--loss", loss, "--preset", "gpu")
    return Step(name, (*script, *where, *options))


def done(folder: Path) -> dict[str, float]:
    """The seconds of each step that is done."""
    file = folder / "seconds.json"
    return json.loads(file.read_text()) if file.is_file() else {}


def run(todo: list[Step], folder: Path) -> None:
    """Run what is not done yet, and keep how long it took.

    Raises:
        subprocess.CalledProcessError: a step failed; its log is in ``folder``.
    """
    folder.mkdir(parents=True, exist_ok=True)
    seconds = done(folder)
    for step in todo:
        if step.name in seconds:
            print(f"{step.name}: done before, {seconds[step.name]:.0f} s", flush=True)
            continue
        print(f"{step.name} ...", flush=True)
        started = time.perf_counter()
        with (folder / f"{step.name}.log").open("a") as log:
            subprocess.run(step.command, cwd=ROOT, stdout=log, stderr=log, check=True)
        # A resumed training run counts from its last start only; its own record has the sum.
        seconds[step.name] = round(time.perf_counter() - started, 1)
        write_atomically(folder / "seconds.json", json.dumps(seconds, indent=1))
        print(f"{step.name}: {seconds[step.name]:.0f} s", flush=True)
    print(f"all {len(todo)} steps: {sum(seconds[s.name] for s in todo) / 3600:.1f} h")


def main() -> None:
    """List the steps, or run them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dry-run", action="store_true", help="only print the commands")
    if parser.parse_args().dry_run:
        finished = done(FOLDER)
        for step in steps():
            state = f"  # done, {finished[step.name]:.0f} s" if step.name in finished else ""
            print(f"{shlex.join(['python', *step.command[1:]])}{state}")
        return
    if not torch.cuda.is_available():
        sys.exit("no CUDA GPU here; --dry-run (make gpu DRY=1) lists what would run")
    print(torch.cuda.get_device_name(), f"torch {torch.__version__}", flush=True)
    try:
        run(steps(), FOLDER)
    except subprocess.CalledProcessError as error:
        sys.exit(f"failed: {shlex.join(error.cmd)}\nits output is in {FOLDER}")


if __name__ == "__main__":
    main()
