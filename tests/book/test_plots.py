"""Stored results."""

import json

import pytest

from dsd_lib.book import plots


def test_stored_results(tmp_path):
    with pytest.raises(FileNotFoundError, match="no stored result"):
        plots.load_result(tmp_path / "x.json")
    (tmp_path / "x.json").write_text("[1]")
    with pytest.raises(ValueError, match="keys provenance and results"):
        plots.load_result(tmp_path / "x.json")
    stored = {"provenance": {"command": "c"}, "results": [1.5]}
    (tmp_path / "x.json").write_text(json.dumps(stored))
    assert plots.load_result(tmp_path / "x.json") == stored
