"""``dsd restore`` on small picture files, with networks of few weights."""

import io
import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tqdm import tqdm

import dsd_lib as dsd
from dsd_lib import cli
from dsd_lib.cli import processes
from dsd_lib.restoration import restore as restoration
from dsd_lib.restoration.networks import XSRResNet, save_network
from dsd_lib.restoration.restore import load_restorer, restore

SR = ["--network", "sr.safetensors", "--device", "cpu"]
DEBLUR = ["--network", "deblur.safetensors", "--device", "cpu"]


@pytest.fixture
def here(tmp_path, monkeypatch, pictures) -> Path:
    """The working folder: three pictures, files that are none, and a network for each task."""
    monkeypatch.chdir(tmp_path)
    array = dsd.to_array(pictures["cat"][:, :, 80:104, 150:182])
    Path("photos/more").mkdir(parents=True)
    for name in ("cat.png", "photos/1.png", "photos/more/2.webp"):
        Image.fromarray(array).save(name, lossless=True)
    Path("text.png").write_text("no picture")
    Path("broken.png").write_bytes(Path("cat.png").read_bytes()[:500])
    for task, scale in restoration.TASKS.items():
        save_network(XSRResNet(scale, 1, 4), f"{task}.safetensors")
    return tmp_path


def run(capsys, *arguments: object) -> tuple[int, str, str]:
    """The exit status, stdout and stderr of ``dsd restore``."""
    status = cli.main(["restore", *map(str, arguments)])
    return (status, *capsys.readouterr())


def files() -> set[str]:
    return {str(path) for path in Path().rglob("*") if path.is_file()}


def assert_restored(target: str, source: str, task: str, network: str | None = None) -> None:
    network = f"{task}.safetensors" if network is None else network
    expected = restore(dsd.load_image(source), task, network=network)
    torch.testing.assert_close(dsd.load_image(target), expected, rtol=0, atol=0.51 / 255)


# What is written


def test_beside_the_originals(here, capsys):
    before = files()
    assert run(capsys, "sr", "cat.png", "photos", *SR) == (
        0,
        "cat_sr.png\nphotos/1_sr.png\nphotos/more/2_sr.png\n",
        "",
    )
    assert files() - before == {"cat_sr.png", "photos/1_sr.png", "photos/more/2_sr.png"}
    assert_restored("cat_sr.png", "cat.png", "sr")
    assert run(capsys, "deblur", "cat.png", *DEBLUR) == (0, "cat_deblur.png\n", "")
    assert_restored("cat_deblur.png", "cat.png", "deblur")


def test_in_a_folder(here, capsys):
    before = files()
    status, out, _ = run(capsys, "sr", "photos", "cat.png", "-o", "new/big", *SR)
    assert (status, out) == (0, "new/big/1.png\nnew/big/more/2.png\nnew/big/cat.png\n")
    assert files() - before == set(out.split())
    assert_restored("new/big/more/2.png", "photos/more/2.webp", "sr")


@pytest.mark.parametrize(
    ("name", "format"),
    [("a.png", "PNG"), ("a.JPG", "JPEG"), ("a.webp", "WEBP"), ("a.tif", "TIFF")],
)
def test_in_a_file_of_any_format(name, format, here, capsys):
    assert run(capsys, "deblur", "cat.png", "--output", name, *DEBLUR) == (0, f"{name}\n", "")
    with Image.open(name) as picture:
        assert picture.format == format
    if format != "JPEG":
        assert_restored(name, "cat.png", "deblur")


def test_what_the_file_carries(here, capsys):
    picture = Image.open("cat.png").convert("LA")
    picture.putpixel((0, 0), (0, 0))
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter
    picture.save("turned.png", icc_profile=b"profile", exif=exif)
    assert run(capsys, "deblur", "turned.png", *DEBLUR)[0] == 0
    with Image.open("turned_deblur.png") as result:
        assert (result.mode, result.size) == ("LA", (24, 32))
        assert result.getexif().get(0x0112, 1) == 1  # not turned a second time
        assert result.info["icc_profile"] == b"profile"
        assert result.getpixel((23, 0))[1] == 0 and result.getchannel("A").getextrema() == (0, 255)


def test_the_networks_of_the_package(here, capsys):
    for task in restoration.TASKS:
        x, target = dsd.load_image("cat.png"), f"{task}.png"
        for options, expected in (
            (["--loss", "l1"], restore(x, task, network=load_restorer(task, "l1"))),
            (["--loss", "dsd"], restore(x, task, network=load_restorer(task, "dsd"))),
            (["--naturalness", "0.3"], restore(x, task, naturalness=0.3)),
            ([], restore(x, task)),
        ):
            arguments = [task, "cat.png", "-o", target, "--overwrite", "--device", "cpu"]
            assert run(capsys, *arguments, *options) == (0, f"{target}\n", "")
            torch.testing.assert_close(dsd.load_image(target), expected, rtol=0, atol=0.51 / 255)


# What is not written over


def test_a_second_run(here, capsys):
    assert run(capsys, "sr", "photos", *SR)[0] == 0
    first = Path("photos/1_sr.png").read_bytes()
    Path("photos/more/2_sr.png").unlink()
    save_network(XSRResNet(4, 2, 4), "sr.safetensors")
    status, out, err = run(capsys, "sr", "photos", *SR)  # goes on where a first run broke off
    assert (status, out) == (1, "photos/more/2_sr.png\n")
    assert err == "dsd: photos/1.png: photos/1_sr.png exists already and is left as it is\n"
    assert Path("photos/1_sr.png").read_bytes() == first
    status, out, err = run(capsys, "sr", "photos", "--overwrite", *SR)
    assert (status, out, err) == (0, "photos/1_sr.png\nphotos/more/2_sr.png\n", "")
    assert Path("photos/1_sr.png").read_bytes() != first
    assert "photos/1_sr_sr.png" not in files()  # a result is no original


def test_an_original_is_never_written_over(here, capsys):
    content = Path("cat.png").read_bytes()
    for output in ("cat.png", ".", "photos/../cat.png"):
        status, out, err = run(capsys, "deblur", "cat.png", "-o", output, "--overwrite", *DEBLUR)
        assert (status, out) == (2, "")
        assert err == "dsd: error: cat.png: its result would overwrite cat.png\n"
    assert Path("cat.png").read_bytes() == content


# Pictures that cannot be restored


def test_the_others_go_on(here, capsys):
    pictures = ["text.png", "cat.png", "missing.png", "broken.png", "photos/1.png"]
    status, out, err = run(capsys, "sr", *pictures, *SR)
    assert (status, out) == (1, "cat_sr.png\nphotos/1_sr.png\n")
    lines = err.splitlines()
    assert lines[:2] == [
        "dsd: text.png: expected an image file, got another kind",
        "dsd: no image at missing.png",
    ]
    assert lines[2].startswith("dsd: broken.png: the image cannot be read: ")
    assert len(lines) == 3


def test_impossible_paths_do_not_stop_the_others(here, capsys):
    Path("loop").symlink_to("loop")
    Path("a").symlink_to("b")
    Path("b").symlink_to("a")
    pictures = ["x" * 300 + ".png", "loop", "cat.png/in.png", "a", "cat.png"]
    status, out, err = run(capsys, "deblur", *pictures, *DEBLUR)
    assert (status, out) == (1, "cat_deblur.png\n")
    assert len(err.splitlines()) == 4 and "File name too long" in err
    for output, message in (
        ("loop", "loop: images are written as .png"),
        ("loop/x.png", "there is no folder loop to write it to"),
        ("cat.png/x.png", "there is no folder cat.png to write it to"),
        ("", "-o/--output: expected a file or folder, got an empty name"),
    ):
        status, out, err = run(capsys, "deblur", "cat.png", "-o", output, *DEBLUR)
        assert (status, out, err.count("\n")) == (2, "", 1) and message in err
    status, out, err = run(capsys, "deblur", "cat.png", "-o", "cat.png/new/", *DEBLUR)
    assert (status, out) == (1, "") and "cat.png/new/cat.png cannot be written: " in err


def test_a_read_only_result_is_not_replaced(here, capsys):
    run(capsys, "deblur", "cat.png", *DEBLUR)
    Path("cat_deblur.png").chmod(0o444)
    status, _, err = run(capsys, "deblur", "cat.png", "--overwrite", *DEBLUR)
    assert status == 1
    assert "cat_deblur.png cannot be written: " in err and "read-only" in err


def test_notes(here, capsys):
    frames = [Image.new("RGB", (4, 4), color) for color in ("red", "blue")]
    frames[0].save("a.gif", save_all=True, append_images=frames[1:])
    status, out, err = run(capsys, "deblur", "a.gif", *DEBLUR)
    assert (status, out) == (0, "a_deblur.png\n")
    assert err == "dsd: note: a.gif: only the first of its 2 frames is read\n"
    _, _, err = run(capsys, "deblur", "a.gif", "--overwrite", "--quiet", *DEBLUR)
    assert err == ""


def test_transparency_and_jpeg(here, capsys):
    Image.new("RGBA", (4, 4)).save("clear.png")
    status, out, err = run(capsys, "deblur", "clear.png", "-o", "a.jpg", *DEBLUR)
    assert (status, out) == (1, "")
    assert err == "dsd: a.jpg: a JPEG file cannot hold transparency; write .png or .webp\n"


def test_memory_that_runs_out_is_that_pictures_error(here, capsys, monkeypatch):
    real = restoration._looked

    def hungry(x, *rest):
        if x.shape[3] > 100:
            raise RuntimeError("not enough memory: you tried to allocate 1 TB")
        return real(x, *rest)

    monkeypatch.setattr(restoration, "_looked", hungry)
    Image.new("RGB", (200, 10)).save("wide.png")
    status, out, err = run(capsys, "sr", "wide.png", "cat.png", *SR)
    assert (status, out) == (1, "cat_sr.png\n")
    assert err == "dsd: wide.png: not enough memory: you tried to allocate 1 TB\n"


def test_files_are_whole_or_absent(here, capsys, monkeypatch):
    before = files()

    def full(*_):
        raise OSError(28, "No space left on device")

    def interrupted(*_):
        raise KeyboardInterrupt

    for place, name in ((Path, "replace"), (os, "fsync")):
        with monkeypatch.context() as patch:
            patch.setattr(place, name, full)
            status, out, err = run(capsys, "sr", "cat.png", *SR)
        assert (status, out) == (1, "")
        assert err == "dsd: cat_sr.png cannot be written: [Errno 28] No space left on device\n"
        with monkeypatch.context() as patch:
            patch.setattr(place, name, interrupted)
            status, out, err = run(capsys, "sr", "cat.png", *SR)
        assert (status, out, err) == (130, "", "dsd: interrupted\n")
        assert files() == before


# Commands that cannot be carried out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["cat.png"], "argument task: invalid choice: 'cat.png'"),
        (["sr"], "arguments are required: PICTURE; dsd restore --help says more"),
        (["sr", "cat.png", "--network", "no.safetensors"], "no network at no.safetensors"),
        (["sr", "cat.png", "--network", "text.png"], "text.png: expected a safetensors file"),
        (["sr", "cat.png", *DEBLUR], "network: expected scale 4 for sr, got scale 1"),
        (
            ["sr", "cat.png", "--loss", "gan"],
            "loss: expected, for sr, one of dsd, dsd_10blocks,",
        ),
        (["sr", "cat.png", "--loss", "l1", *SR], "--network: not allowed with argument --loss"),
        (["sr", "cat.png", "--naturalness", "1", *SR], "not allowed with argument --naturalness"),
        (["sr", "cat.png", "--naturalness", "2"], "naturalness: expected a number from 0 to 1"),
        (["sr", "cat.png", "--naturalness", "a"], "argument --naturalness: invalid float value"),
        (["sr", "cat.png", "--network", "sr.safetensors", "--device", "abacus"], "'abacus' cannot"),
        (["sr", "empty", *SR], "no images below empty"),
        (["sr", "photos", "-o", "a.png", *SR], "a.png: one file for 2 images; give a folder"),
        (["sr", "cat.png", "-o", "a.gif", *SR], "a.gif: images are written as .png .jpg"),
        (["sr", "cat.png", "-o", "no/a.png", *SR], "there is no folder no to write it to"),
        (["sr", "cat.png", "photos/cat.webp", "-o", "o", *SR], "both would become o/cat.png"),
    ],
)
def test_usage_errors(here, capsys, arguments, message):
    Path("empty").mkdir()
    before = files()
    status, out, err = run(capsys, *arguments)
    assert (status, out) == (2, "")
    assert err.startswith("dsd: error: ") and message in err and "Traceback" not in err
    assert files() == before


def test_of_several_processes_the_first_one_refuses(here, capsys, monkeypatch):
    for rank, expected in (("1", 0), ("0", 2)):
        monkeypatch.setenv("RANK", rank)
        status, out, err = run(capsys, "sr", "cat.png", "--loss", "gan")
        assert (status, out, bool(err)) == (expected, "", rank == "0")


# How it is run


def test_a_progress_bar_on_a_terminal(here, capsys, monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr(restoration, "TILE", 64)  # parts of 16 pixels: four an image
    monkeypatch.setattr(processes, "tqdm", partial(tqdm, mininterval=0, miniters=0))
    command = ["restore", "sr", "cat.png", "text.png", "photos/1.png", "--overwrite", *SR]
    for quiet in (False, True):
        terminal = Terminal()
        monkeypatch.setattr(sys, "stderr", terminal)
        assert cli.main([*command, *(["--quiet"] if quiet else [])]) == 1
        shown = terminal.getvalue()
        for part in ("0/3", "0.25/3", "0.75/3", "2/3", "2.5/3", "3/3"):
            assert (f" {part} " in shown) is not quiet, part


@pytest.mark.skipif(os.name != "posix", reason="such names are POSIX's")
def test_names_that_no_terminal_can_show(here, capsysbinary):
    for name in ("line\nbreak.png", os.fsdecode(b"\xff\xfe.png"), "-dash.png"):
        Path("cat.png").rename(name)
        assert cli.main(["restore", "deblur", *DEBLUR, "--", name]) == 0
        assert Path(f"{name[:-4]}_deblur.png").is_file()
        assert len(capsysbinary.readouterr().out.splitlines()) == 1
        Path(name).rename("cat.png")


def test_accelerate_splits_the_pictures_over_processes(here):
    """Two processes on the CPU: every picture once, the names in order, also the errors."""
    launch = [sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu"]
    launch += ["--num_processes", "2", "--num_machines", "1", "--main_process_port", "0"]
    launch += ["--mixed_precision", "no", "--dynamo_backend", "no", "-m", "dsd_lib.cli"]
    for i in range(3):
        Image.fromarray(np.full((8, 8, 3), 40 * i, np.uint8)).save(f"{i}.png")
    done = subprocess.run(
        [*launch, "restore", "sr", "0.png", "text.png", "1.png", "2.png", "missing.png", *SR],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        timeout=240,
    )
    assert done.returncode == 1
    assert done.stdout == "0_sr.png\n1_sr.png\n2_sr.png\n"
    assert done.stderr.count("dsd: text.png: expected an image file") == 1
    assert done.stderr.count("dsd: no image at missing.png") == 1
    for i in range(3):
        assert_restored(f"{i}_sr.png", f"{i}.png", "sr")
