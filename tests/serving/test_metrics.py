import pytest
from prometheus_client import generate_latest

from serving.metrics import SECONDS, STAGES, Metrics

CONTRACT = {
    "ocella_requests_total": {"model", "version", "method", "code"},
    "ocella_request_duration_seconds": {"model", "version", "method"},
    "ocella_stage_duration_seconds": {"model", "version", "stage"},
    "ocella_batch_size_images": {"model", "version"},
    "ocella_queue_depth": {"model", "version"},
    "ocella_inflight_requests": {"model", "version"},
    "ocella_images_total": {"model", "version"},
    "ocella_rejected_total": {"model", "version", "reason"},
    "ocella_cancelled_total": {"model", "version"},
    "ocella_stream_frames_total": {"outcome"},
    "ocella_streams_active": set(),
    "ocella_model_ready": {"model", "version"},
    "ocella_model_info": {"model", "version", "task", "sha256", "provider"},
    "ocella_model_loads_total": {"model", "version", "result"},
    "ocella_model_load_duration_seconds": {"model", "version"},
    "ocella_golden_checks_total": {"model", "version", "result"},
    "ocella_inference_seconds_total": {"model", "version"},
    "ocella_wasted_inference_seconds_total": {"model", "version"},
    "ocella_terminated_runs_total": {"model", "version"},
    "ocella_padded_rows_total": {"model", "version"},
    "ocella_model_rollbacks_total": {"model", "version"},
    "ocella_canary_row_seconds": {"model", "version"},
    "ocella_leaked_threads": {"model", "version"},
    "ocella_queue_bytes": {"model", "version"},
    "ocella_model_memory_bytes": {"model", "version", "source"},
    "ocella_model_reloads_total": {"model", "version"},
    "ocella_process_restarts_total": set(),
    "ocella_processes": set(),
    "ocella_build_info": {"release"},
}


def used_metrics() -> Metrics:
    """Metrics of which each family has a child."""
    metrics = Metrics()
    meter = metrics.model("faces", 2)
    meter.stages(*range(len(STAGES)))
    meter.ran(4, 0.1, wasted_s=0.05, terminated=True, padding=2)
    meter.ready(is_ready=True)
    meter.watch(queue_depth=lambda: 3, inflight=lambda: 5, queue_bytes=lambda: 7)
    meter.info(task="detection", sha256="ab", provider="CPUExecutionProvider")
    meter.loaded("ok", 1.0)
    meter.golden("passed")
    meter.canary(0.01)
    meter.memory(file_bytes=10, grown_bytes=30, card_bytes=None)
    meter.reloaded()
    meter.rolled_back()
    meter.leaked(1)
    call = metrics.call("faces", "2", "Predict")
    call.done("OK", 0.1)
    call.cancelled()
    call.rejected("overloaded")
    return metrics


def samples(metrics: Metrics) -> dict[str, set[str]]:
    """Label names of each family of ours, by the name that Prometheus knows it by."""
    found = {}
    for family in metrics.registry.collect():
        if family.name.startswith("ocella_"):
            name = f"{family.name}_total" if family.type == "counter" else family.name
            found[name] = {label for sample in family.samples for label in sample.labels} - {"le"}
    return found


def test_the_families_and_their_labels_are_those_of_the_contract():
    assert samples(used_metrics()) == CONTRACT


def test_stage_buckets_reach_from_a_quarter_millisecond_to_ten_seconds():
    assert (SECONDS[0], SECONDS[-1]) == (0.00025, 10.0)
    assert list(SECONDS) == sorted(SECONDS)


def test_a_registry_of_its_own_also_tells_of_the_process():
    assert b"process_resident_memory_bytes" in generate_latest(Metrics().registry)


def test_each_stage_goes_to_its_own_series():
    metrics = Metrics()
    metrics.model("faces", 2).stages(0, 1, 2, 3, 4, 5)
    sums = [
        metrics.registry.get_sample_value(
            "ocella_stage_duration_seconds_sum", {"model": "faces", "version": "2", "stage": stage}
        )
        for stage in ("decode", "preprocess", "queue", "inference", "postprocess", "serialize")
    ]
    assert sums == [0, 1, 2, 3, 4, 5]


def test_gauges_are_read_when_they_are_scraped():
    metrics, depth = Metrics(), [1.0]
    metrics.model("faces", 2).watch(queue_depth=lambda: depth[0], inflight=lambda: 0, queue_bytes=lambda: 0)
    depth[0] = 9.0
    assert metrics.registry.get_sample_value("ocella_queue_depth", {"model": "faces", "version": "2"}) == 9


def test_what_is_loaded_anew_takes_the_place_of_what_was_loaded_before():
    metrics = Metrics()
    meter = metrics.model("faces", 2)
    for sha256 in ("ab", "cd"):
        meter.info(task="detection", sha256=sha256, provider="CPUExecutionProvider")
    labels = {"model": "faces", "version": "2", "task": "detection", "provider": "CPUExecutionProvider"}
    assert metrics.registry.get_sample_value("ocella_model_info", {**labels, "sha256": "ab"}) is None
    assert metrics.registry.get_sample_value("ocella_model_info", {**labels, "sha256": "cd"}) == 1


def test_a_version_that_is_gone_is_shown_no_more_and_its_counters_stay():
    metrics = used_metrics()
    metrics.forget("faces", 2)
    left = {name for name, labels in samples(metrics).items() if "version" in labels}
    assert left >= {"ocella_requests_total", "ocella_images_total", "ocella_model_loads_total"}
    assert not left & {
        "ocella_model_ready",
        "ocella_model_info",
        "ocella_model_memory_bytes",
        "ocella_queue_depth",
        "ocella_queue_bytes",
        "ocella_inflight_requests",
        "ocella_canary_row_seconds",
    }


def test_a_version_that_was_never_loaded_or_is_gone_already_can_be_forgotten():
    metrics = Metrics()
    for _ in range(2):
        metrics.forget("faces", 2)
    assert metrics.registry.get_sample_value("ocella_model_ready", {"model": "faces", "version": "2"}) is None


def test_the_children_of_a_method_are_made_once():
    metrics = Metrics()
    assert metrics.call("faces", "2", "Predict") is metrics.call("faces", "2", "Predict")


def test_a_stage_cannot_be_left_out():
    with pytest.raises(ValueError, match="zip"):
        Metrics().model("faces", 2).stages(1.0)
