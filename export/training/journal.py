"""The files that a run keeps of its numbers: ``metrics.jsonl``, ``curves.png`` and TensorBoard's events."""

from __future__ import annotations

import json
import time
import uuid
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from export.training.curves import draw_curves

METRICS_FILE, CURVES_FILE, TENSORBOARD = "metrics.jsonl", "curves.png", "tensorboard"
DRAW_EVERY_S = 30.0  # a drawing takes about as long as an epoch of a small model.
Row = Mapping[str, float | int]


class Journal:
    """Writes each epoch's row everywhere; a context manager, since TensorBoard keeps a file open."""

    def __init__(self, out: Path, *, resumed_at: int, active: bool) -> None:
        """``resumed_at``: epochs that are done.

        TensorBoard takes back that one and later ones, of which it may have seen a part: write the rows that are known
        first, since a run that died may not have written its last.

        Only one device of several is ``active``; the others write nothing.
        """
        self._out = out
        self._rows: Sequence[Row] = ()
        self._drawn_at = time.monotonic()
        self._board = _open_board(out / TENSORBOARD, resumed_at) if active else None

    def write(self, rows: Sequence[Row]) -> None:
        """Write all rows up to now, the newest last."""
        if self._board is None:
            return
        self._rows = rows
        write_rows(self._out / METRICS_FILE, rows)
        if time.monotonic() - self._drawn_at > DRAW_EVERY_S:
            self._draw()
        newest = rows[-1]
        for name, value in newest.items():
            self._board.add_scalar(name, value, int(newest["epoch"]))
        self._board.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._board is not None:
            self._board.close()
            if self._rows:
                self._draw()

    def _draw(self) -> None:
        draw_curves(self._out / CURVES_FILE, self._rows)
        self._drawn_at = time.monotonic()


def _open_board(folder: Path, resumed_at: int) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecations inside tensorboard and what it imports.
        from torch.utils.tensorboard import SummaryWriter

        return SummaryWriter(str(folder), purge_step=resumed_at or None)


def write_rows(path: Path, rows: Sequence[Row]) -> None:
    """Write one JSON object a line, in one step: after a resume the file holds no row twice."""
    unfinished = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}")
    unfinished.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    unfinished.replace(path)
