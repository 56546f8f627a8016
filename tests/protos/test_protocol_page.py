"""docs/protocol.md names everything that the protocol has."""

import json
import re
import tomllib
from pathlib import Path

import pytest

from protos.ocella.v1 import faces_pb2 as faces
from protos.ocella.v1 import vision_pb2 as pb
from serving.deploy import Deploy
from serving.settings import Settings
from serving.status import STATUS
from tests.serving.test_metrics import CONTRACT

PROTO = (Path(__file__).parents[2] / "protos" / "ocella" / "v1" / "vision.proto").read_text()
PAGE = (Path(__file__).parents[2] / "docs" / "protocol.md").read_text()
FACES = (Path(__file__).parents[2] / "docs" / "faces.md").read_text()
OF_EMPTY_KIND = {"ListPeopleRequest"}  # has nothing but `model`, as every request
RELOAD = (Path(__file__).parents[2] / "docs" / "reload.md").read_text()
IN_COMMANDS = {"models", "host", "port", "http_port", "insecure"}
OF_SUPERVISOR = {"member_of", "member"}  # set by the server for its own processes


def test_every_field_is_named():
    fields = {field.name for kind in pb.DESCRIPTOR.message_types_by_name.values() for field in kind.fields}
    assert {name for name in fields if not re.search(rf"`{name}`", PAGE)} == set()


def test_every_field_and_value_of_faces_is_named_on_their_page():
    kinds = faces.DESCRIPTOR.message_types_by_name.values()
    names = {field.name for kind in kinds for field in kind.fields} | {kind.name for kind in kinds}
    names |= {value for value in faces.Decision.keys() if not value.endswith("UNSPECIFIED")}  # noqa: SIM118, an enum
    assert {name for name in names - OF_EMPTY_KIND if f"`{name}`" not in FACES} == set()


def test_every_method_is_named():
    assert [m.name for m in pb.DESCRIPTOR.services_by_name["Vision"].methods if f"`{m.name}`" not in PAGE] == []


@pytest.mark.parametrize("error", STATUS, ids=lambda error: error.__name__)
def test_every_error_has_its_row_with_its_codes(error: type[Exception]):
    status = STATUS[error]
    assert f"| `{error.__name__}` | {status.grpc.name} | {status.http} |" in PAGE


def test_the_refusal_of_grpc_itself_is_told_in_both_places():
    for text in (PAGE, PROTO):
        assert re.search(r"RESOURCE_EXHAUSTED\W+without", text)


def test_every_metric_is_named():
    assert [name for name in CONTRACT if f"`{name.removeprefix('ocella_')}`" not in PAGE] == []


def shown_default(default: object) -> str:
    """A setting's default as the page writes it."""
    if default is None:
        return "unset"
    return str(default).lower() if isinstance(default, bool) else str(default).removesuffix(".0")


def test_every_setting_has_its_row_with_its_default():
    settings = {name: field.default for name, field in Settings.model_fields.items()}
    rows = {
        name: f"| `OCELLA_{name.upper()}` | {shown_default(default)} |"
        for name, default in settings.items()
        if name not in IN_COMMANDS | OF_SUPERVISOR
    }
    assert {name for name, row in rows.items() if row not in PAGE} == set()


def test_the_deploy_file_shown_is_valid_and_complete():
    (shown,) = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    raw = tomllib.loads(shown)
    Deploy.model_validate_json(json.dumps(raw))
    assert raw.keys() == Deploy.model_fields.keys()


def test_every_key_of_the_deploy_file_is_shown_here_or_with_reloads():
    parts = {name: type(getattr(Deploy(), name)).model_fields for name in ("batching", "runtime", "warmup", "health")}
    keys = {key for part in parts.values() for key in part}
    shown = re.compile(r"^(?:(\w+) =|\[runtime\.(\w+)\])", re.MULTILINE).findall(PAGE + RELOAD)
    assert keys - {name for pair in shown for name in pair} == set()
