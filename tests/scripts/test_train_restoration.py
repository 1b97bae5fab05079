"""Training of the restoration networks from the command line, on pictures made here."""

import csv
import json
from pathlib import Path

import pytest
import torch
from accelerate import Accelerator
from PIL import Image

import dsd_lib as dsd
from data_scripts import train_restoration as script
from data_scripts.shared import training_data
from dsd_lib.restoration.degradations import Downscale
from dsd_lib.restoration.networks import XSRResNet, load_network, save_network


@pytest.fixture
def data(tmp_path, monkeypatch, pictures) -> Path:
    """DSD_DATA with a small BSDS500 whose val part must not be read."""
    for part in ("train", "test", "val"):
        folder = tmp_path / "data" / "bsds500" / part
        folder.mkdir(parents=True)
        for index, name in enumerate(("cat", "coffee")):
            x = pictures[name][:, :, :96, index : 96 + index]
            Image.fromarray(dsd.to_array(x)).save(folder / f"{part}{index}.png")
    monkeypatch.setenv("DSD_DATA", str(tmp_path / "data"))
    monkeypatch.setattr(script.results, "ROOT", tmp_path)
    return tmp_path / "data"


def run(*arguments: object) -> None:
    script.main([str(argument) for argument in arguments])


def smoke(tmp_path, task: str, loss: str, *more: object) -> dict:
    options = ("--preset", "smoke", "--cache", tmp_path / "cache", *more)
    run(task, "--loss", loss, *options)
    return load_network(tmp_path / "runs" / f"{task}_{loss}_0" / "network.safetensors").record


def test_the_paper_preset_is_the_papers_setting():
    for task, preset in script.PRESETS["paper"].items():
        assert preset.start == preset.steps == 300_000 and preset.precision == "no"
        assert preset.data == {"sr": "div2k", "deblur": "reds"}[task]
        assert (preset.batch, preset.blocks, preset.channels) == (16, 10, 64)
    assert script.PRESETS["paper"]["sr"].side == 40
    assert script.Settings.rate == 2e-4 and script.Settings.batch == 16


def test_super_resolution_l1_first_then_dsd_from_it(data, tmp_path, monkeypatch):
    with pytest.raises(SystemExit, match=r"sr_l1_0.network.safetensors: every loss but l1"):
        smoke(tmp_path, "sr", "dsd")
    first = smoke(tmp_path, "sr", "l1")
    assert first["weights"] == [1, 0, 0] and first["start"] is None and first["steps"] == 4
    assert first["data"] == "bsds500, 4 images, bicubic downscaling by 4"
    record = smoke(tmp_path, "sr", "dsd")
    folder = tmp_path / "runs" / "sr_dsd_0"
    weight = json.loads((folder / "distribution_weight.json").read_text())
    assert record["start"] == "sr_l1_0" and record["weights"] == [1, 1, weight] and weight > 0
    assert {p.name for p in folder.iterdir()} == {
        "checkpoint.pt",
        "distribution_weight.json",
        "log.csv",
        "network.safetensors",
        "run.lock",
        "training.json",
        "validation",
    }
    assert json.loads((folder / "training.json").read_text())["results"] == record
    net = load_network(folder / "network.safetensors")
    assert (net.scale, net.blocks, net.channels) == (4, 1, 8)
    # A finished run that is asked for again keeps its weights, also that of the loss.
    before = (folder / "checkpoint.pt").read_bytes()
    (folder / "distribution_weight.json").write_text(json.dumps(weight))
    smoke(tmp_path, "sr", "dsd")
    assert (folder / "checkpoint.pt").read_bytes() == before
    with pytest.raises(SystemExit, match=r"is of a run with other settings .weights: "):
        smoke(tmp_path, "sr", "dsd", "--distribution-weight", 2 * weight)
    with pytest.raises(SystemExit, match="expected scale 4 and 2 blocks, got 4 and 1"):
        start = tmp_path / "runs" / "sr_l1_0" / "network.safetensors"
        smoke(tmp_path, "sr", "dsd", "--blocks", 2, "--from", start)


@pytest.mark.parametrize("loss", [name for name in script.LOSSES if name not in ("l1", "dsd")])
def test_every_loss_trains(loss, data, tmp_path, monkeypatch):
    start = tmp_path / "start.safetensors"
    save_network(XSRResNet(4, blocks=1, channels=8), start)
    record = smoke(tmp_path, "sr", loss, "--from", start, "--steps", 1)
    assert record["loss"] == loss and record["steps"] == 1
    assert (record["weights"][2] > 0) == (loss != "perceptual")
    expected = {"perceptual": None, "contextual": ["relu3_1"]}
    assert record["layers"] == expected.get(loss, ["relu2_1", "relu2_2", "relu3_1"])


def test_local_dsd_has_runs_of_its_own(data, tmp_path, monkeypatch):
    start = tmp_path / "start.safetensors"
    save_network(XSRResNet(4, blocks=1, channels=8), start)
    more = ("--from", start, "--steps", 1, "--distribution-weight", 1)
    assert smoke(tmp_path, "sr", "dsd", *more)["windows"] == 1
    # A crop of 32 pixels is 4 of relu3_1's in the small image: windows of 2.
    options = ("--preset", "smoke", "--cache", tmp_path / "cache", "--windows", 2, *more)
    run("sr", "--loss", "dsd", *options)
    record = load_network(tmp_path / "runs/sr_dsd_0_windows2/network.safetensors").record
    assert record["windows"] == 2
    totals = []
    for name in ("sr_dsd_0", "sr_dsd_0_windows2"):
        with (tmp_path / "runs" / name / "log.csv").open(newline="") as file:
            totals.append(float(next(csv.DictReader(file))["distribution"]))
    assert 0 < totals[0] < totals[1]  # what windows differ by cancels in the whole image's matrix
    with pytest.raises(SystemExit, match="windows: expected 1 for distribution=None"):
        smoke(tmp_path, "sr", "perceptual", *more[:4], "--windows", 2)


def test_a_run_that_is_done_can_be_published(data, tmp_path, monkeypatch):
    monkeypatch.setattr(script.results, "WEIGHTS", tmp_path)
    monkeypatch.setattr(script.results, "RESULTS", tmp_path / "results")
    record = smoke(tmp_path, "sr", "l1")
    assert not (tmp_path / "sr_l1.safetensors").exists()
    again = smoke(tmp_path, "sr", "l1", "--publish")
    assert again | {"seconds": record["seconds"]} == record  # the time of a start differs
    published = load_network(tmp_path / "sr_l1.safetensors")
    kept = load_network(tmp_path / "runs" / "sr_l1_0" / "network.safetensors")
    assert published.record == again
    for name, weight in kept.state_dict().items():
        assert torch.equal(published.state_dict()[name], weight)
    stored = json.loads((tmp_path / "results" / "training_sr_l1.json").read_text())
    assert stored["provenance"]["data"] == record["data"]
    curve = stored["results"]["curve"]
    assert [row["step"] for row in curve] == [2, 4] and all(row["psnr_y"] > 0 for row in curve)


def test_another_depth_is_published_under_its_own_name(data, tmp_path, monkeypatch):
    monkeypatch.setattr(script.results, "WEIGHTS", tmp_path)
    monkeypatch.setattr(script.results, "RESULTS", tmp_path / "results")
    options = ("--preset", "smoke", "--cache", tmp_path / "cache", "--blocks", 2, "--publish")
    run("sr", "--loss", "l1", *options)
    assert [file.name for file in tmp_path.glob("*.safetensors")] == ["sr_l1_2blocks.safetensors"]
    assert load_network(tmp_path / "sr_l1_2blocks.safetensors").blocks == 2
    assert (tmp_path / "results" / "training_sr_l1_2blocks.json").is_file()


def test_deblurring_on_random_kernels_and_on_pairs(data, tmp_path, monkeypatch):
    record = smoke(tmp_path, "deblur", "l1")
    assert record["data"] == "bsds500, 4 images, random motion kernels up to 5 pixels"
    for part in ("train_sharp", "train_blur", "val_blur"):
        folder = tmp_path / "reds" / part / "000"
        folder.mkdir(parents=True)
        Image.new("RGB", (40, 36), "teal").save(folder / "00000000.png")
    more = ("--pairs", tmp_path / "reds", "--loss", "perceptual")
    record = smoke(tmp_path, "deblur", "perceptual", *more)
    assert record["data"] == "1 pairs of blurry and sharp images (reds)"
    with pytest.raises(SystemExit, match="--pairs: expected the task deblur"):
        smoke(tmp_path, "sr", "l1", "--pairs", tmp_path / "reds")


def test_a_folder_of_pictures_in_place_of_a_data_set(data, tmp_path, monkeypatch):
    seen = {}

    def make(**options: object) -> Accelerator:
        seen.update(options)
        return Accelerator(**options)

    monkeypatch.setattr(script, "Accelerator", make)
    more = ("--data", data / "bsds500" / "test", "--images", 1)
    record = smoke(tmp_path, "sr", "l1", *more)
    assert record["data"] == "test, 1 images, bicubic downscaling by 4"
    # Left unsaid, several processes on CPUs would each train alone.
    gpu = torch.cuda.is_available() or torch.backends.mps.is_available()
    assert seen == {"cpu": not gpu, "mixed_precision": "no"}


def test_the_calibrated_terms_are_equal_on_average(net, tmp_path):
    torch.manual_seed(0)
    start, loss = XSRResNet(4, blocks=1, channels=8), script.RestorationLoss(net, "style")
    seen = []

    def crops(step, batch, members, device):
        generator = torch.Generator().manual_seed(step)
        seen.append(step)
        target = torch.rand(batch, 3, 32, 32, generator=generator)
        return Downscale(4)(target, generator)[0], target

    def calibrate():
        file = tmp_path / "weight.json"
        return script.calibrated(loss, start, crops, 2, 1, file, Accelerator(cpu=True))

    weight = calibrate()
    assert calibrate() == weight and len(seen) == 1  # kept: a resumed run reads it
    given, target = crops(seen[0], 2, slice(None), torch.device("cpu"))
    with torch.no_grad():
        terms = loss(start(given), target)
    assert weight * terms["distribution"].item() == pytest.approx(terms["perceptual"].item())
    presets = [p for tasks in script.PRESETS.values() for p in tasks.values()]
    assert min(seen) > max(max(p.start, p.steps) for p in presets)  # none of the run's own


def test_pairs_are_found_in_the_layouts_of_reds_and_gopro(tmp_path):
    names = [
        "train_blur/000/00000000.png",
        "GOPR1/blur/000001.png",
        "GOPR1/blur_gamma/000001.png",
        "flower_blur.webp",
        "val_blur/000/00000000.png",
        "test/GOPR2/blur/000001.png",
    ]
    for name in names:
        for file in (tmp_path / name, tmp_path / name.replace("blur", "sharp", 1)):
            if "sharp_gamma" not in file.as_posix():
                file.parent.mkdir(parents=True, exist_ok=True)
                file.touch()
    blurry, sharp = training_data.pair_files(tmp_path)
    found = {p.relative_to(tmp_path).as_posix() for p in blurry}
    assert found == {names[0], names[1], names[3]}
    for a, b in zip(blurry, sharp, strict=True):
        assert b.as_posix() == a.as_posix().replace("blur", "sharp") and b.is_file()
    sharp[0].unlink()
    with pytest.raises(FileNotFoundError, match=r"blur.* has no sharp partner .*sharp"):
        training_data.pair_files(tmp_path)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "a.png").touch()
    with pytest.raises(FileNotFoundError, match="no pairs of images below"):
        training_data.pair_files(tmp_path / "other")


def test_only_the_paper_preset_insists_on_div2k(data):
    files, name = training_data.photos_or_bsds500("div2k", insist=False)
    assert name == "bsds500" and len(files) == 4
    assert not any("val" in p.parts for p in files)
    with pytest.raises(FileNotFoundError, match="div2k"):
        training_data.photos_or_bsds500("div2k", insist=True)
    (data / "div2k" / "train").mkdir(parents=True)
    (data / "div2k" / "valid").mkdir()
    for part in ("train", "valid"):
        (data / "div2k" / part / "0001.png").touch()
    files, name = training_data.photos_or_bsds500("div2k", insist=True)
    assert name == "div2k" and [p.parent.name for p in files] == ["train"]


def test_validation_images_are_degraded_the_same_way_every_time(tmp_path):
    for task, preset in script.PRESETS["laptop"].items():
        first, again = (script.make_validation(task, preset, tmp_path).pairs for _ in range(2))
        for (a, x), (b, y) in zip(first, again, strict=True):
            assert torch.equal(a, b) and torch.equal(x, y)
            assert x.shape[2] == a.shape[2] * script.SCALES[task] >= 128


@pytest.mark.parametrize(
    ("device", "fast", "expected"),
    [
        ("cpu", torch.bfloat16, "bf16"),
        ("cpu", torch.float32, "no"),
        ("cuda", torch.bfloat16, "bf16"),
        ("cuda", torch.float32, "fp16"),  # Colab's T4
    ],
)
def test_the_precision_of_the_machine(device, fast, expected, monkeypatch):
    monkeypatch.setattr(script, "fast_dtype", lambda _: fast)
    assert script.precision(script.PRESETS["gpu"]["sr"], device) == expected
    assert script.precision(script.PRESETS["paper"]["sr"], device) == "no"


def test_photos_that_settings_are_chosen_on_are_not_trained_on(tmp_path, monkeypatch):
    for part, count in (("train", 30), ("test", 15), ("val", 5)):
        (tmp_path / "bsds500" / part).mkdir(parents=True)
        for index in range(count):
            (tmp_path / "bsds500" / part / f"{part}{index:02}.png").touch()
    monkeypatch.setenv("DSD_DATA", str(tmp_path))
    kept_out = training_data.held_out()
    assert [file.stem for file in kept_out] == ["train19", "test09"]
    trained_on = training_data.sharp_photos("bsds500")
    assert len(trained_on) == 43 and not set(trained_on) & set(kept_out)
    assert not any("val" in file.parts for file in (*trained_on, *kept_out))


def test_replaced_training_images_are_noticed(data, tmp_path):
    smoke(tmp_path, "sr", "l1")
    smoke(tmp_path, "sr", "l1")  # done: nothing to do
    (data / "bsds500" / "train" / "train0.png").write_bytes(
        (data / "bsds500" / "train" / "train1.png").read_bytes()
    )
    with pytest.raises(SystemExit, match=r"other settings .files: '\w+' -> '\w+'"):
        smoke(tmp_path, "sr", "l1")


def test_what_is_wrong_is_said_in_one_line(data, tmp_path, monkeypatch):
    for arguments in (
        ("sr", "--loss", "dsd"),  # no start
        ("sr", "--loss", "l1", "--data", tmp_path / "nowhere"),
        ("sr", "--loss", "l1", "--pairs", tmp_path),
    ):
        with pytest.raises(SystemExit) as found:
            run(*arguments, "--preset", "smoke")
        message = found.value.code
        assert message.startswith("train_restoration: ") and "\n" not in message
    monkeypatch.delenv("DSD_DATA")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match=r"^train_restoration: .*DSD_DATA"):
        run("sr", "--loss", "l1", "--preset", "smoke")


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--steps", "0"),
        ("--images", "-1"),
        ("--blocks", "two"),
        ("--windows", "0"),
        ("--workers", "1.5"),
        ("--rate", "0"),
        ("--rate", "nan"),
        ("--distribution-weight", "-1"),
    ],
)
def test_numbers_that_make_no_sense(option, value, capsys):
    with pytest.raises(SystemExit) as found:
        run("sr", "--loss", "l1", "--preset", "smoke", option, value)
    assert found.value.code == 2
    assert f"argument {option}: expected a " in capsys.readouterr().err
