"""Which results each output format can hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from serving.batch.errors import JobError

EVERY_TASK = ("classification", "detection", "embedding", "segmentation")
ANY_TASK = (*EVERY_TASK, "cascade")
FORMAT_TASKS: Mapping[str, tuple[str, ...]] = {
    "jsonl": ANY_TASK,
    "parquet": ANY_TASK,
    "csv": EVERY_TASK,
    "coco": ("detection",),
    "yolo": ("detection",),
    "masks-png": ("detection", "segmentation"),
    "masks-rle": ("detection", "segmentation"),
    "embeddings": ("embedding",),
}


def check_formats(names: Sequence[str], task: str) -> None:
    """Raise JobError where a format cannot hold results of ``task``."""
    for name in names:
        tasks = FORMAT_TASKS[name]
        if task not in tasks:
            raise JobError(f"format {name} holds results of {' and '.join(tasks)}, the model's task is {task}")
