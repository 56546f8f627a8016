"""tritonclient 2.73 over gRPC, in its own environment and process, against a server of ours."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipelines.present import to_json
from serving.app import ListeningServer
from tests.clients.environments import TRITON, run_script
from tests.serving.oip.models import ECHOED
from tests.serving.servers import Offline

pytestmark = pytest.mark.slow
IMAGE_MODELS = ("classes", "things", "masks", "vectors")
REFUSED = {
    "unknown model": "NOT_FOUND",
    "unknown version": "NOT_FOUND",
    "version that is no number": "INVALID_ARGUMENT",
    "missing input": "INVALID_ARGUMENT",
    "unknown output": "INVALID_ARGUMENT",
    "wrong dtype": "INVALID_ARGUMENT",
    "wrong shape": "INVALID_ARGUMENT",
    "no batch axis": "INVALID_ARGUMENT",
    "not an image": "INVALID_ARGUMENT",
    "slash in a key": "INVALID_ARGUMENT",
    "past deadline": "DEADLINE_EXCEEDED",
    "sequence": "UNIMPLEMENTED",
    "cuda": "UNIMPLEMENTED",
    "config": "UNIMPLEMENTED",
    "file": "UNIMPLEMENTED",
    "load unknown": "NOT_FOUND",
}


@pytest.fixture(scope="module")
def report(server: ListeningServer, pictures: list[Path]) -> dict[str, Any]:
    return run_script(TRITON, "triton_grpc.py", server.grpc_address, *map(str, pictures))


@pytest.mark.parametrize("datatype", ECHOED)
def test_every_dtype_comes_back_as_it_was_sent(report: dict[str, Any], datatype: str):
    echoed = report["echo"][f"out_{datatype}"]
    assert (echoed["datatype"], echoed["shape"]) == (datatype, [2, 3])
    assert echoed["values"] == report["sent"][datatype]


def test_every_refusal_has_its_code(report: dict[str, Any]):
    assert {name: code for name, (code, _) in report["refused"].items()} == {
        name: f"StatusCode.{code}" for name, code in REFUSED.items()
    }


@pytest.mark.parametrize("model", IMAGE_MODELS)
def test_encoded_images_give_the_numbers_of_the_offline_pipeline(
    report: dict[str, Any], offline: Offline, pictures: list[Path], model: str
):
    expected = [to_json(offline(model, path.read_bytes())) for path in pictures]
    assert [json.loads(text) for text in report["images"][model]["result"]["values"]] == expected


def test_boxes_are_those_of_the_offline_pipeline(report: dict[str, Any], offline: Offline, pictures: list[Path]):
    outputs = report["images"]["things"]
    counts = outputs["num_detections"]["values"]
    for boxes, count, path in zip(outputs["boxes"]["values"], counts, pictures, strict=True):
        assert np.array_equal(np.float32(boxes[:count]), offline("things", path.read_bytes()).boxes)


def test_a_column_of_images_is_a_list_of_images(report: dict[str, Any]):
    assert report["column"] == report["images"]["classes"]


def test_options_act(report: dict[str, Any]):
    assert report["options"]["scores"]["shape"] == [2, 2]


def test_only_what_is_asked_for_is_answered(report: dict[str, Any]):
    assert report["asked"] == ["out_INT8"]


def test_compressed_requests_are_answered(report: dict[str, Any]):
    assert len(report["gzip"]) == len(ECHOED)


def test_classification_names_the_best_classes(report: dict[str, Any]):
    assert [[entry.count(":") for entry in row] for row in report["best"]] == [[2, 2, 2]] * 2
    assert all(entry.split(":")[2] == f"class {entry.split(':')[1]}" for row in report["best"] for entry in row)


def test_callbacks_get_answers(report: dict[str, Any]):
    assert report["async"]["values"] == report["sent"]["FP32"]


def test_the_asyncio_client_gets_each_answer_of_many_at_once(report: dict[str, Any]):
    assert report["asyncio"] == [str(i) for i in range(16)]


def test_a_stream_answers_in_order_and_goes_on_after_an_error(report: dict[str, Any]):
    assert [answer.get("id", "error") for answer in report["stream"]] == ["0", "1", "2", "error", "last"]
    assert report["stream"][3]["error"] == "NOT_FOUND: no model is called 'no'"


def test_every_answer_of_a_stream_is_final(report: dict[str, Any]):
    assert all(answer["final"] for answer in report["stream"] if "final" in answer)


def test_a_tensor_goes_and_comes_through_shared_memory(report: dict[str, Any]):
    assert report["shared"]["values"] == report["sent"]["FP32"]
    assert report["shared"]["beside"] == report["sent"]["INT8"]


def test_a_region_is_known_until_it_is_unregistered(report: dict[str, Any]):
    assert report["shared"]["status"]["regions"]["both"]["key"] == "/ocella_test_region"
    assert report["shared"]["status_after"] == {}


@pytest.mark.parametrize("case", ["outside", "twice", "unknown"])
def test_a_bad_use_of_shared_memory_is_refused(report: dict[str, Any], case: str):
    assert report["shared"][case][0] == "StatusCode.INVALID_ARGUMENT"


def test_health_says_what_is_ready(report: dict[str, Any]):
    assert [report["live"], report["ready"], report["model_ready"]] == [True, True, [True, True, False]]


def test_the_pipeline_is_announced(report: dict[str, Any]):
    assert "ocella_image" in report["server"]["extensions"]


def test_metadata_lists_the_tensors_of_the_graph(report: dict[str, Any]):
    assert report["metadata"]["inputs"] == [{"name": "image", "datatype": "FP32", "shape": ["-1", "3", "-1", "-1"]}]
    assert report["metadata"]["outputs"] == [{"name": "logits", "datatype": "FP32", "shape": ["-1", "10"]}]


def test_the_config_has_the_tensors_without_batch_axis(report: dict[str, Any]):
    config = report["config"]["config"]
    assert config["max_batch_size"] == 8
    assert config["input"] == [{"name": "image", "data_type": "TYPE_FP32", "dims": ["3", "-1", "-1"]}]


def test_statistics_count_what_was_answered_and_what_failed(report: dict[str, Any]):
    (stats,) = report["statistics"]["model_stats"]
    counted = stats["inference_stats"]
    assert int(counted["success"]["count"]) == 8  # best, images, column, options, and four of the stream
    assert int(counted["fail"]["count"]) == 4
    assert int(stats["inference_count"]) == 12  # rows: 2 + 2 + 2 + 2 + 4
    assert 0 < int(stats["execution_count"]) <= 12
    for part in ("queue", "compute_input", "compute_infer", "compute_output"):
        assert 0 < int(counted[part]["ns"]) < 10**12


def test_statistics_of_no_name_are_those_of_every_model(report: dict[str, Any]):
    assert [stats["name"] for stats in report["all statistics"]["model_stats"]] == sorted((*IMAGE_MODELS, "echo"))


def test_the_index_lists_every_model(report: dict[str, Any]):
    assert {entry["state"] for entry in report["index"]["models"]} == {"READY"}


def test_a_model_can_be_unloaded_and_loaded_again(report: dict[str, Any]):
    assert [report["after unload"], report["after load"]] == [False, True]
    assert report["unloaded"][0] == "StatusCode.UNAVAILABLE"


def test_traces_are_off_and_stay_off(report: dict[str, Any]):
    assert report["trace"]["settings"]["trace_level"]["value"] == ["OFF"]
    assert report["trace file"][0] == "StatusCode.UNIMPLEMENTED"


def test_log_settings_can_be_read_and_no_file_be_named(report: dict[str, Any]):
    assert report["logs"]["settings"]["log_error"]["bool_param"] is True
    assert report["log file"][0] == "StatusCode.UNIMPLEMENTED"
