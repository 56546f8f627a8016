"""Proofs about a graph, by running it: rows do not see each other, a rewritten graph computes what it did before."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from export.tolerance import SAME_MACHINE
from pipelines.errors import ModelRunError, RecipeError
from pipelines.manifest import RawTolerance
from pipelines.session import Session, run_one, split_rows
from pipelines.types import AnyArray

MIN_ROWS = 2


@dataclass(frozen=True)
class Parity:
    """What a proof compared.

    Attributes:
        rows: rows that were compared.
        values: output values that were compared.
        max_difference: largest absolute difference.
    """

    rows: int
    values: int
    max_difference: float


def different_rows(row: AnyArray, *, count: int, layout: Literal["chw", "hwc"]) -> AnyArray:
    """A batch of ``count`` rows made of one: as it is, then shifted around its edges and mirrored in turn."""
    height, width = (1, 2) if layout == "chw" else (0, 1)
    rows = []
    for i in range(count):
        shifted = np.roll(row, (i * row.shape[height] // count, i * row.shape[width] // count), axis=(height, width))
        rows.append(np.flip(shifted, axis=width) if i % 2 else shifted)
    return np.stack(rows)


def prove_rows(session: Session, batch: AnyArray, *, tolerance: RawTolerance = SAME_MACHINE) -> Parity:
    """Prove that each row of ``batch`` gets the answer that it gets alone; raises RecipeError naming row and output.

    Rows must give different answers, or nothing would be proven.
    """
    if len(batch) < MIN_ROWS:
        raise RecipeError(f"the batch proof needs at least {MIN_ROWS} rows, got {len(batch)}")
    alone = [run_one(session, row) for row in batch]
    for name in alone[0]:
        if all(np.array_equal(alone[0][name], other[name], equal_nan=True) for other in alone[1:]):
            raise RecipeError(f"the batch proof is empty: output {name!r} is the same for {len(batch)} different rows")
    try:
        together = split_rows(session.run({session.inputs[0].name: batch}), expected_rows=len(batch))
    except ModelRunError as error:
        raise RecipeError(f"the graph does not run a batch of {len(batch)}: {error}") from error
    return _compare(alone, together, tolerance, f"alone and in a batch of {len(batch)}")


def prove_same(reference: Session, session: Session, batch: AnyArray, *, tolerance: RawTolerance) -> Parity:
    """Prove that ``session`` answers as ``reference`` does for the same batch; raises RecipeError at the difference.

    Only the outputs of ``session`` are compared; ``reference`` may have more.
    """
    count = len(batch)
    expected = split_rows(reference.run({reference.inputs[0].name: batch}), expected_rows=count)
    got = split_rows(session.run({session.inputs[0].name: batch}), expected_rows=count)
    return _compare(expected, got, tolerance, f"in {reference.provider} and in {session.provider}")


def _compare(
    expected: list[dict[str, AnyArray]], got: list[dict[str, AnyArray]], tolerance: RawTolerance, where: str
) -> Parity:
    worst, values = 0.0, 0
    for i, (wanted, answer) in enumerate(zip(expected, got, strict=True)):
        for name, value in answer.items():
            reference = _output(wanted, name)
            if reference.shape != value.shape:
                raise RecipeError(
                    f"output {name!r} of row {i} has shape {value.shape}, expected {reference.shape} ({where})"
                )
            difference = _difference(reference, value)
            allowed = tolerance.atol + tolerance.rtol * np.abs(reference.astype(np.float64))
            if not (difference <= allowed).all():  # NaN is never within.
                raise RecipeError(
                    f"output {name!r} of row {i} differs by {difference.max():.3g} {where}, "
                    f"allowed is {tolerance.atol:.0e} + {tolerance.rtol:.0e} of the value"
                )
            worst, values = max(worst, float(difference.max(initial=0))), values + value.size
    return Parity(len(got), values, worst)


def _output(outputs: Mapping[str, AnyArray], name: str) -> AnyArray:
    if name not in outputs:
        raise RecipeError(f"the reference has no output {name!r}, it has {sorted(outputs)}")
    return outputs[name]


def _difference(a: AnyArray, b: AnyArray) -> AnyArray:
    """Absolute difference in float64; equal infinities differ by 0."""
    wide_a, wide_b = a.astype(np.float64), b.astype(np.float64)
    with np.errstate(invalid="ignore"):
        difference: AnyArray = np.where(wide_a == wide_b, 0.0, np.abs(wide_a - wide_b))
    return difference
