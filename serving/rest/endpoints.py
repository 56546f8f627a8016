"""Every path of ``/v1`` and ``/v2``, once: the routes and the OpenAPI description are both made from this table."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from serving.rest import management
from serving.rest.infer import infer
from serving.rest.parts import Endpoint, Schema, Work
from serving.rest.predict import FORM, predict
from serving.rest.query import OPTIONS
from serving.rest.reply import BINARY, JSON, PNG
from serving.rest.schemas import ANY_OBJECT, BYTES, FLAG, named, record
from serving.security.roles import Door, Role

_MODEL = "/v2/models/{name}"
_VERSION = "/v2/models/{name}/versions/{version}"
_IMAGES: Mapping[str, Schema] = {"image/*": BYTES, BINARY: BYTES, FORM: named("Form")}
_TENSORS: Mapping[str, Schema] = {JSON: named("InferRequest"), BINARY: BYTES}
_ANSWERS: Mapping[str, Schema] = {JSON: named("InferResponse"), BINARY: BYTES}
_LOAD: Mapping[str, Schema] = {JSON: record({"parameters": ANY_OBJECT}, needs=())}


def _get(path: str, name: str, summary: str, work: Work, gives: Schema, fails: tuple[int, ...] = ()) -> Endpoint:
    return Endpoint("GET", path, name, summary, work, gives={JSON: gives}, fails=fails)


def _of_model(rest: str, name: str, summary: str, work: Work, gives: Schema) -> list[Endpoint]:
    """A question to a model, and to one version of it."""
    return [
        _get(_MODEL + rest, name, f"{summary} (the newest version)", work, gives, (404, 503)),
        _get(_VERSION + rest, name, summary, work, gives, (404, 503)),
    ]


def _running(path: str, name: str, summary: str, work: Work, query: tuple[str, ...] = ()) -> Endpoint:
    takes, gives = (_IMAGES, {JSON: named("Predictions"), PNG: BYTES}) if query else (_TENSORS, _ANSWERS)
    fails = (404, 406, 408, 413, 415, 429, 503, 504) if query else (403, 404, 408, 413, 415, 429, 501, 503, 504)
    return Endpoint("POST", path, name, summary, work, runs=True, query=query, takes=takes, gives=gives, fails=fails)


def _post(
    path: str,
    name: str,
    summary: str,
    work: Work,
    *,
    takes: Mapping[str, Schema] | None = None,
    gives: Mapping[str, Schema] | None = None,
    fails: tuple[int, ...] = (403,),
) -> Endpoint:
    return Endpoint("POST", path, name, summary, work, takes=takes, gives=gives, fails=fails)


def _for(role: Role | Door, endpoints: Iterable[Endpoint]) -> list[Endpoint]:
    """Endpoints that ask for another role than ``INFER``."""
    return [replace(endpoint, role=role) for endpoint in endpoints]


def _loads() -> list[Endpoint]:
    path = "/v2/repository/models/{name}"
    summary = "Let a model answer no new request"
    return [
        _post(
            f"{path}/load",
            "v2.load",
            "Bring a model in line with its folder",
            management.load,
            takes=_LOAD,
            fails=(403, 404, 501, 503),
        ),
        _post(f"{path}/unload", "v2.unload", summary, management.unload, takes=_LOAD, fails=(403, 404)),
    ]


def _health() -> list[Endpoint]:
    answers = record({"live": FLAG})
    return [
        _get("/v2/health/live", "v2.live", "Whether the server answers", management.live, answers),
        _get("/v2/health/ready", "v2.ready", "Whether its models answer", management.ready, named("Readiness")),
    ]


def _shared_memory() -> list[Endpoint]:
    system, cuda = "/v2/systemsharedmemory", "/v2/cudasharedmemory"
    found, region = named("Regions"), {JSON: named("Region")}
    return [
        _get(f"{system}/status", "v2.memory.status", "All regions", management.regions, found, (403,)),
        _get(f"{system}/region/{{region}}/status", "v2.memory.region", "A region", management.regions, found, (403,)),
        _post(
            f"{system}/region/{{region}}/register",
            "v2.memory.register",
            "Know a region of POSIX shared memory",
            management.register,
            takes=region,
        ),
        _post(
            f"{system}/region/{{region}}/unregister",
            "v2.memory.unregister",
            "Forget a region",
            management.unregister,
        ),
        _post(f"{system}/unregister", "v2.memory.unregister.all", "Forget all regions", management.unregister),
        *(
            Endpoint(verb, f"{cuda}{rest}", f"v2.cuda.{name}", "Not offered", management.cuda, fails=(501,))
            for verb, rest, name in (
                ("GET", "/status", "status"),
                ("GET", "/region/{region}/status", "region"),
                ("POST", "/region/{region}/register", "register"),
                ("POST", "/region/{region}/unregister", "unregister"),
                ("POST", "/unregister", "unregister.all"),
            )
        ),
    ]


def _settings() -> list[Endpoint]:
    asked = {JSON: ANY_OBJECT}
    traces, logs = management.set_traces, management.set_logs
    return [
        _get("/v2/trace/setting", "v2.trace", "Settings of traces", management.traces, ANY_OBJECT),
        _post(
            "/v2/trace/setting", "v2.trace.set", "Turn traces off", traces, takes=asked, gives=asked, fails=(403, 501)
        ),
        _get(f"{_MODEL}/trace/setting", "v2.trace.model", "As of the server", management.traces, ANY_OBJECT, (404,)),
        _post(
            f"{_MODEL}/trace/setting",
            "v2.trace.model.set",
            "As of the server",
            traces,
            takes=asked,
            gives=asked,
            fails=(403, 404, 501),
        ),
        _get("/v2/logging", "v2.logging", "Which lines the server writes", management.logs, ANY_OBJECT),
        _post("/v2/logging", "v2.logging.set", "Change them", logs, takes=asked, gives=asked, fails=(403, 501)),
    ]


# In the order in which a path is looked up: what runs models first.
ENDPOINTS: Sequence[Endpoint] = (
    _running("/v1/models/{name}:predict", "v1.predict", "Run a model on images", predict, OPTIONS),
    _running(f"{_MODEL}/infer", "v2.infer", "Run a model on tensors or images", infer),
    _running(
        "/v1/models/{name}/versions/{version}:predict", "v1.predict", "Run one version on images", predict, OPTIONS
    ),
    _running(f"{_VERSION}/infer", "v2.infer", "Run one version on tensors or images", infer),
    _get("/v1/models", "v1.models", "Known model versions", management.models, named("Models")),
    _get("/v2", "v2.server", "Name, version, extensions", management.server, named("Server")),
    *_for(Door.OPEN, _health()),
    _get("/v2/models/stats", "v2.stats.all", "What all models have done", management.stats, named("Statistics")),
    *_of_model("", "v2.model", "The tensors of a model's graph", management.model, named("Model")),
    *_of_model("/ready", "v2.model.ready", "Whether a model answers", management.model_ready, named("Readiness")),
    *_of_model("/config", "v2.config", "How a model is run", management.config, ANY_OBJECT),
    *_of_model("/stats", "v2.stats", "What a model has done", management.stats, named("Statistics")),
    _post(
        "/v2/repository/index",
        "v2.index",
        "Model versions under the folders",
        management.index,
        takes={JSON: record({"ready": FLAG}, needs=())},
        gives={JSON: named("Index")},
        fails=(),
    ),
    *_for(Role.ADMIN, [*_loads(), *_shared_memory(), *_settings()]),
)
