"""``inference.GRPCInferenceService`` through the generated stub, on real packages."""

import json
import random
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import numpy as np
import pytest
from google.protobuf import json_format

from pipelines.present import to_json
from protos.oip import control_pb2 as control
from protos.oip import infer_pb2 as pb
from protos.oip import metadata_pb2 as metadata
from protos.oip import model_config_pb2 as config
from protos.oip import statistics_pb2 as statistics
from protos.oip.service_pb2_grpc import GRPCInferenceServiceStub
from serving.app import ListeningServer
from serving.client import AsyncVisionClient
from serving.oip.tensors import Tensor, from_raw, to_raw
from tests.packages import make_package
from tests.serving.oip.models import ECHO, ECHOED, serve_echo
from tests.serving.servers import PATIENCE_S, Offline, running_server

INVALID = grpc.StatusCode.INVALID_ARGUMENT
IMAGE_MODELS = ("classes", "things", "masks", "vectors")
FUZZED = 150


@pytest.fixture
async def stub(server: ListeningServer) -> AsyncIterator[GRPCInferenceServiceStub]:
    async with grpc.aio.insecure_channel(server.grpc_address) as channel:
        yield GRPCInferenceServiceStub(channel)


def tensor(name: str, datatype: str, values: Any) -> Tensor:
    array = np.empty(len(values), object) if datatype == "BYTES" else np.asarray(values)
    if datatype == "BYTES":
        array[:] = values
    return Tensor(name, datatype, array)


def request(model: str, *given: Tensor, outputs: tuple[str, ...] = (), **fields: Any) -> pb.ModelInferRequest:
    message = pb.ModelInferRequest(model_name=model, **fields)
    for each in given:
        message.inputs.add(name=each.name, datatype=each.datatype, shape=each.array.shape)
        message.raw_input_contents.append(bytes(to_raw(each)))
    for name in outputs:
        message.outputs.add(name=name)
    return message


def images(model: str, *files: bytes, **fields: Any) -> pb.ModelInferRequest:
    return request(model, tensor("image", "BYTES", files), **fields)


def pixels(rows: int = 1, dtype: type = np.float32) -> Tensor:
    values = np.linspace(-1, 1, rows * 3 * 32 * 32).reshape(rows, 3, 32, 32).astype(dtype)
    return Tensor("image", "FP32" if dtype is np.float32 else "FP64", values)


def outputs_of(answer: pb.ModelInferResponse) -> dict[str, Any]:
    return {
        each.name: from_raw(each.name, each.datatype, tuple(each.shape), contents).array
        for each, contents in zip(answer.outputs, answer.raw_output_contents, strict=True)
    }


async def code_of(call: Any) -> grpc.StatusCode:
    try:
        await call
    except grpc.aio.AioRpcError as error:
        return error.code()
    return grpc.StatusCode.OK


@pytest.mark.parametrize("model", IMAGE_MODELS)
async def test_the_same_image_gives_the_same_numbers_through_both_protocols_and_offline(
    stub: GRPCInferenceServiceStub, server: ListeningServer, offline: Offline, photos: list[bytes], model: str
):
    outputs = outputs_of(await stub.ModelInfer(images(model, *photos[:3]), timeout=PATIENCE_S))
    async with AsyncVisionClient(server.grpc_address, timeout_s=PATIENCE_S) as client:
        for text, photo in zip(outputs["result"], photos[:3], strict=True):
            assert json.loads(text) == to_json(offline(model, photo))
            assert json.loads(text) == to_json((await client.predict(model, photo)).result)


async def test_tensors_run_the_graph_alone(stub: GRPCInferenceServiceStub, server: ListeningServer):
    answer = await stub.ModelInfer(request("classes", pixels(3), id="7"), timeout=PATIENCE_S)
    session = server.catalog.find("classes", 0).loaded.session
    expected = np.concatenate([session.run({"image": pixels(3).array[[i]]})["logits"] for i in range(3)])
    assert (answer.id, answer.model_name, answer.model_version) == ("7", "classes", "1")
    assert np.array_equal(outputs_of(answer)["logits"], expected)


async def test_every_dtype_of_onnx_goes_through_a_graph(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    make_package(tmp_path / "models" / ECHO / "1", name=ECHO)
    serve_echo(monkeypatch, tmp_path)
    values = np.arange(6).reshape(2, 3)
    async with (
        running_server(tmp_path / "models") as server,
        grpc.aio.insecure_channel(server.grpc_address) as channel,
    ):
        sent = [
            from_raw(f"in_{name}", name, (2, 3), b"\x01\0\0\0a" * 6)
            if name == "BYTES"
            else Tensor(f"in_{name}", name, from_raw("", name, (0,), b"").array.dtype.type(values % 2))
            for name in ECHOED
        ]
        answer = await GRPCInferenceServiceStub(channel).ModelInfer(request(ECHO, *sent), timeout=PATIENCE_S)
    for given, back in zip(sent, answer.raw_output_contents, strict=True):
        assert bytes(to_raw(given)) == back
    assert [each.datatype for each in answer.outputs] == list(ECHOED)


@pytest.mark.parametrize(
    ("message", "said"),
    [
        (pb.ModelInferRequest(model_name="classes"), "inputs must be one tensor or more"),
        (request("classes", pixels(dtype=np.float64)), "must be FP32, got FP64"),
        (request("classes", Tensor("image", "BF16", np.zeros((1, 3, 8, 8), np.uint16))), "must be FP32, got BF16"),
        (request("classes", pixels(), outputs=("no",)), "outputs must be among"),
        (request("classes", Tensor("pixels", "FP32", pixels().array)), r"inputs must be \['image'\], got"),
        (request("classes", Tensor("image", "FP32", np.zeros((1, 3, 1, 1), np.float32))), "these shapes|must have"),
        (request("classes", pixels(), model_version="x"), "model_version must be a whole number"),
        (images("classes", b"no"), "image must be JPEG"),
        (images("classes", b""), "image"),
        (images("classes"), "must hold 1 to 1024 encoded images, got 0"),
        (images("classes", b"no", outputs=("boxes",)), "for classification must be among"),
        (request("classes", Tensor("image", "BYTES", np.full((1, 2), b"x", object))), r"shape \[N\] or \[N, 1\]"),
    ],
)
async def test_a_bad_request_is_one_clear_error(
    stub: GRPCInferenceServiceStub, message: pb.ModelInferRequest, said: str
):
    with pytest.raises(grpc.aio.AioRpcError, match=said) as caught:
        await stub.ModelInfer(message, timeout=PATIENCE_S)
    assert caught.value.code() is INVALID


async def test_the_image_that_fails_is_named(stub: GRPCInferenceServiceStub, photos: list[bytes]):
    with pytest.raises(grpc.aio.AioRpcError, match="image 1 of 3: ") as caught:
        await stub.ModelInfer(images("classes", photos[0], b"no", photos[1]), timeout=PATIENCE_S)
    assert caught.value.code() is INVALID


async def test_bytes_that_are_no_message_are_an_invalid_request(server: ListeningServer):
    async with grpc.aio.insecure_channel(server.grpc_address) as channel:
        for method in ("ModelInfer", "ModelMetadata", "RepositoryIndex"):
            call = channel.unary_unary(f"/inference.GRPCInferenceService/{method}")
            assert await code_of(call(b"\xff\xff\xff", timeout=PATIENCE_S)) is INVALID


async def test_any_damage_to_a_request_is_answered_as_a_request_and_never_as_a_fault(
    server: ListeningServer, photos: list[bytes]
):
    chance = random.Random(20)
    whole = [
        request("classes", pixels(), outputs=("logits",), id="x").SerializeToString(),
        images("things", photos[1], outputs=("boxes", "result")).SerializeToString(),
    ]
    allowed = {grpc.StatusCode.OK, INVALID, grpc.StatusCode.NOT_FOUND, grpc.StatusCode.UNIMPLEMENTED}
    allowed |= {grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.PERMISSION_DENIED}
    async with grpc.aio.insecure_channel(server.grpc_address) as channel:
        call = channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")
        for _ in range(FUZZED):
            data = bytearray(chance.choice(whole))
            for _ in range(chance.randint(1, 6)):  # most of the damage in the head, where the structure is
                data[chance.randrange(min(len(data), 80))] = chance.randrange(256)
            if chance.random() < 0.3:
                del data[chance.randrange(len(data)) :]
            code = await code_of(call(bytes(data), timeout=PATIENCE_S))
            assert code in allowed, bytes(data[:100])


async def test_a_stream_answers_in_order_and_errors_in_band(stub: GRPCInferenceServiceStub, photos: list[bytes]):
    sent = [images("classes", photo, id=str(i)) for i, photo in enumerate(photos)]
    sent[3] = images("no", photos[0], id="3")
    answers = [answer async for answer in stub.ModelStreamInfer(iter(sent), timeout=PATIENCE_S)]
    assert [answer.infer_response.id for answer in answers] == [str(i) for i in range(len(sent))]
    assert [bool(answer.error_message) for answer in answers] == [i == 3 for i in range(len(sent))]


async def test_classification_is_of_the_rows_of_an_output(stub: GRPCInferenceServiceStub):
    message = request("classes", pixels(2), outputs=("logits",))
    message.outputs[0].parameters["classification"].int64_param = 2
    (entries,) = outputs_of(await stub.ModelInfer(message, timeout=PATIENCE_S)).values()
    assert entries.shape == (2, 2)
    assert all(entry.split(b":")[2] == b"class " + entry.split(b":")[1] for entry in entries.ravel())


async def test_statistics_count_rows_and_failures(stub: GRPCInferenceServiceStub, photos: list[bytes]):
    await stub.ModelInfer(request("classes", pixels(3)), timeout=PATIENCE_S)
    await stub.ModelInfer(images("classes", photos[0]), timeout=PATIENCE_S)
    await code_of(stub.ModelInfer(images("classes", b"no"), timeout=PATIENCE_S))
    answer = await stub.ModelStatistics(statistics.ModelStatisticsRequest(name="classes"), timeout=PATIENCE_S)
    (stats,) = answer.model_stats
    assert (stats.inference_count, stats.inference_stats.success.count, stats.inference_stats.fail.count) == (4, 2, 1)
    assert 2 <= stats.execution_count <= 4  # a slow machine runs the three rows in parts
    assert stats.inference_stats.success.ns >= stats.inference_stats.compute_infer.ns > 0


async def test_metadata_and_config_speak_of_the_same_tensors(stub: GRPCInferenceServiceStub):
    about = await stub.ModelMetadata(metadata.ModelMetadataRequest(name="things"), timeout=PATIENCE_S)
    run = (await stub.ModelConfig(config.ModelConfigRequest(name="things"), timeout=PATIENCE_S)).config
    assert [(each.name, list(each.shape[1:])) for each in about.inputs] == [(e.name, list(e.dims)) for e in run.input]
    assert [each.name for each in about.outputs] == [each.name for each in run.output]


async def test_readiness_of_what_is_not_known_is_no(stub: GRPCInferenceServiceStub):
    asked = [("classes", ""), ("classes", "1"), ("classes", "2"), ("no", "")]
    answers = [
        (await stub.ModelReady(metadata.ModelReadyRequest(name=name, version=version), timeout=PATIENCE_S)).ready
        for name, version in asked
    ]
    assert answers == [True, True, False, False]


@pytest.mark.parametrize(
    ("method", "message"),
    [
        ("RepositoryModelLoad", control.RepositoryModelLoadRequest(model_name="classes")),
        ("RepositoryModelUnload", control.RepositoryModelUnloadRequest(model_name="classes")),
        ("SystemSharedMemoryStatus", control.SystemSharedMemoryStatusRequest()),
        ("SystemSharedMemoryRegister", control.SystemSharedMemoryRegisterRequest(name="r", key="k", byte_size=1)),
        ("SystemSharedMemoryUnregister", control.SystemSharedMemoryUnregisterRequest()),
        (
            "LogSettings",
            json_format.ParseDict({"settings": {"log_info": {"bool_param": True}}}, control.LogSettingsRequest()),
        ),
        (
            "TraceSetting",
            json_format.ParseDict({"settings": {"trace_level": {"value": ["MAX"]}}}, control.TraceSettingRequest()),
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_what_the_operator_has_not_allowed_is_denied(stub: GRPCInferenceServiceStub, method: str, message: Any):
    call = getattr(stub, method)(message, timeout=PATIENCE_S)
    assert await code_of(call) is grpc.StatusCode.PERMISSION_DENIED


async def test_an_operator_may_unload_and_load(repository: Path):
    async with (
        running_server(repository, admin=True) as server,
        grpc.aio.insecure_channel(server.grpc_address) as channel,
    ):
        stub = GRPCInferenceServiceStub(channel)
        asked = control.RepositoryModelUnloadRequest(model_name="vectors")
        await stub.RepositoryModelUnload(asked, timeout=PATIENCE_S)
        index = await stub.RepositoryIndex(control.RepositoryIndexRequest(), timeout=PATIENCE_S)
        assert {each.name: each.state for each in index.models}["vectors"] == "UNAVAILABLE"
        asked = control.RepositoryModelLoadRequest(model_name="vectors")
        await stub.RepositoryModelLoad(asked, timeout=PATIENCE_S)
        ready = await stub.RepositoryIndex(control.RepositoryIndexRequest(ready=True), timeout=PATIENCE_S)
        assert "vectors" in {each.name for each in ready.models}


@pytest.mark.parametrize("method", ["Status", "Register", "Unregister"])
async def test_cuda_shared_memory_is_not_offered(stub: GRPCInferenceServiceStub, method: str):
    name = f"CudaSharedMemory{method}"
    call = getattr(stub, name)(getattr(control, f"{name}Request")(), timeout=PATIENCE_S)
    assert await code_of(call) is grpc.StatusCode.UNIMPLEMENTED
