"""Images that a list names: text (one path a line), CSV or Parquet (one path a row)."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator, Sequence

from pipelines.errors import MissingExtraError
from serving.batch.entry import Entry, failing_entry, file_entry, portable
from serving.batch.errors import JobError

COLUMNS = ("path", "file_name", "filename", "file", "image")
_ROWS_AT_ONCE = 1024


def text(path: bytes) -> Iterator[Entry]:
    """One path a line, relative to the list's folder; empty lines are left out, nothing is a comment."""
    with open(path, "rb") as lines:  # noqa: PTH123, names are bytes
        for line in lines:
            name = line.rstrip(b"\r\n")
            if name.strip():
                yield _entry(path, name)


def comma_separated(path: bytes, column: str | None) -> Iterator[Entry]:
    """The paths of one column of a CSV file with a header; quoted names may hold newlines."""
    with open(path, encoding="utf-8-sig", errors="surrogateescape", newline="") as file:  # noqa: PTH123
        rows = csv.reader(file)
        try:
            header = next(rows, [])
            place = header.index(_chosen(header, column, path))
            for row in rows:
                if row:
                    yield _entry(path, os.fsencode(row[place]) if place < len(row) else b"")
        except csv.Error as error:
            raise JobError(f"{os.fsdecode(path)} must be a CSV file, line {rows.line_num}: {error}") from error


def parquet(path: bytes, column: str | None) -> Iterator[Entry]:
    """The paths of one column of a Parquet file, read a thousand rows at a time. Raises MissingExtraError."""
    try:
        import pyarrow as pa
        from pyarrow import parquet as format_
    except ImportError as missing:
        raise MissingExtraError("a Parquet list needs pyarrow: pip install 'ocella[data]'") from missing
    try:
        with format_.ParquetFile(os.fsdecode(path)) as file:
            chosen = _chosen(file.schema_arrow.names, column, path)
            for batch in file.iter_batches(batch_size=_ROWS_AT_ONCE, columns=[chosen]):
                for value in batch.column(0).to_pylist():
                    yield _entry(path, value if isinstance(value, bytes) else os.fsencode(str(value or "")))
    except pa.ArrowException as error:
        raise JobError(f"{os.fsdecode(path)} must be a Parquet file: {error}") from error


def _entry(listing: bytes, name: bytes) -> Entry:
    if not name or b"\0" in name:
        return failing_entry(name or b"(empty)", OSError(22, "a list must name a file in each row"))
    return file_entry(os.path.join(os.path.dirname(listing), name), portable(name))  # noqa: PTH118, PTH120


def _chosen(columns: Sequence[str], column: str | None, path: bytes) -> str:
    wanted = [column] if column else COLUMNS
    found = next((name for name in wanted if name in columns), None)
    if found is None:
        raise JobError(
            f"{os.fsdecode(path)} must have a column {' or '.join(wanted)}"
            f"{'' if column else ' (or --column NAME)'}, it has {', '.join(columns) or 'none'}"
        )
    return found
