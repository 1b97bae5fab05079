"""The contract of every measure of the registry: each test proves one column of the page."""

import ast
import importlib.util
from pathlib import Path

import pytest
import torch

from dsd_lib.quality import contract
from dsd_lib.quality.measures import MEASURES

ROOT = Path(__file__).parents[2]
HERE = [  # LPIPS' trunk is a download, which no test waits for
    key
    for key, measure in MEASURES.items()
    if not measure.downloads
    and (key != "st_lpips" or importlib.util.find_spec("stlpips_pytorch") is not None)
]
every = pytest.mark.parametrize("key", HERE)


@every
def test_direction(key):
    measure = MEASURES[key]
    clean, little, much = (float(v) for v in contract.direction(measure))
    sign = 1 if measure.higher_is_better else -1
    assert sign * clean > sign * much
    if measure.needs_reference:  # without one, a little noise may pass for texture
        assert sign * clean > sign * little > sign * much


@every
def test_value_range(key):
    measure = MEASURES[key]
    found = contract.value_range(measure)
    low, high = (float(v) for v in found["found"])
    assert measure.value_range[0] - 1e-6 <= low <= high <= measure.value_range[1] + 1e-6


@every
def test_identical(key):
    measure = MEASURES[key]
    expected = measure.identical
    found = contract.identical(measure)
    assert found is None if expected is None else float(found) == pytest.approx(expected, abs=1e-6)


@every
def test_symmetric(key):
    measure = MEASURES[key]
    found = contract.symmetric(measure)
    if measure.needs_reference:
        assert (found < 1e-5) == measure.symmetric
    else:
        assert found is None


@every
def test_in_a_batch(key):
    assert contract.in_a_batch(MEASURES[key]) < 1e-4


@every
def test_repeated(key):
    assert contract.repeated(MEASURES[key])


@every
def test_threads(key):
    before = torch.get_num_threads()
    assert contract.threads(MEASURES[key]) < 1e-4
    assert torch.get_num_threads() == before


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
@every
def test_on_a_gpu(key):
    assert contract.on_a_gpu(MEASURES[key]) < 1e-3


@every
def test_in_bfloat16(key):
    assert contract.in_bfloat16(MEASURES[key]) < 0.02


@every
def test_gradient(key):
    measure = MEASURES[key]
    found = contract.gradient(measure)
    expected = "finite" if measure.differentiable else "none"
    assert found["damaged"] == expected
    assert found["identical"] == (expected if measure.smooth_at_best else "not finite")


@every
def test_smallest(key):
    assert contract.smallest(MEASURES[key]) == list(MEASURES[key].min_size)


@every
def test_offline(key):
    assert contract.offline(MEASURES[key])


def test_connections_are_refused_and_come_back():
    import socket

    before = socket.socket.connect
    with contract._no_connections(), socket.socket() as s, pytest.raises(OSError, match="in this"):
        s.connect(("127.0.0.1", 9))
    assert socket.socket.connect is before


def test_every_column_names_a_test_of_this_file_and_every_agreement_one_that_is_there():
    def names(file):
        tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
        return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}

    own = names("tests/quality/test_contract.py")
    assert {check.test for check in contract.CHECKS.values()} <= own
    assert set(contract.AGREES_WITH) <= set(MEASURES)
    for _, _, test in contract.AGREES_WITH.values():
        if test:
            file, *_, name = test.split("::")
            assert name in names(file)
