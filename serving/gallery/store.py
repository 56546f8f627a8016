"""What a gallery keeps: people, their embeddings, crops where the operator keeps them, thresholds, an audit."""

from __future__ import annotations

import json
import time
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from pipelines.decisions import Person, Removed
from pipelines.errors import GalleryError, InvalidRequestError, UnknownPersonError
from pipelines.types import FloatArray
from serving.gallery.binding import Binding
from serving.gallery.database import Database, Execute, damaged
from serving.gallery.entries import Entry, bump, log, put_meta, read_entries, read_meta, read_number

MAX_NAME = 128
ERASE_WAIT_S = 1.0  # for readers elsewhere, after a removal; writers wait as long


@dataclass(frozen=True, eq=False)
class Sample:
    """One face to keep.

    Attributes:
        vector: ``(D,)`` float32.
        crop: what the embedder saw as PNG, or ``None`` where it is not kept.
    """

    vector: FloatArray
    crop: bytes | None = None


@dataclass(frozen=True, eq=False)
class Rows:
    """Samples in the order in which they were added: ``(N,)`` ids and people's ids, ``(N, D)`` vectors, names by id."""

    ids: NDArray[np.int64]
    owners: NDArray[np.int64]
    vectors: FloatArray
    names: dict[int, str]


@dataclass(frozen=True)
class State:
    """What tells that a gallery changed: the last sample, and how often samples went or became others.

    Attributes:
        last: id of the last sample.
        rewritten: how often samples were removed or embedded anew.
        evidence: how often the thresholds changed.
        erased: whether none of what was removed is left in the write-ahead log.
    """

    last: int
    rewritten: int
    evidence: int
    erased: bool = field(compare=False)


class Store:
    """A gallery on the disk; a context manager, for any thread and beside other processes."""

    def __init__(self, folder: Path, binding: Binding | None) -> None:
        """Open a gallery, made where there is none.

        Args:
            folder: of its file.
            binding: of the embedder in use; ``None``: whichever the gallery has, which must then exist.

        Raises:
            GalleryError: it is damaged, or bound to another embedder.
        """
        self._database = Database(folder, create=binding is not None)
        self.path = self._database.path
        try:
            self.binding = self._bind(binding)
        except BaseException:
            self._database.close()
            raise
        self.erase()

    def _bind(self, binding: Binding | None) -> Binding:
        with self._database.writing() as write:
            found = read_meta(write, "binding")
            if found is None and binding is not None:
                put_meta(write, "binding", json.dumps(asdict(binding)))
                return binding
        if found is None:
            raise GalleryError(f"{self.path} is bound to no embedder yet: nobody was enrolled")
        bound = Binding(**json.loads(found))
        if binding is not None and bound != binding:
            raise _other_embedder(self.path, bound, binding)
        return bound

    def _check_bound(self, execute: Execute) -> None:
        bound = Binding(**json.loads(read_meta(execute, "binding") or "{}"))
        if bound != self.binding:
            raise _other_embedder(self.path, bound, self.binding)

    def enroll(self, name: str, samples: Sequence[Sample]) -> int:
        """Add samples of a person, all or none, on the disk on return; returns how many the person has now.

        Raises InvalidRequestError for a bad name or a vector that is not the embedder's.
        """
        check_name(name)
        rows = [self._checked(sample) for sample in samples]
        now = time.time()
        with self._database.writing() as write:
            self._check_bound(write)  # another process may have embedded the crops anew
            write("INSERT INTO people (name, enrolled_at) VALUES (?, ?) ON CONFLICT (name) DO NOTHING", (name, now))
            (owner,) = write("SELECT id FROM people WHERE name = ?", (name,)).fetchone()
            for vector, crop in rows:
                write(
                    "INSERT INTO samples (person, vector, crop, crc32, added_at) VALUES (?, ?, ?, ?, ?)",
                    (owner, vector, crop, _crc(vector, crop), now),
                )
            log(write, "enroll", name, len(rows))
            (count,) = write("SELECT count(*) FROM samples WHERE person = ?", (owner,)).fetchone()
        self.erase()
        return int(count)

    def remove(self, name: str) -> Removed:
        """Delete a person's embeddings and crops for good; raises UnknownPersonError.

        Zeros are written over them in the file, and the write-ahead log, which still holds them, is emptied. Freed
        pages stay in the file for later samples: to give them back would rewrite all of it and erase nothing more.
        A reader in another process keeps the log as it is while it reads: then the answer says that the samples are not
        erased yet, and :meth:`erase` is to be called again.
        """
        with self._database.writing() as write:
            owner = self._owner(write, name)
            count = write("DELETE FROM samples WHERE person = ?", (owner,)).rowcount
            write("DELETE FROM people WHERE id = ?", (owner,))
            bump(write, "rewritten")
            log(write, "remove", name, count)
        return Removed(int(count), self.erase(wait_s=ERASE_WAIT_S))

    def erase(self, *, wait_s: float = 0.0) -> bool:
        """Empty the write-ahead log where it may hold what was removed; whether nothing of it is left.

        Costs two small reads where nothing is to be done. What it did is audited.
        """
        state = self.state()
        if state.erased:
            return True
        if not self._database.empty_log(wait_s=wait_s):
            return False
        with self._database.writing() as write:
            if state.rewritten > read_number(write, "erased"):  # else another process said so meanwhile
                put_meta(write, "erased", str(state.rewritten))
                log(write, "erase", "", 0)
            return _state(write).erased  # somebody may have been removed since the log was emptied

    def people(self) -> tuple[Person, ...]:
        """Who is enrolled, by name."""
        with self._database.reading() as read:
            rows = read(
                "SELECT name, count(samples.id), enrolled_at FROM people LEFT JOIN samples ON person = people.id "
                "GROUP BY people.id ORDER BY name"
            ).fetchall()
        return tuple(Person(*row) for row in rows)

    def state(self) -> State:
        """A cheap look at whether anything changed."""
        with self._database.reading() as read:
            return _state(read)

    def rows(self, *, after: int = 0) -> tuple[State, Rows]:
        """The samples whose id is above ``after``, each checked by its sum, and the state that they belong to."""
        with self._database.reading() as read:
            self._check_bound(read)
            state = _state(read)
            found = read(
                "SELECT samples.id, person, vector, crop, crc32 FROM samples WHERE id > ? ORDER BY id", (after,)
            )
            ids, owners, vectors = [], [], []
            for number, owner, vector, crop, crc32 in found:
                self._check_sum(number, vector, crop, crc32)
                ids.append(number)
                owners.append(owner)
                vectors.append(vector)
            names = dict(read("SELECT id, name FROM people").fetchall())
        stacked = np.frombuffer(b"".join(vectors), np.float32).reshape(-1, self.binding.dim)
        return state, Rows(np.array(ids, np.int64), np.array(owners, np.int64), stacked, names)

    def evidence(self) -> str | None:
        """The latest calibration as JSON; ``None`` where there is none."""
        with self._database.reading() as read:
            return read_meta(read, "evidence")

    def put_evidence(self, evidence: str) -> None:
        """Keep a calibration as JSON in the place of the one before."""
        with self._database.writing() as write:
            put_meta(write, "evidence", evidence)
            bump(write, "evidence_number")
            log(write, "calibrate", "", 0)

    def crops(self) -> Iterator[tuple[int, bytes | None]]:
        """Id and crop of each sample, read one by one."""
        for number in self.rows()[1].ids.tolist():
            with self._database.reading() as read:
                found = read("SELECT crop FROM samples WHERE id = ?", (number,)).fetchone()
            if found is not None:
                yield number, found[0]

    def rewrite(self, binding: Binding, vectors: Mapping[int, FloatArray]) -> None:
        """Put other embeddings of the same crops in the place of all, in one transaction; thresholds go with the old.

        Raises GalleryError where a sample came or went since ``vectors`` were made.
        """
        with self._database.writing() as write:
            rows = write("SELECT id, crop FROM samples").fetchall()
            if {number for number, _ in rows} != set(vectors):
                raise GalleryError(f"{self.path} changed while it was embedded anew: nothing was written, try again")
            self.binding = binding
            for number, crop in rows:
                vector, _ = self._checked(Sample(vectors[number]))
                write("UPDATE samples SET vector = ?, crc32 = ? WHERE id = ?", (vector, _crc(vector, crop), number))
            put_meta(write, "binding", json.dumps(asdict(binding)))
            write("DELETE FROM meta WHERE key = 'evidence'")
            bump(write, "rewritten")
            bump(write, "evidence_number")
            log(write, "reindex", "", len(rows))
        self.erase(wait_s=ERASE_WAIT_S)

    def audit(self) -> tuple[Entry, ...]:
        """What was done to the gallery, oldest first."""
        with self._database.reading() as read:
            return read_entries(read)

    def copy_to(self, path: Path) -> None:
        """Copy a consistent state into a new file while others read and write."""
        self._database.copy_to(path)

    def _owner(self, execute: Execute, name: str) -> int:
        found = execute("SELECT id FROM people WHERE name = ?", (name,)).fetchone()
        if found is None:
            raise UnknownPersonError(f"nobody enrolled is called {name[:MAX_NAME]!r}")
        return int(found[0])

    def _checked(self, sample: Sample) -> tuple[bytes, bytes | None]:
        vector = sample.vector
        if vector.shape != (self.binding.dim,) or vector.dtype != np.float32 or not np.isfinite(vector).all():
            raise InvalidRequestError(
                f"an embedding must be {self.binding.dim} finite float32, got {vector.dtype} {vector.shape}"
            )
        return vector.tobytes(), sample.crop

    def _check_sum(self, number: int, vector: bytes, crop: bytes | None, crc32: int) -> None:
        if _crc(vector, crop) != crc32 or len(vector) != 4 * self.binding.dim:
            raise damaged(self.path, f"sample {number} is not what was written")

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def check_name(name: str) -> None:
    """Raise InvalidRequestError where a person's name is empty, too long, or has characters that cannot be shown."""
    if not 1 <= len(name) <= MAX_NAME or not name.isprintable() or name != name.strip():
        raise InvalidRequestError(
            f"a person's name must be 1 to {MAX_NAME} printable characters without spaces around, got {len(name)}"
        )


def _other_embedder(path: Path, bound: Binding, used: Binding) -> GalleryError:
    return GalleryError(
        f"{path} holds embeddings of another embedder (graph {bound.embedder_sha256[:12]}, recipe "
        f"{bound.recipe_seal[:12]}, crop {bound.crop}; in use: {used.embedder_sha256[:12]}, {used.recipe_seal[:12]}, "
        f"{used.crop}): `ocella faces reindex` embeds kept crops anew"
    )


def _crc(vector: bytes, crop: bytes | None) -> int:
    return zlib.crc32(crop or b"", zlib.crc32(vector))


def _state(read: Execute) -> State:
    (last,) = read("SELECT coalesce(max(id), 0) FROM samples").fetchone()
    rewritten = read_number(read, "rewritten")
    return State(last, rewritten, read_number(read, "evidence_number"), read_number(read, "erased") >= rewritten)
