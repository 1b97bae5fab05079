"""The GPU runs: every step is a command that exists, and none is run twice."""

import json
import subprocess

import pytest
import torch

from data_scripts import run_on_gpu, train_restoration
from data_scripts.run_on_gpu import Step


def test_the_steps_are_all_losses_with_both_seeds():
    names = [step.name for step in run_on_gpu.steps()]
    assert len(names) == len(set(names))
    assert names[0] == "tests"
    for task in ("sr", "deblur"):
        for loss in train_restoration.LOSSES:
            for seed in (0,) if loss == "l1" else run_on_gpu.SEEDS:
                assert f"{task}_{loss}_{seed}" in names
    assert names.index("sr_l1_0") < names.index("sr_dsd_0")  # what the others start from


def test_the_training_script_takes_the_arguments():
    for step in run_on_gpu.steps():
        if step.arguments[0] == "data_scripts.train_restoration":
            args = train_restoration.parse(step.arguments[1:])
            assert args.preset == "gpu"
            assert args.folder.name == step.name
            assert (args.start is None) == (args.loss == "l1")


def test_a_step_that_is_done_is_not_run_again(tmp_path, capsys):
    count = tmp_path / "count"
    script = f"from pathlib import Path; p = Path({str(count)!r}); p.open('a').write('x')"
    (tmp_path / "counting.py").write_text(script)
    bad = Step("bad", ("a_module_that_is_missing",))

    class Counting(Step):
        command = property(lambda self: ["python3", str(tmp_path / "counting.py")])

    steps = [Counting("counting", ()), bad]
    for _ in range(2):
        with pytest.raises(subprocess.CalledProcessError):
            run_on_gpu.run(steps, tmp_path)
    assert count.read_text() == "x"
    assert list(json.loads((tmp_path / "seconds.json").read_text())) == ["counting"]
    assert "a_module_that_is_missing" in (tmp_path / "bad.log").read_text()
    assert "counting: done before" in capsys.readouterr().out


def test_without_a_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr("sys.argv", ["run_on_gpu"])
    with pytest.raises(SystemExit, match="no CUDA GPU here"):
        run_on_gpu.main()
