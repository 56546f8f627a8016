"""What bodies look like, as JSON Schema: the part of the OpenAPI description that paths refer to by name."""

from __future__ import annotations

from collections.abc import Mapping

from pipelines.options import MAX_COUNT
from serving.oip.tensors import NUMPY_DTYPES
from serving.rest.parts import Schema


def text(description: str = "") -> Schema:
    """A string."""
    return {"type": "string"} | ({"description": description} if description else {})


def whole(description: str = "") -> Schema:
    """A whole number from 0."""
    return {"type": "integer", "minimum": 0} | ({"description": description} if description else {})


def array(items: Schema) -> Schema:
    """An array of ``items``."""
    return {"type": "array", "items": items}


def record(properties: Mapping[str, Schema], *, needs: tuple[str, ...] | None = None) -> Schema:
    """An object of ``properties``, of which it must have ``needs``: all, where not said."""
    return {
        "type": "object",
        "properties": dict(properties),
        "required": list(properties if needs is None else needs),
    }


def named(name: str) -> Schema:
    """A schema of ``SCHEMAS``."""
    return {"$ref": f"#/components/schemas/{name}"}


FLAG: Schema = {"type": "boolean"}
BYTES: Schema = {"type": "string", "contentMediaType": "application/octet-stream"}
ANY_OBJECT: Schema = {"type": "object"}
_PARAMETERS: Schema = {
    "type": "object",
    "additionalProperties": {"type": ["boolean", "number", "string"]},
}
_DATATYPE: Schema = {"type": "string", "enum": list(NUMPY_DTYPES)}
_TENSOR: Mapping[str, Schema] = {
    "name": text(),
    "datatype": _DATATYPE,
    "shape": array(whole()),
    "parameters": _PARAMETERS,
    "data": {"type": "array", "description": "flat or nested, row by row; images as base64"},
}
_DECLARED = record({"name": text(), "datatype": text(), "shape": array({"type": "integer"})})
_COUNTED = record({"count": whole(), "ns": whole("nanoseconds, in sum")})
_FOUND: Mapping[str, Schema] = {
    "task": text("of the model: it says which of the others come"),
    "classes": array(ANY_OBJECT),
    "detections": array(ANY_OBJECT),
    "objects": array(ANY_OBJECT),
    "vector": array({"type": "number"}),
    "class_map_png": text("base64"),
    "alpha_png": text("base64"),
}

OPTIONS: Mapping[str, Schema] = {
    "score_threshold": {"type": "number", "minimum": 0, "maximum": 1},
    "iou_threshold": {"type": "number", "minimum": 0, "maximum": 1},
    "max_detections": {"type": "integer", "minimum": 1, "maximum": MAX_COUNT},
    "top_k": {"type": "integer", "minimum": 1, "maximum": MAX_COUNT},
}
SCHEMAS: Mapping[str, Schema] = {
    "Error": record(
        {
            "code": text("name of the gRPC code"),
            "reason": text("name of the error, for programs"),
            "message": text("one line, for people"),
            "error": text("the message, as the Open Inference Protocol calls it"),
            "request_id": text("under which the server's log holds an internal error"),
            "retry_after_s": {"type": "number", "description": "seconds until the server expects room"},
        },
        needs=("code", "reason", "message", "error"),
    ),
    "Predictions": record(
        {
            "model": text(),
            "version": whole(),
            "predictions": array(
                record(
                    {
                        "image": record({"width": whole("pixels after EXIF"), "height": whole()}),
                        "result": record(_FOUND, needs=("task",)),
                    }
                )
            ),
        }
    ),
    "Form": record({"image": array(BYTES), **OPTIONS}, needs=("image",)),
    "Models": record(
        {"models": array(record({"name": text(), "version": whole(), "task": text(), "ready": FLAG, "reason": text()}))}
    ),
    "InferRequest": record(
        {
            "id": text("echoed"),
            "parameters": _PARAMETERS,
            "inputs": array(record(_TENSOR, needs=("name", "datatype", "shape"))),
            "outputs": array(record({"name": text(), "parameters": _PARAMETERS}, needs=("name",))),
        },
        needs=("inputs",),
    ),
    "InferResponse": record(
        {
            "model_name": text(),
            "model_version": text(),
            "id": text(),
            "outputs": array(record(_TENSOR, needs=("name", "datatype", "shape"))),
        },
        needs=("model_name", "model_version", "outputs"),
    ),
    "Server": record({"name": text(), "version": text(), "extensions": array(text())}),
    "Model": record(
        {
            "name": text(),
            "versions": array(text()),
            "platform": text(),
            "inputs": array(_DECLARED),
            "outputs": array(_DECLARED),
        }
    ),
    "Statistics": record(
        {
            "model_stats": array(
                record(
                    {
                        "name": text(),
                        "version": text(),
                        "last_inference": whole("milliseconds since 1970"),
                        "inference_count": whole("rows"),
                        "execution_count": whole("runs"),
                        "inference_stats": {"type": "object", "additionalProperties": _COUNTED},
                    }
                )
            )
        }
    ),
    "Index": array(record({"name": text(), "version": text(), "state": text(), "reason": text()})),
    "Region": record({"key": text(), "offset": whole(), "byte_size": whole()}, needs=("key", "byte_size")),
    "Regions": array(record({"name": text(), "key": text(), "offset": whole(), "byte_size": whole()})),
    "Readiness": record({"ready": FLAG}),
}
