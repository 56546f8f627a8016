"""The diagnosis of a graph: every reading that fits, ranked, each with its evidence and its proof on an image."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from export.doctor.families import FAMILIES
from export.doctor.merge import contradiction, given_names, merged
from export.doctor.proposal import DISTINCTIVE, TELLING, Doubt, Evidence, Flags, Proposal
from export.doctor.prove import Proof, prove
from export.doctor.sighting import Sighting
from export.doctor.unreadable import notices
from pipelines.errors import OcellaError
from pipelines.manifest import ModelManifest
from pipelines.session import Session
from pipelines.types import ByteArray

MOST_PROVEN = 8  # readings; each costs four runs an image.
_PUBLISHED_CLASSES = {80: "COCO", 90: "COCO with its gaps", 20: "Pascal VOC", 365: "Objects365"}
MARGIN = 3  # points; a reading that is no further behind the first is its rival.


@dataclass(frozen=True, kw_only=True, eq=False)
class Reading:
    """A proposal that fits, with what an image showed.

    Attributes:
        proposal: what is proposed.
        manifest: what it would make.
        proof: on the first sample image, or ``None`` where there is none.
        open: doubts that neither a flag nor the proof has settled.
    """

    proposal: Proposal
    manifest: ModelManifest
    proof: Proof | None
    open: tuple[Doubt, ...]

    @property
    def points(self) -> int:
        """Of evidence and proof."""
        return self.proposal.points + (self.proof.points if self.proof else 0)


@dataclass(frozen=True, kw_only=True, eq=False)
class Diagnosis:
    """What the doctor found.

    Attributes:
        sighting: what was seen.
        readings: those that fit, the likeliest first.
        ruled_out: title and reason of those that do not.
        notices: outputs that were recognised and cannot be read.
    """

    sighting: Sighting
    readings: tuple[Reading, ...]
    ruled_out: tuple[tuple[str, str], ...]
    notices: tuple[str, ...]

    @property
    def rivals(self) -> tuple[Reading, ...]:
        """The likeliest reading and those that are hardly less likely."""
        return tuple(one for one in self.readings if one.points >= self.readings[0].points - MARGIN)

    @property
    def certain(self) -> Reading | None:
        """The one reading that is without doubt, or ``None``."""
        rivals = self.rivals
        return rivals[0] if len(rivals) == 1 and not rivals[0].open and rivals[0].points > 0 else None


def diagnose(
    sighting: Sighting,
    session: Session,
    image: ByteArray | None,
    given: Flags,
    *,
    rewrites: Flags,
    manifest_of: Callable[[Flags], ModelManifest],
) -> Diagnosis:
    """Collect the readings of all families, drop what contradicts what was given, and prove the rest on the image.

    ``rewrites`` are the flags of what was done to the graph before; ``manifest_of`` makes a manifest of flags, and
    raises where they fit together or the graph in no way.
    """
    readings: list[Reading] = []
    ruled_out: list[tuple[str, str]] = []
    proposals = sorted(_proposals(sighting, rewrites), key=lambda one: -one.points)
    for proposal in proposals:
        reason = contradiction(proposal, given) or _misfit(proposal, sighting)
        if reason is None and len(readings) < MOST_PROVEN:
            try:
                readings.append(_read(proposal, session, image, given, manifest_of))
            except OcellaError as error:
                reason = str(error)
        if reason is not None:
            ruled_out.append((proposal.title, reason))
    return Diagnosis(
        sighting=sighting,
        readings=tuple(sorted(readings, key=lambda one: -one.points)),
        ruled_out=tuple(ruled_out),
        notices=tuple(notices(sighting)),
    )


def _proposals(sighting: Sighting, rewrites: Flags) -> Sequence[Proposal]:
    found = [_with_what_is_said(one, sighting) for propose in FAMILIES.values() for one in propose(sighting)]
    return [replace(one, feed={**one.feed, **rewrites}) for one in found]


def _with_what_is_said(proposal: Proposal, sighting: Sighting) -> Proposal:
    found = []
    said = sighting.said
    if said is not None and said.task is not None and said.task == proposal.head["task"]:
        found.append(Evidence(TELLING, f"{said.by} says {said.task}"))
    if sighting.num_labels is None and proposal.head["task"] == "detection":
        dataset = _PUBLISHED_CLASSES.get(proposal.num_classes or 0)
        if dataset is not None:
            found.append(Evidence(TELLING, f"{proposal.num_classes} classes, as {dataset} has"))
    if sighting.num_labels is not None and proposal.num_classes == sighting.num_labels:
        found.append(Evidence(DISTINCTIVE, f"as many classes as there are names: {sighting.num_labels}"))
    return replace(proposal, evidence=(*proposal.evidence, *found))


def _misfit(proposal: Proposal, sighting: Sighting) -> str | None:
    said = sighting.said
    if said is not None and said.task is not None and said.task != proposal.head["task"]:
        return f"{said.by} says {said.task}"
    if sighting.num_labels and proposal.num_classes and proposal.num_classes != sighting.num_labels:
        return f"it has {proposal.num_classes} classes, {sighting.num_labels} names are known"
    return None


def _read(
    proposal: Proposal,
    session: Session,
    image: ByteArray | None,
    given: Flags,
    manifest_of: Callable[[Flags], ModelManifest],
) -> Reading:
    manifest = manifest_of(merged(proposal, given))
    proof = None if image is None else prove(manifest, session, image)
    names = given_names(given)
    still = tuple(
        one
        for one in proposal.doubts
        if not one.settled(names) and not (one.image_shows and proof is not None and proof.convinces)
    )
    return Reading(proposal=proposal, manifest=manifest, proof=proof, open=still)
