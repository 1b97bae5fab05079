"""Files that are written whole or not at all."""

import os

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


def test_tensors_and_metadata_come_back_and_a_damaged_file_is_named(tmp_path):
    path = tmp_path / "a.safetensors"
    values = torch.tensor([1.5, -2.0], dtype=torch.float16)
    safetensors.torch.save_file({"a": values}, path, metadata={"alpha": "4"})
    tensors, metadata = read_safetensors(path)
    assert metadata == {"alpha": "4"} and torch.equal(tensors["a"], values.float())
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ValueError, match=r"a\.safetensors: expected a safetensors file, got"):
        read_safetensors(path)
