"""The output folder: files are written where nobody looks, and renamed into place once all are whole."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from pathlib import Path

from serving.batch.outcome import Row
from serving.batch.writers import FORMATS, ErrorLines, Target, Writer

PRIVATE = ".ocella"


class Outputs:
    """The writers of one run."""

    def __init__(self, writers: Sequence[Writer], errors: ErrorLines) -> None:
        self._writers, self._errors = writers, errors

    def write(self, row: Row) -> None:
        """Write one row in every format, or among the errors."""
        if row.outcome.failure:
            self._errors.write(row)
        else:
            for writer in self._writers:
                writer.write(row)


@contextmanager
def staged(out: Path, target: Target, formats: Sequence[str]) -> Iterator[Outputs]:
    """Open the writers; leaving without an error publishes their files, leaving with one removes them.

    Raises MissingExtraError, JobError, OSError.
    """
    staging = out / PRIVATE / "tmp"
    shutil.rmtree(staging, ignore_errors=True)  # of a run that was killed
    staging.mkdir(parents=True)
    here = replace(target, folder=staging)
    try:
        with ExitStack() as stack:
            errors = ErrorLines(staging)
            stack.callback(errors.close)
            writers: list[Writer] = []
            for name in formats:
                writers.append(FORMATS[name](here))
                stack.callback(writers[-1].close)
            yield Outputs(writers, errors)
        _publish_all(staging, out)
    finally:
        with suppress(OSError):
            shutil.rmtree(staging)


def _publish_all(staging: Path, out: Path) -> None:
    """Put what was written into place, and remove what an earlier run put there and this one did not: it may be stale.

    What somebody else put there is left alone, whatever its name; a list in the private folder tells.
    """
    listing, names = out / PRIVATE / "published.json", {path.name for path in staging.iterdir()}
    before = set(json.loads(listing.read_bytes())) if listing.exists() else set()
    write_whole(listing, json.dumps(sorted(before | names)).encode(), staging=staging)  # of a kill from here on
    for name in sorted(names):
        publish(staging / name, out / name)
    for name in sorted(before - names):
        _remove(out / name)
    write_whole(listing, json.dumps(sorted(names)).encode(), staging=staging)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def publish(new: Path, place: Path) -> None:
    """Rename a file or folder into its place; a file is never seen half written, whatever happens to the machine."""
    if new.is_dir():
        old = new.with_name(f".old-{new.name}")
        with suppress(FileNotFoundError):
            place.rename(old)
        new.rename(place)
        shutil.rmtree(old, ignore_errors=True)
        return
    with new.open("rb") as file:
        os.fsync(file.fileno())
    new.replace(place)


def write_whole(path: Path, data: bytes, *, staging: Path) -> None:
    """Write a file under a temporary name in ``staging`` and rename it."""
    staging.mkdir(parents=True, exist_ok=True)
    temporary = staging / path.name
    temporary.write_bytes(data)
    publish(temporary, path)
