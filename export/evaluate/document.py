"""An evaluation as one JSON document and as lines for a terminal."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from export.data.summary import summary, summary_json
from export.evaluate.evaluate import Evaluation
from export.evaluate.measured import Table

MAX_ROWS = 25


def to_json(evaluation: Evaluation) -> dict[str, Any]:
    """Every figure; what is not defined is null."""
    measured = evaluation.measured
    document = {
        "model": evaluation.model,
        "task": evaluation.dataset.task,
        "data": summary_json(evaluation.dataset),
        "metrics": dict(measured.metrics),
        "intervals_95": {name: list(bounds) for name, bounds in measured.intervals.items()},
        "tables": {table.title: table.to_json() for table in measured.tables},
        "promised": evaluation.promised.to_json() if evaluation.promised else None,
        "notes": list(measured.notes),
    }
    return {key: _finite(value) for key, value in document.items()}


def to_lines(evaluation: Evaluation) -> list[str]:
    """What was read, the metrics, the tables (the first rows of long ones), and how it was measured."""
    measured = evaluation.measured
    lines = [f"{evaluation.model} on {evaluation.dataset.task}", *summary(evaluation.dataset), ""]
    width = max(map(len, measured.metrics), default=0)
    for name, value in measured.metrics.items():
        low, high = measured.intervals.get(name, (math.nan, math.nan))
        interval = f"   95 % {low:.4f} to {high:.4f}" if math.isfinite(low) else ""
        lines.append(f"  {name:<{width}}  {value:.4f}{interval}")
    for table in (*measured.tables, *([evaluation.promised] if evaluation.promised else [])):
        lines += ["", *table_lines(table)]
    return [*lines, "", *measured.notes]


def table_lines(table: Table, *, max_rows: int = MAX_ROWS) -> list[str]:
    """A table in columns, its title first."""
    rows = [[cell_text(cell) for cell in row] for row in table.rows[:max_rows]]
    widths = [max(map(len, column)) for column in zip(table.columns, *rows, strict=True)]
    texts = [isinstance(cell, str) for cell in table.rows[0]] if table.rows else [True] * len(widths)
    lines = [table.title, *(_line(row, widths, texts) for row in (list(table.columns), *rows))]
    more = len(table.rows) - max_rows
    return [*lines, f"  and {more} more rows: --json or --out has all"] if more > 0 else lines


def cell_text(cell: str | int | float) -> str:
    """A text as it is, a count with commas, a figure with four digits; a dash where it is not defined."""
    if isinstance(cell, str):
        return cell
    if isinstance(cell, int):
        return f"{cell:,}"
    return f"{cell:.4f}" if math.isfinite(cell) else "-"


def _line(row: Sequence[str], widths: Sequence[int], texts: Sequence[bool]) -> str:
    cells = [
        f"{cell:<{width}}" if text else f"{cell:>{width}}" for cell, width, text in zip(row, widths, texts, strict=True)
    ]
    return "  " + "  ".join(cells).rstrip()


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
