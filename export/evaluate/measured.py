"""What an evaluation found, the same shape for every task."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from export.data.dataset import Sample
from pipelines.types import Result


@dataclass(frozen=True)
class Table:
    """Rows for a person and as JSON; a cell is a text, a count, or a figure (NaN: not defined).

    Attributes:
        title: what a row is.
        columns: names.
        rows: as many cells as columns each.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str | int | float, ...], ...]

    def to_json(self) -> list[dict[str, Any]]:
        """A JSON object a row."""
        return [dict(zip(self.columns, row, strict=True)) for row in self.rows]


@dataclass(frozen=True, eq=False)
class Worst:
    """Something that went wrong, for a person to look at.

    Attributes:
        samples: one image, or the two of a pair.
        caption: what was wrong.
        truths: what is right for each image, or ``None`` where a picture cannot show it.
        answers: what was answered for each image, where it is kept; else the model is asked again to draw it.
    """

    samples: tuple[Sample, ...]
    caption: str
    truths: tuple[Result | None, ...]
    answers: tuple[Result, ...] = ()


@dataclass(frozen=True, eq=False, kw_only=True)
class Measured:
    """The metrics of one task on one data set.

    Attributes:
        metrics: by name.
        intervals: 95 % interval of some of them, by name.
        notes: how it was measured, and what to mind.
        tables: by class, by working point.
        figures: what draws each as PNG, by file name without suffix; nothing is drawn before it is called.
        worst: the worst first.
        shown_threshold: detections below it are left out of pictures.
    """

    metrics: Mapping[str, float]
    intervals: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    tables: tuple[Table, ...] = ()
    figures: Mapping[str, Callable[[], bytes]] = field(default_factory=dict)
    worst: tuple[Worst, ...] = ()
    shown_threshold: float = 0.0


class Judge(Protocol):
    """Measures one task."""

    def judge(self, sample: Sample, result: Result) -> Any:
        """Reduce one answer to what the metrics need; any thread may call it."""
        ...

    def measure(self, samples: tuple[Sample, ...], rows: tuple[Any, ...]) -> Measured:
        """Join the rows of the samples, in their order."""
        ...
