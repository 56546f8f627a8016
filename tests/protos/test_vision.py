import json
import os
import re
import subprocess
import tomllib
import venv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import json_format
from google.protobuf.message import Message

from protos.ocella.v1 import vision_pb2 as pb

ROOT = Path(__file__).parents[2]
PROTO = "protos/ocella/v1/vision.proto"
GENERATED = ("vision_pb2.py", "vision_pb2.pyi", "vision_pb2_grpc.py")
GENERATOR = "grpcio-tools==1.74.0"

# Messages as JSON and as bytes on the wire: a changed field name, number or type changes one of them.
GOLDEN = json.loads(Path(__file__).with_name("golden_messages.json").read_text())


@pytest.mark.parametrize("golden", GOLDEN, ids=lambda golden: golden["message"])
def test_a_message_has_the_bytes_that_released_clients_know(golden: dict[str, Any]):
    kind = getattr(pb, golden["message"])
    message = json_format.ParseDict(golden["json"], kind())
    assert message.SerializeToString(deterministic=True).hex() == golden["bytes"]
    assert json_format.MessageToDict(kind.FromString(bytes.fromhex(golden["bytes"]))) == golden["json"]


def test_every_field_of_the_protocol_is_pinned():
    messages = [json_format.ParseDict(golden["json"], getattr(pb, golden["message"])()) for golden in GOLDEN]
    pinned = {name for message in messages for name in fields_of(message)}
    assert pinned == {field.full_name for kind in pb.DESCRIPTOR.message_types_by_name.values() for field in kind.fields}


def test_the_service_has_the_methods_of_the_contract():
    methods = pb.DESCRIPTOR.services_by_name["Vision"].methods
    names = ["Predict", "PredictStream", "PredictTiles", "ListModels", "DescribeModel"]
    assert [method.name for method in methods] == names
    assert pb.DESCRIPTOR.services_by_name["Vision"].full_name == "ocella.v1.Vision"


def fields_of(message: Message) -> Iterator[str]:
    """Full names of the fields that are set in a message and in those inside it."""
    for field, value in message.ListFields():
        yield field.full_name
        inner = value if field.is_repeated else [value]
        for each in inner if field.message_type else ():
            yield from fields_of(each)


def stamped(file: str, pattern: str) -> tuple[int, ...]:
    """A version that the generator wrote into a file."""
    found = re.search(pattern, (ROOT / PROTO).with_name(file).read_text())
    assert found, f"{file} carries no version"
    return tuple(map(int, found[1].split(".")))


def floor_of(package: str) -> tuple[int, ...]:
    """The lowest version that ``pyproject.toml`` allows."""
    dependencies = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    (wanted,) = (line for line in dependencies if re.match(rf"{package}>=", line))
    numbers = tuple(map(int, wanted.removeprefix(f"{package}>=").split(",")[0].split(".")))
    return numbers + (0,) * (3 - len(numbers))


def test_the_generated_code_is_covered_by_the_oldest_protobuf_allowed():
    assert stamped("vision_pb2.py", r"Protobuf Python Version: ([\d.]+)") <= floor_of("protobuf")


def test_the_generated_code_is_covered_by_the_oldest_grpcio_allowed():
    assert stamped("vision_pb2_grpc.py", r"GRPC_GENERATED_VERSION = '([\d.]+)'") <= floor_of("grpcio")


def generator(folder: Path) -> str:
    """The Python of an environment with the generator, made in ``folder`` unless the variable names one."""
    python = os.environ.get("OCELLA_PROTO_PYTHON")
    if not python:
        venv.create(folder / "generator", with_pip=True)
        python = str(folder / "generator" / "bin" / "python")
        # grpcio-tools 1.74 still asks for pkg_resources, which setuptools 81 no longer has.
        install = [python, "-m", "pip", "install", "--quiet", GENERATOR, "setuptools<81"]
        subprocess.run(install, check=True, capture_output=True)
    return python


@pytest.mark.slow
def test_generating_again_gives_the_same_bytes(tmp_path: Path):
    python = generator(tmp_path)
    out = tmp_path / "out"
    out.mkdir()
    flags = (f"--{kind}_out={out}" for kind in ("python", "pyi", "grpc_python"))
    subprocess.run([python, "-m", "grpc_tools.protoc", "-I", ".", *flags, PROTO], cwd=ROOT, check=True)
    for name in GENERATED:
        fresh = (out / PROTO).with_name(name).read_bytes()
        assert fresh == (ROOT / PROTO).with_name(name).read_bytes(), f"{name} was not generated from {PROTO}"
