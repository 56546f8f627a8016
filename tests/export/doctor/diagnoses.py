"""Diagnoses of small graphs, made as ``ocella import --explain`` makes them."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from export.consult import consult, open_foreign, with_what_is_said
from export.doctor.diagnose import Diagnosis
from export.doctor.sighting import Said, Seen, Sighting
from export.graph import graph_bytes
from export.import_cli import import_model_command
from tests.packages import photo

SIZE_HW = (96, 128)
_NO_FLAGS = {
    name: parameter.default
    for name, parameter in inspect.signature(import_model_command).parameters.items()
    if name not in ("context", "explain", "as_json", "yes", "overlays", "triton", "sample", "out")
}


def flags_of(model: Path, **given: Any) -> dict[str, Any]:
    """Every flag as the command leaves it, with some given."""
    assert given.keys() <= _NO_FLAGS.keys(), given.keys() - _NO_FLAGS.keys()
    return {**_NO_FLAGS, "model": model, **given}


def at_size(model: onnx.ModelProto, size_hw: tuple[int, int] = SIZE_HW) -> onnx.ModelProto:
    """Fix height and width of the input, which keeps rows small."""
    dims = model.graph.input[0].type.tensor_type.shape.dim
    first = 1 if dims[-1].dim_value == 3 else 2
    for axis, side in zip((first, first + 1), size_hw, strict=True):
        dims[axis].dim_value = side
    return model


def diagnosis_of(model: onnx.ModelProto, folder: Path, *, sample: bool = True, **given: Any) -> Diagnosis:
    """Ask the doctor about a graph, with a photo."""
    path, image = folder / "model.onnx", folder / "photo.png"
    path.write_bytes(graph_bytes(model))
    photo().save(image)
    flags = flags_of(path, **given)
    foreign = open_foreign(path, flags)
    return consult(foreign, with_what_is_said(flags, foreign, default_license=""), [image] if sample else [])


def decoders_of(diagnosis: Diagnosis) -> list[str]:
    """Decoder or task of the readings that are in question, the likeliest first."""
    return [str(one.proposal.head.get("decoder") or one.proposal.head["task"]) for one in diagnosis.rivals]


def sighting_of(outputs: dict[str, Any], **over: Any) -> Sighting:
    """What would have been seen had a graph answered these arrays to every row."""
    seen = tuple(Seen(name, (np.asarray(value, np.float32),)) for name, value in outputs.items())
    fields: dict[str, Any] = {
        "row_hw": SIZE_HW,
        "fixed_hw": True,
        "layout": "chw",
        "channels": 3,
        "dtype": "float32",
        "outputs": seen,
        "whole": (),
        "producer": "",
        "num_labels": None,
        "said": None,
    }
    return Sighting(**(fields | over))


def said(**over: Any) -> Said:
    fields: dict[str, Any] = {
        "by": "a file",
        "task": "detection",
        "labels": (),
        "keypoints": None,
        "turns": False,
        "masks": False,
        "feed": {},
    }
    return Said(**(fields | over))
