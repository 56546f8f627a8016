"""The line of each request: which there is, what it says, and what no line ever says."""

import base64
import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import grpc.aio
import numpy as np
import pytest

from pipelines.errors import InvalidRequestError, OcellaError
from protos.ocella.v1 import faces_pb2
from protos.ocella.v1 import vision_pb2 as pb
from protos.ocella.v1.vision_pb2_grpc import VisionStub
from serving.calls import NAMING_PEOPLE, Calls
from serving.catalog import Catalog, ModelStatus
from serving.client import AsyncVisionClient
from serving.logs.access import PROBES, entry_of_trail, level_of, log_request
from serving.logs.install import QueuedHandler
from serving.metrics import Metrics
from serving.oip.methods import METHODS
from serving.rest.endpoints import ENDPOINTS
from serving.status import failure_of
from serving.tracing.context import TraceContext
from serving.trail import Arrival, Frames, Trail, arrive
from tests.builders import embedding_head
from tests.graphs import embedder_graph
from tests.packages import make_package, photo, png
from tests.serving.servers import PATIENCE_S
from tests.serving.trails import Lines, recording_server, writing_to

ARRIVAL = Arrival("grpc", "ipv4:10.1.2.3:5555", "order 66")
PERSON, TOKEN = "Ada Lovelace-Byron", "s3cr3t-t0k3n"


def ended(code: str = "OK", *, method: str = "Predict", error: Exception | None = None, **over: object) -> Trail:
    trail = Trail(Arrival("grpc", "ipv4:10.1.2.3:5555", "7", **over), method, "cats", "3")  # type: ignore[arg-type]
    trail.end(code, failure_of(error, request_id="7") if error else None)
    return trail


def fields_of(trail: Trail) -> dict[str, object]:
    return dict(entry_of_trail(trail).fields)


def test_a_requests_line_says_who_asked_for_what_and_how_long_it_took():
    trail = Trail(
        Arrival("oip", "ipv4:10.1.2.3:5555", "7", TraceContext("a1" * 16, "b2" * 8)), "ModelInfer", "cats", "3"
    )
    trail.bytes_in = 1234
    trail.answered((0.1, 0.2, 0.3, 0.4, 0.5, 0.6), (480, 640))
    trail.end("OK")
    entry = entry_of_trail(trail)
    assert (entry.level, entry.event, entry.time) == ("info", "request", trail.began)
    assert list(entry.fields) == [
        ("request_id", "7"),
        ("api", "oip"),
        ("method", "ModelInfer"),
        ("model", "cats"),
        ("version", 3),
        ("code", "OK"),
        ("client", "10.1.2.3"),
        ("bytes_in", 1234),
        ("images", 1),
        ("width", 640),
        ("height", 480),
        ("decode_s", 0.1),
        ("preprocess_s", 0.2),
        ("queue_s", 0.3),
        ("inference_s", 0.4),
        ("postprocess_s", 0.5),
        ("serialize_s", 0.6),
        ("total_s", trail.total_s),
        ("trace_id", "a1" * 16),
        ("span_id", "b2" * 8),
    ]


def test_a_refused_requests_line_says_why():
    fields = fields_of(ended("INVALID_ARGUMENT", error=InvalidRequestError("top_k must be 1 or more, got 0")))
    assert (fields["reason"], fields["error"]) == ("InvalidRequestError", "top_k must be 1 or more, got 0")


def test_a_streams_line_counts_its_requests():
    trail = ended(method="PredictStream")
    trail.frames = Frames(dropped=2)
    trail.frames.codes.update(OK=5, INVALID_ARGUMENT=1)
    assert entry_of_trail(trail).event == "stream"
    fields = fields_of(trail)
    assert (fields["frames_ok"], fields["frames_invalid_argument"], fields["frames_dropped"]) == (5, 1, 2)


@pytest.mark.parametrize(
    ("trail", "level"),
    [
        (ended(), logging.INFO),
        (ended("INVALID_ARGUMENT"), logging.INFO),
        (ended("INTERNAL"), logging.ERROR),
        (ended(method="ServerReady"), logging.DEBUG),
        (ended("UNAVAILABLE", method="ServerReady"), logging.INFO),
        (ended("NOT_FOUND", stream=ended()), logging.DEBUG),
        (ended("INTERNAL", stream=ended()), logging.ERROR),
    ],
)
def test_a_line_is_as_loud_as_an_operator_needs(trail: Trail, level: int):
    assert level_of(trail) == level


def test_probes_are_methods_that_there_are():
    assert set(METHODS) | {endpoint.name for endpoint in ENDPOINTS} >= PROBES


def test_the_methods_that_name_people_are_those_of_faces():
    service = faces_pb2.DESCRIPTOR.services_by_name["Faces"]
    assert {method.name for method in service.methods} == NAMING_PEOPLE


@contextmanager
def logged(level: int = logging.DEBUG) -> Iterator[Lines]:
    """What all loggers write while the block runs; read it after its end."""
    lines, logger = Lines(), logging.getLogger("serving")
    before = logger.level
    with writing_to(lines) as writer:
        handler = QueuedHandler(writer)
        logger.addHandler(handler)
        logger.setLevel(level)
        try:
            yield lines
        finally:
            logger.removeHandler(handler)
            logger.setLevel(before)


@pytest.mark.parametrize(
    ("level", "events"), [(logging.DEBUG, ["frame", "stream"]), (logging.INFO, ["stream"]), (logging.ERROR, [])]
)
async def test_a_requests_of_a_stream_has_a_line_for_debug_and_only_where_it_failed(
    repository: Path, photos: list[bytes], level: int, events: list[str]
):
    with logged(level) as lines:
        async with (
            recording_server(repository, sinks=(log_request,)) as (server, _),
            AsyncVisionClient(server.grpc_address, timeout_s=PATIENCE_S) as client,
        ):
            assert len([each async for each in client.predict_stream("classes", [photos[0], b"bad"])]) == 2
    assert [row["event"] for row in lines.rows if row["event"] in ("frame", "stream", "request")] == events


async def test_no_line_holds_an_image_an_embedding_a_token_or_a_person(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    models = tmp_path / "models"
    make_package(models / "heads" / "1", graph=embedder_graph(), head=embedding_head(), name="heads")
    image = png(photo("astronaut", size_wh=(160, 128)))
    spoken = f"IMAGE BYTES OF {PERSON}".encode()
    with logged() as lines:
        async with (
            recording_server(models, galleries=tmp_path / "galleries", sinks=(log_request,)) as (server, trails),
            AsyncVisionClient(
                server.grpc_address, timeout_s=PATIENCE_S, token=TOKEN, allow_insecure_token=True
            ) as client,
        ):
            vector = (await client.predict("heads", image)).result.vector
            await client.enroll(PERSON, [image], model="heads")
            await client.identify(image, model="heads", threshold=0.5)
            await client.verify(image, person=PERSON, model="heads", threshold=0.5)
            for refused in (
                client.verify(image, person=PERSON * 2, model="heads"),
                client.predict("heads", spoken),
                client.enroll(PERSON, [spoken], model="heads"),
            ):
                with pytest.raises(OcellaError):
                    await refused
            monkeypatch.setattr("serving.gallery.gallery.Gallery.people", _fail_by_name)
            with pytest.raises(OcellaError):
                await client.list_people(model="heads")
            await client.remove_person(PERSON, model="heads")
    text = lines.data.decode()
    assert sum(row["event"] == "request" for row in lines.rows) == len(trails) == 9
    assert "UnsaidError: KeyError" in text  # the error is there, its words are not
    for secret in (PERSON, "Lovelace", TOKEN, "IMAGE BYTES"):
        assert secret not in text
        assert base64.b64encode(secret.encode()).decode().rstrip("=") not in text
    for data in (image[:8], image[100:108], image[-20:-12], np.asarray(vector).tobytes()[:8]):
        for written in (data.hex(), base64.b64encode(data).decode()[:10], json.dumps(data.decode("latin-1"))[1:-1]):
            assert written not in text
    assert not [number for number in np.asarray(vector).tolist() if f"{number:.8f}" in text or repr(number) in text]


def _fail_by_name(*_: object) -> None:
    raise KeyError(PERSON)


@pytest.mark.parametrize("name", ['a\n{"forged":1}', "\x1b[2J", "x" * 1000])
async def test_a_hostile_model_name_stays_inside_its_field(name: str):
    catalog = Catalog()
    catalog.put_status(ModelStatus("cats", 1))
    calls = Calls(catalog, Metrics(), sinks=(log_request,))

    async def work() -> None:
        raise InvalidRequestError("no")

    with logged() as lines:
        arrive(ARRIVAL)
        await calls.run("Predict", work(), deadline=float("inf"), model=name)
    assert [row["model"] for row in lines.rows] == [name[:64]]


def test_a_handler_that_is_not_ours_gets_the_line_in_words(caplog: pytest.LogCaptureFixture):
    with caplog.at_level(logging.INFO, logger="serving"):
        log_request(ended())
    assert "method=Predict model=cats version=3 code=OK" in caplog.text


async def test_a_refused_stream_says_so_in_its_line(repository: Path):
    first = pb.PredictRequest(stream_options=pb.StreamOptions(window=9999))
    async with (
        recording_server(repository) as (server, trails),
        grpc.aio.insecure_channel(server.grpc_address) as channel,
    ):
        with pytest.raises(grpc.aio.AioRpcError):
            await VisionStub(channel).PredictStream(iter([first]), timeout=PATIENCE_S).read()
    assert [(fields_of(trail)["code"], fields_of(trail)["reason"]) for trail in trails] == [
        ("INVALID_ARGUMENT", "InvalidRequestError")
    ]
