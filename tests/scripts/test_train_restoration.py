"""Training of the restoration networks from the command line, on pictures made here."""

import csv
import json
import sys
from pathlib import Path

import pytest
import torch
from accelerate import Accelerator
from PIL import Image

import dsd_lib as dsd
from data_scripts import train_restoration as script
from dsd_lib.restoration.degradations import Downscale, MotionBlur
from dsd_lib.restoration.networks import XSRResNet, load_network, save_network
from dsd_lib.restoration.training import Settings


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


def run(monkeypatch, *arguments: object) -> None:
    monkeypatch.setattr(sys, "argv", ["train_restoration", *map(str, arguments)])
    script.main()


def smoke(monkeypatch, tmp_path, task: str, loss: str, *more: object) -> dict:
    options = ("--preset", "smoke", "--cache", tmp_path / "cache", *more)
    run(monkeypatch, task, "--loss", loss, *options)
    return load_network(tmp_path / "runs" / f"{task}_{loss}_0" / "network.safetensors").record


def test_the_paper_preset_is_the_papers_setting():
    paper = script.PRESETS["paper"]
    assert paper.start == paper.steps == (300_000, 300_000)
    assert paper.data == ("div2k", "reds") and paper.precision == "no"
    assert (paper.batch, paper.side[0], paper.blocks, paper.channels) == (16, 40, 10, 64)
    settings = Settings(steps=300_000)
    for step in (90_000, 180_000, 270_000):
        assert settings.rate_at(step) == settings.rate_at(step - 1) / 2
    assert settings.rate == 2e-4 and settings.batch == 16


def test_super_resolution_l1_first_then_dsd_from_it(data, tmp_path, monkeypatch):
    with pytest.raises(FileNotFoundError, match=r"sr_l1_0.network.safetensors: every loss but l1"):
        smoke(monkeypatch, tmp_path, "sr", "dsd")
    first = smoke(monkeypatch, tmp_path, "sr", "l1")
    assert first["weights"] == [1, 0, 0] and first["start"] is None and first["steps"] == 4
    assert first["data"] == "bsds500, 4 pictures, bicubic downscaling by 4"
    record = smoke(monkeypatch, tmp_path, "sr", "dsd")
    folder = tmp_path / "runs" / "sr_dsd_0"
    weight = json.loads((folder / "distribution_weight.json").read_text())
    assert record["start"] == "sr_l1_0" and record["weights"] == [1, 1, weight] and weight > 0
    assert {p.name for p in folder.iterdir()} == {
        "checkpoint.pt",
        "distribution_weight.json",
        "log.csv",
        "network.safetensors",
        "training.json",
        "validation",
    }
    assert json.loads((folder / "training.json").read_text())["results"] == record
    net = load_network(folder / "network.safetensors")
    assert (net.scale, net.blocks, net.channels) == (4, 1, 8)
    # A finished run that is asked for again keeps its weights, also that of the loss.
    before = (folder / "checkpoint.pt").read_bytes()
    (folder / "distribution_weight.json").write_text(json.dumps(weight))
    smoke(monkeypatch, tmp_path, "sr", "dsd")
    assert (folder / "checkpoint.pt").read_bytes() == before
    with pytest.raises(ValueError, match=r"is of a run with other settings .about: "):
        smoke(monkeypatch, tmp_path, "sr", "dsd", "--distribution-weight", 2 * weight)
    with pytest.raises(ValueError, match="expected scale 4 and 2 blocks, got 4 and 1"):
        start = tmp_path / "runs" / "sr_l1_0" / "network.safetensors"
        smoke(monkeypatch, tmp_path, "sr", "dsd", "--blocks", 2, "--from", start)


@pytest.mark.parametrize("loss", [name for name in script.LOSSES if name not in ("l1", "dsd")])
def test_every_loss_trains(loss, data, tmp_path, monkeypatch):
    start = tmp_path / "start.safetensors"
    save_network(XSRResNet(4, blocks=1, channels=8), start)
    record = smoke(monkeypatch, tmp_path, "sr", loss, "--from", start, "--steps", 1)
    assert record["loss"] == loss and record["steps"] == 1
    assert (record["weights"][2] > 0) == (loss != "perceptual")
    expected = {"perceptual": None, "contextual": ["relu3_1"]}
    assert record["layers"] == expected.get(loss, ["relu2_1", "relu2_2", "relu3_1"])


def test_local_dsd_has_runs_of_its_own(data, tmp_path, monkeypatch):
    start = tmp_path / "start.safetensors"
    save_network(XSRResNet(4, blocks=1, channels=8), start)
    more = ("--from", start, "--steps", 1, "--distribution-weight", 1)
    assert smoke(monkeypatch, tmp_path, "sr", "dsd", *more)["windows"] == 1
    # A crop of 32 pixels is 4 of relu3_1's in the small image: windows of 2.
    options = ("--preset", "smoke", "--cache", tmp_path / "cache", "--windows", 2, *more)
    run(monkeypatch, "sr", "--loss", "dsd", *options)
    record = load_network(tmp_path / "runs/sr_dsd_0_windows2/network.safetensors").record
    assert record["windows"] == 2
    totals = []
    for name in ("sr_dsd_0", "sr_dsd_0_windows2"):
        with (tmp_path / "runs" / name / "log.csv").open(newline="") as file:
            totals.append(float(next(csv.DictReader(file))["distribution"]))
    assert 0 < totals[0] < totals[1]  # what windows differ by cancels in the whole image's matrix
    with pytest.raises(ValueError, match="windows: expected 1 for distribution=None"):
        smoke(monkeypatch, tmp_path, "sr", "perceptual", *more[:4], "--windows", 2)


def test_a_run_that_is_done_can_be_published(data, tmp_path, monkeypatch):
    monkeypatch.setattr(script.results, "WEIGHTS", tmp_path)
    monkeypatch.setattr(script.results, "RESULTS", tmp_path / "results")
    record = smoke(monkeypatch, tmp_path, "sr", "l1")
    assert not (tmp_path / "sr_l1.safetensors").exists()
    assert smoke(monkeypatch, tmp_path, "sr", "l1", "--publish") == record
    published = load_network(tmp_path / "sr_l1.safetensors")
    kept = load_network(tmp_path / "runs" / "sr_l1_0" / "network.safetensors")
    assert published.record == record
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
    run(monkeypatch, "sr", "--loss", "l1", *options)
    assert [file.name for file in tmp_path.glob("*.safetensors")] == ["sr_l1_2blocks.safetensors"]
    assert load_network(tmp_path / "sr_l1_2blocks.safetensors").blocks == 2
    assert (tmp_path / "results" / "training_sr_l1_2blocks.json").is_file()


def test_deblurring_on_random_kernels_and_on_pairs(data, tmp_path, monkeypatch):
    record = smoke(monkeypatch, tmp_path, "deblur", "l1")
    assert record["data"] == "bsds500, 4 pictures, random motion kernels up to 5 pixels"
    for part in ("train_sharp", "train_blur", "val_blur"):
        folder = tmp_path / "reds" / part / "000"
        folder.mkdir(parents=True)
        Image.new("RGB", (40, 36), "teal").save(folder / "00000000.png")
    more = ("--pairs", tmp_path / "reds", "--loss", "perceptual")
    record = smoke(monkeypatch, tmp_path, "deblur", "perceptual", *more)
    assert record["data"] == "1 pairs of blurry and sharp pictures (reds)"
    with pytest.raises(ValueError, match="--pairs: expected the task deblur"):
        smoke(monkeypatch, tmp_path, "sr", "l1", "--pairs", tmp_path / "reds")


def test_a_folder_of_pictures_in_place_of_a_data_set(data, tmp_path, monkeypatch):
    seen = {}

    def make(**options: object) -> Accelerator:
        seen.update(options)
        return Accelerator(**options)

    monkeypatch.setattr(script, "Accelerator", make)
    more = ("--data", data / "bsds500" / "test", "--pictures", 1)
    record = smoke(monkeypatch, tmp_path, "sr", "l1", *more)
    assert record["data"] == "test, 1 pictures, bicubic downscaling by 4"
    # Left unsaid, several processes on CPUs would each train alone.
    gpu = torch.cuda.is_available() or torch.backends.mps.is_available()
    assert seen == {"cpu": not gpu, "mixed_precision": "no"}


def test_the_calibrated_terms_are_equal_on_average(net):
    torch.manual_seed(0)
    start, loss = XSRResNet(4, blocks=1, channels=8), script.RestorationLoss(net, "style")
    preset, seen = script.PRESETS["smoke"], []

    def crops(step, batch, members, device):
        generator = torch.Generator().manual_seed(step)
        seen.append(step)
        target = torch.rand(batch, 3, 32, 32, generator=generator)
        return Downscale(4)(target, generator)[0], target

    class Arguments:
        loss, distribution_weight = "style", None

    def calibrate(folder):
        script.set_weights(loss, start, crops, preset, Arguments, folder, Accelerator(cpu=True))
        return loss.weights

    with pytest.MonkeyPatch.context() as patch:
        written = {}
        patch.setattr(script, "write_atomically", written.__setitem__)
        patch.setattr(Path, "is_file", lambda path: path in written)
        patch.setattr(Path, "read_text", lambda path: written[path])
        weights = calibrate(Path("run"))
        assert calibrate(Path("run")) == weights and len(seen) == preset.calibrate
    given, target = crops(seen[0], preset.batch, slice(None), torch.device("cpu"))
    with torch.no_grad():
        terms = loss(start(given), target)
    assert weights[:2] == (1, 1)
    assert weights[2] * terms["distribution"].item() == pytest.approx(terms["perceptual"].item())
    assert min(seen) > max(max(p.start + p.steps) for p in script.PRESETS.values())


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
    blurry, sharp = script.pair_files(tmp_path)
    found = {p.relative_to(tmp_path).as_posix() for p in blurry}
    assert found == {names[0], names[1], names[3]}
    for a, b in zip(blurry, sharp, strict=True):
        assert b.as_posix() == a.as_posix().replace("blur", "sharp") and b.is_file()
    sharp[0].unlink()
    with pytest.raises(FileNotFoundError, match=r"blur.* has no sharp partner .*sharp"):
        script.pair_files(tmp_path)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "a.png").touch()
    with pytest.raises(FileNotFoundError, match="no pairs of pictures below"):
        script.pair_files(tmp_path / "other")


def test_only_the_paper_preset_insists_on_div2k(data):
    files, name = script._pictures_of("div2k", "gpu")
    assert name == "bsds500" and len(files) == 4
    assert not any("val" in p.parts for p in files)
    with pytest.raises(FileNotFoundError, match="div2k"):
        script._pictures_of("div2k", "paper")
    (data / "div2k" / "train").mkdir(parents=True)
    (data / "div2k" / "valid").mkdir()
    for part in ("train", "valid"):
        (data / "div2k" / part / "0001.png").touch()
    files, name = script._pictures_of("div2k", "gpu")
    assert name == "div2k" and [p.parent.name for p in files] == ["train"]


def test_validation_pictures_are_degraded_the_same_way_every_time(tmp_path):
    for task in script.SCALES:
        first, again = (
            script.make_validation(task, script.PRESETS["laptop"], tmp_path).pairs for _ in range(2)
        )
        for (a, x), (b, y) in zip(first, again, strict=True):
            assert torch.equal(a, b) and torch.equal(x, y) and x.shape == (1, 3, 128, 128)
            assert a.shape[2] * script.SCALES[task] == 128
    assert isinstance(script.degradation("deblur", script.PRESETS["laptop"]), MotionBlur)


def test_the_precision_of_the_machine(monkeypatch):
    gpu = script.PRESETS["gpu"]
    for cuda, bf16, expected in (
        (False, False, "bf16"),
        (True, True, "bf16"),
        (True, False, "fp16"),  # Colab's T4
    ):
        monkeypatch.setattr(torch.cuda, "is_available", lambda cuda=cuda: cuda)
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda bf16=bf16, **_: bf16)
        assert script.precision(gpu) == expected
    assert script.precision(script.PRESETS["paper"]) == "no"
