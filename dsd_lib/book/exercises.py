"""The check behind every exercise: not answered yet, correct, or off by how much.

What is expected is not in the cell that asks: :func:`expect` keeps it from a hidden cell. An
expected value cannot be handed in as an answer.
"""

import difflib
import re
import unicodedata

import numpy as np
import torch

LEVELS = ("★", "★★", "★★★")  # a few lines; some thought; a small project

_kept: dict[str, "Expected"] = {}


class Expected:
    """What an exercise expects, out of sight: it shows its name, and is no answer itself."""

    def __init__(self, name: str, value: object, rtol: float = 1e-3, atol: float = 1e-6) -> None:
        self.name, self.rtol, self.atol = name, rtol, atol
        self._value = value

    def __repr__(self) -> str:
        return f"<what exercise {self.name} expects>"


def expect(name: str, value: object, *, rtol: float = 1e-3, atol: float = 1e-6) -> None:
    """Keep what an exercise expects, from a cell that the page does not show.

    Args:
        name: the exercise, as ``"2.1"``.
        value: a number, a text, a truth value, or a tensor, array or list of numbers; for texts,
            also a set of the answers that are right.
        rtol: relative tolerance for numbers.
        atol: absolute tolerance for numbers.

    >>> expect("0.2", "1/f²")
    >>> check("0.2", "1 / f^2")
    Exercise 0.2: correct
    True
    """
    _kept[name] = Expected(name, value, rtol, atol)


def expected(name: str) -> Expected:
    """What an exercise expects, as :func:`expect` kept it.

    Raises:
        KeyError: nothing was kept.

    >>> expect("0.3", 3.14)
    >>> expected("0.3")
    <what exercise 0.3 expects>
    """
    if name in _kept:
        return _kept[name]
    raise KeyError(f"exercise {name}: nothing is expected yet; run the hidden cell above it")


_ASK = object()


def check(
    name: str, answer: object, expected: object = _ASK, *, rtol: float = 1e-3, atol: float = 1e-6
) -> bool:
    """Compare an answer with the expected value, say how it went, and return whether it is right.

    Args:
        name: the exercise, as ``"2.1"``.
        answer: a number, a text, a truth value, or a tensor, array or list of numbers; None or
            ``...`` while there is no answer.
        expected: the right answer, of the same kind; what :func:`expected` has for the exercise
            unless given.
        rtol: relative tolerance for numbers, where ``expected`` is given.
        atol: absolute tolerance for numbers, where ``expected`` is given.

    Raises:
        KeyError: no expected value is given or kept.

    Source: the exercises of every chapter.

    >>> check("0.1", None, 3.14)
    Exercise 0.1: not answered yet
    False
    >>> check("0.1", torch.tensor([3.0, 1.0]), [3.14, 1.0])
    Exercise 0.1: not yet; the largest difference is 0.14 (4.5%), at entry 0
    False
    >>> check("0.1", 3.14159, 3.14)
    Exercise 0.1: correct
    True
    """
    if expected is _ASK:
        expected = globals()["expected"](name)
    if isinstance(expected, Expected):
        rtol, atol, expected = expected.rtol, expected.atol, expected._value
    if answer is None or answer is ...:
        print(f"Exercise {name}: not answered yet")
        return False
    problem = _problem(answer, expected, rtol, atol)
    print(f"Exercise {name}: " + (f"not yet; {problem}" if problem else "correct"))
    return problem is None


def _problem(answer: object, expected: object, rtol: float, atol: float) -> str | None:
    """What is wrong with the answer in words, or None."""
    if isinstance(answer, Expected) or _is_same_memory(answer, expected):
        return "that is the expected value itself, not an answer"
    if isinstance(expected, bool):
        right = isinstance(answer, bool | np.bool_) and bool(answer) == expected
        return None if right else f"{answer!r} is not it"
    if isinstance(expected, str | set | frozenset):
        return _text_problem(answer, {expected} if isinstance(expected, str) else set(expected))
    return _number_problem(answer, expected, rtol, atol)


def _is_same_memory(answer: object, expected: object) -> bool:
    """Whether a tensor, an array or a list is the expected one and no copy of it."""
    if isinstance(expected, list):
        return answer is expected
    arrays = [v.detach().cpu() if isinstance(v, torch.Tensor) else v for v in (answer, expected)]
    if not all(isinstance(v, torch.Tensor | np.ndarray) for v in arrays):
        return False
    a, b = (np.asarray(v) for v in arrays)
    return np.shares_memory(a, b)


def _text_problem(answer: object, expected: set[str]) -> str | None:
    if not isinstance(answer, str):
        return f"expected a text, got {type(answer).__name__}"
    given, right = _spelled(answer), {_spelled(text) for text in expected}
    if given in right:
        return None
    if any(difflib.SequenceMatcher(None, given, text).ratio() > 0.85 for text in right):
        return f"{answer!r} is very close: look at its spelling"
    return f"{answer!r} is not it"


_SAME = {"**": "^", "×": "*", "·": "*", "−": "-", "÷": "/", "√": "sqrt"}
_RAISED = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻", "0123456789-")


def _spelled(text: str) -> str:
    """One spelling for all ways to write the same: ``1/f²``, ``1 / f^2`` and ``1/F**2``."""
    text = re.sub("[⁰¹²³⁴⁵⁶⁷⁸⁹⁻]+", lambda m: "^" + m[0].translate(_RAISED), text)
    text = unicodedata.normalize("NFKC", text).casefold()
    for written, meant in _SAME.items():
        text = text.replace(written, meant)
    return re.sub(r"[\s{}()_$\\]", "", text).rstrip(".")


def _number_problem(answer: object, expected: object, rtol: float, atol: float) -> str | None:
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
    factor = _common_factor(answer, expected)
    if factor is not None:
        return f"every entry is {factor:.3g} times what is expected"
    difference = np.abs(answer - expected)
    where = np.unravel_index(difference.argmax(), difference.shape)
    largest, size = difference[where], abs(expected[where])
    share = f" ({_percent(largest / size)})" if size > atol else ""
    place = ", ".join(str(int(i)) for i in where)
    return f"the largest difference is {largest:.2g}{share}" + (
        f", at entry {place}" if place else ""
    )


def _common_factor(answer: np.ndarray, expected: np.ndarray) -> float | None:
    """The factor by which an answer of several entries is wrong, if it is one for all of them."""
    if answer.size < 2 or not (np.abs(expected) > 0).all():
        return None
    ratio = answer / expected
    factor = float(np.median(ratio))
    return factor if factor and np.allclose(ratio, factor, rtol=1e-3) else None


def _percent(share: float) -> str:
    return f"{100 * share:.2g}%" if share < 1 else f"{100 * share:.0f}%"


def _numbers(value: object) -> np.ndarray:
    if isinstance(value, torch.Tensor):
        value = value.detach().cpu()
    return np.asarray(value, dtype=float)
