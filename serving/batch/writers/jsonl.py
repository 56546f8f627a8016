"""``results.jsonl`` and ``errors.jsonl``: one JSON object a line, ASCII alone."""

from __future__ import annotations

import json
from pathlib import Path

from serving.batch.outcome import Row
from serving.batch.writers.base import Target


class ResultLines:
    """One line an image that has a result; see ``docs/batch.md`` for its keys."""

    def __init__(self, target: Target) -> None:
        self._file = (target.folder / "results.jsonl").open("w", encoding="ascii", newline="\n")

    def write(self, row: Row) -> None:
        """Write a line; the result is copied as the journal keeps it."""
        height, width = row.outcome.image_hw
        head = json.dumps({**row.head(), "width": width, "height": height})
        self._file.write(f'{head[:-1]}, "result": {row.outcome.result_json}}}\n')

    def close(self) -> None:
        """Complete the file."""
        self._file.close()


class ErrorLines:
    """One line an image that has none, with the reason."""

    def __init__(self, folder: Path) -> None:
        self._file = (folder / "errors.jsonl").open("w", encoding="ascii", newline="\n")

    def write(self, row: Row) -> None:
        """Write a line."""
        failure = row.outcome.failure
        assert failure is not None  # the job hands on those that failed
        self._file.write(json.dumps({**row.head(), "reason": failure.reason, "message": failure.message}) + "\n")

    def close(self) -> None:
        """Complete the file."""
        self._file.close()
