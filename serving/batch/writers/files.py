"""Names of the files that a format makes for each image."""

from __future__ import annotations

import os
from pathlib import Path

from serving.batch.outcome import Row


def place(folder: Path, row: Row, suffix: str) -> Path:
    """A path inside ``folder`` that nothing has yet, its folders made: the image's own path with another suffix.

    Where two images have one (``a.jpg`` and ``a.png``), or the name is too long, the later is named by its index, too.
    """
    relative = os.fsdecode(row.entry.relative) or "image"
    stem = os.path.splitext(relative)[0]  # noqa: PTH122, a name may be any bytes
    for name in (f"{stem}{suffix}", f"{relative}{suffix}", f"{stem}-{row.index}{suffix}"):
        path = folder / name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            if not os.path.lexists(path):
                return path
        except OSError:  # a file where a folder should be, a name that got too long
            continue
    return folder / f"{row.index:012}{suffix}"
