"""How many cores and machines a load takes, from ``ocella bench --json``: ``python -m benchmarks.scaling FILE...``."""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HEADROOM = 0.7
"""Part of the cores that may be busy on average: beyond it queues grow faster than the load."""


@dataclass(frozen=True)
class Cost:
    """What one image takes.

    Attributes:
        model: name.
        cpu_s: CPU seconds of the server.
    """

    model: str
    cpu_s: float


@dataclass(frozen=True)
class Need:
    """What a rate of images takes.

    Attributes:
        cores: that are wanted in all.
        machines: that have them, and one more, so that one may fail or be updated.
    """

    cores: int
    machines: int


def need(images_per_s: float, cpu_s: float, *, cores_per_machine: int, headroom: float = HEADROOM) -> Need:
    """Cores are ``images_per_s * cpu_s / headroom``; machines are whole, and one is spare."""
    cores = math.ceil(round(images_per_s * cpu_s / headroom, 6))  # 1000 * 0.007 / 0.7 is 10, not the float above it
    return Need(cores, math.ceil(cores / cores_per_machine) + 1)


def read_cost(document: Mapping[str, Any]) -> Cost:
    """The least CPU time of an image over the loads of one ``ocella bench --json``; raises ValueError without any."""
    spent = [load["server_cpu_s"] for load in document["loads"] if load["server_cpu_s"]]
    if not spent:
        raise ValueError(f"loads of {document['model']} must have server_cpu_s, none has (give --metrics)")
    return Cost(document["model"], min(spent))


def table(costs: Iterable[Cost], rates: Sequence[float], *, cores_per_machine: int, headroom: float = HEADROOM) -> str:
    """Markdown: a line for each model, a column for each rate, ``cores / machines`` in each cell.

    Each cell is that of the CPU time as printed, in hundredths of a millisecond: a reader can work it out again.
    """
    lines = [
        "| model | CPU ms an image | " + " | ".join(f"{rate:,.0f} images/s" for rate in rates) + " |",
        "|---|---|" + "---|" * len(rates),
    ]
    for cost in costs:
        cpu_s = round(cost.cpu_s, 5)
        needs = [need(rate, cpu_s, cores_per_machine=cores_per_machine, headroom=headroom) for rate in rates]
        cells = " | ".join(f"{one.cores:,} / {one.machines:,}" for one in needs)
        lines.append(f"| {cost.model} | {cpu_s * 1000:.2f} | {cells} |")
    return "\n".join(lines)


def main() -> None:
    """Print the table for files of ``ocella bench --json``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--rates", default="100,1000,5000", help="images a second, comma between them")
    parser.add_argument("--cores", type=int, default=16, help="cores of one machine")
    parser.add_argument("--headroom", type=float, default=HEADROOM, help="part of the cores that may be busy")
    told = parser.parse_args()
    costs = [read_cost(json.loads(path.read_text())) for path in told.files]
    rates = [float(rate) for rate in told.rates.split(",")]
    print(table(costs, rates, cores_per_machine=told.cores, headroom=told.headroom))


if __name__ == "__main__":
    main()
