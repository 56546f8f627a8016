"""How far a job is: a bar on a terminal, a plain line now and then elsewhere."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

from serving.batch.tally import Tally
from serving.batch.total import Total

PLAIN_EVERY_S = 10.0
BAR_EVERY_S = 0.2


@contextmanager
def shown(tally: Tally, total: Total, stream: TextIO, *, every_s: float = PLAIN_EVERY_S) -> Iterator[None]:
    """Show ``tally`` on ``stream`` while the block runs: on a terminal as a bar, else in a line every ``every_s``."""
    stop = threading.Event()
    show = _bar if stream.isatty() else _lines
    thread = threading.Thread(target=show, args=(tally, total, stream, stop, every_s), name="progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def line(tally: Tally, total: int | None, elapsed_s: float) -> str:
    """Images, errors, rate and time left in one line."""
    rate = tally.rows / elapsed_s if elapsed_s > 0 else 0.0
    of = f" of {total:,}" if total is not None else ""
    left = f", {_duration((total - tally.rows) / rate)} left" if total is not None and rate else ""
    return f"{tally.rows:,}{of} images, {tally.failed:,} failed, {rate:,.1f} images/s{left}"


def _lines(tally: Tally, total: Total, stream: TextIO, stop: threading.Event, every_s: float) -> None:
    start = time.monotonic()
    while not stop.wait(every_s):
        stream.write(line(tally, total.rows, time.monotonic() - start) + "\n")
        stream.flush()


def _bar(tally: Tally, total: Total, stream: TextIO, stop: threading.Event, _: float) -> None:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]:,.1f} images/s"),
        TextColumn("[red]{task.fields[failed]:,} failed"),
        TimeRemainingColumn(),
    )
    start = time.monotonic()
    with Progress(*columns, console=Console(file=stream), transient=True) as progress:
        task = progress.add_task("", total=None, rate=0.0, failed=0)
        running = True
        while running:
            running = not stop.wait(BAR_EVERY_S)
            rate = tally.rows / max(1e-9, time.monotonic() - start)
            progress.update(task, completed=tally.rows, total=total.rows, rate=rate, failed=tally.failed)


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
