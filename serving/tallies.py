"""Counters and histograms for one thread: no lock and no look-up at a count, which each request makes a dozen of."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from itertools import accumulate
from typing import Generic, TypeVar

from prometheus_client.metrics_core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector, CollectorRegistry
from prometheus_client.utils import floatToGoString

Child = TypeVar("Child", "Count", "Spread")
Labels = tuple[str, ...]


class Count:
    """A number that only grows; counted by one thread, read by any.

    Attributes:
        value: so far.
    """

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0.0

    def inc(self, amount: float = 1.0) -> None:
        """Add ``amount``, at least 0."""
        self.value += amount


class Spread:
    """How values spread over buckets; observed by one thread, read by any.

    Attributes:
        counts: of values, by the first bound that they do not exceed; the last is of those above all bounds.
        total: sum of the values.
    """

    __slots__ = ("_bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        """Count one value."""
        self.counts[bisect_left(self._bounds, value)] += 1
        self.total += value


class _Family(Collector, Generic[Child]):
    """The children of one metric, by the values of its labels."""

    def __init__(self, name: str, documentation: str, labels: Labels, make: Callable[[], Child]) -> None:
        self._name, self._documentation, self._labels = name, documentation, labels
        self._make: Callable[[], Child] = make
        self._children: dict[Labels, Child] = {}

    def labels(self, *values: str) -> Child:
        """The child with these values of the labels, made once."""
        if len(values) != len(self._labels):
            raise ValueError(f"{self._name} must be given {self._labels}, got {values}")
        child = self._children.get(values)
        if child is None:
            child = self._children[values] = self._make()
        return child


class CountFamily(_Family[Count]):
    """A counter; ``prometheus_client.Counter`` takes a lock for each count and five times as long."""

    def __init__(self, name: str, documentation: str, labels: Labels, *, registry: CollectorRegistry) -> None:
        """``name`` ends in ``_total``."""
        super().__init__(name, documentation, labels, Count)
        registry.register(self)

    def describe(self) -> Iterable[Metric]:
        """The family without children, so that the registry knows its names."""
        yield CounterMetricFamily(self._name, self._documentation, labels=self._labels)

    def collect(self) -> Iterable[Metric]:
        """The family as it stands."""
        family = CounterMetricFamily(self._name, self._documentation, labels=self._labels)
        for values, child in tuple(self._children.items()):
            family.add_metric(values, child.value)
        yield family


class SpreadFamily(_Family[Spread]):
    """A histogram; see ``CountFamily``."""

    def __init__(
        self,
        name: str,
        documentation: str,
        labels: Labels,
        *,
        buckets: Sequence[float],
        registry: CollectorRegistry,
    ) -> None:
        """``buckets``: their upper bounds, rising."""
        super().__init__(name, documentation, labels, lambda: Spread(buckets))
        self._names = [*(floatToGoString(bound) for bound in buckets), "+Inf"]
        registry.register(self)

    def describe(self) -> Iterable[Metric]:
        """The family without children, so that the registry knows its names."""
        yield HistogramMetricFamily(self._name, self._documentation, labels=self._labels)

    def collect(self) -> Iterable[Metric]:
        """The family as it stands, its buckets added up as Prometheus wants them."""
        family = HistogramMetricFamily(self._name, self._documentation, labels=self._labels)
        for values, child in tuple(self._children.items()):
            total = child.total
            family.add_metric(values, list(zip(self._names, accumulate(child.counts.copy()), strict=True)), total)
        yield family
