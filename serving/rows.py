"""What a request brings to a run and what it gets back: rows of the graph's own tensors."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from pipelines.errors import InvalidRequestError, ModelRunError
from pipelines.specs import TensorSpec
from pipelines.types import AnyArray

BatchKey: TypeAlias = tuple[object, ...]
Join: TypeAlias = Callable[[str, Sequence[AnyArray]], AnyArray]


@dataclass(frozen=True, eq=False, slots=True)
class Rows:
    """Rows of one request, to be run together.

    Attributes:
        feeds: each input of the graph, batch axis first.
        count: rows, 1 or more.
        outputs: names of the outputs that the request wants.
    """

    feeds: Mapping[str, AnyArray]
    count: int
    outputs: tuple[str, ...]

    def batch_key(self) -> BatchKey:
        """Equal for rows that may share a run: those whose inputs have the same dtypes and row shapes."""
        return tuple((name, value.dtype, value.shape[1:]) for name, value in self.feeds.items())


@dataclass(frozen=True, eq=False, slots=True)
class PartOutputs:
    """The outputs of a part's rows, batch axis first, and the seconds of the run that gave them."""

    outputs: dict[str, AnyArray]
    inference_s: float


def join_arrays(_: str, arrays: Sequence[AnyArray]) -> AnyArray:
    """The rows of one input, array after array."""
    return np.concatenate(arrays)


def join_feeds(parts: Sequence[Rows], join: Join = join_arrays) -> dict[str, AnyArray]:
    """The feeds of one run: each input's rows, part after part; a lone part is not copied."""
    if len(parts) == 1:
        return dict(parts[0].feeds)
    return {name: join(name, [part.feeds[name] for part in parts]) for name in parts[0].feeds}


def wanted_outputs(parts: Sequence[Rows]) -> tuple[str, ...]:
    """The outputs that any of the parts wants."""
    first = parts[0].outputs
    if all(part.outputs is first or part.outputs == first for part in parts):
        return first
    return tuple(dict.fromkeys(name for part in parts for name in part.outputs))


def part_outputs(outputs: Mapping[str, AnyArray], parts: Sequence[Rows]) -> list[dict[str, AnyArray]]:
    """Each part's own outputs of their common run, as views, batch axis first.

    Raises ModelRunError where an output has another number of rows than went in: no part can know which are its own.
    """
    total = sum(part.count for part in parts)
    for name, value in outputs.items():
        if value.ndim == 0 or len(value) != total:
            raise ModelRunError(f"output {name!r} must have {total} rows, got shape {value.shape}")
    answers, start = [], 0
    for part in parts:
        stop = start + part.count
        answers.append({name: outputs[name][start:stop] for name in part.outputs})
        start = stop
    return answers


def row_of(outputs: Mapping[str, AnyArray], index: int) -> dict[str, AnyArray]:
    """The outputs of one row, without batch axis."""
    return {name: value[index] for name, value in outputs.items()}


def split_part(rows: Rows, most: int) -> list[Rows]:
    """Cut rows into parts of at most ``most``, views all."""
    if rows.count <= most:
        return [rows]
    cuts = range(0, rows.count, most)
    return [
        Rows({name: value[i : i + most] for name, value in rows.feeds.items()}, min(most, rows.count - i), rows.outputs)
        for i in cuts
    ]


class TensorContract:
    """Which tensors a graph takes and gives; turns those of a request into Rows or says what is wrong with them.

    Attributes:
        inputs: of the graph, by name.
        outputs: names of all outputs of the graph.
        fixed_rows: rows that each run must have; ``None`` where the batch axis is dynamic.
    """

    def __init__(self, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]) -> None:
        self.inputs = {spec.name: spec for spec in inputs}
        self.outputs = tuple(spec.name for spec in outputs)
        fixed = {spec.shape[0] for spec in inputs if spec.shape and isinstance(spec.shape[0], int)}
        self.fixed_rows = int(fixed.pop()) if fixed else None
        self._row_shapes = {spec.name: (np.dtype(spec.dtype), spec.shape[1:]) for spec in inputs}
        # The latest that fitted: a request like the one before costs one comparison for each input.
        self._last_shapes: dict[str, tuple[int, ...]] = {}

    def rows(self, tensors: Mapping[str, AnyArray], outputs: Sequence[str] = ()) -> Rows:
        """Check a request's tensors and the names of the outputs it wants (none: all).

        Raises InvalidRequestError where a name, a dtype, a shape or the number of rows is not the graph's.
        """
        if tensors.keys() != self.inputs.keys():
            raise InvalidRequestError(f"inputs must be {sorted(self.inputs)}, got {sorted(tensors)}")
        if unknown := outputs and [name for name in outputs if name not in self.outputs]:
            raise InvalidRequestError(f"outputs must be among {sorted(self.outputs)}, got {unknown[0]!r}")
        counts = {name: self._checked(name, tensors[name]) for name in self.inputs}
        if len(set(counts.values())) > 1:
            raise InvalidRequestError(f"inputs must have the same number of rows, got {counts}")
        count = next(iter(counts.values()))
        if self.fixed_rows is not None and count % self.fixed_rows:
            raise InvalidRequestError(f"the number of rows must be a multiple of {self.fixed_rows}, got {count}")
        return Rows({name: tensors[name] for name in self.inputs}, count, tuple(outputs) or self.outputs)

    def _checked(self, name: str, value: AnyArray) -> int:
        """Rows of an input that fits the graph."""
        dtype, row_shape = self._row_shapes[name]
        if value.dtype != dtype:
            raise InvalidRequestError(f"input {name!r} must be {dtype}, got {value.dtype}")
        got = value.shape
        if got[1:] == self._last_shapes.get(name) and got[0]:
            return got[0]
        fits = len(got) == len(row_shape) + 1 and min(got) > 0
        if not fits or (
            got[1:] != row_shape
            and any(isinstance(want, int) and want != have for want, have in zip(row_shape, got[1:], strict=True))
        ):
            shape = [*self.inputs[name].shape[:1], *row_shape]
            raise InvalidRequestError(f"input {name!r} must have shape {shape}, one row or more, got {list(got)}")
        self._last_shapes[name] = got[1:]
        return got[0]
