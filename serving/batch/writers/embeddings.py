"""``embeddings.npy`` ``(N, D)`` float32 and ``embeddings.csv``, which names the image of each row."""

from __future__ import annotations

import csv
import io

import numpy as np

from serving.batch.outcome import Row
from serving.batch.writers.base import Target, utf8

# numpy's format, version 1: magic, version, length, then a header padded to a multiple of 64; ours has a fixed length,
# so that it can be written last, when the number of rows is known.
_HEADER_BYTES = 128


class Embeddings:
    """Vectors one after the other, in the order of the rows."""

    def __init__(self, target: Target) -> None:
        self._vectors = (target.folder / "embeddings.npy").open("wb")
        self._vectors.write(bytes(_HEADER_BYTES))
        self._file = (target.folder / "embeddings.csv").open(
            "w", encoding="utf-8", errors="backslashreplace", newline=""
        )
        self._csv = csv.writer(self._file, lineterminator="\n")
        self._csv.writerow(("row", "index", "source", "sha256"))
        self._count = self._dim = 0

    def write(self, row: Row) -> None:
        """Append a vector; JSON's numbers are float32 to the last bit."""
        vector = np.array(row.result["vector"], np.float32)
        self._vectors.write(vector.tobytes())
        self._csv.writerow((self._count, row.index, utf8(row.entry.text), row.outcome.sha256))
        self._count, self._dim = self._count + 1, len(vector)

    def close(self) -> None:
        """Complete the files."""
        self._vectors.seek(0)
        self._vectors.write(_header(self._count, self._dim))
        self._vectors.close()
        self._file.close()


def _header(count: int, dim: int) -> bytes:
    stream = io.BytesIO()
    fields = {"descr": "<f4", "fortran_order": False, "shape": (count, dim)}
    np.lib.format.write_array_header_1_0(stream, fields)
    data = stream.getvalue()
    assert len(data) == _HEADER_BYTES  # two numbers of up to 20 digits fit numpy's padding
    return data
