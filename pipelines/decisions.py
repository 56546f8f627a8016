"""What is said of faces: decisions and their thresholds, candidates, people; plain values for servers and clients."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from pipelines.types import FaceQuality


class Decision(StrEnum):
    """What a score means."""

    same = "same"
    uncertain = "uncertain"
    different = "different"


@dataclass(frozen=True)
class Thresholds:
    """What decides between two faces.

    Attributes:
        same: least cosine of ``same``.
        different: cosines below it are ``different``, from it up to ``same`` they are ``uncertain``.
        target_fmr: the false match rate that ``same`` was chosen for; ``None``: somebody gave it.
    """

    same: float
    different: float
    target_fmr: float | None = None

    def __post_init__(self) -> None:
        if not -1 <= self.different <= self.same <= 1:
            raise ValueError(f"thresholds must be cosines, different <= same, got {self.different} and {self.same}")

    def decide(self, score: float) -> Decision:
        """The band that a cosine lies in."""
        if score >= self.same:
            return Decision.same
        return Decision.uncertain if score >= self.different else Decision.different


@dataclass(frozen=True)
class Candidate:
    """A person of a gallery and the best cosine of any of their samples with a probe."""

    person: str
    score: float


@dataclass(frozen=True)
class Enrolled:
    """What became of images that were enrolled: the quality of each, and how many samples the person now has."""

    qualities: tuple[FaceQuality, ...]
    samples: int


@dataclass(frozen=True)
class Verified:
    """A 1:1 comparison: the decision, the cosine, and what decided."""

    decision: Decision
    score: float
    thresholds: Thresholds


@dataclass(frozen=True)
class IdentifiedFace:
    """Who a face of an image may be.

    Attributes:
        box: left, top, right, bottom in pixels of the image.
        score: the detector's; 1 where no detector ran.
        landmarks: x, y of each, in the model's order.
        quality: of its picture.
        decision: of the best candidate; ``different`` where there is none.
        candidates: the best people, best first.
    """

    box: tuple[float, float, float, float]
    score: float
    landmarks: tuple[tuple[float, float], ...]
    quality: FaceQuality
    decision: Decision
    candidates: tuple[Candidate, ...]

    @property
    def person(self) -> str | None:
        """The best candidate where the decision is ``same``, else ``None``: nobody of the gallery."""
        return self.candidates[0].person if self.decision is Decision.same else None


@dataclass(frozen=True)
class Identified:
    """The faces of an image, what decided, and how many people were searched."""

    faces: tuple[IdentifiedFace, ...]
    thresholds: Thresholds
    searched: int


@dataclass(frozen=True)
class Person:
    """Somebody who is enrolled.

    Attributes:
        name: the operator's.
        samples: how many.
        enrolled_at_s: of the first, seconds since 1970.
    """

    name: str
    samples: int
    enrolled_at_s: float


@dataclass(frozen=True)
class Removed:
    """What became of a removal.

    Attributes:
        samples: that were deleted.
        erased: whether nothing of them is left on the disk; else the gallery's write-ahead log holds them until
            whoever reads the gallery elsewhere is done, and its next use empties it.
    """

    samples: int
    erased: bool


@dataclass(frozen=True)
class People:
    """Who is enrolled, by name, and what their embeddings are bound to.

    Attributes:
        people: by name.
        embedder_sha256: of the embedder's graph.
        recipe_seal: of its recipe.
        thresholds: ``None`` where the gallery was never calibrated.
        searched_by: ``exact``, or ``hnsw`` with its measured recall.
    """

    people: tuple[Person, ...]
    embedder_sha256: str
    recipe_seal: str
    thresholds: Thresholds | None
    searched_by: str
