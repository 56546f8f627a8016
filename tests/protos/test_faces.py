"""The bytes of ``ocella.v1.Faces`` that released clients know."""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf import json_format

from protos.ocella.v1 import faces_pb2 as pb
from tests.protos.test_vision import fields_of

QUALITY = {"sizePx": 2.0, "sharpness": 40.0, "brightness": 128.0, "turn": 0.0}
THRESHOLDS = {"same": 0.5, "different": 0.25, "targetFmr": 0.001}
GOLDEN: list[tuple[str, dict[str, Any], str]] = [
    ("EnrollRequest", {"model": "m", "person": "ada", "images": ["/9g="]}, "0a016d12036164611a02ffd8"),
    (
        "EnrollResponse",
        {"qualities": [QUALITY], "samples": 2},
        "0a240900000000000000401100000000000044401900000000000060402100000000000000001002",
    ),
    (
        "VerifyRequest",
        {"model": "m", "probe": "/9g=", "image": "/9k=", "threshold": 0.5},
        "0a016d1202ffd81a02ffd929000000000000e03f",
    ),
    ("VerifyRequest", {"probe": "/9g=", "person": "ada"}, "1202ffd82203616461"),
    (
        "VerifyResponse",
        {"decision": "DECISION_SAME", "score": 0.75, "thresholds": THRESHOLDS},
        "080111000000000000e83f1a1b09000000000000e03f11000000000000d03f19fca9f1d24d62503f",
    ),
    (
        "IdentifyRequest",
        {"model": "m", "image": "/9g=", "topK": 3, "threshold": 0.0},
        "0a016d1202ffd81803210000000000000000",
    ),
    (
        "IdentifyResponse",
        {
            "faces": [
                {
                    "box": [1.0, 2.0, 3.0, 4.0],
                    "score": 0.5,
                    "landmarks": [1.5, 2.5],
                    "quality": QUALITY,
                    "decision": "DECISION_UNCERTAIN",
                    "person": "ada",
                    "candidates": [{"person": "ada", "score": 0.75}],
                }
            ],
            "thresholds": THRESHOLDS,
            "searched": 7,
        },
        "0a5e0a100000803f000000400000404000008040150000003f1a080000c03f000020402224090000000000000040110000000000004440190000000000006040210000000000000000280232036164613a0e0a0361646111000000000000e83f121b09000000000000e03f11000000000000d03f19fca9f1d24d62503f1807",
    ),
    ("ListPeopleRequest", {"model": "m"}, "0a016d"),
    (
        "ListPeopleResponse",
        {
            "people": [{"name": "ada", "samples": 2, "enrolledAtS": 5.0}],
            "embedderSha256": "ab",
            "recipeSeal": "cd",
            "thresholds": THRESHOLDS,
            "searchedBy": "exact",
        },
        "0a100a036164611002190000000000001440120261621a026364221b09000000000000e03f11000000000000d03f19fca9f1d24d62503f2a056578616374",
    ),
    ("RemovePersonRequest", {"model": "m", "person": "ada"}, "0a016d1203616461"),
    ("RemovePersonResponse", {"samples": 2, "erased": True}, "08021001"),
]


@pytest.mark.parametrize(("kind", "fields", "expected"), GOLDEN, ids=[row[0] for row in GOLDEN])
def test_a_message_has_the_bytes_that_released_clients_know(kind: str, fields: dict[str, Any], expected: str):
    message = json_format.ParseDict(fields, getattr(pb, kind)())
    assert message.SerializeToString(deterministic=True).hex() == expected
    assert json_format.MessageToDict(getattr(pb, kind).FromString(bytes.fromhex(expected))) == fields


def test_every_field_of_the_service_is_pinned():
    messages = [json_format.ParseDict(fields, getattr(pb, kind)()) for kind, fields, _ in GOLDEN]
    pinned = {name for message in messages for name in fields_of(message)}
    own = {field.full_name for kind in pb.DESCRIPTOR.message_types_by_name.values() for field in kind.fields}
    assert own <= pinned


def test_the_service_has_the_methods_of_the_contract():
    service = pb.DESCRIPTOR.services_by_name["Faces"]
    assert service.full_name == "ocella.v1.Faces"
    assert [m.name for m in service.methods] == ["Enroll", "Verify", "Identify", "ListPeople", "RemovePerson"]
