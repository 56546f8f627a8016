"""Choosing a reading: without doubt at once, on a terminal by asking, elsewhere not at all."""

from __future__ import annotations

from collections.abc import Callable

from export.doctor.diagnose import Diagnosis, Reading
from export.doctor.report import as_text, verdict
from pipelines.errors import RecipeError

NO = "n"


class DoubtError(RecipeError):
    """More than one reading fits, or the one that does rests on an assumption."""


def choose(
    diagnosis: Diagnosis, *, ask: Callable[[str], str] | None, show: Callable[[str], None], yes: bool
) -> Reading:
    """The reading to import.

    Args:
        diagnosis: what the doctor found.
        ask: puts a question and returns the answer; ``None`` where nobody is there to answer.
        show: takes the report's lines.
        yes: accept what is without doubt, and ask nothing.

    Raises:
        DoubtError: in doubt with nobody to ask, or the answer was no.
    """
    certain = diagnosis.certain
    if not diagnosis.readings:
        show(as_text(diagnosis))
        raise DoubtError(verdict(diagnosis))
    if certain is not None and (yes or ask is None):
        show(as_text(diagnosis, flags=False))
        return certain
    if yes or ask is None:
        show(as_text(diagnosis))
        raise DoubtError(f"{verdict(diagnosis)}: import again with the flags of one of them")
    show(as_text(diagnosis, flags=False))
    return _asked(diagnosis, ask)


def _asked(diagnosis: Diagnosis, ask: Callable[[str], str]) -> Reading:
    """Ask until the answer is a number of the list, or no; an empty answer accepts what is without doubt."""
    count = len(diagnosis.readings)
    numbers = "1" if count == 1 else f"1 to {count}"
    default = ", Enter for 1" if diagnosis.certain is not None else ""
    while True:
        answer = ask(f"which reading is right? {numbers}{default}, {NO} for none: ").strip().lower()
        if answer in (NO, "no", "none"):
            raise DoubtError("no reading was chosen: give the flags of the head and the image")
        if not answer and diagnosis.certain is not None:
            return diagnosis.certain
        if answer.isdecimal() and 1 <= int(answer) <= count:
            return diagnosis.readings[int(answer) - 1]
