"""The OpenAPI 3.1 description, made from the table of endpoints."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from http import HTTPStatus
from importlib.metadata import version as version_of
from typing import Any

from serving.oip.documents import Document
from serving.rest.parts import Endpoint, Schema
from serving.rest.query import MAX_TIMEOUT_S, TIMEOUT
from serving.rest.reply import JSON
from serving.rest.schemas import OPTIONS, SCHEMAS, named, text
from serving.security.roles import Door

# What any path may answer beside its own refusals.
_ALWAYS = (400, 429, 500)
# Where the server asks who calls.
_WITH_TOKENS = (401, 403)
_BEARER: Document = {"type": "http", "scheme": "bearer", "description": "where the server was started with --tokens"}
_ABOUT = (
    "Images in, results out, beside the Open Inference Protocol with Triton's extensions. Bodies may come, and answers "
    "go, packed by gzip or deflate. Binary tensors follow the JSON, whose length inference-header-content-length says."
)
_TIMEOUT: Schema = {"type": "number", "exclusiveMinimum": 0, "maximum": MAX_TIMEOUT_S, "description": "seconds in all"}


def describe(endpoints: Iterable[Endpoint]) -> Document:
    """The description as a JSON document."""
    paths: dict[str, Document] = {}
    for endpoint in endpoints:
        paths.setdefault(endpoint.path, {})[endpoint.verb.lower()] = _operation(endpoint)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Ocella", "version": version_of("ocella"), "description": _ABOUT},
        "paths": paths,
        "components": {"schemas": dict(SCHEMAS), "securitySchemes": {"bearer": _BEARER}},
    }


def _operation(endpoint: Endpoint) -> Document:
    operation: Document = {
        "operationId": endpoint.name + (".version" if "{version}" in endpoint.path else ""),
        "summary": endpoint.summary,
        "parameters": [*_path_parameters(endpoint.path), *_query_parameters(endpoint.query)],
        "responses": _responses(endpoint),
    }
    if endpoint.role is not Door.OPEN:
        operation["security"] = [{"bearer": []}, {}]  # the second: a server without tokens
    if endpoint.takes:
        operation["requestBody"] = {"required": endpoint.runs, "content": _content(endpoint.takes)}
    return operation


def _path_parameters(path: str) -> list[Document]:
    return [{"name": name, "in": "path", "required": True, "schema": text()} for name in re.findall(r"\{(\w+)\}", path)]


def _query_parameters(names: Sequence[str]) -> list[Document]:
    schemas = {name: OPTIONS[name] for name in names} | {TIMEOUT: _TIMEOUT}
    return [{"name": name, "in": "query", "schema": schema} for name, schema in schemas.items()]


def _responses(endpoint: Endpoint) -> Document:
    done: dict[str, Any] = {"description": "done"}
    if endpoint.gives:
        done["content"] = _content(endpoint.gives)
    responses: Document = {} if endpoint.fails == (501,) else {"200": done}
    asks = () if endpoint.role is Door.OPEN else _WITH_TOKENS
    for status in sorted({*_ALWAYS, *asks, *endpoint.fails}):
        responses[str(status)] = {
            "description": HTTPStatus(status).phrase.lower(),
            "content": _content({JSON: named("Error")}),
        }
    return responses


def _content(schemas: Mapping[str, Schema]) -> Document:
    return {media_type: {"schema": schema} for media_type, schema in schemas.items()}
