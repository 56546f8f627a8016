"""Many rows through a graph in as few runs as it allows."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from pipelines.types import AnyArray

if TYPE_CHECKING:
    from pipelines.session import Session

# Values of the rows of one run: 83 rows of 3 x 224 x 224. Memory grows with the batch: a segmentation model of 320 px
# takes about half a gigabyte a row.
MAX_RUN_VALUES = 83 * 3 * 224 * 224


def run_rows(session: Session, rows: Sequence[AnyArray]) -> list[dict[str, AnyArray]]:
    """Run rows (without batch axis) through a graph of one input; one mapping of outputs for each, in their order.

    Rows of one shape go as one batch of at most ``MAX_RUN_VALUES`` values, or one by one where the graph's batch is
    fixed at 1. Without rows nothing is run. Raises ModelRunError.
    """
    from pipelines.session import split_rows  # what only prepares rows must not load onnxruntime.

    (graph_input, *_) = session.inputs
    answers: list[dict[str, AnyArray]] = [{} for _ in rows]
    for places in _batches(rows, alone=graph_input.shape[0] == 1):
        outputs = session.run({graph_input.name: np.stack([rows[i] for i in places])})
        for i, answer in zip(places, split_rows(outputs, expected_rows=len(places)), strict=True):
            answers[i] = answer
    return answers


def _batches(rows: Sequence[AnyArray], *, alone: bool) -> Iterator[list[int]]:
    """Indices of rows that go together."""
    by_shape: dict[tuple[int, ...], list[int]] = {}
    for i, row in enumerate(rows):
        by_shape.setdefault(row.shape, []).append(i)
    for shape, places in by_shape.items():
        most = 1 if alone else max(1, MAX_RUN_VALUES // math.prod(shape))
        yield from (places[start : start + most] for start in range(0, len(places), most))
