import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from serving.metrics import Metrics
from serving.snapshot import Snapshot, join, join_metrics


def snapshot(*, alive: bool = True, ready: bool = True, answering: int = 2, not_answering: int = 0) -> Snapshot:
    return Snapshot(
        alive=alive, ready=ready, models_ready=answering, models_not_ready=not_answering, metrics="# nothing\n"
    )


def exposed(*, calls: int, ready: int = 1, depth: int = 0, seconds: float = 0.1) -> str:
    """The metrics of one process."""
    registry = CollectorRegistry()
    Counter("ocella_requests_total", "Requests.", ("code",), registry=registry).labels("OK").inc(calls)
    Gauge("ocella_model_ready", "Ready.", registry=registry).set(ready)
    Gauge("ocella_queue_depth", "Rows.", registry=registry).set(depth)
    Histogram("ocella_stage_duration_seconds", "Stages.", buckets=(0.25, 1.0), registry=registry).observe(seconds)
    return generate_latest(registry).decode()


def values(text: str) -> dict[str, float]:
    lines = [line for line in text.splitlines() if not line.startswith("#") and "_created" not in line]
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}


def test_counts_and_buckets_add_up_and_a_model_is_as_ready_as_its_least():
    text = join_metrics([exposed(calls=3, depth=2), exposed(calls=4, ready=0, depth=5, seconds=0.5)])
    assert values(text) == {
        'ocella_requests_total{code="OK"}': 7,
        "ocella_model_ready": 0,
        "ocella_queue_depth": 7,
        'ocella_stage_duration_seconds_bucket{le="0.25"}': 1,
        'ocella_stage_duration_seconds_bucket{le="1.0"}': 2,
        'ocella_stage_duration_seconds_bucket{le="+Inf"}': 2,
        "ocella_stage_duration_seconds_count": 2,
        "ocella_stage_duration_seconds_sum": 0.6,
    }


@pytest.mark.parametrize(
    ("name", "joined"),
    [
        ("process_resident_memory_bytes", 7),  # each process holds its own
        ("ocella_model_memory_bytes", 7),
        ("ocella_queue_bytes", 7),
        ("ocella_streams_active", 7),
        ("ocella_leaked_threads", 7),
        ("ocella_processes", 7),
        ("process_open_fds", 4),  # the limit is that of one process
        ("process_max_fds", 4),
        ("process_start_time_seconds", 3),  # the oldest
        ("ocella_canary_row_seconds", 4),
        ("ocella_gpu_memory_used_bytes", 4),  # each process sees the same GPU
        ("ocella_gpu_utilization_ratio", 4),
        ("ocella_gpu_info", 4),
        ("ocella_build_info", 4),
        ("ocella_model_ready", 3),
    ],
)
def test_a_gauge_of_two_processes_is_what_is_true_of_both(name: str, joined: float):
    texts = []
    for value in (3, 4):
        registry = CollectorRegistry()
        Gauge(name, "A gauge.", registry=registry).set(value)
        texts.append(generate_latest(registry).decode())
    assert values(join_metrics(texts)) == {name: joined}


def test_what_several_processes_left_behind_can_be_kept_as_one():
    left = ""
    for calls in (10, 20, 30):
        left = join_metrics([], gone=[left, exposed(calls=calls, depth=9)])
    joined = values(join_metrics([exposed(calls=3)], gone=[left]))
    assert joined['ocella_requests_total{code="OK"}'] == 63
    assert joined["ocella_stage_duration_seconds_count"] == 4
    assert joined["ocella_queue_depth"] == 0


def test_of_a_process_that_ended_only_its_counts_stay():
    joined = values(join_metrics([exposed(calls=3, depth=2)], gone=[exposed(calls=10, ready=0, depth=9)]))
    assert joined['ocella_requests_total{code="OK"}'] == 13
    assert joined["ocella_stage_duration_seconds_count"] == 2
    assert (joined["ocella_model_ready"], joined["ocella_queue_depth"]) == (1, 2)


def test_one_process_joined_with_none_is_itself():
    metrics = Metrics()
    metrics.model("faces", 2).golden("passed")
    metrics.call("faces", "2", "Predict").done("OK", 0.1)
    text = generate_latest(metrics.registry).decode()
    assert values(join_metrics([text])) == values(text)
    types = [line for line in text.splitlines() if line.startswith("# TYPE") and "_created" not in line]
    assert sorted(types) == sorted(line for line in join_metrics([text]).splitlines() if line.startswith("# TYPE"))


@pytest.mark.parametrize(
    ("snapshots", "alive", "ready"),
    [
        ([snapshot(), snapshot()], True, True),
        ([snapshot(), snapshot(ready=False)], True, False),
        ([snapshot(), snapshot(alive=False)], False, True),
        ([snapshot()], True, False),  # one says nothing
        ([], True, False),
    ],
)
def test_all_are_ready_when_each_is(snapshots: list[Snapshot], alive: bool, ready: bool):
    joined = join(snapshots, processes=2)
    assert (joined.alive, joined.ready) == (alive, ready)


def test_a_model_answers_where_it_does_in_each_process():
    joined = join([snapshot(answering=2), snapshot(answering=1, not_answering=1)], processes=2)
    assert (joined.models_ready, joined.models_not_ready) == (1, 1)


def test_a_snapshot_travels_unchanged():
    one = snapshot(alive=False, answering=7)
    assert Snapshot.from_json(one.to_json()) == one


@pytest.mark.parametrize("data", [b"", b"{", b"\xff"])
def test_what_is_no_snapshot_is_refused(data: bytes):
    with pytest.raises(ValueError):  # noqa: PT011, the words are those of json
        Snapshot.from_json(data)
