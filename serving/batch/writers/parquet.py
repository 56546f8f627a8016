"""``results.parquet``: a row an image, lists of typed values."""

from __future__ import annotations

from typing import Any

from pipelines.errors import MissingExtraError
from serving.batch.outcome import Row
from serving.batch.writers.base import Target, utf8

_ROWS_AT_ONCE = 1000  # in memory, and in one row group: a fixed number, so that equal rows give equal bytes


class ParquetRows:
    """A row an image that has a result, by task: boxes, scores, classes, vector; ``result`` holds the whole as JSON."""

    def __init__(self, target: Target) -> None:
        """Raises MissingExtraError."""
        try:
            import pyarrow as pa
            from pyarrow import parquet
        except ImportError as missing:
            raise MissingExtraError("Parquet output needs pyarrow: pip install 'ocella[data]'") from missing
        self._arrow: Any = pa
        self._schema = pa.schema([*_head_fields(pa), *_task_fields(pa, target.task)])
        self._writer = parquet.ParquetWriter(target.folder / "results.parquet", self._schema)
        self._task = target.task
        self._rows: list[dict[str, Any]] = []

    def write(self, row: Row) -> None:
        """Write a row."""
        height, width = row.outcome.image_hw
        self._rows.append(
            {
                "index": row.index,
                "source": utf8(row.entry.text),
                "sha256": row.outcome.sha256,
                "width": width,
                "height": height,
                "result": row.outcome.result_json,
                **{name: row.entry.details.get(name) for name in ("frame", "time_s")},
                **_task_values(self._task, row.result),
            }
        )
        if len(self._rows) == _ROWS_AT_ONCE:
            self._flush()

    def close(self) -> None:
        """Complete the file."""
        try:
            self._flush()
        finally:
            self._writer.close()

    def _flush(self) -> None:
        self._writer.write_table(self._arrow.Table.from_pylist(self._rows, schema=self._schema))
        self._rows = []


def _head_fields(arrow: Any) -> list[Any]:
    text, number = arrow.string(), arrow.int64()
    return [
        ("index", number),
        ("source", text),
        ("frame", number),
        ("time_s", arrow.float64()),
        ("sha256", text),
        ("width", arrow.int32()),
        ("height", arrow.int32()),
        ("result", text),
    ]


def _task_fields(arrow: Any, task: str) -> list[Any]:
    scored = [
        ("class_ids", arrow.list_(arrow.int64())),
        ("labels", arrow.list_(arrow.string())),
        ("scores", arrow.list_(arrow.float32())),
    ]
    fields = {
        "classification": scored,
        "detection": [*scored, ("boxes", arrow.list_(arrow.list_(arrow.float32(), 4)))],
        "embedding": [("vector", arrow.list_(arrow.float32()))],
        "segmentation": [
            ("class_ids", arrow.list_(arrow.int64())),
            ("pixels", arrow.list_(arrow.int64())),
        ],
    }
    return fields.get(task, [])


def _task_values(task: str, result: dict[str, Any]) -> dict[str, Any]:
    if task == "embedding":
        return {"vector": result["vector"]}
    found = result.get("detections", result.get("classes", []))
    values: dict[str, Any] = {"class_ids": [one["class_id"] for one in found]}
    if task == "segmentation":
        return {**values, "pixels": [one["pixels"] for one in found]}
    values |= {"labels": [one.get("label", "") for one in found], "scores": [one["score"] for one in found]}
    return {**values, "boxes": [one["box"] for one in found]} if task == "detection" else values
