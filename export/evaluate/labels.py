"""Bringing a model's class ids into the data set's numbering, by name."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from export.data.dataset import Dataset, DatasetError
from export.data.mask_folder import FOREGROUND_LABELS
from pipelines.types import AnyArray

MAX_NAMED = 8


class LabelMap:
    """Model class ids to data set class ids; what the data set has not becomes ``none``."""

    def __init__(self, table: NDArray[np.int64], *, none: int) -> None:
        self._table, self._none = table, none

    def __call__(self, class_ids: AnyArray) -> NDArray[np.int64]:
        """Map class ids of any shape."""
        ids = np.asarray(class_ids, np.int64)
        known = (ids >= 0) & (ids < len(self._table))
        return np.where(known, self._table[np.where(known, ids, 0)], self._none)


def match_labels(dataset: Dataset, model_labels: Sequence[str]) -> LabelMap:
    """Match by name; a data set whose labels are whole numbers, and masks of one foreground, by number.

    Raises:
        DatasetError: the data set has a label that the model does not have; both are named.
    """
    labels = dataset.labels
    if not set(labels) <= set(model_labels):
        if labels == FOREGROUND_LABELS and len(model_labels) in (0, 2):
            return _by_number([0, 1])
        numbers = [int(label) for label in labels if label.isascii() and label.isdigit()]
        if len(numbers) == len(labels) and (not model_labels or max(numbers) < len(model_labels)):
            return _by_number(numbers)
        raise DatasetError(_mismatch(dataset, model_labels))
    places = {label: i for i, label in enumerate(labels)}
    return LabelMap(np.array([places.get(label, len(labels)) for label in model_labels], np.int64), none=len(labels))


def _by_number(numbers: Sequence[int]) -> LabelMap:
    """Class id ``numbers[i]`` of the model is ``i`` of the data set."""
    table = np.full(max(numbers) + 1, len(numbers), np.int64)
    table[list(numbers)] = np.arange(len(numbers))
    return LabelMap(table, none=len(numbers))


def _mismatch(dataset: Dataset, model_labels: Sequence[str]) -> str:
    missing = [label for label in dataset.labels if label not in model_labels]
    if not model_labels:
        return f"the model has no class names, so the data's must be its class ids, got {_some(missing)}"
    folded = {label.casefold(): label for label in model_labels}
    near = [f"{label!r} is {folded[label.casefold()]!r} there" for label in missing if label.casefold() in folded]
    hint = f" ({', '.join(near[:3])})" if near else ""
    return (
        f"every class of {dataset.root} must be one of the model's by name: {_some(missing)} of {len(dataset.labels)} "
        f"{'is' if len(missing) == 1 else 'are'} not{hint}; the model's {len(model_labels)} are {_some(model_labels)}"
    )


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - MAX_NAMED} more" if len(names) > MAX_NAMED else ""
    return ", ".join(map(repr, names[:MAX_NAMED])) + more
