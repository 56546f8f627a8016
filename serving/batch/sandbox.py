"""A process of its own for contents that a process died on: should it die, too, the content is to blame."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from dataclasses import dataclass
from multiprocessing import Pipe
from pathlib import Path
from typing import Self

from pipelines.errors import OcellaError
from pipelines.options import PredictOptions
from serving.batch.content import Content
from serving.batch.draw import Overlays
from serving.batch.errors import JobError
from serving.batch.outcome import Outcome


class ProcessDiedError(OcellaError):
    """A process that worked on one image alone died."""


@dataclass(frozen=True)
class Order:
    """What the process is to load.

    Attributes:
        package: folder.
        options: of every prediction.
        overlays: where results are drawn; ``None``: nowhere.
    """

    package: Path
    options: PredictOptions
    overlays: Overlays | None


class Sandbox:
    """A context manager; its process starts with the first content, and anew after each death."""

    def __init__(self, order: Order) -> None:
        self._order = order
        self._lock = asyncio.Lock()
        self._child: _Child | None = None

    async def compute(self, content: Content) -> Outcome:
        """The outcome of a content, computed alone; raises ProcessDiedError where the process dies of it, JobError."""
        async with self._lock:
            answer = await asyncio.to_thread(self._ask, content)
        if isinstance(answer, Outcome):
            return answer
        raise answer

    def _ask(self, content: Content) -> Outcome | OcellaError:
        child = self._child = self._child or _Child(self._order)
        try:
            return child.ask(content)
        except (EOFError, ConnectionError):
            self._child = None
            return ProcessDiedError(f"a process that worked on this image alone died of {child.cause()}")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._child:
            self._child.close()


class _Child:
    """The process, seen from outside."""

    def __init__(self, order: Order) -> None:
        """Start it and wait until it has loaded the package; raises JobError where it does not."""
        self._pipe, theirs = Pipe()
        command = [sys.executable, "-m", "serving.batch.sandbox_child", str(theirs.fileno())]
        self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, pass_fds=[theirs.fileno()])
        theirs.close()
        try:
            self._pipe.send(order)
            problem = self._pipe.recv()
        except (EOFError, ConnectionError):
            problem = f"it died of {self.cause()}"
        if problem:
            self.close()
            raise JobError(f"{order.package} must load in a second process, for images on which one died: {problem}")

    def ask(self, content: Content) -> Outcome | JobError:
        """Let it compute; raises EOFError or ConnectionError where it dies."""
        self._pipe.send(content)
        answer: Outcome | JobError = self._pipe.recv()
        return answer

    def cause(self) -> str:
        """What it died of: a signal, or how it left."""
        self._pipe.close()
        code = self._process.wait()
        return signal.Signals(-code).name if code < 0 else f"exit code {code}"

    def close(self) -> None:
        """End it, whatever it does: it keeps nothing."""
        self._process.kill()
        self._process.wait()
        self._pipe.close()
