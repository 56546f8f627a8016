import pytest

from serving.metrics import STAGES, Metrics
from serving.oip.statistics import DURATIONS, model_statistics


def test_every_stage_belongs_to_one_duration():
    assert sorted(stage for stages in DURATIONS.values() for stage in stages) == sorted(STAGES)


def test_a_model_that_was_never_asked_has_counts_of_nothing():
    (row,) = model_statistics(Metrics(), [("faces", 2)])
    assert (row["name"], row["version"]) == ("faces", "2")
    assert (row["last_inference"], row["inference_count"], row["execution_count"]) == (0, 0, 0)
    assert all(duration == {"count": 0, "ns": 0} for duration in row["inference_stats"].values())


def test_answers_and_failures_are_counted_apart_over_all_methods():
    metrics = Metrics()
    for method, code, seconds in [
        ("Predict", "OK", 0.5),
        ("ModelInfer", "OK", 0.25),
        ("Predict", "INVALID_ARGUMENT", 0.125),
        ("DescribeModel", "OK", 9.0),  # does not run the model
    ]:
        metrics.call("faces", "2", method).done(code, seconds)
    (row,) = model_statistics(metrics, [("faces", 2)])
    assert row["inference_stats"]["success"] == {"count": 2, "ns": 750_000_000}
    assert row["inference_stats"]["fail"] == {"count": 1, "ns": 125_000_000}
    assert row["last_inference"] > 1_700_000_000_000  # milliseconds since 1970


def test_rows_and_runs_are_counted_apart():
    metrics = Metrics()
    for rows in (3, 1):
        metrics.model("faces", 2).ran(rows, 0.1, wasted_s=0.0, terminated=False, padding=0)
    (row,) = model_statistics(metrics, [("faces", 2)])
    assert (row["inference_count"], row["execution_count"]) == (4, 2)


def test_stages_add_up_to_the_protocols_durations():
    metrics = Metrics()
    metrics.model("faces", 2).stages(*(2.0**power for power in range(len(STAGES))))
    stats = model_statistics(metrics, [("faces", 2)])[0]["inference_stats"]
    by_stage = dict(zip(STAGES, (2.0**power for power in range(len(STAGES))), strict=True))
    for duration, stages in DURATIONS.items():
        assert stats[duration] == {"count": 1, "ns": sum(by_stage[stage] for stage in stages) * 1e9}


def test_compute_counts_are_equal_also_where_tensors_pass_no_stage_but_the_run():
    metrics = Metrics()
    metrics.model("faces", 2).inferred(1, 0.1, 0.2)
    stats = model_statistics(metrics, [("faces", 2)])[0]["inference_stats"]
    assert {stats[duration]["count"] for duration in DURATIONS} == {1}
    assert stats["compute_input"]["ns"] == 0
    assert stats["compute_infer"]["ns"] == pytest.approx(0.2e9)


def test_versions_are_told_apart():
    metrics = Metrics()
    metrics.call("faces", "1", "Predict").done("OK", 0.5)
    metrics.call("faces", "2", "Predict").done("OK", 0.25)
    rows = model_statistics(metrics, [("faces", 1), ("faces", 2)])
    assert [row["inference_stats"]["success"]["ns"] for row in rows] == [500_000_000, 250_000_000]
