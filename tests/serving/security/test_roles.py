from collections.abc import Iterator

import grpc
import httpx
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from protos.ocella.v1 import faces_pb2, faces_pb2_grpc
from protos.oip import control_pb2, service_pb2_grpc
from serving.grpc_server import SERVICES
from serving.rest.endpoints import ENDPOINTS
from serving.rest.parts import Endpoint
from serving.security.roles import ROLE_OF_METHOD, Door, Role, role_of_method
from tests.serving.security.apis import Caller, predict
from tests.serving.security.conftest import Tokens
from tests.serving.servers import PATIENCE_S, server_in_thread

ADMIN_PATHS = ("load", "unload", "sharedmemory", "trace", "logging")


@pytest.fixture(scope="module")
def guarded(model, tokens: Tokens, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Caller]:
    galleries = tmp_path_factory.mktemp("galleries")
    with server_in_thread(model, tokens=tokens.file, galleries=galleries, allow_shared_memory=True) as server:
        yield Caller(server=server)


@pytest.fixture(scope="module")
def channel(guarded: Caller) -> Iterator[grpc.Channel]:
    with guarded.channel() as channel:
        yield channel


@pytest.fixture(scope="module")
def http(guarded: Caller) -> Iterator[httpx.Client]:
    with guarded.http() as http:
        yield http


def code_of(channel: grpc.Channel, path: str, token: str | None = None) -> str:
    """What an empty message to a method is answered."""
    metadata = [("authorization", f"Bearer {token}")] if token else []
    try:
        channel.unary_unary(path)(b"", metadata=metadata, timeout=PATIENCE_S)
    except grpc.RpcError as error:
        return str(error.code().name)
    return "OK"


def test_every_service_of_the_server_is_in_the_table():
    assert {path.split("/")[1] for path in ROLE_OF_METHOD} == set(SERVICES)


def test_a_method_that_is_not_in_the_table_asks_for_the_most():
    assert role_of_method("/ocella.v2.Vision/Predict") is Role.ADMIN


@pytest.mark.parametrize("path", [path for path, role in ROLE_OF_METHOD.items() if role is not Door.OPEN])
def test_every_method_but_the_probes_asks_for_a_token(channel: grpc.Channel, path: str):
    assert code_of(channel, path) == "UNAUTHENTICATED"


@pytest.mark.parametrize("path", [path for path, role in ROLE_OF_METHOD.items() if isinstance(role, Role)])
def test_a_method_refuses_the_tokens_of_other_roles(channel: grpc.Channel, tokens: Tokens, path: str):
    codes = {role: code_of(channel, path, tokens.texts[role]) for role in Role}
    assert codes.pop(ROLE_OF_METHOD[path]) not in ("UNAUTHENTICATED", "PERMISSION_DENIED", "INTERNAL", "UNKNOWN")
    assert set(codes.values()) == {"PERMISSION_DENIED"}


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=lambda endpoint: f"{endpoint.verb} {endpoint.path}")
def test_a_path_refuses_the_tokens_of_other_roles(http: httpx.Client, tokens: Tokens, endpoint: Endpoint):
    path = endpoint.path.format(name="classes", version="1", region="r")
    without = http.request(endpoint.verb, path).status_code
    if endpoint.role is Door.OPEN:
        assert without == 200
        return
    assert without == 401
    headers = {role: {"authorization": f"Bearer {tokens.texts[role]}"} for role in Role}
    statuses = {role: http.request(endpoint.verb, path, headers=headers[role]).status_code for role in Role}
    assert [role for role, status in statuses.items() if status != 403] == [endpoint.role]


def test_what_changes_the_server_is_the_administrators():
    by_role = {endpoint.path: endpoint.role for endpoint in ENDPOINTS}
    assert all((role is Role.ADMIN) == any(part in path for part in ADMIN_PATHS) for path, role in by_role.items())


def test_an_administrator_loads_without_the_servers_admin(guarded: Caller, tokens: Tokens):
    request = control_pb2.RepositoryModelLoadRequest(model_name="classes")

    def load(channel: grpc.Channel, call) -> None:
        service_pb2_grpc.GRPCInferenceServiceStub(channel).RepositoryModelLoad(request, **call)

    assert guarded.bearing(tokens.texts["admin"]).code(load) == "OK"


def test_faces_are_for_those_with_that_role(guarded: Caller, tokens: Tokens):
    def list_people(channel: grpc.Channel, call) -> None:
        faces_pb2_grpc.FacesStub(channel).ListPeople(faces_pb2.ListPeopleRequest(model="classes"), **call)

    assert guarded.bearing(tokens.texts["infer"]).code(list_people) == "PERMISSION_DENIED"
    assert guarded.bearing(tokens.texts["faces"]).code(list_people) not in ("PERMISSION_DENIED", "UNAUTHENTICATED")


def test_health_needs_no_token(guarded: Caller):
    request = health_pb2.HealthCheckRequest(service="")
    with guarded.channel() as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        assert stub.Check(request, timeout=PATIENCE_S).status == health_pb2.HealthCheckResponse.SERVING
        assert next(stub.Watch(request, timeout=PATIENCE_S)).status == health_pb2.HealthCheckResponse.SERVING


def test_reflection_needs_any_token(guarded: Caller, tokens: Tokens):
    request = reflection_pb2.ServerReflectionRequest(list_services="")

    def reflect(channel: grpc.Channel, call) -> None:
        answers = reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo(iter([request]), **call)
        assert {service.name for service in next(answers).list_services_response.service} == set(SERVICES)

    assert guarded.code(reflect) == "UNAUTHENTICATED"
    assert guarded.bearing(tokens.texts["metrics"]).code(reflect) == "OK"


def test_metrics_are_for_those_with_that_role(guarded: Caller, tokens: Tokens):
    assert guarded.status(lambda client: client.get("/metrics")) == "401"
    assert guarded.bearing(tokens.texts["infer"]).status(lambda client: client.get("/metrics")) == "403"
    assert guarded.bearing(tokens.texts["metrics"]).status(lambda client: client.get("/metrics")) == "200"


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_probes_of_http_need_no_token_and_tell_no_name(guarded: Caller, path: str):
    with guarded.http() as client:
        answer = client.get(path)
    assert answer.status_code == 200
    assert "classes" not in answer.text


def test_a_refusal_says_how_to_authenticate_and_nothing_of_the_token(guarded: Caller):
    secret = "ocella_not-a-token-of-this-server"
    with guarded.bearing(secret).http() as client:
        answer: httpx.Response = client.get("/v1/models")
    assert answer.headers["www-authenticate"] == "Bearer"
    assert answer.json()["reason"] == "UnauthenticatedError"
    assert secret not in answer.text + str(answer.headers)


def test_who_may_not_ask_has_no_message_read(model, tokens: Tokens):
    with server_in_thread(model, tokens=tokens.file, max_image_bytes=1000) as server:
        caller = Caller(server=server)
        too_large = predict(bytes(300_000))
        assert caller.code(too_large) == "UNAUTHENTICATED"
        assert caller.bearing(tokens.texts["infer"]).code(too_large) == "RESOURCE_EXHAUSTED"


def test_refused_calls_are_counted(model, tokens: Tokens):
    with server_in_thread(model, tokens=tokens.file) as server:
        caller = Caller(server=server)
        caller.code(predict(b""))
        caller.bearing(tokens.texts["faces"]).code(predict(b""))
        with caller.bearing(tokens.texts["metrics"]).http() as client:
            lines = client.get("/metrics").text.splitlines()
    for code in ("UNAUTHENTICATED", "PERMISSION_DENIED"):
        assert f'ocella_requests_total{{code="{code}",method="Predict",model="",version=""}} 1.0' in lines
