"""The keys of a training config as its page shows them: section, key, default."""

from __future__ import annotations

import json
import typing
from collections.abc import Iterator

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from export.training.config import TrainConfig

# Their fields are those of a package's image and stand in its page.
ELSEWHERE = ("image",)


def sections(model: type[BaseModel] = TrainConfig, name: str = "top level") -> Iterator[tuple[str, dict[str, str]]]:
    """Each section's name and its keys with their defaults; a part of several kinds is one section a kind."""
    yield name, {key: default_of(field) for key, field in model.model_fields.items() if key != "kind"}
    for key, field in model.model_fields.items():
        if key in ELSEWHERE:
            continue
        for part in models_in(field.annotation):
            kind = part.model_fields.get("kind")
            label = f"{key}: {kind.default}" if kind and len(list(models_in(field.annotation))) > 1 else key
            yield from sections(part, label)


def models_in(annotation: object) -> Iterator[type[BaseModel]]:
    """The models among the types of a field."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in typing.get_args(annotation):
        yield from models_in(inner)


def default_of(field: FieldInfo) -> str:
    """As TOML would have it; ``its own table`` for a part with keys of its own."""
    if field.default is PydanticUndefined:
        return "required"
    if isinstance(field.default, BaseModel):
        return "its own table"
    return json.dumps(field.default)
