"""Searching a gallery's vectors: exactly over a quarter of their bytes, or by an HNSW graph whose loss is measured."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipelines.distances import cosine_similarity, unit_rows
from pipelines.types import FloatArray
from serving.gallery.coarse import Candidates, CoarseCopies, load_faiss

_BLOCK = 65_536  # rows in float64 at once
_FEWEST = 64  # candidates of the first pass
_HNSW_LINKS, _HNSW_BUILD, _HNSW_SEARCH = 32, 200, 128
_TRIED = 256  # probes that measure the loss of HNSW
_TRIAL_NOISE = 0.5  # length of the noise added to a stored vector to make such a probe: a cosine of about 0.9


@dataclass(frozen=True)
class SearchPolicy:
    """When approximation is allowed.

    Attributes:
        hnsw_above: samples above which an HNSW graph is tried; ``None``: never.
        least_recall: part of the trial probes whose best sample it must find, else the search stays exact.
    """

    hnsw_above: int | None = 1_000_000
    least_recall: float = 0.995


DEFAULT_POLICY = SearchPolicy()


@dataclass(frozen=True)
class Hit:
    """An owner and the best cosine of any of their vectors with the probe."""

    owner: int
    score: float


class Index:
    """Vectors of owners, held in memory; one thread at a time.

    Exact search reads 8-bit copies, a quarter of the bytes, and computes the best of these again in float64. How far a
    copy is from what it stands for is known, so it is known when no other vector can be better; until then more are
    computed. The answers are those of comparing every vector.

    Attributes:
        recall: measured for HNSW; ``None`` where search is exact.
    """

    def __init__(self, vectors: FloatArray, owners: NDArray[np.int64], policy: SearchPolicy = DEFAULT_POLICY) -> None:
        """Index ``(N, D)`` embeddings of ``(N,)`` owners. Raises MissingExtraError without faiss."""
        self._policy = policy
        self._dim = vectors.shape[1]
        self._vectors = np.empty((0, self._dim), np.float32)
        self._owners = np.empty(0, np.int64)
        self._count = 0
        self._people: set[int] = set()
        self._coarse = CoarseCopies(self._dim)
        self._graph: Any = None
        self.recall: float | None = None
        self.add(vectors, owners)

    def __len__(self) -> int:
        return self._count

    @property
    def searched_by(self) -> str:
        """One word, and the measured recall where it is not exact."""
        return "exact" if self.recall is None else f"hnsw, recall {self.recall:.4f}"

    def add(self, vectors: FloatArray, owners: NDArray[np.int64]) -> None:
        """Add ``(N, D)`` embeddings of ``(N,)`` owners."""
        if not len(vectors):
            return
        units = unit_rows(vectors)
        start, self._count = self._count, self._count + len(units)
        self._vectors = _grown(self._vectors, self._count)
        self._owners = _grown(self._owners, self._count)
        self._vectors[start : self._count], self._owners[start : self._count] = vectors, owners
        self._people.update(owners.tolist())
        self._coarse.add(units)
        if self._graph is not None:
            self._graph.add(units)
        elif self._policy.hnsw_above is not None and self._count > self._policy.hnsw_above:
            self._try_graph()

    def search(self, probes: FloatArray, top_k: int) -> list[list[Hit]]:
        """The ``top_k`` best owners of each of ``(N, D)`` probes, best first; of equal scores the one added first."""
        if not self._count:
            return [[] for _ in probes]
        units = unit_rows(probes)
        wanted = min(self._count, max(_FEWEST, 8 * top_k))
        if self._graph is not None:
            _, found = self._graph.search(units, wanted)
            return [self._best(probe, row[row >= 0], top_k) for probe, row in zip(probes, found, strict=True)]
        found = self._coarse.search(units, wanted)
        return [self._exactly(probe, near, wanted, top_k) for probe, near in zip(probes, found, strict=True)]

    def scores_of(self, probe: FloatArray, owner: int) -> NDArray[np.float64]:
        """Cosines of a probe ``(D,)`` with the vectors of one owner."""
        rows = np.flatnonzero(self._owners[: self._count] == owner)
        return self._cosines(probe, rows)

    def _exactly(self, probe: FloatArray, near: Candidates, wanted: int, top_k: int) -> list[Hit]:
        """Widen the candidates until no vector beyond them can be among the best owners'."""
        top_k = min(top_k, len(self._people))
        while True:
            hits = self._best(probe, near.rows, top_k)
            if len(near.rows) == self._count or (len(hits) == top_k and hits[-1].score > near.bound):
                return hits
            wanted *= 8
            if wanted > self._count // 8:  # then to compute all is quicker than to keep so many in order
                return self._best(probe, np.arange(self._count), top_k)
            (near,) = self._coarse.search(unit_rows(probe[None]), wanted)

    def _best(self, probe: FloatArray, rows: NDArray[np.int64], top_k: int) -> list[Hit]:
        """The best owners among some rows, by cosines in float64."""
        rows = np.sort(rows)
        scores = self._cosines(probe, rows)
        best: dict[int, float] = {}
        for i in np.argsort(-scores, kind="stable").tolist():
            best.setdefault(int(self._owners[rows[i]]), float(scores[i]))
            if len(best) == top_k:
                break
        return [Hit(owner, score) for owner, score in best.items()]

    def _cosines(self, probe: FloatArray, rows: NDArray[np.int64]) -> NDArray[np.float64]:
        blocks = [rows[i : i + _BLOCK] for i in range(0, len(rows), _BLOCK)]
        return np.concatenate([cosine_similarity(self._vectors[block], probe[None])[:, 0] for block in blocks])

    def _try_graph(self) -> None:
        """Search by HNSW from here on where it finds what exact search finds; else never again."""
        stored = unit_rows(self._vectors[: self._count])
        faiss = load_faiss()
        graph = faiss.IndexHNSWFlat(self._dim, _HNSW_LINKS, faiss.METRIC_INNER_PRODUCT)
        graph.hnsw.efConstruction, graph.hnsw.efSearch = _HNSW_BUILD, _HNSW_SEARCH
        graph.add(stored)
        generator = np.random.default_rng(0)
        noise = generator.normal(0, _TRIAL_NOISE / np.sqrt(self._dim), (_TRIED, self._dim))
        probes = unit_rows(stored[generator.integers(0, self._count, _TRIED)] + noise)
        exact = [hits[0].owner for hits in self.search(probes, 1)]
        found = self._owners[graph.search(probes, 1)[1][:, 0]]
        recall = float(np.mean(found == np.array(exact)))
        if recall >= self._policy.least_recall:
            self._graph, self.recall = graph, recall
        else:
            self._policy = SearchPolicy(hnsw_above=None)


def _grown(array: Any, count: int) -> Any:
    """The array with room for ``count`` rows; twice as long each time, so that adding one by one stays cheap."""
    if count <= len(array):
        return array
    larger = np.empty((max(count, 2 * len(array)), *array.shape[1:]), array.dtype)
    larger[: len(array)] = array
    return larger
