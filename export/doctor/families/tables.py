"""What outputs with a line an anchor or a query have in common: which belong together, and how classes are coded."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

import numpy as np

from export.doctor.sighting import Seen, Sighting
from export.doctor.statistics import are_probabilities, sum_to_one, within
from pipelines.specs.anchors import Background, ClassActivation


@dataclass(frozen=True, eq=False)
class Table:
    """Outputs ``(N, columns)`` of equally many lines.

    Attributes:
        lines: ``N``.
        by_columns: outputs by their number of columns.
    """

    lines: int
    by_columns: dict[int, list[Seen]]

    def only(self, columns: int) -> Seen | None:
        """The one output of so many columns, where there is exactly one."""
        found = self.by_columns.get(columns, [])
        return found[0] if len(found) == 1 else None

    @property
    def is_of_faces(self) -> bool:
        """Whether ten columns of five points stand beside one or two for face or not."""
        return 10 in self.by_columns and bool(self.by_columns.keys() & {1, 2})

    def classes(self, *without: Seen | None) -> tuple[Seen, ...]:
        """The outputs that may hold class scores: all but those named."""
        return tuple(seen for group in self.by_columns.values() for seen in group if seen not in without)


def tables(sighting: Sighting) -> tuple[Table, ...]:
    """Outputs of two axes, put together by their number of lines."""
    by_lines: dict[int, dict[int, list[Seen]]] = defaultdict(lambda: defaultdict(list))
    for seen in sighting.of_rank(2):
        by_lines[seen.shape[0]][seen.shape[1]].append(seen)
    return tuple(Table(lines, dict(columns)) for lines, columns in by_lines.items())


def are_offsets(seen: Seen) -> bool:
    """Whether values lie on both sides of 0 and are small: coded boxes, not pixels."""
    return seen.first.min() < 0 < seen.first.max() and float(np.abs(seen.first).mean()) < 20


def are_distances(seen: Seen) -> bool:
    """Whether no value is below 0."""
    return seen.always(lambda value: within(value, 0, np.inf))


def class_coding(seen: Seen) -> tuple[ClassActivation, Background, str] | None:
    """Activation, background and why, where the values show it; ``None`` for logits, which show nothing."""
    if seen.always(lambda value: sum_to_one(value, axis=1)):
        return "none", "first", f"{seen.name!r} sums to 1 along its columns: a softmax with a background"
    if seen.always(are_probabilities):
        return "none", "none", f"{seen.name!r} holds probabilities"
    return None
