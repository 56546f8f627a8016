"""A gallery in use: its store, its index kept up with the store, and its decisions."""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np

from pipelines.decisions import Candidate, People, Removed, Thresholds, Verified
from pipelines.distances import cosine_similarity
from pipelines.errors import GalleryError, InvalidRequestError, UnknownPersonError
from pipelines.types import FloatArray
from serving.gallery.binding import Binding
from serving.gallery.index import DEFAULT_POLICY, Index, SearchPolicy
from serving.gallery.store import Rows, Sample, State, Store

MAX_TOP_K = 100


@dataclass(frozen=True, eq=False)
class _Loaded:
    """What was read of the store: its state, its names by id, its vectors."""

    state: State
    names: dict[int, str]
    index: Index
    thresholds: Thresholds | None


class Gallery:
    """Enrols, compares and searches; a context manager, for any thread and beside other processes.

    Attributes:
        store: what is on the disk.
    """

    def __init__(self, folder: Path, binding: Binding | None, policy: SearchPolicy = DEFAULT_POLICY) -> None:
        """As ``Store``; the vectors are read and checked now, so a damaged gallery never answers."""
        self.store = Store(folder, binding)
        self._policy = policy
        self._lock = threading.Lock()
        try:
            self._loaded = self._read()
        except BaseException:
            self.store.close()
            raise

    @property
    def binding(self) -> Binding:
        """Of the embeddings."""
        return self.store.binding

    def enroll(self, person: str, samples: Sequence[Sample]) -> int:
        """Add samples of a person, all or none, on the disk on return; how many the person has now."""
        return self.store.enroll(person, samples)

    def remove(self, person: str) -> Removed:
        """Delete a person for good, from the disk and from memory."""
        removed = self.store.remove(person)
        with self._lock:
            self._loaded = self._refreshed()
        return removed

    def people(self) -> People:
        """Who is enrolled, and what the gallery is bound to."""
        with self._lock:
            self._loaded = loaded = self._refreshed()
        binding = self.binding
        return People(
            self.store.people(),
            binding.embedder_sha256,
            binding.recipe_seal,
            loaded.thresholds,
            loaded.index.searched_by,
        )

    def thresholds(self, given: float | None = None) -> Thresholds:
        """The gallery's, or one that a request gave; raises GalleryError where there is neither."""
        with self._lock:
            self._loaded = self._refreshed()
            return _chosen(self._loaded, given)

    def verify(self, probe: FloatArray, reference: FloatArray, threshold: float | None = None) -> Verified:
        """Compare two ``(D,)`` embeddings."""
        thresholds = self.thresholds(threshold)
        score = float(cosine_similarity(probe[None], reference[None])[0, 0])
        return Verified(thresholds.decide(score), score, thresholds)

    def verify_person(self, probe: FloatArray, person: str, threshold: float | None = None) -> Verified:
        """Compare ``(D,)`` with a person, by the best of their samples; raises UnknownPersonError."""
        with self._lock:
            self._loaded = loaded = self._refreshed()
            thresholds = _chosen(loaded, threshold)
            owner = next((number for number, name in loaded.names.items() if name == person), None)
            if owner is None:
                raise UnknownPersonError("nobody enrolled has the name that was asked for")
            score = float(loaded.index.scores_of(probe, owner).max())
        return Verified(thresholds.decide(score), score, thresholds)

    def identify(
        self, probes: FloatArray, *, top_k: int, threshold: float | None = None
    ) -> tuple[list[tuple[Candidate, ...]], Thresholds, int]:
        """The best people for each of ``(N, D)`` embeddings, what decides, and how many people were searched."""
        if not 1 <= top_k <= MAX_TOP_K:
            raise InvalidRequestError(f"top_k must be between 1 and {MAX_TOP_K}, got {top_k}")
        with self._lock:
            self._loaded = loaded = self._refreshed()
            thresholds = _chosen(loaded, threshold)
            found = loaded.index.search(probes, top_k)
        names = loaded.names
        candidates = [tuple(Candidate(names[hit.owner], hit.score) for hit in hits) for hits in found]
        return candidates, thresholds, len(names)

    def _refreshed(self) -> _Loaded:
        """What was read, brought up to what this and other processes wrote since."""
        old, state = self._loaded, self.store.state()
        if not state.erased:  # a reader was in the way when somebody was removed
            self.store.erase()
        if state == old.state:
            return old
        if (state.rewritten, state.evidence) != (old.state.rewritten, old.state.evidence):
            return self._read()
        state, rows = self.store.rows(after=old.state.last)
        if state.rewritten != old.state.rewritten:  # somebody was removed in between
            return self._read()
        old.index.add(rows.vectors, rows.owners)
        return _Loaded(state, rows.names, old.index, old.thresholds)

    def _read(self) -> _Loaded:
        state, rows = self.store.rows()
        return _Loaded(state, rows.names, self._index(rows), read_thresholds(self.store.evidence()))

    def _index(self, rows: Rows) -> Index:
        return Index(rows.vectors, rows.owners, self._policy)

    def close(self) -> None:
        """Close the store."""
        self.store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def read_thresholds(evidence: str | None) -> Thresholds | None:
    """The thresholds of a calibration as it is kept."""
    return None if evidence is None else Thresholds(**json.loads(evidence)["calibration"]["thresholds"])


def _chosen(loaded: _Loaded, given: float | None) -> Thresholds:
    if given is not None:
        if not (np.isfinite(given) and -1 <= given <= 1):
            raise InvalidRequestError(f"threshold must be a cosine, -1 to 1, got {given}")
        return Thresholds(given, given)
    if loaded.thresholds is None:
        raise GalleryError(
            "the gallery must be calibrated before it decides, or the request must give a threshold: "
            "`ocella faces calibrate` measures one"
        )
    return loaded.thresholds
