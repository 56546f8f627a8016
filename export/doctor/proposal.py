"""What the doctor answers: one way to feed a graph and read its outputs, why, and what is not certain about it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from pipelines.specs import Decoder

Flags: TypeAlias = Mapping[str, Any]

# How much a finding counts.
DISTINCTIVE, TELLING, SLIGHT = 5, 3, 1


@dataclass(frozen=True)
class Evidence:
    """One finding for a proposal.

    Attributes:
        points: what it counts; below 0 it speaks against.
        text: the finding, with its numbers.
    """

    points: int
    text: str


@dataclass(frozen=True)
class Doubt:
    """Something that neither the graph nor its outputs say.

    Attributes:
        text: what was assumed, and of whom.
        settled_by: groups of flags by their parameter names, ``decoder_field:NAME`` for a field of the decoder; the
            doubt is gone once one flag of every group is given.
        image_shows: whether answers that agree about a mirrored and a shrunk image settle it, too.
    """

    text: str
    settled_by: tuple[frozenset[str], ...]
    image_shows: bool = False

    def settled(self, given: frozenset[str]) -> bool:
        """Whether what the user gave says it."""
        return all(group & given for group in self.settled_by)


@dataclass(frozen=True, kw_only=True)
class Proposal:
    """One reading of a graph.

    Attributes:
        title: of the family, in words.
        head: flags of the head by parameter name; ``decoder_field`` is a mapping from field to JSON value.
        feed: flags of the image part.
        evidence: what speaks for and against it.
        doubts: what had to be assumed.
        num_classes: how many classes this reading has; ``None``: the outputs do not say.
    """

    title: str
    head: Flags
    feed: Flags
    evidence: tuple[Evidence, ...]
    doubts: tuple[Doubt, ...] = ()
    num_classes: int | None = None

    @property
    def points(self) -> int:
        """The sum of its evidence."""
        return sum(one.points for one in self.evidence)


def doubt(text: str, *groups: str | tuple[str, ...], image_shows: bool = False) -> Doubt:
    """A doubt that is settled by one flag of each group."""
    return Doubt(text, tuple(frozenset((group,) if isinstance(group, str) else group) for group in groups), image_shows)


def detection_flags(decoder: Decoder, *, score: float, iou: float | None, most: int = 300) -> Flags:
    """Flags of a detection head; ``iou`` none: the reading needs no suppression."""
    fields = decoder.model_dump(mode="json")
    kind = fields.pop("kind")
    overlaps = {"nms": False} if iou is None else {"iou_threshold": iou}
    return {
        "task": "detection",
        "decoder": kind,
        "decoder_field": fields,
        "score_threshold": score,
        **overlaps,
        "max_detections": most,
    }
