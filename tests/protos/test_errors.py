"""The bytes by which released clients tell the errors of a call apart."""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf import json_format
from google.rpc import error_details_pb2  # noqa: F401  # so that JSON knows the details
from google.rpc.status_pb2 import Status

from pipelines.errors import OcellaError, OverloadedError, UnknownPersonError
from serving.status import failure_of
from serving.wire import write_status_details

TYPES = "type.googleapis.com/google.rpc"
GOLDEN: list[tuple[OcellaError, dict[str, Any], str]] = [
    (
        OverloadedError("full", retry_after_s=1.25),
        {
            "code": 8,
            "message": "full",
            "details": [
                {"@type": f"{TYPES}.ErrorInfo", "reason": "OverloadedError", "domain": "ocella"},
                {"@type": f"{TYPES}.RetryInfo", "retryDelay": "1.250s"},
            ],
        },
        "0808120466756c6c1a450a28747970652e676f6f676c65617069732e636f6d2f676f6f676c652e7270632e4572726f72496e666f12190a0f4f7665726c6f616465644572726f7212066f63656c6c611a350a28747970652e676f6f676c65617069732e636f6d2f676f6f676c652e7270632e5265747279496e666f12090a0708011080e59a77",
    ),
    (
        UnknownPersonError("who"),
        {
            "code": 5,
            "message": "who",
            "details": [{"@type": f"{TYPES}.ErrorInfo", "reason": "UnknownPersonError", "domain": "ocella"}],
        },
        "0805120377686f1a480a28747970652e676f6f676c65617069732e636f6d2f676f6f676c652e7270632e4572726f72496e666f121c0a12556e6b6e6f776e506572736f6e4572726f7212066f63656c6c61",
    ),
]


@pytest.mark.parametrize(("error", "fields", "expected"), GOLDEN, ids=[type(row[0]).__name__ for row in GOLDEN])
def test_the_details_of_an_error_have_the_bytes_that_released_clients_know(
    error: OcellaError, fields: dict[str, Any], expected: str
):
    assert write_status_details(failure_of(error, request_id="7")).hex() == expected
    assert json_format.MessageToDict(Status.FromString(bytes.fromhex(expected))) == fields
