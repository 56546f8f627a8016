"""A package from somebody's own ONNX file: the graph is checked against the recipe, run, and recorded."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from export.foreign.whole_detector import Parts
from export.graph import graph_bytes, inspect_graph, load_graph, opset_of
from export.package import PackageDraft, Sample, runtime_versions, write_package
from export.tolerance import CPU_FLOAT32, FLOAT16, SAME_MACHINE, TF32, golden_tolerance
from export.verify import Parity, different_rows, prove_rows
from pipelines.errors import GraphMismatchError, ImageDecodeError, ImageTooLargeError, PackageError, RecipeError
from pipelines.image import Alpha, Exif, ImageLimits, decode_image
from pipelines.manifest import GoldenOptions, GoldenTolerance, Metric, ModelManifest, Provenance, RawTolerance
from pipelines.preprocess import preprocess, row_shape
from pipelines.present import encode_png
from pipelines.session import OnnxSession
from pipelines.specs import DetectionHead, Head, ImageSpec, TensorSpec
from pipelines.types import ByteArray

if TYPE_CHECKING:
    import onnx

MAX_SAMPLES = 4
PROOF_ROWS = 4
LOW_SCORE = 0.05
PIXEL_DTYPES = ("float32", "float16", "uint8")
_ENCODED_INPUT = "image"  # the tensor name under which the server takes encoded images.


@dataclass(frozen=True, kw_only=True)
class GoldenChoice:
    """Tolerances of the golden comparison that the owner chose; ``None`` is the default for the graph's precision.

    Attributes:
        score: see :class:`pipelines.manifest.ResultTolerance`, as the next four.
        box_iou: least IoU of a matched box.
        point_px: pixels of the original image.
        mask_iou: least IoU of each class's mask.
        cosine: least cosine of an embedding.
        rtol: of raw outputs on the CPU, relative.
        atol: of raw outputs on the CPU, absolute.
        reason: why; given where any of the others is.
    """

    score: float | None = None
    box_iou: float | None = None
    point_px: float | None = None
    mask_iou: float | None = None
    cosine: float | None = None
    rtol: float | None = None
    atol: float | None = None
    reason: str | None = None


@dataclass(frozen=True, kw_only=True)
class ImportRecipe:
    """What the owner of an ONNX file says about it.

    Attributes:
        name: of the model.
        version: 1 and up.
        description: one line.
        license: of graph and weights.
        source: where they come from.
        image: how the graph is fed.
        head: how its outputs are read.
        labels: class names by index, or empty.
        metrics: measured figures by name.
        dynamic_batch: free a batch that the file fixes.
        join: outputs of a whole detector that become one, or ``None``.
        golden: tolerances that differ from the defaults.
    """

    name: str
    version: int
    description: str
    license: str
    source: str
    image: ImageSpec
    head: Head
    labels: tuple[str, ...]
    metrics: Mapping[str, Metric]
    dynamic_batch: bool
    join: Parts | None = None
    golden: GoldenChoice = GoldenChoice()


def import_model(model: Path, recipe: ImportRecipe, *, samples: Sequence[Path], out: Path) -> ModelManifest:
    """Write the package ``out`` of the ONNX file ``model``; one to four sample images become its golden samples.

    The reference is onnxruntime itself: a later replay proves stability, not correctness. Raises GraphMismatchError
    where graph and recipe do not fit, RecipeError where rows of a batch see each other.
    """
    if not 1 <= len(samples) <= MAX_SAMPLES:
        raise RecipeError(f"an import needs 1 to {MAX_SAMPLES} sample images, got {len(samples)}")
    if out.exists():
        raise PackageError(f"{out} exists already")
    graph, rewrites = prepared(load_graph(model), join=recipe.join, dynamic_batch=recipe.dynamic_batch)
    images = [read_sample(path, exif=recipe.image.exif, alpha=recipe.image.alpha) for path in samples]
    inputs, outputs = inspect_graph(graph)
    check_input(inputs, recipe.image, [image.shape[:2] for image in images])
    check_outputs(outputs, recipe.head)
    half = holds_float16(graph)
    # An unchanged graph keeps its bytes, unless its weights stood in other files.
    data = graph_bytes(graph) if rewrites or has_external_weights(model) else model.read_bytes()
    parity: dict[str, Any] = {"rewrites": rewrites} if rewrites else {}
    if inputs[0].shape[0] != 1:
        parity["batch_against_single"] = asdict(_prove(data, images[0], recipe, half=half))
    draft = draft_of(recipe, opset=opset_of(graph), parity=parity or None, half=half)
    named = [Sample(f"sample-{i}", encode_png(image)) for i, image in enumerate(images)]
    return write_package(out, draft, graph=data, samples=named)


def prepared(
    graph: onnx.ModelProto, *, join: Parts | None, dynamic_batch: bool
) -> tuple[onnx.ModelProto, dict[str, int]]:
    """The graph with what was asked for rewritten, and how often; raises RecipeError where a pass refuses."""
    from export.passes.join_outputs import join_outputs
    from export.passes.result import accepted

    rewrites: dict[str, int] = {}
    if join is not None:
        result = join_outputs(graph, join)
        graph, rewrites["join_outputs"] = accepted(result, name="join"), result.count
    if dynamic_batch:
        graph, rewrites["dynamic_batch"] = _free_batch(graph)
    return graph, rewrites


def draft_of(recipe: ImportRecipe, *, opset: int, parity: Mapping[str, Any] | None, half: bool) -> PackageDraft:
    """What the manifest of an import says before anything was recorded."""
    return PackageDraft(
        name=recipe.name,
        version=recipe.version,
        description=recipe.description,
        license=recipe.license,
        source=recipe.source,
        image=recipe.image,
        head=recipe.head,
        labels=recipe.labels,
        provenance=Provenance(
            tools={"onnx": _onnx_version(), **runtime_versions()},
            opset=opset,
            metrics=recipe.metrics,
            parity=parity,
        ),
        reference="onnxruntime",
        recorded_with=runtime_versions(),
        options=_options(recipe.head),
        tolerance=_tolerance(recipe.golden, half=half),
    )


def _tolerance(chosen: GoldenChoice, *, half: bool) -> GoldenTolerance:
    """The defaults of the graph's precision with what was chosen in their place."""
    default = golden_tolerance(
        cpu=FLOAT16 if half else CPU_FLOAT32,
        tf32=FLOAT16 if half else TF32,
        score=1e-2 if half else 5e-3,
        reason="float16 graph: 11 significand bits" if half else "float32 graph: the same arithmetic at every replay",
    )
    fields = {key: value for key, value in asdict(chosen).items() if value is not None}
    raw = default.raw["CPUExecutionProvider"]
    cpu = {"rtol": fields.pop("rtol", raw.rtol), "atol": fields.pop("atol", raw.atol)}
    if "reason" in fields:
        fields["reason"] = f"{fields['reason']}; otherwise {default.reason}"
    changed = {**default.model_dump(), **fields, "raw": {**default.raw, "CPUExecutionProvider": RawTolerance(**cpu)}}
    return GoldenTolerance(**changed)


def pixel_input(inputs: Sequence[TensorSpec]) -> TensorSpec:
    """The graph's only input; raises GraphMismatchError where there are more, or it does not hold pixels."""
    if len(inputs) != 1:
        raise GraphMismatchError(f"the graph must have one input, it has {[spec.name for spec in inputs]}")
    found = inputs[0]
    if found.dtype not in PIXEL_DTYPES:
        clash = ", under the name that the server keeps for encoded images" if found.name == _ENCODED_INPUT else ""
        held = "strings" if found.dtype in ("object", "str") else found.dtype
        raise GraphMismatchError(
            f"input {found.name!r} must hold pixels as one of {', '.join(PIXEL_DTYPES)}, it holds {held}{clash}"
        )
    return found


def check_input(inputs: Sequence[TensorSpec], image: ImageSpec, samples_hw: Sequence[tuple[int, int]]) -> None:
    """Raise GraphMismatchError unless the graph's one input takes the rows that ``image`` makes."""
    found = pixel_input(inputs)
    if found.dtype != image.dtype:
        raise GraphMismatchError(f"input {found.name!r} must be {image.dtype} as the recipe says, it is {found.dtype}")
    for hw in samples_hw:
        row = row_shape(image, hw)
        fits = len(found.shape) == len(row) + 1 and all(
            isinstance(have, str) or have == want for have, want in zip(found.shape[1:], row, strict=True)
        )
        if not fits:
            raise GraphMismatchError(
                f"input {found.name!r} takes {list(found.shape)}, the recipe makes a {image.layout} row of {list(row)} "
                f"from an image of {hw[0]} x {hw[1]}: check fit, layout and color"
            )
    if isinstance(found.shape[0], int) and found.shape[0] != 1:
        raise GraphMismatchError(
            f"input {found.name!r} must have a dynamic batch, or one of 1, it has {found.shape[0]}: --dynamic-batch "
            "frees it"
        )


def check_outputs(outputs: Sequence[TensorSpec], head: Head) -> None:
    """Raise GraphMismatchError unless the graph has every output that ``head`` reads."""
    known = [spec.name for spec in outputs]
    for name in head.output_names:
        if name not in known:
            raise GraphMismatchError(f"the head reads output {name!r}, the graph has {known}")


def _free_batch(graph: onnx.ModelProto) -> tuple[onnx.ModelProto, int]:
    from export.passes.dynamic_batch import BATCH, dynamic_batch
    from export.passes.result import accepted

    result = dynamic_batch(graph, axes={0: BATCH})
    return accepted(result, name="dynamic_batch"), result.count


def read_sample(path: Path, *, exif: Exif = "apply", alpha: Alpha = "white") -> ByteArray:
    """Decode a sample image into ``(H, W, 3)`` RGB; of a file that is too large, or has no end, little is read.

    Raises RecipeError where it cannot be read, ImageDecodeError and ImageTooLargeError, each naming the file.
    """
    limits = ImageLimits()
    try:
        with path.open("rb") as file:
            data = file.read(limits.max_bytes + 1)
    except OSError as error:
        raise RecipeError(f"sample {path} cannot be read: {error.strerror}") from error
    try:
        return decode_image(data, exif=exif, alpha=alpha, limits=limits)
    except (ImageDecodeError, ImageTooLargeError) as error:
        raise type(error)(f"sample {path}: {error}") from error


def _prove(data: bytes, image: np.ndarray, recipe: ImportRecipe, *, half: bool) -> Parity:
    row, _ = preprocess(image, recipe.image)
    with tempfile.TemporaryDirectory(prefix="ocella-graph-") as folder:
        path = Path(folder) / "model.onnx"
        path.write_bytes(data)
        with OnnxSession(path, outputs=recipe.head.output_names) as session:
            batch = different_rows(row, count=PROOF_ROWS, layout=recipe.image.layout)
            return prove_rows(session, batch, tolerance=FLOAT16 if half else SAME_MACHINE)


def _options(head: Head) -> tuple[GoldenOptions, ...]:
    """The recipe's own thresholds; for detections also a low one, so that there is something to compare."""
    default = GoldenOptions(score_threshold=None, iou_threshold=None)
    if not isinstance(head, DetectionHead):
        return (default,)
    return (default, GoldenOptions(score_threshold=min(LOW_SCORE, head.score_threshold), iou_threshold=None))


def has_external_weights(model: Path) -> bool:
    """Whether the file keeps weights in other files beside it."""
    import onnx
    from onnx.external_data_helper import uses_external_data

    return any(uses_external_data(tensor) for tensor in onnx.load(model, load_external_data=False).graph.initializer)


def holds_float16(graph: onnx.ModelProto) -> bool:
    """Whether any weight is float16."""
    import onnx

    return any(tensor.data_type == onnx.TensorProto.FLOAT16 for tensor in graph.graph.initializer)


def _onnx_version() -> str:
    import onnx

    return str(onnx.__version__)
