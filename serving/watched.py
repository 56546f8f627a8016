"""A session that knows how long each of its runs has been under way, and can end those that take too long."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any

from pipelines.session import GraphSession, RunControl
from pipelines.types import AnyArray


class WatchedSession:
    """Passes everything on to a session; ``run`` may be called from several threads at once.

    Attributes:
        inputs: of the session.
        outputs: of the session.
        graph_outputs: of the session.
        provider: of the session.
    """

    def __init__(self, session: GraphSession) -> None:
        self.inputs, self.outputs, self.provider = session.inputs, session.outputs, session.provider
        self.graph_outputs = session.graph_outputs
        self._session = session
        # By thread; one entry is set or taken at a time, which needs no lock.
        self._runs: dict[int, tuple[float, RunControl]] = {}

    def run(
        self, feeds: Mapping[str, AnyArray], *, outputs: Sequence[str] | None = None, control: RunControl | None = None
    ) -> dict[str, AnyArray]:
        """Run a batch as the session does, and raise what it raises."""
        control = control or RunControl()
        thread = threading.get_ident()
        self._runs[thread] = (time.monotonic(), control)
        try:
            return self._session.run(feeds, outputs=outputs, control=control)
        finally:
            self._runs.pop(thread, None)

    def hung(self, longer_than_s: float) -> list[RunControl]:
        """The runs that have been under way for longer than that."""
        latest = time.monotonic() - longer_than_s
        return [control for since, control in tuple(self._runs.values()) if since < latest]

    def close(self) -> None:
        """Free the graph."""
        self._session.close()

    def __getattr__(self, name: str) -> Any:
        """Whatever else the session offers."""
        return getattr(self._session, name)
