"""The command line, and the functions it calls, on small picture files."""

import contextlib
import csv
import dataclasses
import doctest
import io
import json
import math
import os
import platform
import re
import shlex
import shutil
import signal
import subprocess
import sys
import weakref
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import dsd_lib as dsd
from dsd_lib import cli, no_reference
from dsd_lib.cli import tables
from dsd_lib.quality import baselines, natural_scenes, scoring
from dsd_lib.quality.measures import MEASURES, Prepared

LAYERS = ["--layers", "relu1_2", "relu2_1"]  # quick
QUICK = [*LAYERS, "--device", "cpu"]


def save(x: torch.Tensor, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(dsd.to_array(x)).save(path)


@pytest.fixture(scope="module")
def made(tmp_path_factory, pictures) -> Path:
    """A picture of 96×80 pixels, four versions of it, and files that cannot be compared with it."""
    folder = tmp_path_factory.mktemp("pictures")
    x = pictures["coffee"][:, :, 60:140, 100:196]
    noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(3))
    save(x, folder / "truth.png")
    save((x + 0.1 * noise).clamp(0, 1), folder / "noise.png")
    save(dsd.imresize(dsd.imresize(x, scale=0.5), size=(80, 96)).clamp(0, 1), folder / "blur.png")
    save(x[:, :, :, :64], folder / "narrow.png")
    save(x[:, :, :6, :7], folder / "tiny.png")
    picture = Image.open(folder / "noise.png")
    picture.convert("L").save(folder / "gray.png")
    picture.putalpha(128)
    picture.save(folder / "half.png")
    (folder / "broken.png").write_bytes((folder / "truth.png").read_bytes()[:500])
    (folder / "text.png").write_text("no picture")
    return folder


@pytest.fixture
def here(made, tmp_path, monkeypatch) -> Path:
    """A copy of the pictures as the working folder, so that names are short."""
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(capsys, *arguments: object) -> tuple[int, str, str]:
    """The exit status, stdout and stderr of a command."""
    status = cli.main([str(a) for a in arguments])
    return (status, *capsys.readouterr())


def read_csv(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def expected_dsd(picture: str, net, alpha: float = 2, reference: str = "truth.png") -> float:
    x, y = dsd.load_image(picture), dsd.load_image(reference)
    return dsd.dsd_distance(x, y, net, LAYERS[1:], alpha).item()


# dsd compare


def test_the_table(here, capsys, net):
    files = ["noise.png", "blur.png", "gray.png", "half.png"]
    status, out, err = run(
        capsys, "compare", "truth.png", *files, "--measures", "dsd", "psnr", *QUICK
    )
    assert (status, err) == (0, "")
    lines = out.splitlines()
    assert lines[0].split() == ["picture", "dsd", "psnr"]
    assert lines[1].split() == ["better", "when", "lower", "higher"]
    assert [line.split()[0] for line in lines[2:6]] == files
    assert lines[6].startswith("mean of 4")
    assert lines[7:] == ["dsd: relu1_2 relu2_1 of vgg16, alpha 2"]
    assert len({len(line) for line in lines[:7]}) == 1  # aligned
    values = [float(line.split()[1]) for line in lines[2:6]]
    assert values == pytest.approx([expected_dsd(f, net) for f in files], rel=1e-3)
    assert float(lines[6].split()[3]) == pytest.approx(np.mean(values), rel=1e-3)
    psnr = baselines.psnr(dsd.load_image("noise.png"), dsd.load_image("truth.png")).item()
    assert float(lines[2].split()[2]) == pytest.approx(psnr, rel=1e-3)


def test_the_table_says_what_a_number_depends_on():
    settings = (
        {"network": "vgg16", "layers": ["relu2_1", "relu3_1"], "alpha": 2.5, "windows": 4},
        {"network": "vgg16"},  # its layers cannot be chosen
        {},
    )
    measures = [Prepared(f"m{i}", False, max, how) for i, how in enumerate(settings)]
    row = {"picture": "a.png", "m0": 0.5, "m1": None, "m2": math.inf}
    table = tables.as_table([scoring.Job(Path("a.png"), "a.png")], [(row, [])], measures)
    assert table.splitlines()[2:] == [
        "a.png        0.5000      -    inf",
        "m0: relu2_1 relu3_1 of vgg16, alpha 2.5, windows 4",
        "m1: vgg16",
    ]


def test_table_csv_json_and_python_agree(here, capsys):
    command = ["compare", "truth.png", "noise.png", "blur.png", "--measures", "dsd", "ssim"]
    status, out, _ = run(capsys, *command, *QUICK, "--csv", "t.csv", "--json", "t.json")
    assert status == 0
    rows = scoring.compare(
        "truth.png", ["noise.png", "blur.png"], ["dsd", "ssim"], layers=LAYERS[1:], device="cpu"
    )
    from_csv = read_csv(Path("t.csv").read_text())
    from_json = json.loads(Path("t.json").read_text())
    assert from_json["measures"] == {
        "dsd": {
            "higher_is_better": False,
            "network": "vgg16",
            "layers": ["relu1_2", "relu2_1"],
            "alpha": 2,
        },
        "ssim": {"higher_is_better": True},
    }
    assert (from_json["device"], from_json["processes"]) == ("cpu", 1)
    assert list(from_csv[0]) == ["picture", "reference", "dsd", "ssim", "error"]
    for row, a, b, line in zip(
        rows, from_csv, from_json["pictures"], out.splitlines()[2:4], strict=True
    ):
        assert a["picture"] == b["picture"] == row["picture"] == line.split()[0]
        assert a["reference"] == b["reference"] == row["reference"] == "truth.png"
        assert (a["error"], b["error"]) == ("", None)
        for column, name in enumerate(("dsd", "ssim"), start=1):
            assert float(a[name]) == b[name] == pytest.approx(row[name], rel=1e-7)
            assert float(line.split()[column]) == pytest.approx(row[name], rel=1e-3)


@pytest.mark.parametrize("kind", ["csv", "json"])
def test_a_dash_is_stdout_and_nothing_else_is_there(here, capsys, kind):
    command = ["compare", "truth.png", "noise.png", "--measures", "style", *QUICK]
    status, out, _ = run(capsys, *command, f"--{kind}", "-")
    assert status == 0
    (row,) = read_csv(out) if kind == "csv" else json.loads(out)["pictures"]
    assert row["picture"] == "noise.png" and float(row["style"]) > 0


def test_options_change_what_is_measured(here, capsys, net):
    command = ["compare", "truth.png", "noise.png", "--csv", "-", "--device", "cpu"]
    _, out, _ = run(capsys, *command, *LAYERS, "--alpha", "4", "--network", "vgg16")
    assert float(read_csv(out)[0]["dsd"]) == pytest.approx(expected_dsd("noise.png", net, 4))
    _, out, _ = run(capsys, *command)  # each measure's own layers and alpha
    x, y = dsd.load_image("noise.png"), dsd.load_image("truth.png")
    assert float(read_csv(out)[0]["dsd"]) == pytest.approx(dsd.dsd_distance(x, y, net).item())
    weights = Path(dsd.__file__).parent / "weights" / "vgg16_conv_fp16.safetensors"
    _, again, _ = run(capsys, *command, "--weights", weights)
    assert again == out


def test_every_measure_by_its_name(here, capsys, net, pictures):
    """One after the other against the library; the direction is that noise is worse than none."""
    x = pictures["coffee"][:, :, 40:220, 60:240]
    noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(4))
    y = (x + 0.1 * noise).clamp(0, 1)
    names = [name for name in scoring.FULL_REFERENCE if name not in ("lpips", "st_lpips", "grid")]
    same, noisy = scoring.compare(x, torch.cat([x, y]), names, net=net)
    for name, distance in {
        "dsd": dsd.dsd_distance,
        "style": dsd.style_distance,
        "multiscale_style": dsd.multiscale_style_distance,
        "perceptual": dsd.perceptual_distance,
        "projected_distribution": dsd.projected_distribution_distance,
        "contextual": dsd.contextual_distance,
    }.items():
        assert noisy[name] == pytest.approx(distance(y, x, net).item(), rel=1e-5)
    for name, distance in {
        "psnr": baselines.psnr,
        "psnr_y": baselines.psnr_y,
        "ssim": baselines.ssim,
        "ssim_y": baselines.ssim_y,
        "ms_ssim": baselines.ms_ssim,
    }.items():
        assert noisy[name] == pytest.approx(distance(y, x).item(), rel=1e-5)
    for name in names:
        better = noisy[name] < same[name]
        assert better == scoring.FULL_REFERENCE[name].higher_is_better, name


def test_shift_tolerant_lpips(here, capsys):
    pytest.importorskip("stlpips_pytorch")
    (row,) = scoring.compare("truth.png", "noise.png", "stlpips")
    x, y = dsd.load_image("noise.png"), dsd.load_image("truth.png")
    assert row["st_lpips"] == pytest.approx(baselines.shift_tolerant_lpips(x, y).item())


def test_equal_pictures_have_infinite_psnr(here, capsys):
    command = ["compare", "truth.png", "truth.png", "--measures", "psnr"]
    _, out, _ = run(capsys, *command, "--json", "-")
    assert json.loads(out)["pictures"][0]["psnr"] == "inf"
    _, out, _ = run(capsys, *command, "--csv", "-")
    assert float(read_csv(out)[0]["psnr"]) == float("inf")


# Pictures that cannot be measured


def test_the_others_go_on(here, capsys, net):
    files = ["noise.png", "broken.png", "narrow.png", "missing.png", "text.png", "blur.png"]
    status, out, err = run(capsys, "compare", "truth.png", *files, *QUICK, "--csv", "t.csv")
    assert status == 1
    errors = err.splitlines()
    assert len(errors) == 4
    assert errors[0].startswith("dsd: broken.png: the image cannot be read:")
    assert errors[1:] == [
        "dsd: narrow.png: expected 96 x 80 pixels (width x height), those of its reference "
        "truth.png, got 64 x 80",
        "dsd: no image at missing.png",
        "dsd: text.png: expected an image file, got another kind",
    ]
    lines = out.splitlines()
    assert [line.split()[0] for line in lines[2:8]] == files
    assert [line.split()[1] == "-" for line in lines[2:8]] == [False, True, True, True, True, False]
    assert lines[8].startswith("mean of 2 ")
    rows = read_csv(Path("t.csv").read_text())
    assert [row["picture"] for row in rows] == files
    assert [row["dsd"] == "" for row in rows] == [False, True, True, True, True, False]
    assert [f"dsd: {row['error']}" for row in rows[1:5]] == errors
    assert float(rows[5]["dsd"]) == pytest.approx(expected_dsd("blur.png", net))


def test_one_measure_may_fail_alone(here, capsys):
    status, out, err = run(
        capsys, "compare", "truth.png", "noise.png", "--measures", "ms-ssim", "psnr"
    )
    assert status == 1
    assert err.startswith("dsd: noise.png: ms_ssim: x: expected sides of at least")
    name, first, second = out.splitlines()[2].split()
    assert (name, first) == ("noise.png", "-") and float(second) > 10


def test_too_small_for_the_layers(here, capsys):
    status, _, err = run(capsys, "compare", "tiny.png", "tiny.png", "--layers", "relu4_1")
    assert status == 1
    assert re.match(r"dsd: tiny.png: dsd: [xy]: expected sides of at least 15 pixels", err)


def test_memory_that_runs_out_is_that_pictures_error(here, capsys, monkeypatch):
    def hungry(x, y):
        raise RuntimeError("not enough memory: you tried to allocate 1 TB")

    measure = scoring.Measure("hungry", "", "", hungry)
    monkeypatch.setitem(scoring.FULL_REFERENCE, "hungry", measure)
    status, _, err = run(capsys, "compare", "truth.png", "noise.png", "--measures", "hungry")
    assert status == 1
    assert err == "dsd: noise.png: hungry: not enough memory: you tried to allocate 1 TB\n"


def test_a_measure_says_what_memory_it_needs_before_it_starts(here, capsys, monkeypatch):
    monkeypatch.setattr(scoring, "free_memory", lambda device: 2e9)
    slow = dataclasses.replace(MEASURES["ssim"], bytes_per_pixel=500_000, function=pytest.fail)
    monkeypatch.setitem(MEASURES, "ssim", slow)
    monkeypatch.setitem(scoring.FULL_REFERENCE, "ssim", slow)
    command = ["compare", "truth.png", "noise.png", "--measures", "ssim", "dsd", *QUICK]
    status, out, err = run(capsys, *command, "--csv", "-")
    assert (status, err) == (
        1,
        "dsd: noise.png: ssim: it needs about 3.8 GB of memory for 96 x 80 pixels, and 2.0 GB are "
        "free\n",
    )
    assert float(read_csv(out)[0]["dsd"]) > 0  # the others go on


@pytest.mark.parametrize("name", ["dsd", "perceptual"])
def test_a_reference_is_described_once(here, net, name):
    passed = []
    with net.register_forward_pre_hook(lambda _, inputs: passed.append(len(inputs[0]))):
        scoring.compare("truth.png", ["noise.png", "blur.png", "gray.png"], name, net=net)
    scales = 2 if name == "dsd" else 1
    assert sum(passed) == scales * (1 + 3)


def test_a_described_reference_is_not_held(here, net, monkeypatch):
    loaded, load = [], scoring._load

    def watched(picture, device):
        assert all(earlier() is None for earlier in loaded), "two images at a time"
        image = load(picture, device)
        loaded.append(weakref.ref(image))
        return image

    monkeypatch.setattr(scoring, "_load", watched)
    scoring.compare("truth.png", ["noise.png", "blur.png"], ["dsd", "style"], net=net)
    assert len(loaded) == 3


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library")
def test_freed_memory_goes_back_to_the_system():
    """Blocks with something small between them leave holes when they are freed."""

    def megabytes():
        return int(re.search(r"VmRSS:\s+(\d+)", Path("/proc/self/status").read_text())[1]) / 1024

    del_me = torch.ones(5_000_000)  # once freed, blocks up to its size come from the heap
    del del_me
    blocks, between = [], []
    for _ in range(40):
        blocks.append(torch.ones(1_000_000))  # 4 MB
        between.append(torch.ones(200_000))
    blocks.clear()
    held = megabytes()
    scoring.return_memory()
    assert megabytes() < held - 100


def test_memory_is_returned_after_each_image(here, net, monkeypatch):
    calls = []
    monkeypatch.setattr(scoring, "return_memory", lambda: calls.append(1))
    scoring.compare("truth.png", ["noise.png", "blur.png"], "psnr")
    assert len(calls) == 2


def test_not_a_number_is_an_error_and_no_value(here, capsys, monkeypatch):
    measure = scoring.Measure("nan", "", "", lambda x, y: torch.tensor([torch.nan]))
    monkeypatch.setitem(scoring.FULL_REFERENCE, "nan", measure)
    command = ["compare", "truth.png", "noise.png", "--measures", "nan", "--json", "-"]
    status, out, err = run(capsys, *command)
    assert status == 1 and "nan: it is not defined for this picture" in err
    assert json.loads(out)["pictures"][0]["nan"] is None


def test_one_impossible_path_does_not_stop_the_others(here, capsys):
    Path("loop").symlink_to("loop")
    paths = ["x" * 300, "truth.png/in.png", "loop", "noise.png"]
    status, out, err = run(capsys, "compare", "truth.png", *paths, *QUICK, "--csv", "-")
    assert status == 1
    assert [bool(row["dsd"]) for row in read_csv(out)] == [False, False, False, True]
    assert len(err.splitlines()) == 3 and "File name too long" in err


@pytest.fixture
def private(here, monkeypatch) -> Path:
    """A folder that cannot be read, also by root, who may read everything."""
    folder = Path("photos/private")
    for path in (folder / "1.png", Path("photos/2.png")):
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy("noise.png", path)
    real = os.scandir

    def refuse(path):
        if Path(path) == folder:
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", refuse)
    return folder


def test_an_unreadable_subfolder_is_said(private, capsys):
    status, out, err = run(capsys, "compare", "truth.png", "photos", *QUICK, "--csv", "-")
    assert (status, err) == (1, "dsd: photos/private: Permission denied\n")
    assert [row["picture"] for row in read_csv(out)] == ["photos/2.png"]
    assert run(capsys, "score", private)[0] == 2  # nothing else to measure
    with pytest.raises(PermissionError, match="photos/private"):
        scoring.score("photos", "niqe")


# Folders


def test_a_folder_is_all_pictures_below_it(here, capsys):
    for name in ("b/2.png", "a/1.png", "a/note.txt"):
        Path(name).parent.mkdir(exist_ok=True)
        shutil.copy("noise.png", name)
    _, out, _ = run(capsys, "compare", "truth.png", "b", "a", "blur.png", *QUICK, "--csv", "-")
    assert [row["picture"] for row in read_csv(out)] == ["b/2.png", "a/1.png", "blur.png"]


def test_each_folder_has_its_mean(here, capsys):
    for name in ("a/1.png", "a/2.png", "b/1.png", "b/2.png", "b/3.png"):
        Path(name).parent.mkdir(exist_ok=True)
        shutil.copy("noise.png" if name < "b" else "blur.png", name)
    Path("b/3.png").write_text("no picture")
    _, out, _ = run(capsys, "compare", "truth.png", "a", "b", "narrow.png", *QUICK)
    lines = [line.split() for line in out.splitlines()]
    values = dict(lines[2:8])
    assert lines[8] == ["mean", "of", "a,", "2", values["a/1.png"]]
    assert lines[9] == ["mean", "of", "b,", "2", values["b/2.png"]]
    assert len(lines) == 11 and values["a/1.png"] != values["b/1.png"]


def make(*names: str) -> None:
    for name in names:
        path = Path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.open("noise.png").convert("RGB").save(path)


def pairs(reference: str, *pictures: str) -> list[tuple[str, str]]:
    return [(job.name, job.reference_name) for job in scoring.pair_up(reference, pictures)]


def test_references_by_file_name(here, capsys):
    make("refs/x.png", "refs/y.png", "refs/z.webp", "out/y.jpg", "out/x.png")
    status, out, err = run(capsys, "compare", "refs", "out", "refs/y.png", *QUICK, "--csv", "-")
    assert status == 0
    assert [(row["picture"], row["reference"]) for row in read_csv(out)] == [
        ("out/x.png", "refs/x.png"),
        ("out/y.jpg", "refs/y.png"),
        ("refs/y.png", "refs/y.png"),
    ]
    assert float(read_csv(out)[0]["dsd"]) == 0
    assert err == "dsd: note: no picture for 1 of the references: refs/z.webp\n"
    _, _, err = run(capsys, "compare", "refs", "out", *QUICK, "--quiet")
    assert err == ""


def test_the_same_suffix_goes_first(here):
    make("refs/x.png", "refs/x.jpg", "out/x.jpg")
    assert pairs("refs", "out") == [("out/x.jpg", "refs/x.jpg")]


def test_subfolders_of_the_same_name_where_both_have_them(here):
    make("refs/a/1.png", "refs/b/1.png", "out/a/1.png", "out/b/1.png")
    assert pairs("refs", "out") == [
        ("out/a/1.png", "refs/a/1.png"),
        ("out/b/1.png", "refs/b/1.png"),
    ]
    Path("refs/b/1.png").unlink()  # the other 1.png must not stand in
    with pytest.raises(ValueError, match=r"no reference .* for 1 of 2 pictures: out/b/1.png$"):
        pairs("refs", "out")


def test_flat_references_for_subfolders_and_back(here):
    make("flat/1.png", "deep/a/1.png", "deep/b/1.png")
    assert [reference for _, reference in pairs("flat", "deep")] == ["flat/1.png"] * 2
    with pytest.raises(
        ValueError, match=r"^deep: more than one reference .* for 1 of 1 pictures: flat/1.png$"
    ):
        pairs("deep", "flat")


def test_pictures_without_a_reference_are_named_and_nothing_is_measured(here, capsys):
    make("refs/x.png", *(f"out/{i:02}.png" for i in range(12)), "out/x.png")
    status, out, err = run(capsys, "compare", "refs", "out", *QUICK, "--csv", "t.csv")
    assert (status, out) == (2, "")
    assert err == (
        "dsd: error: refs: no reference of the same file name for 12 of 13 pictures: "
        + ", ".join(f"out/{i:02}.png" for i in range(10))
        + ", …\n"
    )
    assert not Path("t.csv").exists()


# Commands that cannot be carried out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "the following arguments are required: COMMAND; dsd --help says more"),
        (["repair", "x.png"], "invalid choice: 'repair'"),
        (["compare", "truth.png"], "arguments are required: PICTURE; dsd compare --help says more"),
        (["compare", "missing.png", "noise.png"], "no image at missing.png"),
        (["compare", "broken.png", "noise.png"], "broken.png: the image cannot be read"),
        (["compare", "truth.png", "empty"], "no images below empty"),
        (["compare", "empty", "noise.png"], "no images below empty"),
        (
            ["compare", "truth.png", "noise.png", "--measures", "dds"],
            "measures: expected different names out of dsd, style,",
        ),
        (["compare", "truth.png", "noise.png", "--measures", "dsd", "dsd"], "got dsd, dsd"),
        (["compare", "truth.png", "noise.png", "--layers", "relu9_1"], "layers: expected differ"),
        (["compare", "truth.png", "noise.png", "--alpha", "1"], "alpha: expected a number above 1"),
        (["compare", "truth.png", "noise.png", "--alpha", "x"], "argument --alpha: invalid float"),
        (
            ["compare", "truth.png", "noise.png", "--measures", "psnr", "--alpha", "4"],
            "alpha: none of the measures psnr takes it",
        ),
        (
            ["compare", "truth.png", "noise.png", "--measures", "psnr", "--network", "vgg16"],
            "net: none of the measures psnr takes it",
        ),
        (["compare", "truth.png", "noise.png", "--weights", "no.pth"], "no weights file at no.pth"),
        (["compare", "truth.png", "noise.png", "--network", "resnet"], "invalid choice: 'resnet'"),
        (["compare", "truth.png", "noise.png", "--device", "abacus"], "device: 'abacus' cannot"),
        (
            ["compare", "truth.png", "noise.png", "--csv", "a", "--json", "a"],
            "--csv and --json: expected two different files, got a and a",
        ),
        (
            ["compare", "truth.png", "noise.png", "--csv", "a", "--json", "./empty/../a"],
            "--csv and --json: expected two different files, got a and ./empty/../a",
        ),
        (["compare", "truth.png", ""], "PICTURE: expected a file or folder, got an empty name"),
        (["compare", "", "truth.png"], "REFERENCE: expected a file or folder, got an empty"),
        (["score", "noise.png", "--csv", ""], "--csv: expected a file or folder, got an empty"),
        (["score", "noise.png", "--csv", "loop"], "loop cannot be written: Too many levels of"),
        (["score", "noise.png", "--csv", "loop/t.csv"], "there is no folder loop to write it to"),
        (["score", "noise.png", "--csv", "x" * 300], "cannot be written: File name too long"),
        (["score", "noise.png", "--csv", "truth.png/t.csv"], "there is no folder truth.png to"),
        (["compare", "--csv", "truth.png", "noise.png", "blur.png"], "truth.png: a table is not"),
        (["compare", "truth.png", "noise.png", "--csv", "empty"], "empty: expected a file to wri"),
        (
            ["compare", "truth.png", "noise.png", "--csv", "no/t.csv"],
            "there is no folder no to wri",
        ),
        (
            ["score", "noise.png", "--measures", "dsd"],
            "out of dsd2, dsd4, niqe, deep_niqe, brisque; got dsd",
        ),
        (["score", "noise.png", "--layers", "relu1_2"], "unrecognized arguments: --layers"),
        (["score", "empty"], "no images below empty"),
    ],
)
def test_usage_errors(here, capsys, arguments, message):
    Path("empty").mkdir()
    Path("loop").symlink_to("loop")
    before = sorted(Path().iterdir())
    status, out, err = run(capsys, *arguments)
    assert (status, out) == (2, "")
    assert err.startswith("dsd: error: ") and message in err and "Traceback" not in err
    assert sorted(Path().iterdir()) == before


def test_a_missing_package_is_said_before_anything_is_measured(here, capsys, monkeypatch):
    def absent(x, y):
        raise ImportError("shift-tolerant LPIPS needs its authors' package: pip install it")

    measure = scoring.Measure("absent", "", "", absent, weights="in a package")
    monkeypatch.setitem(scoring.FULL_REFERENCE, "absent", measure)
    status, out, err = run(capsys, "compare", "truth.png", "noise.png", "--measures", "absent")
    assert (status, out) == (2, "")
    assert "pip install it" in err


def test_help_names_every_measure_with_its_direction(capsys):
    for command, table in (
        ("compare", scoring.FULL_REFERENCE),
        ("score", scoring.NO_REFERENCE),
    ):
        with pytest.raises(SystemExit) as stop:
            cli.main([command, "--help"])
        assert stop.value.code == 0
        text = " ".join(capsys.readouterr().out.split())
        for name, measure in table.items():
            direction = "higher" if measure.higher_is_better else "lower"
            assert f" {name} {direction} is better: {measure.title}" in text
    with pytest.raises(SystemExit):
        cli.main(["--version"])
    assert capsys.readouterr().out == f"dsd {dsd.__version__}\n"


# dsd score


def test_score_without_a_reference(here, capsys, pictures):
    save(pictures["cat"], Path("photos/cat.png"))
    save(pictures["gravel"], Path("photos/gravel.png"))
    command = ["score", "photos", "--measures", "niqe", "brisque"]
    status, out, err = run(capsys, *command, "--json", "t.json")
    assert (status, err) == (0, "")
    lines = [line.split() for line in out.splitlines()]
    assert lines[0] == ["picture", "niqe", "brisque"]
    assert lines[1] == ["better", "when", "lower", "lower"]
    for row, line in zip(
        json.loads(Path("t.json").read_text())["pictures"], lines[2:4], strict=True
    ):
        x = dsd.load_image(row["picture"])
        assert row["niqe"] == pytest.approx(natural_scenes.niqe(x).item(), rel=1e-5)
        assert row["brisque"] == pytest.approx(natural_scenes.brisque(x).item(), rel=1e-5)
        assert float(line[2]) == pytest.approx(row["brisque"], rel=1e-3)
        assert "reference" not in row
    assert json.loads(Path("t.json").read_text())["pictures"] == [
        {k: pytest.approx(v, rel=1e-7) if isinstance(v, float) else v for k, v in row.items()}
        | {"error": None}
        for row in scoring.score("photos", ["niqe", "brisque"])
    ]


def test_score_with_the_trained_psi(here, capsys):
    files = ["noise.png", "gray.png", "half.png"]
    status, out, err = run(
        capsys, "score", *files, "tiny.png", "--measures", "dsd4", "dsd2", "--csv", "-"
    )
    assert status == 1
    assert err.count("tiny.png: dsd") == 2 and "expected sides of at least" in err
    *rows, last = read_csv(out)
    for row in rows:
        x = dsd.load_image(row["picture"])
        for alpha in (2, 4):
            expected = no_reference.naturalness(x, alpha).item()
            assert float(row[f"dsd{alpha}"]) == pytest.approx(expected, rel=1e-4)
    assert (last["dsd2"], last["dsd4"]) == ("", "")
    (alone,) = scoring.score("noise.png")  # dsd4 is the default
    assert alone["dsd4"] == pytest.approx(float(rows[0]["dsd4"]), rel=1e-6)


# In Python


def test_tensors_files_and_folders_together(here, net):
    x, y = dsd.load_image("noise.png"), dsd.load_image("truth.png")
    make("more/1.png")
    rows = scoring.compare(y, ["blur.png", torch.cat([x, y]), Path("more")], net=net)
    assert [row["picture"] for row in rows] == ["blur.png", "picture 1", "picture 2", "more/1.png"]
    assert {row["reference"] for row in rows} == {"reference 0"}
    assert rows[1]["dsd"] == pytest.approx(rows[3]["dsd"], rel=1e-6)
    assert rows[2]["dsd"] == 0


def test_one_reference_a_picture(here, net):
    x, y = dsd.load_image("noise.png"), dsd.load_image("truth.png")
    rows = scoring.compare(torch.cat([x, y]), torch.cat([y, y]), net=net)
    assert [row["reference"] for row in rows] == ["reference 0", "reference 1"]
    assert rows[0]["dsd"] > 0 and rows[1]["dsd"] == 0
    with pytest.raises(ValueError, match=r"reference: expected 1 picture or 1, .* got 2"):
        scoring.compare(torch.cat([x, y]), x, net=net)


def test_in_python_a_problem_is_raised(here, net):
    with pytest.raises(FileNotFoundError, match=r"no image at missing.png"):
        scoring.compare("truth.png", ["noise.png", "missing.png"], net=net)
    with pytest.raises(ValueError, match=r"narrow.png: expected 96 x 80 pixels"):
        scoring.compare("truth.png", "narrow.png", net=net)
    with pytest.raises(ValueError, match=r"tiny.png: brisque: x: expected sides of at least 32"):
        scoring.score("tiny.png", "brisque")
    with pytest.raises(ValueError, match="pictures: expected values in"):
        scoring.score(255 * torch.ones(1, 3, 96, 96), "brisque")
    with pytest.raises(ValueError, match="expected at least one picture, got none"):
        scoring.score([], "brisque")
    with pytest.raises(ValueError, match="a tensor has no file name"):
        make("refs/x.png")
        scoring.compare("refs", torch.rand(1, 3, 32, 32), net=net)


def test_no_gradient_and_no_change_of_the_network(here, net):
    x = dsd.load_image("noise.png").requires_grad_()
    (row,) = scoring.compare("truth.png", x, net=net)
    assert type(row["dsd"]) is float and x.grad is None


@pytest.mark.cuda
def test_on_a_gpu(here):
    (there,) = scoring.compare("truth.png", "noise.png", device="cuda")
    (cpu,) = scoring.compare("truth.png", "noise.png", device="cpu")
    assert there["dsd"] == pytest.approx(cpu["dsd"], rel=1e-3)


# Files that are written


def test_a_file_is_whole_or_absent(here, capsys, monkeypatch):
    command = ["compare", "truth.png", "noise.png", *QUICK, "--csv", "t.csv"]
    assert run(capsys, *command)[0] == 0
    first = Path("t.csv").read_bytes()
    before = sorted(Path().iterdir())

    def interrupted(*_):
        raise KeyboardInterrupt

    for place, name in ((Path, "replace"), (os, "fsync"), (scoring, "_load")):
        with monkeypatch.context() as patch:
            patch.setattr(place, name, interrupted)
            status, out, err = run(capsys, *command, "--alpha", "4")
        assert (status, out, err) == (130, "", "dsd: interrupted\n")
        assert Path("t.csv").read_bytes() == first
        assert sorted(Path().iterdir()) == before

    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        status, out, err = run(capsys, *command)
    assert status == 1
    assert err == "dsd: t.csv cannot be written: [Errno 28] No space left on device\n"
    assert "noise.png" in out  # the numbers are not lost
    assert sorted(Path().iterdir()) == before


def test_a_link_stays_a_link(here, capsys):
    Path("kept.csv").write_text("old")
    Path("t.csv").symlink_to("kept.csv")
    assert run(capsys, "compare", "truth.png", "noise.png", *QUICK, "--csv", "t.csv")[0] == 0
    assert Path("t.csv").is_symlink()
    assert Path("kept.csv").read_text().startswith("picture,reference,dsd,error\n")


@pytest.mark.skipif(os.name != "posix", reason="such names are POSIX's")
def test_names_that_no_terminal_can_show(here, capsysbinary):
    names = ["line\nbreak.png", os.fsdecode(b"\xff\xfe.png"), 'comma, quote".png', "-dash.png"]
    for name in names:
        shutil.copy("noise.png", name)
    options = [*QUICK, "--csv", "t.csv", "--json", "t.json", "--"]  # after --, a dash is a name
    assert cli.main(["compare", *options, "truth.png", *names]) == 0
    out = capsysbinary.readouterr().out.decode()
    assert len(out.splitlines()) == 2 + len(names) + 2
    assert "line\\nbreak.png" in out
    with Path("t.csv").open(newline="", encoding="utf-8", errors="surrogateescape") as file:
        assert [row["picture"] for row in csv.DictReader(file)] == names
    assert [row["picture"] for row in json.loads(Path("t.json").read_text())["pictures"]] == names


# The book's page about all this

PAGE = Path(__file__).parent.parent / "book" / "command_line.md"


def assert_same_text(got: str, expected: str) -> None:
    """Word by word; numbers may differ in their last digits on another machine."""
    words, expected_words = (re.split(r"[\s,(){}]+", text.strip()) for text in (got, expected))
    assert len(words) == len(expected_words), f"{got}\ninstead of\n{expected}"
    for word, expected_word in zip(words, expected_words, strict=True):
        if re.fullmatch(r"-?\d+\.\d+", expected_word):
            assert float(word) == pytest.approx(float(expected_word), rel=5e-3)
        else:
            assert word == expected_word


@pytest.mark.skipif(not PAGE.is_file(), reason="the book is not here")
def test_the_page_shows_what_the_commands_print(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    names, status, commands = {}, 0, 0
    text = PAGE.read_text(encoding="utf-8")
    for kind, block in re.findall(r"^```(pycon|console)\n(.*?)^```", text, re.M | re.S):
        if kind == "pycon":
            for example in doctest.DocTestParser().get_examples(block):
                exec(compile(example.source, str(PAGE), "single"), names)
                assert_same_text(capsys.readouterr().out, example.want)
            continue
        for line, expected in re.findall(r"^\$ (.*)\n((?:[^$\n].*\n)*)", block, re.M):
            program, *arguments = shlex.split(line)
            if program == "dsd":
                status, out, err = run(capsys, *arguments)
                assert_same_text(err + out, expected)
                commands += 1
            elif program == "head":
                count, file = arguments
                lines = Path(file).read_text(encoding="utf-8").splitlines()
                assert_same_text("\n".join(lines[: -int(count)]), expected)
            elif program == "echo":
                assert expected == f"{status}\n"
            else:  # measured by the test of two processes
                assert program == "accelerate" and not expected
    assert commands >= 4


# The console


def test_closed_streams_are_no_error(here, capsys, monkeypatch):
    """Python sets them to None; a file that is opened then must not get their number."""
    for name in ("stdin", "stdout", "stderr"):
        monkeypatch.setattr(sys, name, None)
    assert cli.main(["score", "noise.png", "missing.png", "--measures", "brisque"]) == 1
    assert cli.main(["score"]) == 2
    with pytest.raises(SystemExit) as stop:
        cli.main(["--help"])
    assert stop.value.code == 0


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux has /dev/full")
def test_full_streams_and_files(here, capsys, monkeypatch):
    command = ["score", "noise.png", "--measures", "brisque"]
    status, out, err = run(capsys, *command, "--csv", "/dev/full")
    assert (status, err) == (
        1,
        "dsd: /dev/full cannot be written: [Errno 28] No space left on device\n",
    )
    assert "noise.png" in out
    for arguments in (command, ["--help"]):
        with Path("/dev/full").open("w") as full, monkeypatch.context() as patch:
            patch.setattr(sys, "stdout", full)
            assert cli.main(arguments) == 1
        assert capsys.readouterr().err == (
            "dsd: the output cannot be written: [Errno 28] No space left on device\n"
        )
    # Closing it fails once more.
    with contextlib.suppress(OSError), Path("/dev/full").open("w") as full:
        monkeypatch.setattr(sys, "stderr", full)
        assert cli.main(["score", "missing.png", *command[1:]]) == 1
    assert "missing.png" in capsys.readouterr().out


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="Linux has a folder closed to all")
def test_a_table_into_a_folder_where_nobody_may_write(here, capsys):
    command = ["score", "noise.png", "--measures", "brisque"]
    for option in ("--csv", "--json"):
        status, out, err = run(capsys, *command, option, "/proc/t")
        assert status == 1 and "noise.png" in out
        assert re.fullmatch(r"dsd: /proc/t cannot be written: .*\n", err)


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp850"])
def test_encodings_that_lack_characters(here, capsys, monkeypatch, encoding):
    shutil.copy("noise.png", "ψ.png")
    for arguments in (["compare", "--help"], ["restore", "--help"], ["score", "ψ.png"]):
        written = io.BytesIO()
        monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding=encoding))
        with contextlib.suppress(SystemExit):
            assert cli.main(arguments) == 0
        text = written.getvalue().decode(encoding)
        assert text.count("\n") >= 4 and ("--device" in text or "\\u03c8.png" in text)


def test_a_kill_leaves_no_half_file(here, capsys, monkeypatch):
    def killed(_: int) -> None:
        os.kill(os.getpid(), signal.SIGTERM)

    before = sorted(Path().iterdir())
    with monkeypatch.context() as patch, pytest.raises(SystemExit) as stop:
        patch.setattr(os, "fsync", killed)
        cli.main(["score", "noise.png", "--measures", "brisque", "--csv", "t.csv"])
    assert stop.value.code == 128 + signal.SIGTERM
    assert sorted(Path().iterdir()) == before
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_an_interrupt_while_pytorch_is_imported(tmp_path):
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch" / "__init__.py").write_text("raise KeyboardInterrupt")
    root = Path(dsd.__file__).parents[1]
    done = subprocess.run(
        [sys.executable, "-m", "dsd_lib.cli", "score", "noise.png"],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(root)])},
        timeout=60,
    )
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "dsd: interrupted\n")


# Processes


def environment() -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONIOENCODING": "utf-8"}


def test_as_a_program(here):
    """Its exit status, and no progress bar where stderr is no terminal."""
    command = [sys.executable, "-m", "dsd_lib.cli", "compare", "truth.png"]
    done = subprocess.run(
        [*command, "noise.png", "broken.png", *QUICK, "--csv", "-"],
        capture_output=True,
        text=True,
        env=environment(),
        timeout=120,
    )
    assert done.returncode == 1
    assert [row["picture"] for row in read_csv(done.stdout)] == ["noise.png", "broken.png"]
    assert done.stderr.startswith("dsd: broken.png: ") and done.stderr.count("\n") == 1


def test_a_reader_that_leaves_is_no_error(here):
    command = [sys.executable, "-m", "dsd_lib.cli", "compare", "truth.png", "noise.png"]
    process = subprocess.Popen(
        [*command, *QUICK], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment()
    )
    process.stdout.close()
    err = process.stderr.read().decode()
    process.stderr.close()
    assert (process.wait(timeout=120), err) == (1, "")


def test_of_several_processes_the_first_one_refuses(here, capsys, monkeypatch):
    """Else the launcher may end it before it has said why."""
    for rank, expected in (("1", 0), ("0", 2)):
        monkeypatch.setenv("RANK", rank)
        status, out, err = run(capsys, "score", "noise.png", "--measures", "dsd9")
        assert (status, out, bool(err)) == (expected, "", rank == "0")


def test_a_progress_bar_on_a_terminal(here, capsys, monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    command = ["compare", "truth.png", "noise.png", "blur.png", *QUICK]
    for quiet in (False, True):
        terminal = Terminal()
        monkeypatch.setattr(sys, "stderr", terminal)
        assert cli.main([*command, *(["--quiet"] if quiet else [])]) == 0
        assert ("0/2" in terminal.getvalue()) is not quiet


def test_accelerate_splits_the_pictures_over_processes(here):
    """Two processes on the CPU: the rows are all there, in order, said once; also the errors."""
    launch = [sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu"]
    launch += ["--num_processes", "2", "--num_machines", "1", "--main_process_port", "0"]
    launch += ["--mixed_precision", "no", "--dynamo_backend", "no", "-m", "dsd_lib.cli"]
    files = ["noise.png", "blur.png", "broken.png", "gray.png", "truth.png"]
    measured = ["--measures", "style", "--layers", "relu1_2"]
    done = subprocess.run(
        [*launch, "compare", "truth.png", *files, *measured, "--json", "t.json", "--csv", "-"],
        capture_output=True,
        text=True,
        env=environment(),
        timeout=240,
    )
    assert done.returncode == 1  # one picture failed
    assert done.stderr.count("dsd: broken.png: the image cannot be read") == 1
    content = json.loads(Path("t.json").read_text())
    assert content["processes"] == 2
    rows = content["pictures"]
    assert [row["picture"] for row in rows] == files
    assert [row["picture"] for row in read_csv(done.stdout)] == files
    alone = scoring.compare("truth.png", [*files[:2], *files[3:]], "style", layers="relu1_2")
    got = [row["style"] for row in rows if row["error"] is None]
    assert got == pytest.approx([row["style"] for row in alone], rel=1e-5)
