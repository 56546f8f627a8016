"""Formats of a job's results: one file each, all written from the rows in order."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from serving.batch.errors import JobError
from serving.batch.writers.base import Target, Writer
from serving.batch.writers.coco import CocoResults
from serving.batch.writers.embeddings import Embeddings
from serving.batch.writers.jsonl import ErrorLines, ResultLines
from serving.batch.writers.masks import MaskImages, MaskRuns
from serving.batch.writers.parquet import ParquetRows
from serving.batch.writers.table import Table
from serving.batch.writers.yolo_txt import YoloTexts

EVERY_TASK = ("classification", "detection", "embedding", "segmentation")


@dataclass(frozen=True)
class Format:
    """A format: what opens it, and the tasks whose results it can hold (``None``: any)."""

    open: Callable[[Target], Writer]
    tasks: tuple[str, ...] | None


FORMATS: Mapping[str, Format] = {
    "jsonl": Format(ResultLines, None),
    "parquet": Format(ParquetRows, None),
    "csv": Format(Table, EVERY_TASK),
    "coco": Format(CocoResults, ("detection",)),
    "yolo": Format(YoloTexts, ("detection",)),
    "masks-png": Format(MaskImages, ("detection", "segmentation")),
    "masks-rle": Format(MaskRuns, ("detection", "segmentation")),
    "embeddings": Format(Embeddings, ("embedding",)),
}


def check_formats(names: Sequence[str], task: str) -> None:
    """Raise JobError where a format is unknown or cannot hold results of ``task``."""
    for name in names:
        if name not in FORMATS:
            raise JobError(f"format must be one of {', '.join(FORMATS)}, got {name!r}")
        tasks = FORMATS[name].tasks
        if tasks is not None and task not in tasks:
            raise JobError(f"format {name} holds results of {' and '.join(tasks)}, the model's task is {task}")


__all__ = ["FORMATS", "ErrorLines", "Format", "Target", "Writer", "check_formats"]
