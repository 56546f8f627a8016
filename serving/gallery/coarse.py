"""8-bit copies of vectors, searched by all cores, with a bound on every vector that a search left out."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipelines.errors import MissingExtraError
from pipelines.types import FloatArray

# Of a dot product of two vectors of length 1 in float32, as faiss adds it up: 512 terms, 2^-24 each, and some room.
_SUM_ERROR = 4e-5
_WORTH_THREADS = 20_000  # vectors; below, waking a thread takes longer than it saves
_LARGEST = 127.0  # of an 8-bit copy
_SPREAD = (
    6.0  # standard deviations of a coordinate of an even direction, 1 / sqrt(D), that a copy holds; beyond it is cut
)


@dataclass(frozen=True, eq=False)
class Candidates:
    """What a search found.

    Attributes:
        rows: of the vectors that are near, in no order.
        bound: no other vector has a larger cosine.
    """

    rows: NDArray[np.int64]
    bound: float


class CoarseCopies:
    """Every ``parts``-th vector lies in one of ``parts`` indices, each searched by a thread of its own."""

    def __init__(self, dim: int, *, parts: int | None = None) -> None:
        """``parts``: cores to use; ``None``: all that the process may. Raises MissingExtraError without faiss."""
        faiss = load_faiss()
        count = parts or len(os.sched_getaffinity(0))
        self._parts = [
            faiss.IndexScalarQuantizer(dim, faiss.ScalarQuantizer.QT_8bit_direct_signed, faiss.METRIC_INNER_PRODUCT)
            for _ in range(count)
        ]
        self._threads = ThreadPoolExecutor(max(1, count - 1), thread_name_prefix="faces-search")
        self._scale = np.float32(_LARGEST * max(1.0, np.sqrt(dim) / _SPREAD))
        self._loss = 0.0
        self._count = 0

    def add(self, units: FloatArray) -> None:
        """Add ``(N, D)`` vectors of length 1."""
        rows = np.arange(self._count, self._count + len(units)) % len(self._parts)
        for number, part in enumerate(self._parts):
            mine = np.ascontiguousarray(units[rows == number])
            if len(mine):
                copies = self._copies(mine)
                part.add(copies)
                apart = copies / self._scale - mine
                self._loss = max(self._loss, float(_lengths(apart).max()))
        self._count += len(units)

    def search(self, units: FloatArray, wanted: int) -> list[Candidates]:
        """At least the ``wanted`` nearest copies to each of ``(N, D)`` vectors of length 1."""
        probes = self._copies(units)
        parts = [part for part in self._parts if part.ntotal]
        each = [min(wanted, part.ntotal) for part in parts]
        if self._count >= _WORTH_THREADS:
            others = [self._threads.submit(part.search, probes, k) for part, k in zip(parts[1:], each[1:], strict=True)]
            found = [parts[0].search(probes, each[0]), *(other.result() for other in others)]
        else:
            found = [part.search(probes, k) for part, k in zip(parts, each, strict=True)]
        seen = probes / self._scale
        # |q x - q' x'| <= |q - q'| |x| + |q'| |x - x'|, with |x| = 1
        slack = _lengths(seen - units) + _lengths(seen) * self._loss + _SUM_ERROR
        return [self._joined([(scores[i], rows[i]) for scores, rows in found], slack[i]) for i in range(len(units))]

    def _copies(self, units: FloatArray) -> FloatArray:
        """Whole numbers of ``(N, D)`` vectors; faiss cuts off what is behind the point, of probes too."""
        return np.rint(units * self._scale).clip(-_LARGEST, _LARGEST)

    def _joined(self, found: list[tuple[FloatArray, NDArray[np.int64]]], slack: float) -> Candidates:
        step = len(self._parts)
        rows = np.concatenate([rows * step + number for number, (_, rows) in enumerate(found)])
        seen_all = len(rows) == self._count
        last = max(float(scores[-1]) for scores, _ in found) / float(self._scale) ** 2
        return Candidates(rows, -1.0 if seen_all else last + float(slack))


def _lengths(vectors: FloatArray) -> FloatArray:
    return np.sqrt(np.square(vectors).sum(axis=1))


def load_faiss() -> Any:
    """The faiss module; raises MissingExtraError."""
    try:
        import faiss
    except ImportError as error:
        raise MissingExtraError("install 'ocella[faces]' to search a gallery of faces (faiss)") from error
    return faiss
