"""Which models the server knows, which of them answer, and who is told when that changes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

from pipelines.errors import DrainingError, ModelNotReadyError, UnknownModelError
from serving.served import ServedModel

LOADING, UNLOADED = "loading", "unloaded"


@dataclass(frozen=True)
class ModelStatus:
    """One known model version.

    Attributes:
        name: of the model.
        version: of the model.
        task: of its head; empty where its manifest was not read.
        reason: why it does not answer; empty where it does.
    """

    name: str
    version: int
    task: str = ""
    reason: str = LOADING

    @property
    def ready(self) -> bool:
        """Whether it answers."""
        return not self.reason


class Catalog:
    """The known model versions; it belongs to one event loop and is written by the parts that load and judge models.

    Attributes:
        draining: set once no new request is answered.
        changed: set at the next change; after it another event stands here.
    """

    def __init__(self) -> None:
        self.draining = asyncio.Event()
        self._statuses: dict[tuple[str, int], ModelStatus] = {}
        self._served: dict[tuple[str, int], ServedModel] = {}
        self._newest: dict[str, int] = {}
        self._settled = False
        self.changed = asyncio.Event()

    def statuses(self) -> tuple[ModelStatus, ...]:
        """Every known model version, by name, then version."""
        return tuple(self._statuses[key] for key in sorted(self._statuses))

    def is_wanted(self, name: str, version: int) -> bool:
        """Whether a version is known and was not unloaded: it answers, is being loaded, or is out for a fault."""
        status = self._statuses.get((name, version))
        return status is not None and status.reason != UNLOADED

    def find(self, name: str, version: int) -> ServedModel:
        """The model version that answers (0: the newest ready); raises why none does."""
        if self.draining.is_set():
            raise DrainingError("the server is stopping")
        served = self._served.get((name, version or self._newest.get(name, 0)))
        if served is not None:
            return served
        versions = [known for model, known in sorted(self._statuses) if model == name]
        if not versions:
            raise UnknownModelError(f"no model is called {name[:64]!r}")
        if version and version not in versions:
            raise UnknownModelError(f"version of {name} must be among {versions} or 0, got {version}")
        wanted = version or versions[-1]
        raise ModelNotReadyError(f"{name} version {wanted} is not ready: {self._statuses[name, wanted].reason}")

    def labels(self, name: str, version: int) -> tuple[str, str]:
        """Model and version as metric labels: what is not known never becomes a label."""
        version = version or self._newest.get(name, 0)
        if (name, version) in self._statuses:
            return name, str(version)
        return (name if self._knows(name) else "_unknown"), ""

    def is_serving(self, name: str) -> bool | None:
        """Whether a model (any version of it), or the server where ``name`` is empty, answers; ``None``: not known.

        The server answers once each model was tried and at least one is ready: a broken model must not take the others
        out of rotation.
        """
        if self.draining.is_set():
            return False if not name or self._knows(name) else None
        if not name:
            return self._settled and bool(self._served)
        return name in self._newest if self._knows(name) else None

    async def states(self, name: str) -> AsyncIterator[bool | None]:
        """``is_serving(name)`` now and at each change, until the server drains."""
        last: bool | str | None = "none yet"
        while True:
            changed, draining = self.changed, self.draining.is_set()
            if (state := self.is_serving(name)) != last:
                last = state
                yield state
            if draining:
                return
            await changed.wait()

    def put_status(self, status: ModelStatus) -> None:
        """Know of a model version that does not answer, from now on where it did."""
        self._statuses[status.name, status.version] = status
        self._take_out(status.name, status.version)
        self._announce()

    def put_ready(self, served: ServedModel) -> None:
        """Let a loaded model version answer, in the place of whatever answered under its name and version."""
        name, version = served.name, served.version
        self._statuses[name, version] = ModelStatus(name, version, served.task, "")
        self._served[name, version] = served
        self._newest[name] = max(version, self._newest.get(name, 0))
        self._announce()

    def remove(self, name: str, version: int) -> None:
        """Know nothing of a model version any more."""
        self._statuses.pop((name, version), None)
        self._take_out(name, version)
        self._announce()

    def settle(self) -> None:
        """Every model was tried once."""
        self._settled = True
        self._announce()

    def drain(self) -> None:
        """Answer no new request; final."""
        self.draining.set()
        self._announce()

    def _take_out(self, name: str, version: int) -> None:
        self._served.pop((name, version), None)
        left = [number for model, number in self._served if model == name]
        if left:
            self._newest[name] = max(left)
        else:
            self._newest.pop(name, None)

    def _knows(self, name: str) -> bool:
        return any(model == name for model, _ in self._statuses)

    def _announce(self) -> None:
        self.changed.set()
        self.changed = asyncio.Event()
