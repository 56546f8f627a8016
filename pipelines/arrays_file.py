"""Named arrays from an ``.npz`` file."""

from __future__ import annotations

import threading
import zlib
from pathlib import Path
from zipfile import BadZipFile, ZipFile

import numpy as np

from pipelines.errors import PackageError
from pipelines.types import AnyArray

# NumPy parses each array's head as a Python expression, and CPython 3.11 before 3.11.8 now and then ends that with a
# SystemError where two threads do it at once (python/cpython#106905): models are loaded side by side.
_one_reads = threading.Lock()
# Of all arrays of a file, unpacked; the largest of a published package have 1 MB.
MAX_BYTES = 512 * 1024 * 1024
# A zip that is damaged, encrypted or packed in a way of its own, and an array whose head promises more than there is.
_UNREADABLE = (OSError, ValueError, EOFError, MemoryError, RuntimeError, BadZipFile, zlib.error)


def read_arrays(path: Path, *, what: str) -> dict[str, AnyArray]:
    """Every array of the file, by name; raises PackageError, which says that it is not ``what``."""
    try:
        with _one_reads, path.open("rb") as file, ZipFile(file) as entries:
            size = sum(entry.file_size for entry in entries.infolist())  # no more is ever unpacked
            if size > MAX_BYTES:
                raise PackageError(f"{path} must hold at most {MAX_BYTES:,} bytes of arrays, it holds {size:,}")
            file.seek(0)
            with np.load(file, allow_pickle=False) as archive:
                arrays = {name: archive[name] for name in archive.files}
    except _UNREADABLE as error:
        raise PackageError(f"{path} is not {what}: {error}") from error
    if strangers := [name for name, values in arrays.items() if not isinstance(values, np.ndarray)]:
        raise PackageError(f"{path} is not {what}: {strangers[0][:64]!r} is no array")
    return arrays
