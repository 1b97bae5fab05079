"""Tables of results: a caption with the message, numbers to the right, the best one bold."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from dsd_lib.book.component import Html, component, inline

Interval = tuple[float, float, float]  # a value, and the lower and upper end of its interval
Cell = str | float | Interval | None
Direction = Literal["higher", "lower"]

_LONG_TEXT = 28  # characters from which a column of texts may wrap


@dataclass(frozen=True)
class _Shown:
    """A cell as it is shown."""

    text: str
    interval: str = ""
    best: bool = False
    close: bool = False


def table(
    rows: Sequence[Sequence[Cell] | str],
    columns: Mapping[str, str],
    *,
    number: str,
    caption: str,
    best: Mapping[str, Direction] | None = None,
    note: str = "",
) -> Html:
    """A table for a page of the book.

    Args:
        rows: one sequence of cells per row, the first one naming the row; a bare text is a heading
            over the rows that follow. A cell is a text, a number, ``(value, low, high)`` with its
            interval, or None where nothing was measured.
        columns: head -> format of its numbers, such as ``".2f"`` or ``".0%"``; ``""`` for texts.
        number: what the text calls it, such as ``"Table 5.1"``.
        caption: what to see in it, in a sentence or two.
        best: head -> ``"higher"`` or ``"lower"``, whichever is better. The best value and those
            that print the same are bold. Values that lie inside the interval of the best one are
            marked ≈.
        note: a line below the table, such as where the numbers come from.

    Texts may hold `` `code` ``, ``**strong**`` and ``*emphasis*``.

    Returns:
        The table, which Jupyter shows as HTML; as text, its columns are aligned.

    Raises:
        ValueError: no rows, a row of another length, a number in a text column, an unknown head or
            direction in ``best``, or an empty number or caption.

    >>> table([["PSNR", 0.87, 2], ["SSIM", (0.91, 0.88, 0.94), 3]],
    ...       {"measure": "", "SROCC": ".2f", "rank": "d"}, best={"SROCC": "higher"},
    ...       number="Table 0.1", caption="SSIM agrees better.")
    Table 0.1. SSIM agrees better.
    measure             SROCC ↑  rank
    PSNR                   0.87     2
    SSIM     *0.91* (0.88–0.94)     3
    """
    best = dict(best or {})
    _check(rows, columns, best, number, caption)
    body = [row for row in rows if not isinstance(row, str)]
    shown = _show(body, columns, best)
    heads = [f"{h} {_ARROWS[best[h]]}" if h in best else h for h in columns]
    texts = [
        [cell.text + (f" {cell.interval}" if cell.interval else "") for cell in row]
        for row in shown
    ]
    wraps = [
        not form and any(len(inline(row[i]).striptags()) > _LONG_TEXT for row in texts)
        for i, form in enumerate(columns.values())
    ]
    remaining = iter(shown)
    return component(
        "table",
        _plain(f"{number}. {caption}", heads, rows, shown, list(columns.values())),
        title="",
        number=number,
        caption=inline(caption),
        note=inline(note),
        heads=[inline(head) for head in heads],
        kinds=[
            "prose" if w else "text" if not f else "number"
            for w, f in zip(wraps, columns.values(), strict=True)
        ],
        rows=[row if isinstance(row, str) else _html(next(remaining)) for row in rows],
        close=any(cell.close for row in shown for cell in row),
    )


_ARROWS = {"higher": "↑", "lower": "↓"}


def _check(
    rows: Sequence[Sequence[Cell] | str],
    columns: Mapping[str, str],
    best: Mapping[str, str],
    number: str,
    caption: str,
) -> None:
    if not number or not caption:
        raise ValueError("number and caption: expected a text, got an empty one")
    if not any(not isinstance(row, str) for row in rows):
        raise ValueError("rows: expected at least one row of cells, got none")
    for row in rows:
        if not isinstance(row, str) and len(row) != len(columns):
            raise ValueError(f"rows: expected {len(columns)} cells, got {len(row)}: {row!r}")
    for head, direction in best.items():
        if not columns.get(head):
            numeric = [h for h, form in columns.items() if form]
            raise ValueError(f"best: expected a column of numbers, one of {numeric}, got {head!r}")
        if direction not in _ARROWS:
            raise ValueError(f"best: expected 'higher' or 'lower', got {direction!r}")


def _show(
    rows: Sequence[Sequence[Cell]], columns: Mapping[str, str], best: Mapping[str, str]
) -> list[list[_Shown]]:
    """All cells of the table, column by column, turned back into rows."""
    by_column = []
    for index, (head, form) in enumerate(columns.items()):
        cells = [row[index] for row in rows]
        texts = [_format(cell, form) for cell in cells]
        measured = [i for i, cell in enumerate(cells) if cell is not None and form]
        values = {i: _value(cells[i]) for i in measured if not isinstance(cells[i], str)}
        top = None
        if head in best and values:
            pick = max if best[head] == "higher" else min
            top = pick(values, key=values.__getitem__)
        column = []
        for i, (text, interval) in enumerate(texts):
            is_best = top is not None and i in values and text == texts[top][0]
            close = (
                top is not None and i in values and not is_best and _inside(values[i], cells[top])
            )
            column.append(_Shown(text, interval, is_best, close))
        by_column.append(column)
    return [list(row) for row in zip(*by_column, strict=True)]


def _value(cell: Any) -> float:
    return cell[0] if isinstance(cell, tuple | list) else cell


def _inside(value: float, best: Cell) -> bool:
    return isinstance(best, tuple | list) and best[1] <= value <= best[2]


def _format(cell: Cell, form: str) -> tuple[str, str]:
    """A cell as text, and its interval."""
    if cell is None:
        return "–", ""
    if isinstance(cell, str):
        return cell, ""
    if not form:
        raise ValueError(f"rows: expected a text in a column without a format, got {cell!r}")
    if not isinstance(cell, tuple | list):
        return _number(cell, form), ""
    value, low, high = cell
    between = " to " if low < 0 else "–"
    return _number(value, form), f"({_number(low, form)}{between}{_number(high, form)})"


def _number(value: float, form: str) -> str:
    text = format(int(value) if form.endswith("d") else float(value), form)
    return text.replace("-", "−")


def _html(row: list[_Shown]) -> list[dict[str, object]]:
    return [
        {"text": inline(c.text), "interval": c.interval, "best": c.best, "close": c.close}
        for c in row
    ]


def _plain(
    title: str,
    heads: Sequence[str],
    rows: Sequence[Sequence[Cell] | str],
    shown: list[list[_Shown]],
    forms: Sequence[str],
) -> str:
    """The table as aligned text: the best values between asterisks."""
    lines = [list(heads)]
    for row in shown:
        line = []
        for cell in row:
            text = f"*{cell.text}*" if cell.best else cell.text + " ≈" * cell.close
            line.append(f"{text} {cell.interval}".strip())
        lines.append(line)
    widths = [max(len(line[i]) for line in lines) for i in range(len(heads))]
    aligned = [
        "  ".join(
            text.rjust(width) if form else text.ljust(width)
            for text, width, form in zip(line, widths, forms, strict=True)
        ).rstrip()
        for line in lines
    ]
    body = iter(aligned[1:])
    return "\n".join(
        [title, aligned[0], *(row if isinstance(row, str) else next(body) for row in rows)]
    )
