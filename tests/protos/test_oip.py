"""The messages of the Open Inference Protocol, pinned by the bytes that tritonclient 2.73 writes for them."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import json_format
from google.protobuf.message import Message

from protos.oip import control_pb2, infer_pb2, metadata_pb2, model_config_pb2, service_pb2, statistics_pb2
from tests.protos.test_vision import ROOT, generator

FILES = (control_pb2, infer_pb2, metadata_pb2, model_config_pb2, statistics_pb2)
KINDS = {name: getattr(file, name) for file in FILES for name in file.DESCRIPTOR.message_types_by_name}
# JSON, and the bytes that tritonclient's own protobuf classes made of it.
GOLDEN = json.loads(Path(__file__).with_name("golden_oip.json").read_text())
METHODS = [
    *("ServerLive", "ServerReady", "ModelReady", "ServerMetadata", "ModelMetadata", "ModelInfer", "ModelStreamInfer"),
    *("ModelConfig", "ModelStatistics", "RepositoryIndex", "RepositoryModelLoad", "RepositoryModelUnload"),
    *(f"{kind}SharedMemory{what}" for kind in ("System", "Cuda") for what in ("Status", "Register", "Unregister")),
    *("TraceSetting", "LogSettings"),
]


@pytest.mark.parametrize("golden", GOLDEN, ids=lambda golden: golden["message"])
def test_a_message_has_the_bytes_of_tritonclient(golden: dict[str, Any]):
    kind: type[Message] = KINDS[golden["message"]]
    message = json_format.ParseDict(golden["json"], kind())
    assert message.SerializeToString(deterministic=True).hex() == golden["bytes"]
    assert json_format.MessageToDict(kind.FromString(bytes.fromhex(golden["bytes"]))) == golden["json"]


def fields_of(message: Message) -> Iterator[str]:
    """Full names of the fields that are set in a message and in those inside it, values of maps too."""
    for field, value in message.ListFields():
        yield field.full_name
        is_map = field.message_type is not None and field.message_type.GetOptions().map_entry
        inner = value.values() if is_map else value if field.is_repeated else [value]
        for each in inner:
            if isinstance(each, Message):
                yield from fields_of(each)


def test_every_field_is_pinned():
    messages = [json_format.ParseDict(golden["json"], KINDS[golden["message"]]()) for golden in GOLDEN]
    assert {name for message in messages for name in fields_of(message)} == {
        field.full_name
        for kind in KINDS.values()
        for descriptor in (kind.DESCRIPTOR, *kind.DESCRIPTOR.nested_types)
        if not descriptor.GetOptions().map_entry
        for field in descriptor.fields
    }


def test_the_service_has_the_twenty_methods_of_the_protocol():
    service = service_pb2.DESCRIPTOR.services_by_name["GRPCInferenceService"]
    assert service.full_name == "inference.GRPCInferenceService"
    assert [method.name for method in service.methods] == METHODS
    assert len(METHODS) == 20


def test_each_method_takes_and_gives_messages_of_its_own_name():
    for method in service_pb2.DESCRIPTOR.services_by_name["GRPCInferenceService"].methods:
        stem = method.name.replace("ModelStreamInfer", "ModelInfer")
        assert method.input_type.full_name == f"inference.{stem}Request"
        assert method.output_type.full_name == f"inference.{method.name}Response"


@pytest.mark.slow
def test_generating_again_gives_the_same_bytes(tmp_path: Path):
    out = tmp_path / "out"
    out.mkdir()
    flags = (f"--{kind}_out={out}" for kind in ("python", "pyi", "grpc_python"))
    protos = sorted(str(path.relative_to(ROOT)) for path in (ROOT / "protos" / "oip").glob("*.proto"))
    subprocess.run([generator(tmp_path), "-m", "grpc_tools.protoc", "-I", ".", *flags, *protos], cwd=ROOT, check=True)
    for fresh in sorted((out / "protos" / "oip").iterdir()):
        assert fresh.read_bytes() == (ROOT / "protos" / "oip" / fresh.name).read_bytes(), f"{fresh.name} differs"
