"""The results of ``dsd compare`` and ``dsd score`` as a text table, CSV and JSON."""

import csv
import io
import json
import math
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

import dsd_lib
from dsd_lib.cli.console import printable
from dsd_lib.quality.measures import Prepared
from dsd_lib.quality.scoring import Job, Row

Result = tuple[Row, list[str]]  # a row, and what went wrong in it


def as_table(jobs: Sequence[Job], results: Sequence[Result], measures: Sequence[Prepared]) -> str:
    """Aligned columns, the mean of each folder, and the layers and scales that were measured."""
    lines = [
        ["picture", *(m.name for m in measures)],
        ["better when", *(_direction(m.higher_is_better) for m in measures)],
    ]
    groups: dict[Path | None, list[list[float]]] = {}
    for (row, _), job in zip(results, jobs, strict=True):
        values = [row[m.name] for m in measures]
        lines.append([printable(row["picture"]), *map(_short, values)])
        complete = groups.setdefault(job.folder, [])
        numbers = [value for value in values if isinstance(value, float)]
        if len(numbers) == len(values):
            complete.append(numbers)
    for folder, complete in groups.items():
        if len(complete) > 1:
            which = f"{printable(folder)}, " if len(groups) > 1 and folder is not None else ""
            means = [statistics.fmean(column) for column in zip(*complete, strict=True)]
            lines.append([f"mean of {which}{len(complete)}", *map(_short, means)])
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    text = ""
    for name, *cells in lines:
        cells = [cell.rjust(width) for cell, width in zip(cells, widths[1:], strict=True)]
        text += "  ".join([name.ljust(widths[0]), *cells]) + "\n"
    return text + "".join(f"{m.name}: {_in_words(m.settings)}\n" for m in measures if m.settings)


def _in_words(settings: Mapping[str, Any]) -> str:
    """``relu2_1 relu3_1 of vgg16, alpha 2``."""
    layers = "".join(f"{layer} " for layer in settings.get("layers", ()))
    others = {k: v for k, v in settings.items() if k not in ("layers", "network")}
    words = [f"{k} {v:g}" if isinstance(v, float | int) else f"{k} {v}" for k, v in others.items()]
    return ", ".join(
        [f"{layers}of {settings['network']}" if layers else settings["network"], *words]
    )


def as_csv(results: Sequence[Result]) -> str:
    """One line for each picture; a missing value is empty, and the last column says why."""
    columns = [*results[0][0], "error"]
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(columns)
    for row, problems in results:
        values = {**row, "error": "; ".join(problems)}
        writer.writerow([_rounded(values[column]) for column in columns])
    return file.getvalue()


def as_json(
    results: Sequence[Result],
    measures: Sequence[Prepared],
    device: torch.device,
    processes: int,
) -> str:
    """The rows, and for each measure its direction and settings. JSON has no infinity: "inf"."""
    content = {
        "dsd_lib": dsd_lib.__version__,
        "device": str(device),
        "processes": processes,
        "measures": {
            m.name: {"higher_is_better": m.higher_is_better, **m.settings} for m in measures
        },
        "pictures": [
            {key: _without_infinity(_rounded(value)) for key, value in row.items()}
            | {"error": "; ".join(problems) or None}
            for row, problems in results
        ],
    }
    return json.dumps(content, indent=1, allow_nan=False) + "\n"


def _short(value: object) -> str:
    """Four digits; a dash for a missing value."""
    return f"{value:#.4g}".removesuffix(".") if isinstance(value, float) else "-"


def _rounded(value: object) -> object:
    """Rounded to the eight digits that single precision carries."""
    return float(f"{value:.8g}") if isinstance(value, float) else value


def _without_infinity(value: object) -> object:
    return str(value) if isinstance(value, float) and math.isinf(value) else value


def _direction(higher_is_better: bool) -> str:
    return "higher" if higher_is_better else "lower"
