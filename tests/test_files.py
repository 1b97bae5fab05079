"""Files that are written whole or not at all."""

import os
import stat
from pathlib import Path

import pytest
import safetensors.torch
import torch

from dsd_lib.files import read_safetensors, write_atomically


@pytest.mark.parametrize("content", ["text, ψ", b"\x00\xff"])
def test_it_writes_and_replaces_and_leaves_nothing_else(content, tmp_path):
    path = tmp_path / "a"
    write_atomically(path, "old")
    write_atomically(path, content)
    assert path.read_bytes() == (content.encode() if isinstance(content, str) else content)
    assert list(tmp_path.iterdir()) == [path]


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "a"
    write_atomically(path, "old")

    def full(_: int) -> None:
        raise OSError("no room")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="no room"):
        write_atomically(path, "new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_link_stays_a_link(tmp_path):
    (tmp_path / "real").write_text("old")
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "real")
    write_atomically(link, "new")
    assert link.is_symlink() and (tmp_path / "real").read_text() == "new"


def test_a_new_file_may_be_read_by_those_who_may_read_others(tmp_path):
    write_atomically(tmp_path / "a", "text")
    (tmp_path / "b").write_text("text")
    assert (tmp_path / "a").stat().st_mode == (tmp_path / "b").stat().st_mode


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o755])
def test_a_replaced_file_keeps_its_permissions(mode, tmp_path):
    path = tmp_path / "a"
    path.write_text("old")
    path.chmod(mode)
    write_atomically(path, "new")
    assert path.read_text() == "new" and stat.S_IMODE(path.stat().st_mode) == mode


def test_a_read_only_file_is_not_replaced(tmp_path):
    path = tmp_path / "a"
    path.write_text("old")
    path.chmod(0o444)
    with pytest.raises(PermissionError, match="the file is read-only"):
        write_atomically(path, "new")
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


def test_what_a_killed_process_left_is_removed(tmp_path):
    path, left = tmp_path / "a[1]", tmp_path / ".a[1].123.part"
    others = {tmp_path / ".b.123.part", tmp_path / ".a[1].part", tmp_path / ".a1.123.part"}
    for part in {left, *others}:
        part.touch()
        os.utime(part, (0, 0))
    being_written = tmp_path / ".a[1].456.part"  # by another process, now
    being_written.touch()
    write_atomically(path, "new")
    assert set(tmp_path.iterdir()) == {path, being_written, *others}


@pytest.mark.parametrize("letter", ["x", "ψ"])
def test_the_longest_names(letter, tmp_path):
    path = tmp_path / (letter * (255 // len(letter.encode())))
    write_atomically(path, "new")
    assert path.read_text() == "new" and list(tmp_path.iterdir()) == [path]


def test_links_in_a_circle_are_an_error_of_the_system(tmp_path):
    for a, b in ("ab", "ba"):
        (tmp_path / a).symlink_to(tmp_path / b)
    with pytest.raises(OSError, match="symbolic links"):
        write_atomically(tmp_path / "a", "new")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux has /dev/full")
def test_a_device_is_written_to_directly():
    write_atomically("/dev/null", "gone")
    with pytest.raises(OSError, match="No space left"):
        write_atomically("/dev/full", "too much")


def test_tensors_and_metadata_come_back_and_a_damaged_file_is_named(tmp_path):
    path = tmp_path / "a.safetensors"
    values = torch.tensor([1.5, -2.0], dtype=torch.float16)
    safetensors.torch.save_file({"a": values}, path, metadata={"alpha": "4"})
    tensors, metadata = read_safetensors(path)
    assert metadata == {"alpha": "4"} and torch.equal(tensors["a"], values.float())
    for dtype, expected in ((None, torch.float16), (torch.float64, torch.float64)):
        assert read_safetensors(path, dtype=dtype)[0]["a"].dtype == expected
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ValueError, match=r"a\.safetensors: expected a safetensors file, got"):
        read_safetensors(path)
