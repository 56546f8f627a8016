"""Which models there are on a cluster and which answer, and who is told when that changes."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Self

from serving.catalog import LOADING

# The last line of a traceback, as Ray hands it on.
_RAISED = re.compile(r"^[\w.]*(?:Error|Exception): (.+)$", re.MULTILINE)


@dataclass(frozen=True)
class State:
    """One model's deployment.

    Attributes:
        replicas: that take requests.
        settled: its replicas were tried once.
        reason: why no request to it is answered; empty where one is, be it that the request must wait for a replica.
    """

    replicas: int = 0
    settled: bool = False
    reason: str = LOADING

    @classmethod
    def of(cls, status: str, *, replicas: int, message: str) -> Self:
        """What Ray's controller says in its own words: a deployment that is well has no replica while none is asked."""
        settled = replicas > 0 or status != "UPDATING"
        if replicas or status == "HEALTHY":
            return cls(replicas, settled, "")
        return cls(0, settled, _reason(message) if settled else LOADING)

    @property
    def answers(self) -> bool:
        """Whether a request is answered."""
        return not self.reason


class Standing:
    """What is known of each model; it belongs to one event loop."""

    def __init__(self) -> None:
        self._states: Mapping[str, State] = {}
        self._changed = asyncio.Event()
        self._ended = False

    def put(self, states: Mapping[str, State]) -> None:
        """The models that there are now."""
        if states != self._states:
            self._states = dict(states)
            self._announce()

    def of(self, model: str) -> State | None:
        """One model; ``None``: there is none of that name."""
        return self._states.get(model)

    def all(self) -> Mapping[str, State]:
        """Every model, by name."""
        return self._states

    def is_serving(self, name: str) -> bool | None:
        """Whether a model, or the server where ``name`` is empty, answers; ``None``: not known."""
        if not name:
            states = self._states.values()
            return not self._ended and all(one.settled for one in states) and any(one.answers for one in states)
        state = self._states.get(name)
        return None if state is None else state.answers and not self._ended

    async def states(self, name: str) -> AsyncIterator[bool | None]:
        """``is_serving(name)`` now and at each change, until the end."""
        last: bool | str | None = "none yet"
        while True:
            changed, ended = self._changed, self._ended
            if (state := self.is_serving(name)) != last:
                last = state
                yield state
            if ended:
                return
            await changed.wait()

    def end(self) -> None:
        """Let those who watch go; nothing answers any more."""
        self._ended = True
        self._announce()

    def _announce(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()


def _reason(message: str) -> str:
    """One line of what Ray says of a failure: the error that our code raised, where there is one."""
    raised = _RAISED.findall(message)
    return str(raised[-1]) if raised else message.partition("\n")[0] or "its replicas do not start"
