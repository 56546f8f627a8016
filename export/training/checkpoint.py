"""The file that a training run leaves for export: weights, and everything else that a manifest needs."""

from __future__ import annotations

import io
import json
import os
import uuid
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import TypeAdapter, ValidationError
from torch import nn

from export.nets import ModelSpec, build_model
from export.nets.architecture import OWN_SIZE, SHALLOW
from export.subject import Sizes
from pipelines.errors import RecipeError
from pipelines.manifest import GoldenTolerance, Metric, first_problem
from pipelines.specs import Head, ImageSpec, Spec

MODEL_FILE = "model.pt"
FORMAT = 1


class TrainedFields(Spec):
    """What stands beside the weights, as JSON.

    Attributes:
        format: of the file.
        name: of the model, as a manifest has it.
        description: one line.
        license: of the weights.
        source: the data that they come from, and the command that makes them.
        model: builds the module.
        num_classes: builds the module.
        image: how it is fed.
        head: how it is read.
        labels: class names by index.
        metrics: measured by the run that wrote the file.
        tools: versions by tool.
    """

    format: int
    name: str
    description: str
    license: str
    source: str
    model: ModelSpec
    num_classes: int
    image: ImageSpec
    head: Head
    labels: tuple[str, ...]
    metrics: Mapping[str, Metric]
    tools: Mapping[str, str]


@dataclass(frozen=True, eq=False, kw_only=True)
class TrainedModel:
    """A trained model, ready to be exported.

    Attributes:
        module: in eval mode on the CPU; rows ``(N, C, H, W)`` float32 to one tensor, or a tuple of them in the order of
            ``head_spec.output_names``, each with the batch axis first.
        image_spec: how an image becomes a row.
        head_spec: what the outputs mean.
        labels: class names by index.
        metrics: name to value and split, measured through ``pipelines`` when it was trained.
        name: of the model; a valid name for a manifest.
        description: one line.
        license: of the weights.
        source: the data that they come from, and the command that makes them.
        model: what ``build_model`` made the module of.
        num_classes: what ``build_model`` made the module of.
        tools: versions by tool.
        samples: encoded PNG images for golden results, by name; 1 to 4.
        sizes: rows of other sizes that the module takes; not written, ``build_model`` knows them.
        tolerance: how far an export may be from the module; likewise.
    """

    module: nn.Module
    image_spec: ImageSpec
    head_spec: Head
    labels: tuple[str, ...]
    metrics: Mapping[str, Metric]
    name: str
    description: str
    license: str
    source: str
    model: ModelSpec
    num_classes: int
    tools: Mapping[str, str] = field(default_factory=dict)
    samples: Mapping[str, bytes] = field(default_factory=dict)
    sizes: Sizes = OWN_SIZE
    tolerance: GoldenTolerance = SHALLOW


def save_trained(trained: TrainedModel, path: Path) -> None:
    """Write a trained model in one step: a reader sees the old file or the new one, never a part."""
    fields = TrainedFields(
        format=FORMAT,
        name=trained.name,
        description=trained.description,
        license=trained.license,
        source=trained.source,
        model=trained.model,
        num_classes=trained.num_classes,
        image=trained.image_spec,
        head=trained.head_spec,
        labels=trained.labels,
        metrics=trained.metrics,
        tools=trained.tools,
    )
    # Bytes travel as uint8 tensors: tensors, text and numbers are all that weights_only=True lets in.
    samples = {name: torch.from_numpy(np.frombuffer(png, np.uint8).copy()) for name, png in trained.samples.items()}
    weights = {name: value.detach().cpu() for name, value in trained.module.state_dict().items()}
    write_atomically(path, {"fields": fields.model_dump_json(), "samples": samples, "weights": weights})


def load_trained(path: Path) -> TrainedModel:
    """Rebuild the model of a file, or of a run's folder that holds ``model.pt``; nothing in it is ever executed.

    Raises:
        RecipeError: the file is not one that training wrote, or its weights are not those of its model.
    """
    path = path / MODEL_FILE if path.is_dir() else path
    raw = read_tensors(path)
    if not {"fields", "samples", "weights"} <= raw.keys():
        raise RecipeError(f"{path} must be a {MODEL_FILE} that `ocella train` wrote, it holds {sorted(raw)[:5]}")
    try:
        fields = TypeAdapter(TrainedFields).validate_json(raw["fields"])
    except ValidationError as error:
        raise RecipeError(f"{path}: {first_problem(error, _json(raw['fields']))}") from error
    if fields.format != FORMAT:
        raise RecipeError(f"{path} must have format {FORMAT}, it has {fields.format}: train again with this version")
    with torch.random.fork_rng(devices=[]):  # the weights of a fresh module are thrown away.
        built = build_model(fields.model, num_classes=fields.num_classes)
    try:
        built.module.load_state_dict(raw["weights"], strict=True)
    except RuntimeError as error:
        raise RecipeError(
            f"{path}: weights are not those of its model: {' '.join(str(error).split())[:300]}"
        ) from error
    return TrainedModel(
        module=built.module.eval(),
        image_spec=fields.image,
        head_spec=fields.head,
        labels=fields.labels,
        metrics=fields.metrics,
        name=fields.name,
        description=fields.description,
        license=fields.license,
        source=fields.source,
        model=fields.model,
        num_classes=fields.num_classes,
        tools=fields.tools,
        samples={name: pixels.numpy().tobytes() for name, pixels in raw["samples"].items()},
        sizes=built.sizes,
        tolerance=built.tolerance,
    )


def write_atomically(path: Path, content: Mapping[str, Any]) -> None:
    """Save tensors, text and numbers beside ``path``, flush them to the disk, and rename."""
    buffer = io.BytesIO()
    torch.save(dict(content), buffer)
    unfinished = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}")
    try:
        with unfinished.open("wb") as file:
            file.write(buffer.getbuffer())
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def read_tensors(path: Path) -> dict[str, Any]:
    """Read what :func:`write_atomically` wrote, onto the CPU; raises RecipeError for any other file."""
    if not path.is_file():
        raise RecipeError(f"no checkpoint at {path}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            raw = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises half a dozen types for damaged files, and for what is not a checkpoint.
        # torch's own text proposes to execute what the file holds, which nobody should.
        raise RecipeError(
            f"{path} must be a whole file of tensors that torch.save wrote, it is damaged or holds something else "
            f"({type(error).__name__})"
        ) from error
    if not isinstance(raw, dict):
        raise RecipeError(f"{path} must hold a mapping, got {type(raw).__name__}")
    return raw


def _json(text: Any) -> Any:
    try:
        return json.loads(text)
    except (TypeError, ValueError):
        return None
