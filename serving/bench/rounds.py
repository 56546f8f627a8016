"""Rounds of loads on one server, each beside the floor of the seconds around it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median

from serving.bench.figures import Figures, beside, figures_of, medians
from serving.bench.floor import Floor
from serving.bench.load import CONNECTIONS, Generator, generator
from serving.bench.messages import Messages
from serving.bench.outcome import Outcome
from serving.bench.schedule import poisson_starts
from serving.bench.scrape import Scrape, scrape

WARM_UP_S = 0.5


@dataclass(frozen=True)
class Closed:
    """So many requests under way at once, each followed by the next."""

    concurrency: int

    @property
    def name(self) -> str:
        """In words."""
        return f"{self.concurrency} concurrent"


@dataclass(frozen=True)
class Open:
    """Requests at random moments, ``rate`` a second, whatever became of those before."""

    rate: float
    seed: int = 0

    @property
    def name(self) -> str:
        """In words."""
        return f"{self.rate:g}/s arriving"


Load = Closed | Open


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is measured.

    Attributes:
        messages: the requests.
        loads: measured one after the other in each round.
        duration_s: of one load in one round.
        rounds: medians are taken over so many.
        timeout_s: deadline of each request; ``None``: none.
        http: the server's ``host:port`` of metrics; ``None``: its own figures are not measured.
        connections: of the generator.
    """

    messages: Messages
    loads: tuple[Load, ...]
    duration_s: float
    rounds: int = 1
    timeout_s: float | None = None
    http: str | None = None
    connections: int = CONNECTIONS


@dataclass(frozen=True)
class Measured:
    """Medians over the rounds: one ``Figures`` a load, and the floor where it was measured."""

    loads: tuple[Figures, ...]
    floor: Floor | None


async def measure(server: str, plan: Plan, *, floor: Callable[[], Floor] | None = None) -> Measured:
    """Run the plan on a server; ``floor`` is measured before and after each load of each round.

    A shared machine changes its speed by a third from one second to the next: only neighbours in time compare.
    """
    floors: list[Floor] = []
    figures: dict[str, list[Figures]] = {load.name: [] for load in plan.loads}
    async with generator(server, connections=plan.connections) as sending:
        await sending.closed(plan.messages, concurrency=2, duration_s=WARM_UP_S)
        if floor is not None:
            floors.append(await asyncio.to_thread(floor))
        for load in plan.loads * plan.rounds:
            found = await measure_load(sending, plan, load)
            if floor is not None:
                floors.append(await asyncio.to_thread(floor))
                found = beside(found, floors[-2:])
            figures[load.name].append(found)
    return Measured(tuple(medians(rounds) for rounds in figures.values()), median_floor(floors) if floors else None)


async def measure_load(sending: Generator, plan: Plan, load: Load) -> Figures:
    """Run one load once, between two looks at the server's own counters."""
    before = await _scrape(plan.http)
    outcome = await _send(sending, plan, load)
    after = await _scrape(plan.http)
    return figures_of(load.name, outcome, after.since(before) if after and before else None)


async def _send(sending: Generator, plan: Plan, load: Load) -> Outcome:
    if isinstance(load, Closed):
        return await sending.closed(
            plan.messages, concurrency=load.concurrency, duration_s=plan.duration_s, timeout_s=plan.timeout_s
        )
    starts_s = poisson_starts(load.rate, plan.duration_s, seed=load.seed)
    return await sending.open(plan.messages, starts_s=starts_s, timeout_s=plan.timeout_s)


async def _scrape(http: str | None) -> Scrape | None:
    return await asyncio.to_thread(scrape, http) if http else None


def median_floor(floors: Sequence[Floor]) -> Floor:
    """Each figure's median; rows of a run as they were most often the best."""
    rows = [one.rows for one in floors]
    return Floor(
        rate=median(one.rate for one in floors),
        cpu_s=median(one.cpu_s for one in floors),
        p50_s=median(one.p50_s for one in floors),
        rows=max(rows, key=rows.count),
        threads=floors[0].threads,
    )
