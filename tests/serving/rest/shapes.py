"""Whether an answer is what the OpenAPI description says of its path."""

from __future__ import annotations

from typing import Any

import httpx
from jsonschema import Draft202012Validator


def check(response: httpx.Response, description: dict[str, Any], path: str, verb: str) -> None:
    """Fail where the status is not described, or the body is not of its schema."""
    content = description["paths"][path][verb]["responses"][str(response.status_code)]["content"]
    schema = content[response.headers["content-type"]]["schema"]
    Draft202012Validator({"components": description["components"], **schema}).validate(response.json())
