"""A copy of a gallery while it is in use: whole, checked, in place at once."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from pipelines.errors import GalleryError
from serving.gallery.database import GALLERY_FILE
from serving.gallery.store import Store


def back_up(folder: Path, target: Path) -> Path:
    """Copy the gallery in ``folder`` into the new folder ``target``; returns the file.

    The copy is one consistent state, by SQLite's backup: writers wait for no longer than a write of their own takes.
    It is opened and checked like any gallery before it gets its name.

    Raises GalleryError where ``target`` has a gallery, or the original or the copy is damaged.
    """
    file = target / GALLERY_FILE
    if file.exists():
        raise GalleryError(f"{target} must not hold a gallery yet, there is one in it")
    target.mkdir(mode=0o700, parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".backup-", dir=target) as temporary, Store(folder, None) as store:
        copy = Path(temporary) / GALLERY_FILE
        os.close(os.open(copy, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
        store.copy_to(copy)
        with Store(Path(temporary), None) as checked:
            checked.rows()
        _to_disk(copy)
        copy.rename(file)
    return file


def _to_disk(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
