"""What every graph that is published as ONNX goes through on its way into a package."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from export.graph import load_graph
from export.passes.dynamic_batch import dynamic_batch
from export.passes.hide_initializers import hide_initializers
from export.passes.prune_outputs import prune_outputs
from export.passes.result import accepted
from export.passes.strip_metadata import strip_metadata
from pipelines.errors import RecipeError
from pipelines.session import OnnxSession, Session

if TYPE_CHECKING:
    import onnx


def rewrite_shipped(
    path: Path, *, outputs: Sequence[str], axes: Mapping[int, str]
) -> tuple[onnx.ModelProto, dict[str, int]]:
    """Keep ``outputs``, free the input ``axes``, drop texts; returns the graph and the rewrites by pass."""
    model = load_graph(path)
    rewrites = {}
    for name, run in (
        ("hide_initializers", hide_initializers),
        ("prune_outputs", lambda graph: prune_outputs(graph, outputs)),
        ("dynamic_batch", lambda graph: dynamic_batch(graph, axes=axes)),
        ("strip_metadata", strip_metadata),
    ):
        result = run(model)
        model, rewrites[name] = accepted(result, name=name), result.count
    return model, rewrites


def open_graph(path: Path) -> Session:
    """A session on the graph as it was published."""
    return OnnxSession(path)


def read_metadata(path: Path, key: str) -> str:
    """A text of the graph's own metadata; raises RecipeError where it is missing."""
    for entry in load_graph(path).metadata_props:
        if entry.key == key:
            return str(entry.value)
    raise RecipeError(f"{path.name} must have the metadata {key!r}")
