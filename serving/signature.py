"""What the files of a package look like from outside: whether they changed, and whether all are there."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import TypeAlias

from pipelines.errors import ManifestError
from pipelines.manifest import read_raw_manifest

# Each file's path in the package, size in bytes, time of its last change in nanoseconds, and inode.
Signature: TypeAlias = tuple[tuple[str, int, int, int], ...]


def signature_of(folder: Path) -> Signature:
    """Stat every file of a package folder; empty where there is none.

    What vanishes while the folder is walked, or may not be read, is left out: the next look will differ.
    """
    found = []
    for place, _, names in os.walk(folder):
        for name in names:
            path = Path(place, name)
            try:
                seen = path.stat()
            except OSError:
                continue
            if stat.S_ISREG(seen.st_mode):
                found.append((path.relative_to(folder).as_posix(), seen.st_size, seen.st_mtime_ns, seen.st_ino))
    return tuple(sorted(found))


def is_whole(folder: Path) -> bool:
    """Whether a package's manifest can be read and each file that it lists is there, those of its members, too.

    It says nothing of their contents, which loading compares with their checksums.
    """
    try:
        manifest = read_raw_manifest(folder)
        head = manifest["head"]
        members = [head["detector"]["folder"], head["second"]["folder"]] if head["task"] == "cascade" else []
        return all((folder / name).is_file() for name in manifest["files"]) and all(
            is_whole(folder / member) for member in members
        )
    except (ManifestError, OSError, ValueError, KeyError, TypeError, RecursionError):  # the last: a member of itself
        return False
