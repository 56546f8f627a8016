"""Formats of a job's results: one file each, all written from the rows in order."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from serving.batch.writers.base import Target, Writer
from serving.batch.writers.coco import CocoResults
from serving.batch.writers.embeddings import Embeddings
from serving.batch.writers.jsonl import ErrorLines, ResultLines
from serving.batch.writers.masks import MaskImages, MaskRuns
from serving.batch.writers.parquet import ParquetRows
from serving.batch.writers.table import Table
from serving.batch.writers.yolo_txt import YoloTexts

FORMATS: Mapping[str, Callable[[Target], Writer]] = {
    "jsonl": ResultLines,
    "parquet": ParquetRows,
    "csv": Table,
    "coco": CocoResults,
    "yolo": YoloTexts,
    "masks-png": MaskImages,
    "masks-rle": MaskRuns,
    "embeddings": Embeddings,
}

__all__ = ["FORMATS", "ErrorLines", "Target", "Writer"]
