"""The tables of restored pictures, on made-up data with untrained networks."""

import argparse
import json
import shutil
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from PIL import Image

import dsd_lib as dsd
from data_scripts import evaluate_deblurring, evaluate_super_resolution
from data_scripts.shared import restored
from dsd_lib.quality import baselines
from dsd_lib.quality.grid import grid_energy
from dsd_lib.quality.natural_scenes import niqe
from dsd_lib.restoration import degradations
from dsd_lib.restoration.networks import XSRResNet, load_network, save_network
from dsd_lib.restoration.precision import fast_autocast

SIDES = (96, 192)  # two blocks of NIQE


def save(x, path):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(dsd.to_array(x)).save(path, lossless=True)


@pytest.fixture
def data(tmp_path, monkeypatch, pictures):
    """Two pictures with published outputs, a few of BSD100, kernels, pairs."""
    folder = tmp_path / "data"
    height, width = SIDES
    for name, x in {"butterfly": pictures["cat"], "baboon": pictures["temple"]}.items():
        x = x[..., :height, :width]
        small = degradations.downscale(x, 4)
        save(x, folder / f"sr_outputs/HR/{name}.webp")
        for system in ("SRResNet", "EDSR"):
            save(
                dsd.imresize(small, scale=4).clamp(0, 1),
                folder / f"sr_outputs/{system}/{name}.webp",
            )
        save(0.1 + 0.8 * x, folder / f"sr_outputs/SRGAN/{name}.webp")
    for name in ("100", "200", "300"):
        x = pictures["coffee"][..., : height + 1, : width + 3]
        save(x, folder / f"bsds500/val/{name}.png")
    (folder / "kernels").mkdir()
    cross = np.zeros((5, 5))
    cross[2] = cross[:, 2] = 1
    np.savez(folder / "kernels/levin09.npz", **{f"k{i}": cross for i in range(1, 9)})
    for name in evaluate_deblurring.GOPRO:
        x = pictures["flower"][..., :height, :width]
        save(x, folder / f"gopro_pairs/{name}_sharp.webp")
        save(
            degradations.blur(x, torch.full((3, 3), 1 / 9)),
            folder / f"gopro_pairs/{name}_blur.webp",
        )
    monkeypatch.setenv("DSD_DATA", str(folder))
    return folder


# Few measures, and regions inside the small images.
PLANS = {
    "sr": replace(
        evaluate_super_resolution.PLAN,
        measures=("psnr_y", "grid"),
        crops=(
            restored.Crop("set14/baboon", (0, 8, 32, 40)),
            restored.Crop("bsd100/300", (8, 0, 24, 24)),
        ),
        sparse={"bsd100": 2},
        slow=("grid",),
    ),
    "deblur": replace(
        evaluate_deblurring.PLAN,
        sets={
            "synthetic": partial(evaluate_deblurring.synthetic, 2, 1),
            "levin": partial(evaluate_deblurring.levin, [torch.ones(5, 5) / 25], 2),
            "gopro": evaluate_deblurring.gopro,
        },
        measures=("psnr_y", "ssim_y"),
        crops=(restored.Crop("levin/200", (4, 4, 16, 16)),),
    ),
}


def train(folder, task, loss, seed, name="", blocks=5, upsampling="shuffle", **record):
    """An untrained network with a trained one's record."""
    torch.manual_seed(10 * len(loss) + seed)
    net = XSRResNet(4 if task == "sr" else 1, blocks, channels=4, upsampling=upsampling)
    path = folder / (name or f"{task}_{loss}_{seed}") / "network.safetensors"
    path.parent.mkdir(parents=True, exist_ok=True)
    save_network(net, path, task=task, loss=loss, seed=seed, **record)
    return path


@pytest.fixture
def measure(tmp_path):
    """Carry out a plan; gives the stored results."""

    def run(task, **options):
        plan, output = PLANS[task], tmp_path / "results"
        restored.evaluate(plan, tmp_path / "runs", output, **options)
        return json.loads((output / f"{plan.what}.json").read_text())["results"]

    return run


def restore(file, given):
    with fast_autocast("cpu"):
        return degradations.to_eight_bits(load_network(file)(given).float())


def by_name(found):
    return {method["name"]: method for method in found["methods"]}


def test_super_resolution(data, tmp_path, measure, capsys):
    runs = tmp_path / "runs"
    file = train(runs, "sr", "dsd", 1, layers=["relu2_1", "relu2_2", "relu3_1"], steps=7)
    train(runs, "sr", "dsd", 0)
    train(runs, "sr", "dsd", 0, "sr_dsd_0_1blocks", blocks=1)
    train(runs, "sr", "contextual", 0, "sr_contextual_0_relu3_1", layers=["relu3_1"])
    train(runs, "sr", "style", 0, "sr_style_0_relu3_1", layers=["relu3_1"])
    train(runs, "sr", "l1", 0)
    train(runs, "deblur", "l1", 0)  # another task's
    found = measure("sr")
    methods = by_name(found)
    assert list(methods) == [
        "bicubic", "l1", "style_relu3_1", "contextual", "dsd", "dsd_1blocks",
        "srresnet", "srgan", "srgan_contrast", "edsr",
    ]  # fmt: skip
    assert methods["style_relu3_1"]["label"] == "Style (relu3_1)"
    assert [m["kind"] for m in found["methods"]] == (
        ["interpolation"] + 5 * ["trained"] + 4 * ["published"]
    )
    assert found["sets"] == {
        "set5": ["butterfly"], "set14": ["baboon"], "bsd100": ["100", "200", "300"],
    }  # fmt: skip
    assert [run["seed"] for run in methods["dsd"]["runs"]] == [0, 1]
    assert methods["dsd"]["runs"][1]["record"]["steps"] == 7
    assert methods["bicubic"]["runs"][0]["record"] is None
    assert set(methods["edsr"]["runs"][0]["values"]) == {"set5", "set14"}
    assert found["left_out"] == {}
    values = methods["dsd"]["runs"][1]["values"]["bsd100"]
    assert {k: len(v) for k, v in values.items()} == {"psnr_y": 3, "grid": 2}
    assert found["sparse"] == {"bsd100": {"measures": ["grid"], "pictures": ["100", "300"]}}

    # The same, computed directly.
    y = dsd.load_image(data / "bsds500/val/300.png")[..., :96, :192]
    given = degradations.downscale(y, 4, eight_bits=True)
    x = restore(file, given)
    inside = (..., slice(4, -4), slice(4, -4))
    direct = {"psnr_y": baselines.psnr_y, "grid": grid_energy}
    for name, function in direct.items():
        assert values[name][-1] == pytest.approx(function(x[inside], y[inside]).item(), rel=1e-4)
    assert found["truth"]["bsd100"]["niqe"][-1] == pytest.approx(niqe(y).item(), rel=1e-4)

    # The strips: truth first, at true pixels.
    first, second = found["crops"]
    assert (first["picture"], first["box"]) == ("set14/baboon", [0, 8, 32, 40])
    assert first["methods"] == ["truth", *methods] and second["methods"] == ["truth", *methods][:7]
    whole = np.asarray(Image.open(tmp_path / "results" / second["file"]))
    assert whole.shape == (24, 7 * 24, 3)
    np.testing.assert_array_equal(whole[:, :24], dsd.to_array(y)[8:32, :24])
    shown = dsd.to_array(restore(runs / "sr_dsd_0" / "network.safetensors", given))
    np.testing.assert_array_equal(whole[:, 5 * 24 : 6 * 24], shown[8:32, :24])

    printed = capsys.readouterr().out
    assert "set14 (1 images)" in printed and "SRGAN, contrast restored" in printed


def test_networks_that_differ_in_anything_are_methods_of_their_own(tmp_path):
    train(tmp_path, "sr", "dsd", 0, windows=1)
    train(tmp_path, "sr", "dsd", 0, "sr_dsd_0_a", windows=4)
    train(tmp_path, "sr", "dsd", 0, "sr_dsd_0_b", blocks=1, upsampling="resize", windows=4)
    found = restored.trained_runs("sr", tmp_path)
    assert {run.method: run.label for run in found} == {
        "dsd": "DSD",
        "dsd_1blocks_resize_windows4": "DSD (1 blocks; resize; windows 4)",
        "dsd_windows4": "DSD (windows 4)",
    }


def test_only_what_is_new_is_measured(data, tmp_path, measure, monkeypatch):
    runs = tmp_path / "runs"
    train(runs, "sr", "l1", 0)
    before = measure("sr")
    used = []
    apply = restored._apply

    def counted(file, set_name, name, case):
        used.append((file.parent.name, name))
        return apply(file, set_name, name, case)

    monkeypatch.setattr(restored, "_apply", counted)
    assert measure("sr") == before and used == []

    train(runs, "sr", "dsd", 0)
    after = measure("sr")
    assert {run for run, _ in used} == {"sr_dsd_0"} and len(used) == 5
    assert [m for m in after["methods"] if m["name"] != "dsd"] == before["methods"]

    # A picture that changes is measured again, and nothing else.
    used.clear()
    save(dsd.sample_images()["gravel"][..., :96, :192], data / "bsds500/val/200.png")
    assert by_name(measure("sr"))["l1"] != by_name(after)["l1"]
    assert {name for _, name in used} == {"200"}

    # So is a network under an old name.
    used.clear()
    restored._file_digest.cache_clear()
    restored._network.cache_clear()
    train(runs, "sr", "l1", 0, note="trained again")
    measure("sr")
    assert {run for run, _ in used} == {"sr_l1_0"} and len(used) == 5


def test_one_network_is_added_to_a_stored_result(data, tmp_path, measure):
    runs, output = tmp_path / "runs", tmp_path / "results"
    train(runs, "sr", "l1", 0)
    train(runs, "sr", "dsd", 0)
    before = measure("sr")
    provenance = json.loads((output / "super_resolution.json").read_text())["provenance"]
    strips = [np.asarray(Image.open(output / crop["file"])) for crop in before["crops"]]
    shutil.rmtree(runs)  # only a new one is at hand
    train(runs, "sr", "dsd", 1)
    train(runs, "sr", "dsd", 0, "sr_dsd_0_new", blocks=1, upsampling="resize")
    after = measure("sr", only=["sr_dsd_0_new"], sets=["set14"])
    name = "dsd_1blocks_resize"
    assert after["methods"][:-1] == before["methods"] and after["methods"][-1]["name"] == name
    assert list(after["methods"][-1]["runs"][0]["values"]) == ["set14"]
    for key in ("sets", "truth", "sparse"):
        assert after[key] == before[key]
    assert after["earlier"] == [provenance]
    first, second = after["crops"]
    assert first["methods"] == [*before["crops"][0]["methods"], name]
    assert second == before["crops"][1]  # of another set
    whole = np.asarray(Image.open(output / first["file"]))
    np.testing.assert_array_equal(whole[:, :-40], strips[0])
    np.testing.assert_array_equal(Image.open(output / second["file"]), strips[1])
    # Another seed joins its method, and the same network again takes its own place.
    for _ in range(2):
        again = measure("sr", only=["sr_dsd_1"], sets=["set14"])
        seeds = [(run["seed"], list(run["values"])) for run in by_name(again)["dsd"]["runs"]]
        assert seeds == [(0, ["set5", "set14", "bsd100"]), (1, ["set14"])]
    with pytest.raises(ValueError, match="--only: expected folders of trained networks, got x"):
        measure("sr", only=["x", "sr_dsd_1"])
    save(dsd.sample_images()["gravel"][..., :96, :192], data / "sr_outputs/HR/new.webp")
    with pytest.raises(ValueError, match="set14: expected the images of the stored result"):
        measure("sr", only=["sr_dsd_1"], sets=["set14"])


def test_deblurring(data, tmp_path, measure):
    file = train(tmp_path / "runs", "deblur", "l1", 0)
    found = measure("deblur")
    methods = by_name(found)
    assert list(methods) == ["blurry", "l1"]
    assert found["sets"] == {
        "synthetic": ["100", "300"], "levin": ["200"], "gopro": ["flower", "istanbul"],
    }  # fmt: skip
    assert found["facts"]["levin"] == {"kernel_size": [5], "noise": [0.005]}
    assert found["facts"]["synthetic"]["kernel_size"] == [13, 13]
    assert len(found["facts"]["synthetic"]["length"]) == 2

    y = dsd.load_image(data / "gopro_pairs/flower_sharp.webp")
    given = dsd.load_image(data / "gopro_pairs/flower_blur.webp")
    x = restore(file, given)
    for name, picture in {"blurry": given, "l1": x}.items():
        value = methods[name]["runs"][0]["values"]["gopro"]["psnr_y"][0]
        assert value == pytest.approx(baselines.psnr_y(picture, y).item(), rel=1e-4)

    case = PLANS["deblur"].sets["levin"]()["200"]()
    again = PLANS["deblur"].sets["levin"]()["200"]()
    assert case.border == 2 and torch.equal(case.given, again.given)
    inside = (..., slice(2, -2), slice(2, -2))
    value = baselines.ssim_y(case.given[inside], case.target[inside]).item()
    kept = methods["blurry"]["runs"][0]["values"]["levin"]["ssim_y"][0]
    assert kept == pytest.approx(value, rel=1e-4)


def test_the_slow_measures(pictures):
    """As the library computes them, though perhaps in bfloat16."""
    pytest.importorskip("stlpips_pytorch")
    y = pictures["coffee"][..., :96, :192]
    x = degradations.to_eight_bits(y + 0.05 * torch.randn(y.shape))
    case = restored.Case(x, y, 4, {})
    net = dsd.load_backbone("vgg16")
    assert restored.dsd_distance(x, case).item() == pytest.approx(
        dsd.dsd_distance(x, y, net).item(), rel=0.01
    )
    assert restored.st_lpips(x, case).item() == pytest.approx(
        baselines.shift_tolerant_lpips(x, y).item(), rel=0.01
    )
    for name in ("niqe", "ssim_y"):
        assert torch.isfinite(restored.MEASURES[name][0](x, case))


def test_a_missing_measure_is_left_out(monkeypatch):
    usable, left_out = restored.usable_measures(("niqe", "lpips", "psnr_y"))
    assert usable == ["niqe", "psnr_y"]
    assert left_out.keys() == {"lpips"} and "torchvision's AlexNet" in left_out["lpips"]


def test_contrast_is_restored_from_what_was_given(data):
    """The made-up SRGAN is the truth with less contrast."""
    case = evaluate_super_resolution.set5()["butterfly"]()
    x = evaluate_super_resolution.with_contrast("set5", "butterfly", case)
    assert (x - case.target).abs().max() < 1 / 255


@pytest.mark.parametrize("task", PLANS)
def test_missing_data_is_named(task, tmp_path, measure, monkeypatch):
    monkeypatch.delenv("DSD_DATA", raising=False)
    with pytest.raises(FileNotFoundError, match="set the environment variable DSD_DATA"):
        measure(task)
    monkeypatch.setenv("DSD_DATA", str(tmp_path))
    name = {"sr": "sr_outputs", "deblur": "bsds500"}[task]
    with pytest.raises(FileNotFoundError, match=f"the data set {name} is needed"):
        measure(task)


def test_a_network_must_say_what_it_is(data, tmp_path, measure):
    train(tmp_path / "runs", "deblur", "l1", 0, "sr_l1_0")
    with pytest.raises(ValueError, match="expected a network of train_restoration for the task sr"):
        measure("sr")


def test_an_output_of_another_size_is_an_error(data, measure):
    save(torch.zeros(1, 3, 96, 188), data / "sr_outputs/EDSR/baboon.webp")
    with pytest.raises(ValueError, match="set14/baboon, EDSR: expected the truth's size"):
        measure("sr")


def test_some_sets_for_a_first_look(data, measure):
    found = measure("sr", sets=["set14"])
    assert list(found["sets"]) == list(by_name(found)["bicubic"]["runs"][0]["values"]) == ["set14"]
    assert [crop["picture"] for crop in found["crops"]] == ["set14/baboon"]
    with pytest.raises(ValueError, match="--sets: expected some of set5, set14, bsd100; got set15"):
        measure("sr", sets=["set15"])


def test_who_lacks_a_set_measures_the_others(data, measure):
    for name in ("sr_outputs", "gopro_pairs"):
        shutil.rmtree(data / name)
    assert list(measure("sr", sets=["bsd100"])["sets"]) == ["bsd100"]
    assert list(measure("deblur", sets=["synthetic", "levin"])["sets"]) == ["synthetic", "levin"]
    with pytest.raises(FileNotFoundError, match="sr_outputs"):
        measure("sr")


def test_a_region_must_lie_inside():
    with pytest.raises(ValueError, match=r"expected a region inside \(1, 3, 8, 8\)"):
        restored.cut(torch.zeros(1, 3, 8, 8), (4, 4, 5, 4))


def test_equal_pictures_have_a_finite_psnr(data, measure):
    for name in ("butterfly", "baboon"):
        save(
            dsd.load_image(data / f"sr_outputs/HR/{name}.webp"),
            data / f"sr_outputs/EDSR/{name}.webp",
        )
    edsr = by_name(measure("sr"))["edsr"]["runs"][0]["values"]["set5"]
    assert edsr == {"psnr_y": [100.0], "grid": [1.0]}


def test_arguments_have_defaults(monkeypatch):
    monkeypatch.setattr("sys.argv", ["x"])
    found = restored.arguments("Measure.\n\nMore.")
    assert isinstance(found, argparse.Namespace) and found.runs.name == "runs"
