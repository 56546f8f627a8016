"""tritonclient 2.73 over HTTP, in its own environment and process, against a server of ours."""

import json
from pathlib import Path
from typing import Any

import pytest

from pipelines.present import to_json
from serving.app import ListeningServer
from tests.clients.environments import TRITON, run_script
from tests.serving.oip.models import ECHOED
from tests.serving.servers import Offline

pytestmark = pytest.mark.slow
IMAGE_MODELS = ("classes", "things", "masks", "vectors")
REFUSED = {
    "unknown model": "404",
    "unknown version": "404",
    "version that is no number": "400",
    "missing input": "400",
    "unknown output": "400",
    "wrong dtype": "400",
    "wrong shape": "400",
    "not an image": "400",
    "slash in a key": "400",
    "past deadline": "504",
    "past deadline of the query": "504",
    "sequence": "501",
    "cuda": "501",
    "config": "501",
    "load unknown": "404",
}


@pytest.fixture(scope="module")
def report(server: ListeningServer, pictures: list[Path]) -> dict[str, Any]:
    return run_script(TRITON, "triton_http.py", server.http_address, *map(str, pictures))


@pytest.mark.parametrize("datatype", ECHOED)
@pytest.mark.parametrize("form", ["echo", "echo json"])
def test_every_dtype_comes_back_as_it_was_sent(report: dict[str, Any], datatype: str, form: str):
    echoed = report[form][f"out_{datatype}"]
    sent = report["sent"][datatype]
    if datatype == "BYTES" and form == "echo json":  # as text, where the script's other values are bytes as Latin-1
        sent = [[text.encode("latin-1").decode() for text in row] for row in sent]
    assert (echoed["datatype"], echoed["shape"], echoed["values"]) == (datatype, [2, 3], sent)


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
def test_packed_requests_and_answers_are_the_same(report: dict[str, Any], coding: str):
    assert report["packed"][coding] == report["echo"]


def test_every_refusal_has_its_status(report: dict[str, Any]):
    assert {name: status for name, (status, _) in report["refused"].items()} == REFUSED


def test_every_refusal_has_words(report: dict[str, Any]):
    assert all("\n" not in said and len(said) > 10 for _, said in report["refused"].values())


@pytest.mark.parametrize("model", IMAGE_MODELS)
def test_encoded_images_give_the_numbers_of_the_offline_pipeline(
    report: dict[str, Any], offline: Offline, pictures: list[Path], model: str
):
    expected = [to_json(offline(model, path.read_bytes())) for path in pictures]
    assert [json.loads(text.encode("latin-1")) for text in report["images"][model]["result"]["values"]] == expected


def test_options_act(report: dict[str, Any]):
    assert report["options"]["scores"]["shape"] == [2, 2]


def test_only_what_is_asked_for_is_answered(report: dict[str, Any]):
    assert report["asked"] == ["out_INT8"]


def test_classification_names_the_best_classes(report: dict[str, Any]):
    assert [[entry.count(":") for entry in row] for row in report["best"]] == [[2, 2, 2]] * 2


def test_the_asynchronous_clients_get_their_answers(report: dict[str, Any]):
    assert report["async"]["values"] == report["sent"]["FP32"]
    assert report["asyncio"] == [str(i) for i in range(16)]


def test_a_tensor_goes_and_comes_through_shared_memory(report: dict[str, Any]):
    assert report["shared"]["values"] == report["sent"]["FP32"]
    assert report["shared"]["beside"] == report["sent"]["INT8"]
    assert [region["name"] for region in report["shared"]["status"]] == ["both"]
    assert report["shared"]["status_after"] == []


def test_health_says_what_is_ready(report: dict[str, Any]):
    assert [report["live"], report["ready"], report["model_ready"]] == [True, True, [True, True, False]]


def test_documents_describe_server_model_and_repository(report: dict[str, Any]):
    assert "ocella_image" in report["server"]["extensions"]
    assert report["metadata"]["outputs"] == [{"name": "logits", "datatype": "FP32", "shape": [-1, 10]}]
    assert report["config"]["max_batch_size"] == 8
    assert {entry["state"] for entry in report["index"]} == {"READY"}


def test_statistics_count_what_was_answered_and_what_failed(report: dict[str, Any]):
    (stats,) = report["statistics"]["model_stats"]
    counted = stats["inference_stats"]
    assert counted["success"]["count"] == 3  # best, images, options
    assert counted["fail"]["count"] == 3  # dtype, shape, image
    assert stats["inference_count"] == 6
    assert [each["name"] for each in report["all statistics"]["model_stats"]] == sorted((*IMAGE_MODELS, "echo"))


def test_a_model_can_be_unloaded_and_loaded_again(report: dict[str, Any]):
    assert [report["after unload"], report["after load"]] == [False, True]


def test_settings_can_be_read_and_files_be_no_part_of_them(report: dict[str, Any]):
    assert report["trace"] == {"trace_level": ["OFF"]}
    assert report["logs"]["log_error"] is True
    assert [report["trace file"][0], report["log file"][0]] == ["501", "501"]
