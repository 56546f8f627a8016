"""Where a job's images come from: one file a kind, told apart by what the word names."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from serving.batch.entry import Entry, file_entry
from serving.batch.errors import EmptySourceError, JobError
from serving.batch.sources import folder, listing, pattern, shard_tar, video


@dataclass(frozen=True, kw_only=True)
class Choices:
    """What the user says of sources.

    Attributes:
        stride: of a video, every ``stride``-th frame.
        column: of a CSV or Parquet list; ``None``: the first of ``listing.COLUMNS`` that it has.
    """

    stride: int = 1
    column: str | None = None


Read = Callable[[bytes, Choices], Iterator[Entry]]
LISTS: Mapping[tuple[bytes, ...], Read] = {
    (b".txt", b".lst"): lambda path, _: listing.text(path),
    (b".csv",): lambda path, choices: listing.comma_separated(path, choices.column),
    (b".parquet", b".pq"): lambda path, choices: listing.parquet(path, choices.column),
}
HOLDERS: Mapping[tuple[bytes, ...], Read] = {
    (b".tar", b".tar.gz", b".tgz", b".tar.xz", b".tar.bz2"): lambda path, _: shard_tar.entries(path),
    (b".mp4", b".m4v", b".mov", b".avi", b".mkv", b".webm", b".mpg", b".mpeg"): (
        lambda path, choices: video.entries(path, choices.stride)
    ),
}


@dataclass(frozen=True)
class Sources:
    """The sources of a job, in the order in which they were given; each walk over them gives the same entries.

    Attributes:
        words: as the user wrote them, as the file system's bytes.
        choices: what the user says of them.
    """

    words: tuple[bytes, ...]
    choices: Choices = Choices()

    def __iter__(self) -> Iterator[Entry]:
        for word in self.words:
            yield from _read(word, self.choices)

    def check(self) -> None:
        """Raise EmptySourceError where a source holds no entry, JobError where there is none of that name."""
        for word in self.words:
            if next(_read(word, self.choices), None) is None:
                raise EmptySourceError(_empty(word))


def _read(word: bytes, choices: Choices) -> Iterator[Entry]:
    if os.path.isdir(word):  # noqa: PTH112, names are bytes
        return folder.entries(word)
    if not os.path.lexists(word):
        if pattern.MAGIC(word):
            return _matches(word, choices)
        raise JobError(f"{os.fsdecode(word)} must be a folder, a file or a pattern, there is none")
    read = _reader(word, LISTS) or _reader(word, HOLDERS)
    return read(word, choices) if read else iter([file_entry(word, os.path.basename(word))])  # noqa: PTH119


def _matches(word: bytes, choices: Choices) -> Iterator[Entry]:
    """What a pattern matches; a text beside images is a label or a note more often than a list, and is no image."""
    for path, relative in pattern.paths(word):
        read = _reader(path, HOLDERS)
        if read:
            yield from read(path, choices)
        else:
            yield file_entry(path, relative)


def _reader(path: bytes, by_suffix: Mapping[tuple[bytes, ...], Read]) -> Read | None:
    return next((read for suffixes, read in by_suffix.items() if path.lower().endswith(suffixes)), None)


def _empty(word: bytes) -> str:
    text = os.fsdecode(word)
    if os.path.isdir(word):  # noqa: PTH112
        suffixes = " ".join(os.fsdecode(suffix) for suffix in folder.SUFFIXES)
        return f"{text} must hold an image ({suffixes}), it holds none"
    return f"{text} must name an image, it names none"
