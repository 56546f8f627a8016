"""Figures as a table for people and as a document for programs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from serving.bench.figures import Figures, to_json
from serving.bench.floor import Floor

HEAD = ("load", "results/s", "p50 ms", "p90 ms", "p95 ms", "p99 ms", "no result", "generator cores")
OF_SERVER = ("server cores", "server CPU ms", "rows/run")
OF_FLOOR = ("rate / floor", "CPU / floor")


def rows_of(every: Sequence[Figures], floor: Floor | None) -> list[tuple[str, ...]]:
    """Head and one row a load; columns of the server and of the floor only where they were measured."""
    known = any(not math.isnan(one.server_cpu_s) for one in every)
    table = [HEAD + (OF_SERVER if known else ()) + (OF_FLOOR if floor else ())]
    if floor:
        cells = [f"floor, {floor.threads} x {floor.rows}", f"{floor.rate:.1f}", _ms(floor.p50_s), *("",) * 5]
        cells += [f"{floor.rate * floor.cpu_s:.2f}", _ms(floor.cpu_s), str(floor.rows)] if known else []
        table.append((*cells, "", ""))
    for one in every:
        cells = [one.load, f"{one.rate:.1f}", *map(_ms, (one.p50_s, one.p90_s, one.p95_s, one.p99_s))]
        cells += [_failures(one), f"{one.generator_cores:.2f}"]
        cells += [f"{one.server_cores:.2f}", _ms(one.server_cpu_s), f"{one.rows_per_run:.1f}"] if known else []
        cells += [f"{one.rate_ratio:.3f}", f"{one.cpu_ratio:.3f}"] if floor else []
        table.append(tuple(cells))
    return table


def table_text(rows: Sequence[tuple[str, ...]]) -> str:
    """Rows as lines: the first column to the left, the others to the right, as wide as they must be."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for first, *others in rows:
        cells = [first.ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True))]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def document(model: str, every: Sequence[Figures], floor: Floor | None, machine: dict[str, Any]) -> dict[str, Any]:
    """All of it as plain values; seconds."""
    return {
        "model": model,
        "machine": machine,
        "floor": vars(floor) if floor else None,
        "loads": [to_json(one) for one in every],
    }


def _ms(seconds: float) -> str:
    return "-" if math.isnan(seconds) else f"{seconds * 1000:.2f}"


def _failures(one: Figures) -> str:
    return ", ".join(f"{code} {count}" for code, count in sorted(one.codes.items()) if code != "OK") or "0"
