"""``ocella import`` of a file that nobody has described in full: what the file says, what the doctor sees."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from export.doctor.diagnose import Diagnosis, Reading, diagnose
from export.doctor.merge import merged
from export.doctor.observe import input_form, observe
from export.doctor.proposal import Flags
from export.doctor.sighting import Said
from export.flag_values import labels_from, parts_from
from export.foreign.ultralytics import read_metadata, said_by
from export.foreign.whole_detector import find_parts
from export.graph import graph_bytes, inspect_graph, load_graph, opset_of
from export.import_flags import recipe_from, require_known
from export.importer import (
    ImportRecipe,
    check_input,
    check_outputs,
    draft_of,
    holds_float16,
    pixel_input,
    prepared,
    read_sample,
)
from export.package import draft_manifest
from pipelines.errors import GraphMismatchError
from pipelines.manifest import ModelManifest
from pipelines.session import OnnxSession
from pipelines.specs import TensorSpec

if TYPE_CHECKING:
    import onnx

_ALWAYS = ("task", "fit", "resample")
_SCALES = ("stats", "scale", "mean", "std")


@dataclass(frozen=True, eq=False)
class ForeignGraph:
    """A graph as it would be imported, with what its file says.

    Attributes:
        graph: after the rewrites that it needs.
        rewrites: flags that ask for them: ``join``, ``dynamic_batch``.
        said: what the file says of itself, or ``None``.
        license: in the file's words, or empty.
        description: in the file's words, or empty.
    """

    graph: onnx.ModelProto
    rewrites: Flags
    said: Said | None
    license: str
    description: str

    @property
    def tensors(self) -> tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]:
        """Inputs and outputs."""
        return inspect_graph(self.graph)


def described(flags: Flags) -> bool:
    """Whether the flags say task, decoder and image: then the doctor is not asked."""
    if any(flags.get(key) is None for key in _ALWAYS) or all(flags.get(key) is None for key in _SCALES):
        return False
    return flags["task"] != "detection" or flags.get("decoder") is not None


def open_foreign(model: Path, flags: Flags) -> ForeignGraph:
    """Read a file, and rewrite it where it can be read in no other way: parts joined, a fixed batch freed.

    A file that the flags describe is rewritten as they say alone. Raises GraphMismatchError, or RecipeError where a
    rewrite is refused.
    """
    graph = load_graph(model)
    properties = {entry.key: entry.value for entry in graph.metadata_props}
    inputs, outputs = inspect_graph(graph)
    parts, free = parts_from(flags.get("join")), bool(flags["dynamic_batch"])
    if not described(flags):
        parts = parts or find_parts(outputs)
        free = free or _has_fixed_batch(pixel_input(inputs))
    graph, _ = prepared(graph, join=parts, dynamic_batch=free)
    rewrites: dict[str, Any] = {}
    if parts is not None:
        rewrites["join"] = f"{parts.boxes},{parts.scores},{parts.classes}"
    if free:
        rewrites["dynamic_batch"] = True
    found = read_metadata(properties)
    said = None
    if found is not None:
        form = input_form(pixel_input(inspect_graph(graph)[0]))
        height, width = form.size_hw
        fixed = None if height is None or width is None else (height, width)
        said = said_by(found, fixed_hw=fixed, layout=form.layout)
    return ForeignGraph(
        graph=graph,
        rewrites=rewrites,
        said=said,
        license=found.license if found else "",
        description=found.description if found else "",
    )


def with_what_is_said(flags: Flags, foreign: ForeignGraph, *, default_license: str) -> dict[str, Any]:
    """The flags with names, licence and description of the file where none were given."""
    found = dict(flags)
    if foreign.said is not None and flags["labels"] is None and not flags["label"]:
        found["label"] = list(foreign.said.labels)
    if foreign.license and flags["license_"] == default_license:
        found["license_"] = foreign.license
    if foreign.description and not flags["description"]:
        found["description"] = foreign.description
    return found


def consult(foreign: ForeignGraph, flags: Flags, samples: Sequence[Path]) -> Diagnosis:
    """Ask the doctor; ``flags`` as ``with_what_is_said`` gives them. Only the first sample is looked at.

    Raises:
        FlagError: a flag contradicts another, or has a word that is unknown, whatever the reading is.
        GraphMismatchError: the graph takes no images, or runs at no size.
    """
    require_known(flags)
    inputs, outputs = foreign.tensors
    pixel_input(inputs)
    names = labels_from(flags["labels"], flags["label"] or ())
    images = [read_sample(path) for path in samples[:1]]
    # Names of the file are known, not given: what was given rules readings out, also those that hold no names.
    with tempfile.TemporaryDirectory(prefix="ocella-graph-") as folder:
        path = Path(folder) / "model.onnx"
        path.write_bytes(graph_bytes(foreign.graph))
        with OnnxSession(path) as session:
            sighting = observe(
                session,
                images,
                producer=foreign.graph.producer_name,
                num_labels=len(names) or None,
                said=foreign.said,
            )

            def manifest_of(chosen: Flags) -> ModelManifest:
                recipe = recipe_from(chosen, inputs=inputs, outputs=outputs)
                check_input(inputs, recipe.image, [image.shape[:2] for image in images])
                check_outputs(outputs, recipe.head)
                half = holds_float16(foreign.graph)
                draft = draft_of(recipe, opset=opset_of(foreign.graph), parity=None, half=half)
                return draft_manifest(draft, session.inputs, session.graph_outputs)

            return diagnose(
                sighting,
                session,
                images[0] if images else None,
                flags,
                rewrites=foreign.rewrites,
                manifest_of=manifest_of,
            )


def recipe_of(reading: Reading, foreign: ForeignGraph, flags: Mapping[str, Any]) -> ImportRecipe:
    """The recipe of a chosen reading."""
    inputs, outputs = foreign.tensors
    return recipe_from(merged(reading.proposal, flags), inputs=inputs, outputs=outputs)


def _has_fixed_batch(spec: TensorSpec) -> bool:
    if not spec.shape:
        raise GraphMismatchError(f"input {spec.name!r} must have a batch axis, it has no axes")
    return len(spec.shape) == 4 and isinstance(spec.shape[0], int) and spec.shape[0] > 1
