"""What a run says while it runs: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from export.training.journal import Row


class Progress(Protocol):
    """Where a run reports to."""

    def line(self, text: str) -> None:
        """Say something that stays."""
        ...

    def step(self, done: int, total: int, text: str) -> None:
        """Say how far the run is."""
        ...


class Lines:
    """Plain lines through ``say``; steps are not told, epochs are."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say

    def line(self, text: str) -> None:
        """Say something that stays."""
        self._say(text)

    def step(self, done: int, total: int, text: str) -> None:
        """Nothing: a file would fill with bars."""


class Bar:
    """A bar of rich."""

    def __init__(self, bar: Any, task: Any) -> None:
        self._bar, self._task = bar, task

    def line(self, text: str) -> None:
        """Print above the bar."""
        self._bar.console.print(text, highlight=False, markup=False)

    def step(self, done: int, total: int, text: str) -> None:
        """Move the bar."""
        self._bar.update(self._task, completed=done, total=total, description=text)


@contextmanager
def progress(say: Callable[[str], None]) -> Iterator[Progress]:
    """A bar where stdout is a terminal, else lines through ``say``."""
    if not sys.stdout.isatty():
        yield Lines(say)
        return
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars

    with Bars(TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()) as bars:
        yield Bar(bars, bars.add_task("starting", total=None))


def describe(row: Row, *, epochs: int) -> str:
    """One row as a line: ``epoch 3/20  loss 0.1234  top1 0.9876``."""
    hidden = ("epoch", "step", "seconds", "learning_rate")
    shown = [f"{name} {value:.4f}" for name, value in row.items() if name not in hidden and "/" not in name]
    return "  ".join([f"epoch {row['epoch']}/{epochs}", *shown, f"({row['seconds']:.1f} s)"])
