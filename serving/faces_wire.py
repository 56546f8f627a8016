"""Wire messages of ``ocella.v1.Faces`` to values and back: the part of ``wire.py`` that knows faces."""

from __future__ import annotations

from collections.abc import Mapping

from pipelines.decisions import Decision, Enrolled, Identified, IdentifiedFace, People, Removed, Thresholds, Verified
from protos.ocella.v1 import faces_pb2 as pb
from serving.wire_results import write_quality

DECISIONS: Mapping[Decision, pb.Decision] = {
    Decision.same: pb.DECISION_SAME,
    Decision.uncertain: pb.DECISION_UNCERTAIN,
    Decision.different: pb.DECISION_DIFFERENT,
}
DEFAULT_TOP_K = 5


def read_threshold(request: pb.VerifyRequest | pb.IdentifyRequest) -> float | None:
    """The threshold that a request gives; ``None`` where it leaves the gallery's."""
    return request.threshold if request.HasField("threshold") else None


def read_reference(request: pb.VerifyRequest) -> tuple[bytes | None, str | None]:
    """What a probe is compared with: an image or a person."""
    kind = request.WhichOneof("reference")
    return (request.image if kind == "image" else None, request.person if kind == "person" else None)


def write_enrolled(enrolled: Enrolled) -> pb.EnrollResponse:
    """What became of enrolled images."""
    return pb.EnrollResponse(qualities=map(write_quality, enrolled.qualities), samples=enrolled.samples)


def write_verified(verified: Verified) -> pb.VerifyResponse:
    """A 1:1 comparison."""
    return pb.VerifyResponse(
        decision=DECISIONS[verified.decision],
        score=verified.score,
        thresholds=_write_thresholds(verified.thresholds),
    )


def write_identified(identified: Identified) -> pb.IdentifyResponse:
    """Who is on an image."""
    return pb.IdentifyResponse(
        faces=map(_write_face, identified.faces),
        thresholds=_write_thresholds(identified.thresholds),
        searched=identified.searched,
    )


def write_people(people: People) -> pb.ListPeopleResponse:
    """Who is enrolled."""
    return pb.ListPeopleResponse(
        people=[
            pb.Person(name=person.name, samples=person.samples, enrolled_at_s=person.enrolled_at_s)
            for person in people.people
        ],
        embedder_sha256=people.embedder_sha256,
        recipe_seal=people.recipe_seal,
        thresholds=None if people.thresholds is None else _write_thresholds(people.thresholds),
        searched_by=people.searched_by,
    )


def write_removed(removed: Removed) -> pb.RemovePersonResponse:
    """What became of a removal."""
    return pb.RemovePersonResponse(samples=removed.samples, erased=removed.erased)


def _write_face(face: IdentifiedFace) -> pb.IdentifiedFace:
    return pb.IdentifiedFace(
        box=face.box,
        score=face.score,
        landmarks=[value for point in face.landmarks for value in point],
        quality=write_quality(face.quality),
        decision=DECISIONS[face.decision],
        person=face.person or "",
        candidates=[pb.Candidate(person=each.person, score=each.score) for each in face.candidates],
    )


def _write_thresholds(thresholds: Thresholds) -> pb.Thresholds:
    return pb.Thresholds(same=thresholds.same, different=thresholds.different, target_fmr=thresholds.target_fmr)
