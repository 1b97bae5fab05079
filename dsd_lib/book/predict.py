"""A question with choices in the middle of a chapter, and the answer after the reader's guess."""

from collections.abc import Sequence

from dsd_lib.book.component import Html, component, inline


def predict(question: str, choices: Sequence[str], *, answer: int, reveal: str) -> Html:
    """A box that asks before it tells.

    The reader chooses; the box says whether that was right, and why. It works in the built book
    without a kernel; without JavaScript the answer opens by a click on "Show the answer". Tag the
    cell ``remove-input``: its code names the answer.

    Args:
        question: what to predict. This and all other texts may hold `` `code` ``, ``**strong**``
            and ``*emphasis*``.
        choices: two or more.
        answer: index of the right choice, from 0.
        reveal: why, and which cell shows it.

    Returns:
        The box, which Jupyter shows as HTML.

    Raises:
        ValueError: fewer than two choices, choices that repeat, an ``answer`` outside, or an empty
            text.

    >>> predict("Is a Gram matrix symmetric?", ["yes", "no"], answer=0,
    ...         reveal="Swapping two channels swaps the factors of each product.")
    Predict: Is a Gram matrix symmetric? (yes / no)
    """
    if len(choices) < 2 or len(set(choices)) < len(choices):
        raise ValueError(f"choices: expected two or more different ones, got {list(choices)}")
    if not 0 <= answer < len(choices):
        raise ValueError(f"answer: expected 0 to {len(choices) - 1}, got {answer}")
    if not all((question, reveal, *choices)):
        raise ValueError("question, choices and reveal: expected texts, got an empty one")
    return component(
        "predict",
        f"Predict: {question} ({' / '.join(choices)})",
        scripts=("predict",),
        title="Predict, then reveal",
        question=inline(question),
        choices=[inline(choice) for choice in choices],
        answer=answer,
        reveal=inline(reveal),
    )
