import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest

from serving.tallies import CountFamily, SpreadFamily

BOUNDS = (0.25, 0.5, 1.0)


def without_created(registry: CollectorRegistry) -> list[str]:
    return [line for line in generate_latest(registry).decode().splitlines() if "_created" not in line]


@given(values=st.lists(st.floats(0, 4) | st.sampled_from(BOUNDS)))
def test_a_histogram_is_exposed_as_prometheus_clients_own(values: list[float]):
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    spread = SpreadFamily("a_seconds", "Of a.", ("model",), buckets=BOUNDS, registry=ours).labels("m")
    histogram = Histogram("a_seconds", "Of a.", ("model",), buckets=BOUNDS, registry=theirs).labels("m")
    for value in values:
        spread.observe(value)
        histogram.observe(value)
    assert without_created(ours) == without_created(theirs)


def test_a_counter_is_exposed_as_prometheus_clients_own():
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    for family in (
        CountFamily("a_total", "Of a.", ("model", "code"), registry=ours),
        Counter("a_total", "Of a.", ("model", "code"), registry=theirs),
    ):
        family.labels("m", "OK").inc()
        family.labels("m", "OK").inc(2.5)
        family.labels('odd "name"\n', "INTERNAL").inc()
    assert without_created(ours) == without_created(theirs)


def test_a_child_is_made_once():
    family = CountFamily("a_total", "Of a.", ("model",), registry=CollectorRegistry())
    assert family.labels("m") is family.labels("m")


def test_a_child_must_be_given_each_label():
    family = CountFamily("a_total", "Of a.", ("model", "code"), registry=CollectorRegistry())
    with pytest.raises(ValueError, match=r"a_total must be given \('model', 'code'\), got \('m',\)"):
        family.labels("m")


def test_a_name_can_be_given_to_one_family_alone():
    registry = CollectorRegistry()
    CountFamily("a_total", "Of a.", (), registry=registry)
    with pytest.raises(ValueError, match="Duplicated"):
        Counter("a_total", "Of a.", registry=registry)
