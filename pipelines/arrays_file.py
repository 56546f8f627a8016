"""Named arrays from an ``.npz`` file."""

from __future__ import annotations

import threading
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from pipelines.errors import PackageError
from pipelines.types import AnyArray

# NumPy parses each array's head as a Python expression, and CPython 3.11 before 3.11.8 now and then ends that with a
# SystemError where two threads do it at once (python/cpython#106905): models are loaded side by side.
_one_reads = threading.Lock()


def read_arrays(path: Path, *, what: str) -> dict[str, AnyArray]:
    """Every array of the file, by name; raises PackageError, which says that it is not ``what``."""
    try:
        with _one_reads, path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except (OSError, ValueError, EOFError, BadZipFile) as error:
        raise PackageError(f"{path} is not {what}: {error}") from error
