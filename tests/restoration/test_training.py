"""The training loop: what a step sees, stopping and going on, several processes, failures."""

import csv
import json
import multiprocessing
import os
import signal
import socket
import time
from collections.abc import Callable
from dataclasses import replace
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from PIL import Image
from torch import nn

import dsd_lib as dsd
from dsd_lib.restoration import crops as crop_module
from dsd_lib.restoration import run_folder, training, training_images
from dsd_lib.restoration.crops import DegradedCrops, PairedCrops, seeded
from dsd_lib.restoration.degradations import Downscale, MotionBlur, downscale
from dsd_lib.restoration.networks import XSRResNet
from dsd_lib.restoration.settings import Settings
from dsd_lib.restoration.training_images import TrainingImages
from dsd_lib.restoration.validation import Validation

SETTINGS = Settings(steps=8, batch=4, log_every=1, validate_every=2, checkpoint_every=2)
CPU = torch.device("cpu")


class SmoothLoss(nn.Module):
    """Two terms, cheap and smooth, in the form of RestorationLoss."""

    def forward(self, prediction, target):
        terms = {
            "square": (prediction - target).square().mean(),
            "slope": (prediction - target).diff(dim=3).square().mean(),
        }
        return terms | {"total": sum(terms.values())}


def make_files(folder: Path, count: int = 3, height: int = 40, width: int = 48) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    for index in range(count):
        small = torch.from_numpy(rng.random((1, 3, 10, 12), dtype=np.float32))
        x = dsd.imresize(small, size=(height, width)).clamp(0, 1)
        Image.fromarray(dsd.to_array(x)).save(folder / f"{index}.png")
    return sorted(folder.glob("*.png"))


def make_network() -> XSRResNet:
    torch.manual_seed(0)
    return XSRResNet(2, blocks=1, channels=4)


def make_crops(files: list[Path], seed: int = 0) -> DegradedCrops:
    return DegradedCrops(TrainingImages(files), Downscale(2), side=8, scale=2, margin=2, seed=seed)


def run(crops, folder, settings=SETTINGS, loss=None, **options):
    net = make_network()
    accelerator = Accelerator(cpu=True)
    training.train(net, loss or SmoothLoss(), crops, settings, folder, accelerator, **options)
    return net.state_dict()


def read_log(folder: Path) -> list[dict[str, str]]:
    with (folder / "log.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    return [{k: v for k, v in r.items() if k not in ("seconds", "crops_per_second")} for r in rows]


def assert_equal(a: dict, b: dict) -> None:
    assert a.keys() == b.keys()
    for name in a:
        assert torch.equal(a[name], b[name]), name


@pytest.fixture
def files(tmp_path):
    return make_files(tmp_path / "pictures")


@pytest.fixture
def crops(files):
    return make_crops(files)


# What a step sees


def test_the_rate_is_halved_as_in_the_paper():
    settings = Settings(steps=300_000)
    for step, rate in ((89_999, 2e-4), (90_000, 1e-4), (180_000, 5e-5), (270_000, 2.5e-5)):
        assert settings.rate_at(step) == pytest.approx(rate)
        assert settings.rate_at(step - 1) == pytest.approx(rate if step == 89_999 else 2 * rate)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"steps": 0}, "steps: expected a positive number, got 0"),
        ({"batch": -1}, "batch: expected a positive number, got -1"),
        ({"ema": 1}, "ema: expected a number from 0 to below 1, got 1"),
        ({"ema": -0.1}, "ema: expected a number from 0 to below 1, got -0.1"),
        ({"clip": 0}, "clip: expected a positive number or None, got 0"),
        ({"checkpoint_every": 150}, "checkpoint_every: expected a multiple of log_every=100"),
        ({"log_every": 30}, "validate_every: expected a multiple of log_every=30, got 1000"),
    ],
)
def test_settings_that_make_no_sense(options, message):
    with pytest.raises(ValueError, match=message):
        Settings(**{"steps": 10, **options})


def test_generators_differ_in_every_number():
    numbers = [(0, 0, 0), (0, 0, 1), (0, 1, 0), (1, 0, 0), (2**32, 0, 0), (0, 0)]
    values = {torch.rand(1, generator=seeded(*n)).item() for n in numbers}
    assert len(values) == len(numbers)


def test_crops_of_images_decoded_once_or_each_time(files, tmp_path, monkeypatch):
    expected = dsd.load_image(files[1])[0, :, 3:23, 5:35]
    for images in (TrainingImages(files), TrainingImages(files, tmp_path / "cache", quiet=True)):
        crop = images.crop(1, 3, 5, 20, 30)
        assert crop.dtype == torch.uint8 and torch.equal(crop.float() / 255, expected)
        assert images.decoded_bytes == 3 * 3 * 40 * 48

    def refuse(path):
        raise AssertionError(f"{path} is decoded again")

    monkeypatch.setattr(training_images, "load_image", refuse)
    again = TrainingImages(files, tmp_path / "cache")
    assert torch.equal(again.crop(1, 3, 5, 20, 30), crop)


def test_images_that_change_are_decoded_anew(files, tmp_path):
    cache = tmp_path / "cache"
    before = TrainingImages(files, cache, quiet=True).crop(0, 0, 0, 4, 4)
    Image.new("RGB", (48, 40), "red").save(files[0])
    after = TrainingImages(files, cache, quiet=True).crop(0, 0, 0, 4, 4)
    assert not torch.equal(before, after) and after[0].eq(255).all()
    assert len(list(cache.iterdir())) == 2 and not list(cache.glob("*.part"))


@pytest.mark.parametrize("damage", ["cut", "zeroed", "flipped", "longer"])
def test_a_damaged_cache_is_made_anew(damage, files, tmp_path):
    expected = TrainingImages(files, tmp_path / "cache", quiet=True).crop(2, 0, 0, 40, 48)
    (cache,) = (tmp_path / "cache").iterdir()
    content = cache.read_bytes()
    flipped = bytearray(content)
    flipped[-100] ^= 4
    cache.write_bytes(
        {
            "cut": content[: len(content) // 2],
            "zeroed": bytes(len(content)),
            "flipped": bytes(flipped),
            "longer": content + b"0",
        }[damage]
    )
    again = TrainingImages(files, tmp_path / "cache", quiet=True)
    assert torch.equal(again.crop(2, 0, 0, 40, 48), expected)
    assert cache.read_bytes() == content and list((tmp_path / "cache").iterdir()) == [cache]


def test_files_that_change_have_another_fingerprint(files):
    before = TrainingImages(files).fingerprint
    assert TrainingImages(files).fingerprint == before
    assert TrainingImages(files[:2]).fingerprint != before
    os.utime(files[1], ns=(0, 0))
    assert TrainingImages(files).fingerprint != before


def test_an_image_that_lies_on_its_side_is_turned(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (30, 20), "blue").save(tmp_path / "a.jpg", exif=exif)
    for cache in (None, tmp_path / "cache"):
        images = TrainingImages([tmp_path / "a.jpg"], cache, quiet=True)
        assert images.sides == [(30, 20)]
        assert images.crop(0, 10, 0, 20, 20).shape == (3, 20, 20)


def test_images_that_cannot_be_trained_on(files, tmp_path, monkeypatch):
    with pytest.raises(FileNotFoundError, match="no images to train on"):
        TrainingImages([])
    with pytest.raises(FileNotFoundError, match=r"no image at .*gone.png"):
        TrainingImages([tmp_path / "gone.png"])
    with pytest.raises(ValueError, match=r"0.png: expected sides of at least 42 .* 40 x 48"):
        DegradedCrops(TrainingImages(files), Downscale(2), side=17, scale=2, margin=2)
    free = SimpleNamespace(free=1000)
    monkeypatch.setattr(training_images.shutil, "disk_usage", lambda path: free)
    with pytest.raises(OSError, match=r"expected 0.0 GB of room"):
        TrainingImages(files, tmp_path / "cache")


KERNEL = torch.tensor([[0.0, 0.1, 0.0], [0.2, 0.3, 0.4], [0.0, 0.0, 0.0]])


@pytest.mark.parametrize(
    ("degradation", "scale", "margin"),
    [(Downscale(4), 4, 2), (MotionBlur(3, kernels=[KERNEL], noise=(0, 0)), 1, 1)],
    ids=["bicubic", "blur"],
)
def test_a_crop_is_that_of_the_whole_image_degraded(degradation, scale, margin, files, monkeypatch):
    """With the margin; without it the crop's border is felt."""
    images, top, left = TrainingImages(files), 8, 4
    whole = dsd.load_image(files[0])
    degraded, _ = degradation(whole, torch.Generator())

    def draw(sources, side, generator):
        return [sources[0].crop(0, top, left, side, side)]

    monkeypatch.setattr(crop_module, "_draw", draw)
    errors = {}
    for used in (margin, 0):
        crops = DegradedCrops(images, degradation, side=4, scale=scale, margin=used)
        given, target = crops(0, 1, slice(None), CPU)
        row, column = top // scale + used, left // scale + used
        errors[used] = (given - degraded[:, :, row : row + 4, column : column + 4]).abs().max()
        row, column = scale * row, scale * column
        size = 4 * scale
        assert torch.equal(target, whole[:, :, row : row + size, column : column + size])
    assert errors[margin] < 1e-6 < 1e-3 < errors[0]


def test_processes_share_a_batch_and_every_step_and_seed_has_its_own(files):
    crops = make_crops(files)
    given, target = crops(5, 6, slice(None), CPU)
    assert given.shape == (6, 3, 8, 8) and target.shape == (6, 3, 16, 16)
    for members in (slice(0, None, 2), slice(1, None, 2), slice(2, None, 3)):
        part = crops(5, 6, members, CPU)
        assert torch.equal(part[0], given[members]) and torch.equal(part[1], target[members])
    for other in (crops(6, 6, slice(None), CPU), make_crops(files, 1)(5, 6, slice(None), CPU)):
        assert not (other[1] == target).flatten(1).all(dim=1).any()


def test_random_degradations_are_shared_by_processes_too(files):
    crops = DegradedCrops(TrainingImages(files), MotionBlur(5), side=16, margin=2)
    given, _ = crops(0, 4, slice(None), CPU)
    assert torch.equal(crops(0, 4, slice(1, None, 2), CPU)[0], given[1::2])


def test_crops_come_from_everywhere_turned_and_mirrored_in_all_ways(tmp_path):
    ramp = np.arange(12 * 16, dtype=np.uint8).reshape(12, 16, 1).repeat(3, axis=2)
    Image.fromarray(ramp).save(tmp_path / "a.png")
    images = TrainingImages([tmp_path / "a.png"])
    seen = [crop_module._draw((images,), 8, seeded(0, 0, i))[0][0].int() for i in range(400)]
    steps = {(int(c[1, 0] - c[0, 0]), int(c[0, 1] - c[0, 0])) for c in seen}
    assert steps == {(a, b) for s in (1, -1) for t in (16, -16) for a, b in ((s, t), (t, s))}
    corners = {int(c.min()) for c in seen}
    assert corners == {16 * top + left for top in range(5) for left in range(9)}


def test_pairs_are_cut_at_the_same_place(files, tmp_path):
    (tmp_path / "small").mkdir()
    for file in files:
        small = downscale(dsd.load_image(file), 2)
        Image.fromarray(dsd.to_array(small)).save(tmp_path / "small" / file.name)
    small = TrainingImages(sorted((tmp_path / "small").iterdir()))
    crops = PairedCrops(small, TrainingImages(files), side=10, scale=2)
    given, target = crops(0, 8, slice(None), CPU)
    expected = downscale(target, 2)
    inner = (slice(None), slice(None), slice(2, -2), slice(2, -2))
    assert (given - expected)[inner].abs().max() < 0.51 / 255
    part = crops(0, 8, slice(1, None, 4), CPU)
    assert torch.equal(part[0], given[1::4]) and torch.equal(part[1], target[1::4])
    with pytest.raises(ValueError, match="expected the second 4 times the first"):
        PairedCrops(small, TrainingImages(files), side=10, scale=4)
    with pytest.raises(ValueError, match="as many degraded images as clean ones, got 3 and 2"):
        PairedCrops(small, TrainingImages(files[:2]), side=10, scale=2)
    with pytest.raises(ValueError, match="expected sides of at least 21 pixels"):
        PairedCrops(small, TrainingImages(files), side=21, scale=2)


# The loop


def test_validation_gives_the_psnr_of_the_papers(tmp_path):
    """A gray level 0.1 away is 21.9 levels of the luma's 255 away; half of that is 6 dB more."""
    net = make_network()
    for weight in net.parameters():
        nn.init.zeros_(weight)
    given = torch.full((1, 3, 8, 8), 0.5)
    pairs = [(given, torch.full((1, 3, 16, 16), value)) for value in (0.6, 0.45)]
    value = Validation(pairs, tmp_path)(net, 7)
    assert value == pytest.approx(21.3219 + 6.0206 / 2, abs=1e-3)
    assert net.training and (tmp_path / "step_0000007.png").is_file()


def test_training_lowers_the_loss_and_writes_what_it_promises(files, crops, tmp_path):
    given, target = make_crops(files, seed=9)(0, 2, slice(None), CPU)
    pairs = list(zip(given[:, None], target[:, None], strict=True))
    validation = Validation(pairs, tmp_path / "run" / "validation")
    settings = Settings(
        steps=30, batch=4, rate=4e-3, log_every=5, validate_every=10, checkpoint_every=30
    )
    run(crops, tmp_path / "run", settings, validation=validation)
    rows = read_log(tmp_path / "run")
    assert [int(row["step"]) for row in rows] == [5, 10, 15, 20, 25, 30]
    assert [float(row["rate"]) for row in rows] == pytest.approx(
        [4e-3, 2e-3, 2e-3, 1e-3, 1e-3, 5e-4]
    )
    assert float(rows[-1]["total"]) < 0.7 * float(rows[0]["total"])
    assert [bool(row["psnr_y"]) for row in rows] == [False, True] * 3
    assert float(rows[-1]["psnr_y"]) > float(rows[1]["psnr_y"])
    names = sorted(p.name for p in (tmp_path / "run" / "validation").iterdir())
    assert names == [f"step_{n:07d}.png" for n in (0, 10, 20, 30)]
    picture = dsd.load_image(tmp_path / "run" / "validation" / names[-1])
    assert picture.shape == (1, 3, 32, 48)
    assert (picture[:, :, :16, 32:] - target[:1]).abs().max() < 0.51 / 255
    assert not list((tmp_path / "run").rglob("*.part"))


def watched(crops, folder: Path, ema: float) -> tuple[list[dict], dict]:
    """The weights that validation is given, before the first step and after each, and the last."""
    seen = []

    def validation(net, step):
        seen.append({name: value.clone() for name, value in net.state_dict().items()})
        return 0.0

    settings = replace(SETTINGS, ema=ema, validate_every=1)
    return seen, run(crops, folder, settings, validation=validation)


def test_what_is_validated_and_kept_is_the_moving_average_of_the_weights(crops, tmp_path):
    plain, last = watched(crops, tmp_path / "plain", 0.0)
    assert_equal(last, plain[-1])  # a decay of 0: the weights themselves
    averages, kept = watched(crops, tmp_path / "average", 0.75)
    assert_equal(kept, averages[-1])
    assert len(plain) == len(averages) == 1 + SETTINGS.steps
    expected = plain[1]  # the first weights that were learned, then the average
    for count, (weights, average) in enumerate(zip(plain[1:], averages[1:], strict=True)):
        decay = min(0.75, (1 + count) / (10 + count))  # it rises at first
        expected = {k: decay * expected[k] + (1 - decay) * weights[k] for k in weights}
        for name, value in average.items():
            torch.testing.assert_close(value, expected[name], rtol=1e-5, atol=1e-7)
    assert not torch.equal(kept["head.0.weight"], last["head.0.weight"])


@pytest.mark.parametrize("step", [0, 1, 2, 5, 7])
def test_a_stopped_run_ends_with_the_weights_of_an_unbroken_one(step, crops, tmp_path):
    unbroken = run(crops, tmp_path / "unbroken")

    def stop(at, *share):
        if at == step:
            raise KeyboardInterrupt
        return crops(at, *share)

    with pytest.raises(KeyboardInterrupt):
        run(stop, tmp_path / "broken")
    seen = []

    def watch(at, *share):
        seen.append(at)
        return crops(at, *share)

    resumed = run(watch, tmp_path / "broken")
    assert_equal(resumed, unbroken)
    assert seen[0] == step - step % 2  # the last checkpoint, not the start
    assert read_log(tmp_path / "broken") == read_log(tmp_path / "unbroken")
    assert_equal(run(crops, tmp_path / "broken"), unbroken)  # finished: nothing more happens


def test_a_crash_while_a_checkpoint_is_written_leaves_the_one_before(crops, tmp_path, monkeypatch):
    unbroken = run(crops, tmp_path / "unbroken")
    write, fsync = run_folder.write_atomically, os.fsync

    def crash(path, content):
        if path.name == "checkpoint.pt" and path.is_file():
            monkeypatch.setattr(os, "fsync", lambda file: (_ for _ in ()).throw(OSError("full")))
        write(path, content)

    monkeypatch.setattr(run_folder, "write_atomically", crash)
    with pytest.raises(OSError, match="full"):
        run(crops, tmp_path / "broken")
    monkeypatch.setattr(run_folder, "write_atomically", write)
    monkeypatch.setattr(os, "fsync", fsync)
    state = torch.load(tmp_path / "broken" / "checkpoint.pt", weights_only=True)
    assert state["step"] == 2
    assert_equal(run(crops, tmp_path / "broken"), unbroken)


# Other processes are forked from one that has imported what takes seconds.
PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["torch", "accelerate", "pytest", "dsd_lib.restoration.training"])


def start_process(
    function: Callable[[Path], None], folder: Path, **environment: str
) -> BaseProcess:
    process = PROCESSES.Process(target=call_in, args=(environment, function, folder))
    process.start()
    return process


def call_in(environment: dict[str, str], function: Callable[[Path], None], folder: Path) -> None:
    os.environ.update(environment)
    torch.set_num_threads(1)
    function(folder)


def slow_run(folder: Path) -> None:
    """A run that a test has time to kill."""
    crops = make_crops(sorted((folder / "pictures").iterdir()))

    def slow(*arguments):
        time.sleep(0.1)
        return crops(*arguments)

    run(slow, folder / "killed", workers=1)


def test_a_killed_run_resumes_as_if_never_interrupted(files, crops, tmp_path):
    process = start_process(slow_run, tmp_path)
    log = tmp_path / "killed" / "log.csv"
    for _ in range(3000):
        if log.is_file() and log.read_text().count("\n") > 4:
            break
        time.sleep(0.02)
    process.kill()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert (tmp_path / "killed" / "checkpoint.pt").is_file()
    resumed = run(crops, tmp_path / "killed")
    assert_equal(resumed, run(crops, tmp_path / "unbroken"))
    killed, unbroken = (
        torch.load(tmp_path / name / "checkpoint.pt", weights_only=True)
        for name in ("killed", "unbroken")
    )
    assert killed["step"] == unbroken["step"] == SETTINGS.steps
    assert_equal(killed["net"], unbroken["net"])  # the weights themselves ...
    assert_equal(killed["average"], unbroken["average"])  # ... and what they are averaged into
    assert not torch.equal(
        killed["net"]["head.0.weight"], killed["average"]["module.head.0.weight"]
    )
    assert read_log(tmp_path / "killed") == read_log(tmp_path / "unbroken")


def share_a_batch(folder: Path) -> None:
    """Gradients of one batch, and a short run, by this process and those beside it."""
    accelerator = Accelerator(cpu=True)
    crops = make_crops(sorted((folder / "pictures").iterdir()))
    net = make_network()
    model = accelerator.prepare(net)
    members = slice(accelerator.process_index, None, accelerator.num_processes)
    batch = crops(0, 4, members, CPU)
    training.backward(model, SmoothLoss(), batch, accelerator)
    gradients = {name: p.grad for name, p in net.named_parameters()}
    name = f"{accelerator.process_index}of{accelerator.num_processes}"
    torch.save({"gradients": gradients, "samples": len(batch[0])}, folder / f"{name}.pt")
    run(crops, folder / f"run{accelerator.num_processes}")


def test_two_processes_give_the_gradients_of_one_with_the_joint_batch(files, tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": "2"}
    processes = [
        start_process(share_a_batch, tmp_path, RANK=str(i), LOCAL_RANK=str(i), **shared)
        for i in range(2)
    ]
    share_a_batch(tmp_path)
    for process in processes:
        process.join(timeout=120)
    assert [process.exitcode for process in processes] == [0, 0]
    one = torch.load(tmp_path / "0of1.pt", weights_only=True)
    assert one["samples"] == 4
    for index in range(2):
        two = torch.load(tmp_path / f"{index}of2.pt", weights_only=True)
        assert two["samples"] == 2
        for name, gradient in one["gradients"].items():
            torch.testing.assert_close(
                two["gradients"][name], gradient, rtol=1e-4, atol=1e-7, msg=name
            )
    for a, b in zip(read_log(tmp_path / "run1"), read_log(tmp_path / "run2"), strict=True):
        assert {k: float(v) for k, v in b.items()} == pytest.approx(
            {k: float(v) for k, v in a.items()}, rel=1e-3
        )


class FailingLoss(SmoothLoss):
    """A term, or a gradient, that is not a number from the ``at``-th step on."""

    def __init__(self, at: int, what: str) -> None:
        super().__init__()
        self.calls, self.at, self.what = 0, at, what

    def forward(self, prediction, target):
        self.calls += 1
        if self.calls < self.at:
            return super().forward(prediction, target)
        if self.what == "gradient":  # the root's slope at 0
            zero = (prediction - prediction.detach()).square().sum().sqrt()
            terms = super().forward(prediction, target)
            return terms | {"total": terms["total"] + zero}
        terms = super().forward(prediction, target)
        terms[self.what] = terms[self.what] * {"slope": torch.nan, "square": torch.inf}[self.what]
        return terms | {"total": terms["square"] + terms["slope"]}


@pytest.mark.parametrize(
    ("what", "value"), [("slope", "nan"), ("square", "inf"), ("gradient", "nan")]
)
def test_what_is_not_finite_stops_the_run_and_is_named(what, value, crops, tmp_path):
    settings = Settings(steps=12, batch=2, log_every=3, validate_every=3, checkpoint_every=3)
    good = {}

    def keep(path, content):
        if path.name == "checkpoint.pt":
            good["content"] = content
        write(path, content)

    write = run_folder.write_atomically
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run_folder, "write_atomically", keep)
        with pytest.raises(
            FloatingPointError, match=rf"^step 8: {what} = {value}; .*checkpoint is"
        ):
            run(crops, tmp_path / "run", settings, FailingLoss(8, what))
    assert (tmp_path / "run" / "checkpoint.pt").read_bytes() == good["content"]
    state = torch.load(tmp_path / "run" / "checkpoint.pt", weights_only=True)
    assert state["step"] == 6
    assert all(weight.isfinite().all() for weight in state["net"].values())
    # With the cause removed it goes on from there, as if nothing had been.
    assert_equal(run(crops, tmp_path / "run", settings), run(crops, tmp_path / "other", settings))


def test_the_first_window_has_no_checkpoint_to_name(crops, tmp_path):
    with pytest.raises(FloatingPointError, match=r"step 1: slope = nan; .* no checkpoint yet"):
        run(crops, tmp_path, loss=FailingLoss(1, "slope"))
    assert not (tmp_path / "checkpoint.pt").exists()


def test_a_gradient_that_overflows_float16_is_no_failure(tmp_path):
    """The scaler skips such a step; a term that is not finite is a failure all the same."""
    accelerator = SimpleNamespace(scaler=object(), reduce=lambda values, how: values)
    norms = (torch.inf, 2.0, 4.0)
    window = [{"total": torch.tensor(1.0), "gradient": torch.tensor(norm)} for norm in norms]
    means = training._means(window, 3, accelerator, tmp_path / "checkpoint.pt")
    assert means == {"total": 1.0, "gradient": 3.0}
    window[1]["total"] = torch.tensor(torch.nan)
    with pytest.raises(FloatingPointError, match="step 2: total = nan"):
        training._means(window, 3, accelerator, tmp_path / "checkpoint.pt")
    accelerator.scaler = None
    with pytest.raises(FloatingPointError, match="step 1: gradient = inf"):
        training._means(window, 3, accelerator, tmp_path / "checkpoint.pt")


def test_the_gradient_is_clipped_and_logged_as_it_was(crops, tmp_path):
    norms = {}
    for clip in (None, 1e-3):
        net = make_network()
        settings = Settings(steps=1, batch=2, clip=clip)
        training.train(net, SmoothLoss(), crops, settings, tmp_path / str(clip), Accelerator(cpu=1))
        gradient = torch.cat([p.grad.flatten() for p in net.parameters()])
        norms[clip] = gradient.norm().item(), float(read_log(tmp_path / str(clip))[0]["gradient"])
    assert norms[None][0] == pytest.approx(norms[None][1]) and norms[None][0] > 2e-3
    assert norms[1e-3] == pytest.approx((1e-3, norms[None][1]), rel=1e-3)


def test_a_run_does_not_resume_with_other_settings(crops, tmp_path):
    run(crops, tmp_path)
    other = Settings(steps=8, batch=2, log_every=1, validate_every=2, checkpoint_every=2, about="x")
    message = "is of a run with other settings .batch: 4 -> 2, about: '' -> 'x'."
    with pytest.raises(ValueError, match=message):
        run(crops, tmp_path, other)


def test_a_description_is_compared_entry_by_entry(crops, tmp_path):
    about = json.dumps({"loss": "dsd", "files": "abc"})
    run(crops, tmp_path, replace(SETTINGS, about=about))
    with pytest.raises(ValueError, match=r"other settings \(files: 'abc' -> 'xyz'\); give another"):
        run(crops, tmp_path, replace(SETTINGS, about=about.replace("abc", "xyz")))
    # What a run of an older version could not say does not keep it from resuming.
    run(crops, tmp_path, replace(SETTINGS, about=json.dumps({**json.loads(about), "new": 1})))


def test_two_runs_cannot_share_a_folder(crops, tmp_path):
    with run_folder.locked(tmp_path), pytest.raises(BlockingIOError, match="another run works"):
        run(crops, tmp_path)
    assert not (tmp_path / "log.csv").exists()
    run(crops, tmp_path)  # the lock is gone
    assert len(read_log(tmp_path)) == SETTINGS.steps


def test_a_flipped_bit_in_a_checkpoint_is_found(crops, tmp_path):
    run(crops, tmp_path)
    path = tmp_path / "checkpoint.pt"
    content, expected = path.read_bytes(), torch.load(path, weights_only=True)
    checkpoint = run_folder.Checkpoint(path, SETTINGS, None, None, None, Accelerator(cpu=True))
    weights = bytes(max(expected["net"].values(), key=torch.numel).untyped_storage())
    inside = content.index(weights)
    refused = 0
    rng = np.random.default_rng(0)
    for position in (inside, inside + len(weights) - 1, *rng.integers(len(content), size=60)):
        damaged = bytearray(content)
        damaged[position] ^= 1 << int(rng.integers(8))
        path.write_bytes(damaged)
        try:
            state = checkpoint._read()
        except ValueError as error:
            assert "the checkpoint is damaged; remove it to start again" in str(error)
            refused += 1
        else:  # between the parts, where nothing is stored
            assert position != inside
            assert_equal(state["net"], expected["net"])
            assert_equal(state["average"], expected["average"])
    assert refused > 30
    path.write_bytes(content[:-100])
    with pytest.raises(ValueError, match="the checkpoint is damaged"):
        run(crops, tmp_path)


def test_a_batch_that_processes_cannot_share(crops, tmp_path):
    three = SimpleNamespace(num_processes=3)
    with pytest.raises(ValueError, match="batch: expected a multiple of the 3 processes, got 4"):
        training.train(make_network(), SmoothLoss(), crops, SETTINGS, tmp_path, three)


def test_bfloat16_is_near_to_float32(crops, tmp_path, net):
    """Convolutions in bfloat16; weights stay in float32, and a resumed run is exact as well."""
    loss = dsd.RestorationLoss(net, "dsd", layers=["relu1_2"])
    loss.net = dsd.load_backbone()
    loss.net.last_conv = "conv2_1"  # shallow: pictures are small
    totals = {}
    for precision in ("no", "bf16"):
        AcceleratorState._reset_state(True)
        accelerator = Accelerator(cpu=True, mixed_precision=precision)
        model = make_network()
        training.train(model, loss, crops, SETTINGS, tmp_path / precision, accelerator)
        totals[precision] = [float(row["total"]) for row in read_log(tmp_path / precision)]
        assert all(p.dtype == torch.float32 for p in model.parameters())
    AcceleratorState._reset_state(True)
    assert totals["bf16"] == pytest.approx(totals["no"], rel=0.03)
    assert totals["bf16"] != totals["no"]
