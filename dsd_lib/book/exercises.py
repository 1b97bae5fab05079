"""The check behind every exercise: not answered yet, correct, or off by how much."""

import numpy as np
import torch


def check(
    name: str, answer: object, expected: object, *, rtol: float = 1e-3, atol: float = 1e-6
) -> bool:
    """Compare an answer with the expected value, say how it went, and return whether it is right.

    Args:
        name: the exercise, as ``"2.1"``.
        answer: a number, a text, a truth value, or a tensor, array or list of numbers; None or
            ``...`` while there is no answer.
        expected: the right answer, of the same kind.
        rtol: relative tolerance for numbers.
        atol: absolute tolerance for numbers.

    Source: the exercises of every chapter.

    >>> check("0.1", None, 3.14)
    Exercise 0.1: not answered yet
    False
    >>> check("0.1", torch.tensor([3.0, 1.0]), [3.14, 1.0])
    Exercise 0.1: not yet; the largest difference is 0.14
    False
    >>> check("0.1", 3.14159, 3.14)
    Exercise 0.1: correct
    True
    """
    if answer is None or answer is ...:
        print(f"Exercise {name}: not answered yet")
        return False
    problem = _problem(answer, expected, rtol, atol)
    print(f"Exercise {name}: " + (f"not yet; {problem}" if problem else "correct"))
    return problem is None


def _problem(answer: object, expected: object, rtol: float, atol: float) -> str | None:
    """What is wrong with the answer in words, or None."""
    if isinstance(expected, str | bool):
        return None if answer == expected else f"{answer!r} is not it"
    expected = _numbers(expected)
    try:
        answer = _numbers(answer)
    except (TypeError, ValueError):
        return f"expected numbers, got {type(answer).__name__}"
    if answer.shape != expected.shape:
        return f"expected shape {expected.shape}, got {answer.shape}"
    if not np.isfinite(answer).all():
        return "the answer has NaN or infinite entries"
    if np.allclose(answer, expected, rtol=rtol, atol=atol):
        return None
    return f"the largest difference is {np.abs(answer - expected).max():.2g}"


def _numbers(value: object) -> np.ndarray:
    if isinstance(value, torch.Tensor):
        value = value.detach().cpu()
    return np.asarray(value, dtype=float)
