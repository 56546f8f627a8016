"""Figures beside the goals that were set for them: one table, one document."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from serving.bench.report import table_text

_COMPARE: Mapping[str, Callable[[float, float], bool]] = {"<=": operator.le, ">=": operator.ge}


@dataclass(frozen=True)
class Figure:
    """One figure.

    Attributes:
        name: what was measured.
        value: NaN where it could not be.
        sense: ``<=`` or ``>=``: on which side of the goal it should lie.
        goal: in the unit of ``value``.
        unit: empty for a ratio.
    """

    name: str
    value: float
    sense: str
    goal: float
    unit: str = ""

    @property
    def reached(self) -> bool:
        """Whether it lies on the right side of its goal."""
        return not math.isnan(self.value) and _COMPARE[self.sense](self.value, self.goal)


def table(figures: Sequence[Figure]) -> str:
    """A line each: the figure, the goal, the value, their ratio, and whether the goal was reached."""
    rows = [("figure", "goal", "measured", "measured / goal", "")]
    for one in figures:
        ratio = f"{one.value / one.goal:.2f}" if one.goal else "-"
        goal = f"{one.sense} {one.goal:g}{_unit(one)}"
        rows.append((one.name, goal, f"{one.value:.4g}{_unit(one)}", ratio, "reached" if one.reached else "missed"))
    return table_text(rows)


def to_json(figures: Sequence[Figure]) -> list[dict[str, Any]]:
    """Plain values; null for what was not measured."""
    return [
        {
            "figure": one.name,
            "goal": f"{one.sense} {one.goal:g}{_unit(one)}",
            "measured": None if math.isnan(one.value) else one.value,
            "reached": one.reached,
        }
        for one in figures
    ]


def _unit(one: Figure) -> str:
    return f" {one.unit}" if one.unit else ""
