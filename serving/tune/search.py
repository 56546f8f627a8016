"""The search for the choices that answer most within a latency: a fixed order, each step kept only where it gains."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

# A choice must be better by so much to take the place of a simpler one: medians of short rounds differ by less.
GAIN = 1.03
# Loads in a row that may bring nothing before the load is raised no further: one may have met a neighbour's burst.
PATIENCE = 2
CONCURRENCIES = (1, 2, 4, 8, 16, 32, 64, 128)
SIZES = (1, 2, 4, 8, 16, 32, 64)
DELAYS_MS = (0.0, 1.0, 2.0, 5.0, 10.0)


@dataclass(frozen=True, kw_only=True)
class Choice:
    """What ``deploy.toml`` would say.

    Attributes:
        instances: runs at once.
        intra_op_threads: threads inside a run.
        max_size: most rows in a run.
        max_delay_ms: longest time that a row waits for others while a run is free.
    """

    instances: int
    intra_op_threads: int
    max_size: int
    max_delay_ms: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Point:
    """One choice under one load.

    Attributes:
        concurrency: requests under way at once.
        rate: results by second.
        p99_s: of their latency.
        failed: requests that got no result.
    """

    concurrency: int
    rate: float
    p99_s: float
    failed: int = 0


@dataclass(frozen=True)
class Trial:
    """All loads that one choice was measured under, and the best one within the goal (``None``: none is)."""

    choice: Choice
    points: tuple[Point, ...]
    best: Point | None

    @property
    def rate(self) -> float:
        """Results by second within the goal."""
        return self.best.rate if self.best else 0.0


@dataclass(frozen=True)
class Found:
    """Where the search ended.

    Attributes:
        best: the trial whose choice is proposed; ``None`` where no choice meets the goal.
        trials: all, in the order in which they were made.
        untried: choices that were left out because the time was over.
    """

    best: Trial | None
    trials: tuple[Trial, ...]
    untried: tuple[Choice, ...]


class Measure(Protocol):
    """Measures one choice under rising loads, as many of them as are taken."""

    def __call__(self, choice: Choice, concurrencies: Sequence[int], /) -> Iterator[Point]:
        """One point a concurrency, in their order, each measured when it is asked for."""
        ...


def search(
    measure: Measure,
    *,
    cores: int,
    goal_s: float,
    max_sizes: Sequence[int] = SIZES,
    is_over: Callable[[], bool] = lambda: False,
    tell: Callable[[Trial], None] = lambda _: None,
) -> Found:
    """Search threads, then the size of a run, then its delay; each from small to large, until it gains no more.

    Deterministic: the same measurements give the same steps. The first trial is always made.

    Args:
        measure: of one choice.
        cores: that may be used; runs times threads never are more.
        goal_s: the 99th percentile must stay within.
        max_sizes: that the graph can take, ascending.
        is_over: no further trial begins once it is true.
        tell: told of each trial.
    """
    trials: list[Trial] = []
    untried: list[Choice] = []

    def tried(choice: Choice) -> Trial | None:
        for trial in trials:
            if trial.choice == choice:
                return trial
        if trials and is_over():
            untried.append(choice)
            return None
        trials.append(try_choice(measure, choice, goal_s=goal_s))
        tell(trials[-1])
        return trials[-1]

    middle = max(size for size in max_sizes if size <= max(8, max_sizes[0]))
    best = _best_of(
        [tried(Choice(instances=runs, intra_op_threads=threads, max_size=middle)) for runs, threads in splits(cores)]
    )
    best = _climb(best, [replace(best.choice, max_size=size) for size in max_sizes if size < middle][::-1], tried)
    if best.choice.max_size == middle:
        best = _climb(best, [replace(best.choice, max_size=size) for size in max_sizes if size > middle], tried)
    best = _climb(best, [replace(best.choice, max_delay_ms=delay) for delay in DELAYS_MS[1:]], tried)
    return Found(best if best.best else None, tuple(trials), tuple(untried))


def try_choice(measure: Measure, choice: Choice, *, goal_s: float) -> Trial:
    """Raise the load until the latency is beyond the goal, requests fail, or no more is answered."""
    points: list[Point] = []
    best: Point | None = None
    gainless = 0
    for point in measure(choice, CONCURRENCIES):
        points.append(point)
        if point.failed or point.p99_s > goal_s:
            break
        if best is None or point.rate >= best.rate * GAIN:
            best, gainless = point, 0
            continue
        gainless += 1
        if gainless == PATIENCE:
            break
    return Trial(choice, tuple(points), best)


def splits(cores: int) -> list[tuple[int, int]]:
    """Runs at once and threads in each, the cores shared out: all runs first, then fewer with more threads."""
    threads = [1 << i for i in range(cores.bit_length()) if 1 << i <= cores]
    return list(dict.fromkeys((cores // one, one) for one in [*threads, cores]))


def _best_of(trials: Sequence[Trial | None]) -> Trial:
    """The first whose rate no later one beats by ``GAIN``."""
    made = [trial for trial in trials if trial is not None]
    best = made[0]
    for trial in made[1:]:
        if trial.rate > best.rate * GAIN:
            best = trial
    return best


def _climb(best: Trial, steps: Sequence[Choice], tried: Callable[[Choice], Trial | None]) -> Trial:
    """Take steps while each gains; a smaller batch that loses nothing is kept, too: it takes less memory."""
    for choice in steps:
        trial = tried(choice)
        if trial is None:
            return best
        is_simpler = choice.max_size < best.choice.max_size
        if trial.rate * (GAIN if is_simpler else 1 / GAIN) <= best.rate or not trial.best:
            return best
        best = trial
    return best
