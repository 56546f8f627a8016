"""What every writer of a format is, and what it is told of the job."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from serving.batch.outcome import Row


@dataclass(frozen=True, kw_only=True)
class Target:
    """Where a writer writes, and for what model.

    Attributes:
        folder: an empty place of the job's own; its files are renamed into the output folder once all are whole.
        task: of the model.
        labels: class names by index; may be empty.
        coco_truth: COCO file whose image and category ids the results are to use; ``None``: ids of our own.
    """

    folder: Path
    task: str
    labels: tuple[str, ...]
    coco_truth: Path | None = None


class Writer(Protocol):
    """Writes one format, row by row in order; nothing of it grows with the number of rows."""

    def write(self, row: Row) -> None:
        """Write an image that has a result."""
        ...

    def close(self) -> None:
        """Complete the files."""
        ...


def utf8(text: str) -> str:
    r"""Text that UTF-8 can hold: a byte of a name that is none becomes ``\udc80`` to ``\udcff``, spelled out."""
    return text.encode("utf-8", "backslashreplace").decode()
