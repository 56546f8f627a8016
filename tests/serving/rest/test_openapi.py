import re
from typing import Any

import httpx
import pytest
from openapi_spec_validator import validate
from starlette.routing import Route

from serving.rest.endpoints import ENDPOINTS
from tests.serving.rest.shapes import check

ASKED = (
    ("/v1/models", "/v1/models"),
    ("/v2", "/v2"),
    ("/v2/health/live", "/v2/health/live"),
    ("/v2/health/ready", "/v2/health/ready"),
    ("/v2/models/{name}", "/v2/models/classes"),
    ("/v2/models/{name}", "/v2/models/no"),
    ("/v2/models/{name}/versions/{version}", "/v2/models/classes/versions/1"),
    ("/v2/models/{name}/ready", "/v2/models/classes/ready"),
    ("/v2/models/{name}/ready", "/v2/models/no/ready"),
    ("/v2/models/{name}/config", "/v2/models/things/config"),
    ("/v2/models/{name}/stats", "/v2/models/classes/stats"),
    ("/v2/models/stats", "/v2/models/stats"),
    ("/v2/systemsharedmemory/status", "/v2/systemsharedmemory/status"),
    ("/v2/cudasharedmemory/status", "/v2/cudasharedmemory/status"),
    ("/v2/trace/setting", "/v2/trace/setting"),
    ("/v2/logging", "/v2/logging"),
)


@pytest.fixture
def description(http: httpx.Client) -> dict[str, Any]:
    return dict(http.get("/openapi.json").json())


def test_the_description_is_openapi(description: dict[str, Any]):
    assert description["openapi"] == "3.1.0"
    validate(description)


def test_every_path_is_described_and_no_other(description: dict[str, Any]):
    described = {(verb.upper(), path) for path, verbs in description["paths"].items() for verb in verbs}
    assert described == {(endpoint.verb, endpoint.path) for endpoint in ENDPOINTS}


def test_operations_have_names_of_their_own(description: dict[str, Any]):
    names = [operation["operationId"] for verbs in description["paths"].values() for operation in verbs.values()]
    assert len(set(names)) == len(names)


def test_no_path_hides_another():
    for i, endpoint in enumerate(ENDPOINTS):
        example = re.sub(r"\{\w+\}", "7", endpoint.path)
        first = next(each for each in ENDPOINTS if Route(each.path, print).path_regex.fullmatch(example))
        assert first.path == endpoint.path, ENDPOINTS[i].path


@pytest.mark.parametrize(("path", "asked"), ASKED)
def test_an_answer_has_the_shape_that_is_described(
    http: httpx.Client, description: dict[str, Any], path: str, asked: str
):
    check(http.get(asked), description, path, "get")


def test_predictions_have_the_shape_that_is_described(
    http: httpx.Client, description: dict[str, Any], photos: list[bytes]
):
    for model in ("classes", "things", "masks", "vectors"):
        response = http.post(f"/v1/models/{model}:predict", content=photos[0])
        check(response, description, "/v1/models/{name}:predict", "post")
    refused = http.post("/v1/models/classes:predict", content=b"no")
    check(refused, description, "/v1/models/{name}:predict", "post")


def test_every_status_of_the_table_is_described_where_models_run(description: dict[str, Any]):
    statuses = set(description["paths"]["/v1/models/{name}:predict"]["post"]["responses"])
    assert statuses == {"200", "400", "401", "403", "404", "406", "408", "413", "415", "429", "500", "503", "504"}
