"""The check behind the exercises."""

import re

import numpy as np
import pytest
import torch

from dsd_lib.book import exercises
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


@pytest.mark.parametrize("answer", ["1/f²", "1 / f^2", "1/F**2", "$1/f^{2}$", "1/f^2."])
def test_spellings_of_one_text(answer):
    assert check("1.1", answer, "1/f²")


def test_other_texts_are_not_it(capsys):
    assert not check("1.1", "1/f2", "1/f²")  # f times two
    assert not check("1.1", "blurr", {"blur", "noise"})
    assert "very close: look at its spelling" in capsys.readouterr().out
    assert check("1.1", "Noise", {"blur", "noise"})


def test_an_expected_value_is_no_answer(capsys):
    hidden = torch.tensor([1.0, 2.0])
    exercises.expect("1.1", hidden)
    for answer in (hidden, hidden[:], hidden.numpy(), exercises.expected("1.1")):
        assert not check("1.1", answer)
        assert "the expected value itself" in capsys.readouterr().out
    assert check("1.1", [1.0, 2.0])
    assert check("1.1", hidden.clone())


def test_a_kept_value_comes_with_its_tolerance(capsys):
    exercises.expect("1.1", 1.0, rtol=0.1)
    assert check("1.1", 1.05)
    assert not check("1.1", 1.2)


def test_nothing_expected_yet():
    with pytest.raises(KeyError, match=r"exercise 99\.9: nothing is expected yet"):
        check("99.9", 1.0)


def test_what_is_expected_is_out_of_sight():
    exercises.expect("1.1", 42.5)
    assert "42" not in repr(exercises.expected("1.1"))


@pytest.mark.parametrize(
    ("answer", "expected", "says"),
    [
        ([2.0, 4.0], [1.0, 2.0], "every entry is 2 times what is expected"),
        ([1.0, 2.5], [1.0, 2.0], r"0.5 \(25%\), at entry 1"),
        ([[1.0, 2.0], [3.0, 5.0]], [[1.0, 2.0], [3.0, 4.0]], "at entry 1, 1"),
        (1.0, 0.0, "the largest difference is 1$"),
        (30.0, 10.0, r"20 \(200%\)$"),
    ],
)
def test_how_far_off(answer, expected, says, capsys):
    assert not check("1.1", answer, expected)
    assert re.search(says, capsys.readouterr().out.strip())
