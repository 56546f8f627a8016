from collections.abc import Iterator
from multiprocessing.shared_memory import SharedMemory
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.serving.servers import PATIENCE_S, server_in_thread

REGION = "/v2/systemsharedmemory/region/both"


@pytest.fixture(scope="module")
def operator(repository: Path) -> Iterator[httpx.Client]:
    """A client of a server whose callers may do everything."""
    with (
        server_in_thread(repository, admin=True, allow_shared_memory=True) as server,
        httpx.Client(base_url=f"http://{server.http_address}", trust_env=False, timeout=PATIENCE_S) as http,
    ):
        yield http


def test_known_models_are_listed(http: httpx.Client):
    models = http.get("/v1/models").json()["models"]
    assert [(each["name"], each["version"], each["ready"]) for each in models] == [
        (name, 1, True) for name in ("classes", "masks", "things", "vectors")
    ]


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/v2/health/live", 200),
        ("/v2/health/ready", 200),
        ("/v2/models/classes/ready", 200),
        ("/v2/models/classes/versions/1/ready", 200),
        ("/v2/models/classes/versions/2/ready", 400),
        ("/v2/models/no/ready", 400),
        ("/v2/models/no", 404),
        ("/v2/models/no/config", 404),
        ("/v2/models/no/stats", 404),
        ("/v2/models/classes/versions/x", 400),
    ],
)
def test_questions_have_their_status(http: httpx.Client, path: str, status: int):
    assert http.get(path).status_code == status


def test_head_is_get_without_a_body(http: httpx.Client):
    response = http.head("/v2/health/ready")
    assert (response.status_code, response.content) == (200, b"")


@pytest.mark.parametrize(
    ("verb", "path", "allowed"),
    [
        ("GET", "/v2/models/classes/infer", {"POST"}),
        ("POST", "/v2", {"GET", "HEAD"}),
        ("DELETE", "/v2/logging", {"GET", "HEAD", "POST"}),
    ],
)
def test_another_verb_is_told_which_are_allowed(http: httpx.Client, verb: str, path: str, allowed: set[str]):
    response = http.request(verb, path)
    assert (response.status_code, response.json()["reason"]) == (405, "MethodNotAllowedError")
    assert set(response.headers["allow"].split(", ")) == allowed


def test_a_path_that_is_not_there_is_said_in_json(http: httpx.Client):
    response = http.get("/v2/nothing")
    assert (response.status_code, response.json()["code"]) == (404, "NOT_FOUND")


def test_metadata_lists_the_tensors_of_the_graph(http: httpx.Client):
    document = http.get("/v2/models/classes").json()
    assert document["inputs"] == [{"name": "image", "datatype": "FP32", "shape": [-1, 3, -1, -1]}]
    assert document["versions"] == ["1"]


def test_the_config_is_the_document_itself(http: httpx.Client):
    assert http.get("/v2/models/classes/config").json()["name"] == "classes"


def test_statistics_are_of_one_model_or_of_all(http: httpx.Client):
    assert [each["name"] for each in http.get("/v2/models/things/stats").json()["model_stats"]] == ["things"]
    assert len(http.get("/v2/models/stats").json()["model_stats"]) == 4


@pytest.mark.parametrize(("body", "count"), [(b"", 4), (b"{}", 4), (b'{"ready":true}', 4)])
def test_the_index_lists_model_versions(http: httpx.Client, body: bytes, count: int):
    assert len(http.post("/v2/repository/index", content=body).json()) == count


@pytest.mark.parametrize("body", [b"[]", b"{", b'{"ready":1}'])
def test_a_bad_body_is_refused(http: httpx.Client, body: bytes):
    assert http.post("/v2/repository/index", content=body).status_code == 400


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v2/repository/models/classes/load", {}),
        ("/v2/repository/models/classes/unload", {}),
        ("/v2/trace/setting", {"trace_level": ["OFF"]}),
        ("/v2/logging", {"log_info": True}),
        (f"{REGION}/register", {"key": "/k", "byte_size": 8}),
        (f"{REGION}/unregister", {}),
    ],
)
def test_nothing_is_changed_where_the_operator_does_not_allow_it(http: httpx.Client, path: str, body: dict[str, Any]):
    response = http.post(path, json=body)
    assert (response.status_code, response.json()["reason"]) == (403, "NotAllowedError")


def test_a_model_is_unloaded_and_loaded_again(operator: httpx.Client):
    assert operator.post("/v2/repository/models/vectors/unload").status_code == 200
    assert operator.get("/v2/models/vectors/ready").status_code == 400
    assert operator.get("/v2/models/vectors").status_code == 503
    assert operator.post("/v2/repository/models/vectors/load", json={}).status_code == 200
    assert operator.get("/v2/models/vectors/ready").status_code == 200


@pytest.mark.parametrize(
    ("model", "body", "status"),
    [
        ("no", {}, 404),
        ("classes", {"parameters": {"config": "{}"}}, 501),
        ("classes", {"parameters": {"file:1/model.onnx": "eA=="}}, 501),
        ("classes", {"parameters": {"other": 1}}, 400),
        ("classes", {"parameters": 1}, 400),
        ("..%2f..%2fetc", {}, 404),
    ],
)
def test_only_what_lies_under_the_folders_is_loaded(
    operator: httpx.Client, model: str, body: dict[str, Any], status: int
):
    assert operator.post(f"/v2/repository/models/{model}/load", json=body).status_code == status


def test_a_region_is_known_until_it_is_unregistered(operator: httpx.Client):
    memory = SharedMemory(create=True, size=64)
    try:
        asked = {"key": memory.name, "byte_size": 32, "offset": 8}
        assert operator.post(f"{REGION}/register", json=asked).status_code == 200
        assert operator.get(f"{REGION}/status").json() == [{"name": "both", **asked}]
        assert operator.post(f"{REGION}/register", json=asked).status_code == 400
        assert operator.post("/v2/systemsharedmemory/unregister").status_code == 200
        assert operator.get("/v2/systemsharedmemory/status").json() == []
    finally:
        memory.close()
        memory.unlink()


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"key": 7, "byte_size": 8},
        {"key": "../../etc/passwd", "byte_size": 8},
        {"key": "/k", "byte_size": -1},
        {"key": "/k", "byte_size": 1.5},
        {"key": "/k", "byte_size": 2**70},
    ],
)
def test_a_bad_region_is_refused(operator: httpx.Client, body: dict[str, Any]):
    assert operator.post(f"{REGION}/register", json=body).status_code == 400


@pytest.mark.parametrize("rest", ["unregister", "region/r/register", "region/r/unregister"])
def test_cuda_shared_memory_is_refused_with_its_reason(operator: httpx.Client, rest: str):
    response = operator.post(f"/v2/cudasharedmemory/{rest}", json={})
    assert (response.status_code, "handles" in response.json()["error"]) == (501, True)


def test_traces_are_off_and_stay_off(operator: httpx.Client):
    for path in ("/v2/trace/setting", "/v2/models/classes/trace/setting"):
        assert operator.get(path).json() == {"trace_level": ["OFF"]}
        assert operator.post(path, json={"trace_level": "OFF"}).json() == {"trace_level": ["OFF"]}
        assert operator.post(path, json={"trace_level": None}).status_code == 200
        assert operator.post(path, json={"trace_level": ["TIMESTAMPS"]}).status_code == 501
        assert operator.post(path, json={"trace_level": {}}).status_code == 400
    assert operator.get("/v2/models/no/trace/setting").status_code == 404


def test_log_settings_are_read_and_set(operator: httpx.Client):
    before = operator.get("/v2/logging").json()
    assert operator.post("/v2/logging", json=before).json() == before
    assert operator.post("/v2/logging", json={"log_file": "/tmp/x"}).status_code == 501
    assert operator.post("/v2/logging", json={"log_info": []}).status_code == 400
