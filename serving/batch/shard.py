"""Which entries a process of several takes: decided by an entry's name alone."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

from serving.batch.errors import JobError


@dataclass(frozen=True)
class Shard:
    """Part ``number`` (from 1) of ``count``; the parts share no entry and leave none out."""

    number: int = 1
    count: int = 1

    def __post_init__(self) -> None:
        if not 1 <= self.number <= self.count:
            raise JobError(f"shard must be i/n with i from 1 to n, got {self}")

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"

    def takes(self, name: bytes) -> bool:
        """Whether the entry of this name is ours; equal on every machine, whatever else the sources hold."""
        if self.count == 1:
            return True
        digest = hashlib.sha256(name).digest()
        return int.from_bytes(digest[:8], "big") % self.count == self.number - 1


WHOLE = Shard()


def parse_shard(text: str) -> Shard:
    """Read ``i/n``; raises JobError."""
    match = re.fullmatch(r"([0-9]{1,6})/([0-9]{1,6})", text)
    if match is None:
        raise JobError(f"shard must be i/n, as 1/4, got {text!r}")
    return Shard(int(match[1]), int(match[2]))
