"""The classification extension: the best entries of an output's rows, as text."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pipelines.errors import InvalidRequestError
from serving.oip.tensors import BYTES, Tensor


def best_entries(tensor: Tensor, classes: int, labels: Sequence[str]) -> Tensor:
    """Of each row of ``(N, ...)`` the ``classes`` largest values, as BYTES ``(N, K)`` ``score:index:label``.

    Ties go to the lower index; the label and its colon are left out where ``labels`` are not one an index.

    Raises InvalidRequestError where the output holds no numbers.
    """
    if tensor.datatype == BYTES or tensor.array.ndim == 0:
        raise InvalidRequestError(f"classification of {tensor.name!r} must be of rows of numbers, it is {BYTES}")
    rows = tensor.array.reshape(len(tensor.array), -1)
    named = len(labels) == rows.shape[1]
    best = np.argsort(-rows.astype(np.float64), axis=1, kind="stable")[:, :classes]
    entries = np.empty(best.shape, object)
    for row, (indices, values) in enumerate(zip(best, rows, strict=True)):
        for place, index in enumerate(indices.tolist()):
            label = f":{labels[index]}" if named else ""
            entries[row, place] = f"{float(values[index]):f}:{index}{label}".encode()
    return Tensor(tensor.name, BYTES, entries)
