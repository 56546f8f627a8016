"""A diagnosis for people and for programs: a ranked table with evidence, and one JSON document."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from export.doctor.diagnose import Diagnosis, Reading
from export.doctor.merge import command_line
from export.doctor.statistics import span


def as_text(diagnosis: Diagnosis, *, flags: bool = True) -> str:
    """The ranked readings with what speaks for each, what is open, and, with ``flags``, how to choose it."""
    return "\n".join(_lines(diagnosis, flags=flags))


def _lines(diagnosis: Diagnosis, *, flags: bool) -> Iterator[str]:
    sighting = diagnosis.sighting
    height, width = sighting.row_hw
    size = "rows of" if sighting.fixed_hw else "rows of any size, seen at"
    yield f"input: {sighting.dtype} {sighting.layout}, {sighting.channels} channel(s), {size} {height}x{width}"
    for seen in (*sighting.outputs, *sighting.whole):
        yield f"output {seen.name!r}: {' x '.join(map(str, seen.shape)) or 'one value'}, {span(seen.first)}"
    if sighting.said is not None:
        yield f"{sighting.said.by}: {sighting.said.task or 'no task'}, {len(sighting.said.labels)} class names"
    for notice in diagnosis.notices:
        yield f"note: {notice}"
    yield ""
    yield from _table(diagnosis)
    for rank, reading in enumerate(diagnosis.readings, start=1):
        yield ""
        yield from _reading_lines(rank, reading, flags=flags)
    for title, reason in diagnosis.ruled_out:
        yield f"ruled out: {title}: {reason}"
    yield ""
    yield verdict(diagnosis)


def _table(diagnosis: Diagnosis) -> Iterator[str]:
    """One line a reading: rank, points, doubts, title, what it found."""
    if not diagnosis.readings:
        yield "no reading fits"
        return
    width = max(len(one.proposal.title) for one in diagnosis.readings)
    yield f"rank  points  doubts  {'reading':<{width}}  on the image"
    for rank, one in enumerate(diagnosis.readings, start=1):
        found = str(one.proof) if one.proof else "no image was given"
        yield f"{rank:>4}  {one.points:>6}  {len(one.open):>6}  {one.proposal.title:<{width}}  {found}"


def _reading_lines(rank: int, reading: Reading, *, flags: bool) -> Iterator[str]:
    proposal = reading.proposal
    yield f"{rank}. {proposal.title}  ({reading.points} points)"
    for evidence in sorted(proposal.evidence, key=lambda one: -one.points):
        yield f"     {evidence.points:+d}  {evidence.text}"
    if reading.proof is not None:
        yield f"     {reading.proof.points:+d}  on the image"
    for doubt in reading.open:
        yield f"      ?  {doubt.text}"
    if flags:
        yield f"     {command_line(proposal)}"


def verdict(diagnosis: Diagnosis) -> str:
    """One sentence: without doubt, in doubt between which, or what is open."""
    if not diagnosis.readings:
        return "no reading fits: give --task and the flags of its head"
    if diagnosis.certain is not None:
        return f"without doubt: {diagnosis.certain.proposal.title}"
    rivals = diagnosis.rivals
    if len(rivals) > 1:
        return f"in doubt between {'; '.join(one.proposal.title for one in rivals)}"
    return f"likely {rivals[0].proposal.title}, but not certain: {'; '.join(one.text for one in rivals[0].open)}"


def to_json(diagnosis: Diagnosis) -> dict[str, Any]:
    """The diagnosis as JSON values."""
    sighting, certain = diagnosis.sighting, diagnosis.certain
    return {
        "input": {
            "dtype": sighting.dtype,
            "layout": sighting.layout,
            "channels": sighting.channels,
            "row_hw": list(sighting.row_hw),
            "fixed_size": sighting.fixed_hw,
        },
        "outputs": [
            {
                "name": seen.name,
                "shape": list(seen.shape),
                "least": float(seen.first.min()) if seen.first.size else None,
                "most": float(seen.first.max()) if seen.first.size else None,
            }
            for seen in (*sighting.outputs, *sighting.whole)
        ],
        "verdict": verdict(diagnosis),
        "certain": None if certain is None else diagnosis.readings.index(certain),
        "rivals": len(diagnosis.rivals) if diagnosis.readings else 0,
        "readings": [_reading_json(reading) for reading in diagnosis.readings],
        "ruled_out": [{"title": title, "reason": reason} for title, reason in diagnosis.ruled_out],
        "notices": list(diagnosis.notices),
    }


def _reading_json(reading: Reading) -> dict[str, Any]:
    proposal, proof = reading.proposal, reading.proof
    return {
        "title": proposal.title,
        "points": reading.points,
        "evidence": [{"points": one.points, "text": one.text} for one in proposal.evidence],
        "doubts": [one.text for one in reading.open],
        "head": dict(proposal.head),
        "image": dict(proposal.feed),
        "flags": command_line(proposal),
        "num_classes": proposal.num_classes,
        "proof": None
        if proof is None
        else {
            "found": proof.found,
            "plausible": proof.plausible,
            "flip_agreement": proof.flip,
            "shrink_agreement": proof.shrink,
            "points": proof.points,
        },
    }
