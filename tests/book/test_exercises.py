"""The check behind the exercises."""

import re

import numpy as np
import pytest
import torch

from dsd_lib.book.exercises import check


@pytest.mark.parametrize("answer", [None, ...])
def test_no_answer(answer, capsys):
    assert check("1.1", answer, 2.0) is False
    assert capsys.readouterr().out == "Exercise 1.1: not answered yet\n"


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (2.0004, 2.0),
        (torch.tensor([1.0, 2.0], requires_grad=True), np.array([1.0, 2.0])),
        ([1, 2], torch.tensor([1.0, 2.0])),
        ("noise", "noise"),
        (True, True),
        (3, 3),
    ],
)
def test_right_answers(answer, expected, capsys):
    assert check("1.1", answer, expected) is True
    assert capsys.readouterr().out == "Exercise 1.1: correct\n"


@pytest.mark.parametrize(
    ("answer", "expected", "says"),
    [
        (2.5, 2.0, "the largest difference is 0.5"),
        (torch.ones(2, 3), torch.ones(3, 2), r"expected shape \(3, 2\), got \(2, 3\)"),
        (float("nan"), 1.0, "NaN or infinite"),
        ("noise", "blur", "'noise' is not it"),
        (True, False, "True is not it"),
        (lambda: 1, 1.0, "expected numbers, got function"),
        ("many", 1.0, "expected numbers, got str"),
    ],
)
def test_wrong_answers_say_how_far_off(answer, expected, says, capsys):
    assert check("1.1", answer, expected) is False
    out = capsys.readouterr().out
    assert out.startswith("Exercise 1.1: not yet; ")
    assert re.search(says, out)


def test_tolerances():
    assert not check("1.1", 1.01, 1.0)
    assert check("1.1", 1.01, 1.0, rtol=0.02)
    assert check("1.1", 0.01, 0.0, atol=0.02)
