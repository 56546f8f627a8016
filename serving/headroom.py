"""Whether there is room for a load: on the machine, and on the card that the model would run on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from pipelines.session import CUDA, TENSORRT, available_providers
from serving.accelerators import Cuda, TensorRt
from serving.card_memory import Card, card_now, check_card, grown
from serving.deploy import Runtime
from serving.memory import MIB, available_bytes, check_room, graph_bytes, needed_bytes, resident_bytes
from serving.repository import Candidate


@dataclass(frozen=True)
class Held:
    """What is held at one moment.

    Attributes:
        host: bytes of the machine's memory, by this process.
        card: that the model runs on; ``None`` where it runs on none, or nothing tells of it.
    """

    host: int
    card: Card | None


@dataclass(frozen=True)
class Taken:
    """What a load took.

    Attributes:
        host: bytes of the machine's memory; negative where others freed more beside it.
        card: bytes of the card's; ``None`` where nothing tells.
    """

    host: int
    card: int | None


class Headroom:
    """Remembers what loads took, since the size of a file seldom tells what its runs take."""

    def __init__(self, *, budget_mb: int | None, shared: bool) -> None:
        """Know of no load yet.

        Args:
            budget_mb: MiB that this process may hold; ``None``: as much as there is.
            shared: other processes of the server load beside this one.
        """
        self._budget = None if budget_mb is None else budget_mb * MIB
        self._shared = shared
        self._taken: dict[tuple[str, int], Taken] = {}

    def check(self, candidate: Candidate) -> Held:
        """What is held before a load; it reads files and may take a moment.

        Raises MemoryShortageError where the load does not fit, OSError where the package cannot be read.
        """
        held = held_now(candidate)
        check_room(self._on_host(candidate), available=available_bytes(), resident=held.host, budget=self._budget)
        if held.card is not None:
            check_card(self._on_card(candidate), held.card)
        return held

    def note(self, candidate: Candidate, before: Held, after: Held) -> Taken:
        """Remember what a load took that was alone."""
        on_card = None
        if before.card is not None and after.card is not None:
            on_card = grown(before.card, after.card, shared=self._shared)
        taken = self._taken[candidate.name, candidate.version] = Taken(after.host - before.host, on_card)
        return taken

    def _on_host(self, candidate: Candidate) -> int:
        """Bytes that loading will take: as the operator says, or as seen before, or by the size of the files."""
        if candidate.deploy.runtime.memory_mb is not None:
            return candidate.deploy.runtime.memory_mb * MIB
        estimate = needed_bytes(graph_bytes(candidate.folder))
        return max(estimate, self._seen(candidate, lambda taken: taken.host))

    def _on_card(self, candidate: Candidate) -> int:
        """As ``_on_host``; the size of the files is a least, since a card holds the weights once or more."""
        if candidate.deploy.runtime.gpu_memory_mb is not None:
            return candidate.deploy.runtime.gpu_memory_mb * MIB
        return max(graph_bytes(candidate.folder), self._seen(candidate, lambda taken: taken.card or 0))

    def _seen(self, candidate: Candidate, bytes_of: Callable[[Taken], int]) -> int:
        """What an earlier load of the version took, or else the most that one of another version took."""
        own = self._taken.get((candidate.name, candidate.version))
        others = [bytes_of(taken) for (name, _), taken in self._taken.items() if name == candidate.name]
        return (bytes_of(own) if own else 0) or max(others, default=0)


def held_now(candidate: Candidate) -> Held:
    """What is held on the machine, and on the card that a candidate would run on."""
    device = device_of(candidate.deploy.runtime)
    return Held(resident_bytes(), None if device is None else card_now(device))


def device_of(runtime: Runtime) -> int | None:
    """The CUDA device that a model would run on; ``None``: on none."""
    usable = [name for name in runtime.providers if name in available_providers()]
    if usable[:1] == [CUDA]:
        return (runtime.cuda or Cuda()).device_id
    if usable[:1] == [TENSORRT]:
        return (runtime.tensorrt or TensorRt()).device_id
    return None
