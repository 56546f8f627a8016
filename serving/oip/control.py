"""Changing a running server as its operator allows: models, shared memory, traces, logs; free of any message."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence

from pipelines.errors import InvalidRequestError, NotAllowedError, NotOfferedError
from serving.catalog import ModelStatus
from serving.lifecycle import Lifecycle
from serving.oip.documents import Document, repository_index
from serving.oip.shared_memory import Region, SharedMemory

NO_CUDA = "CUDA shared memory is not offered: its handles would let a client crash the server; send tensors or images"
NO_SHARED_MEMORY = "shared memory needs a server that was started with --allow-shared-memory"
NO_TRACES = "traces in Triton's own form are not offered, only that they are off"
TRACE_SETTINGS: Mapping[str, Sequence[str]] = {"trace_level": ("OFF",)}
# Each word of the protocol and the level of our log that it lets through, from the rarest line to the most frequent.
_LOG_LEVELS = {
    "log_error": logging.ERROR,
    "log_warning": logging.WARNING,
    "log_info": logging.INFO,
    "log_verbose_level": logging.DEBUG,
}
_SILENT = logging.CRITICAL + 1
_logger = logging.getLogger("serving")


class Control:
    """What an operator may do; ``admin`` says whether callers are allowed to."""

    def __init__(self, lifecycle: Lifecycle, memory: SharedMemory | None, *, admin: bool) -> None:
        """``memory`` is ``None`` where the operator does not allow shared memory."""
        self._lifecycle = lifecycle
        self._memory = memory
        self._admin = admin

    @property
    def memory(self) -> SharedMemory:
        """The registered regions; raises NotAllowedError where shared memory is not allowed."""
        if self._memory is None:
            raise NotAllowedError(NO_SHARED_MEMORY)
        return self._memory

    def index(self, repository: str, *, ready_only: bool) -> list[Document]:
        """Every model version under the folders; raises InvalidRequestError for a repository other than ``""``."""
        _require_one_repository(repository)
        return repository_index(self._lifecycle.index(), ready_only=ready_only)

    def statuses(self) -> tuple[ModelStatus, ...]:
        """Every model version under the folders."""
        return self._lifecycle.index()

    async def load(self, repository: str, name: str, parameters: Iterable[str]) -> None:
        """Bring a model in line with its folder.

        Raises NotAllowedError without ``admin``, NotOfferedError for a model that the request itself would bring,
        UnknownModelError for a name that is not under the folders, ModelNotReadyError where it does not load.
        """
        self._require_admin("loading a model")
        _require_one_repository(repository)
        for parameter in parameters:
            if parameter == "config" or parameter.startswith("file:"):
                raise NotOfferedError(
                    f"{parameter[:64]!r} is not offered: models and their settings come from --models only"
                )
            raise InvalidRequestError(f"loading must have no parameters, got {parameter[:64]!r}")
        await self._lifecycle.load(name)

    async def unload(self, repository: str, name: str, parameters: Iterable[str]) -> None:
        """Let a model answer no new request; raises NotAllowedError, UnknownModelError, InvalidRequestError."""
        self._require_admin("unloading a model")
        _require_one_repository(repository)
        for parameter in parameters:
            if parameter != "unload_dependents":
                raise InvalidRequestError(f"parameters must be among unload_dependents, got {parameter[:64]!r}")
        await self._lifecycle.unload(name)

    def register(self, region: Region) -> None:
        """Know a region of shared memory; raises NotAllowedError, InvalidRequestError."""
        self.memory.register(region)

    def unregister(self, name: str) -> None:
        """Forget a region, or all where ``name`` is empty; raises NotAllowedError."""
        if name:
            self.memory.unregister(name)
        else:
            self.memory.unregister_all()

    def regions(self, name: str) -> Mapping[str, Region]:
        """One region, or all where ``name`` is empty; raises NotAllowedError, InvalidRequestError."""
        regions = self.memory.regions()
        if not name:
            return regions
        if name not in regions:
            raise InvalidRequestError(f"region {name[:64]!r} must be registered, it is not")
        return {name: regions[name]}

    def set_traces(self, settings: Mapping[str, Sequence[str]]) -> Mapping[str, Sequence[str]]:
        """The settings of traces; changing one raises NotAllowedError or NotOfferedError, but for turning them off."""
        if settings:
            self._require_admin("changing traces")
        for name, values in settings.items():
            if values and tuple(values) != TRACE_SETTINGS.get(name):
                raise NotOfferedError(NO_TRACES)
        return TRACE_SETTINGS

    def set_logs(self, settings: Mapping[str, bool | int | str]) -> Mapping[str, bool | int]:
        """Change which lines the server writes, and say which it does.

        Raises NotAllowedError, NotOfferedError for a setting that does not act, InvalidRequestError for a bad value.
        """
        if settings:
            self._require_admin("changing the log")
        lets = _lets_through()
        for name, value in settings.items():
            if name not in lets:
                raise NotOfferedError(f"{name[:64]!r} is not offered: the log goes to standard error, in one form")
            if not isinstance(value, bool | int) or int(value) not in (0, 1):
                raise InvalidRequestError(f"{name} must be 0 or 1, false or true, got {str(value)[:32]!r}")
            lets[name] = bool(value)
        chosen = list(lets.values())
        if chosen != sorted(chosen, reverse=True):
            raise InvalidRequestError(
                f"a level must be on where one behind it in {', '.join(lets)} is, got {dict(lets)}"
            )
        if settings:
            on = [level for name, level in _LOG_LEVELS.items() if lets[name]]
            _logger.setLevel(on[-1] if on else _SILENT)
        return {name: int(on) if name == "log_verbose_level" else on for name, on in lets.items()}

    def _require_admin(self, what: str) -> None:
        if not self._admin:
            raise NotAllowedError(f"{what} needs a server that was started with --admin, or with --tokens")


def _lets_through() -> dict[str, bool]:
    return {name: _logger.isEnabledFor(level) for name, level in _LOG_LEVELS.items()}


def _require_one_repository(name: str) -> None:
    if name:
        raise InvalidRequestError(
            f"repository_name must be empty, the folders of --models are one repository, got {name[:64]!r}"
        )
