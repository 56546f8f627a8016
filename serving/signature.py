"""What the files of a package look like from outside: whether they changed, and whether all are there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TypeAlias

from pipelines.manifest import MANIFEST_FILE

# Each file's path in the package, size in bytes, time of its last change in nanoseconds, and inode.
Signature: TypeAlias = tuple[tuple[str, int, int, int], ...]


def signature_of(folder: Path) -> Signature:
    """Stat every file of a package folder; empty where there is none.

    A file that vanishes while the folder is walked is left out: the next look will differ.
    """
    found = []
    for path in sorted(folder.rglob("*")):
        try:
            seen = path.stat()
        except OSError:
            continue
        if path.is_file():
            found.append((path.relative_to(folder).as_posix(), seen.st_size, seen.st_mtime_ns, seen.st_ino))
    return tuple(found)


def is_whole(folder: Path) -> bool:
    """Whether a package's manifest can be read and each file that it lists is there, those of its members, too.

    It says nothing of their contents, which loading compares with their checksums.
    """
    try:
        manifest = json.loads((folder / MANIFEST_FILE).read_bytes())
        head = manifest["head"]
        members = [head["detector"]["folder"], head["second"]["folder"]] if head["task"] == "cascade" else []
        return all((folder / name).is_file() for name in manifest["files"]) and all(
            is_whole(folder / member) for member in members
        )
    except (OSError, ValueError, KeyError, TypeError):
        return False
