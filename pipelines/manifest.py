"""``manifest.json``: everything needed to run a model, read with the path of any bad key, sealed against edits."""

from __future__ import annotations

import hashlib
import json
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeAlias, TypeVar

from pydantic import Field, ValidationError, model_validator

from pipelines.errors import ManifestError, SealError
from pipelines.specs import (
    CascadeHead,
    CenterCrop,
    Count,
    DecodeSpec,
    Head,
    ImageSpec,
    Positive,
    Probability,
    SegmentationHead,
    Spec,
    TensorSpec,
)

MANIFEST_FILE = "manifest.json"
GRAPH_FILE = "model.onnx"
MAX_MANIFEST_BYTES = 16 * 1024 * 1024
SEALED_KEYS = ("head", "image", "inputs", "labels", "outputs")
CASCADE_SEALED_KEYS = ("head", "image")
NAME_PATTERN = r"^[a-z0-9][a-z0-9._-]{0,63}$"
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class RawTolerance(Spec):
    """A raw output may differ by ``atol + rtol * |reference|``, element by element."""

    rtol: Annotated[float, Field(ge=0)]
    atol: Positive


class ResultTolerance(Spec):
    """How far a decoded result may be from the reference; the reason for each value is in ``reason``.

    Attributes:
        score: absolute, for probabilities; results within this of a threshold are left out and counted.
        box_iou: least IoU of a matched box.
        point_px: most pixels of the original image that a keypoint or outline point may move.
        mask_iou: least IoU of each class's mask.
        cosine: least cosine of an embedding.
        reason: why these values.
    """

    score: Probability
    box_iou: Probability
    point_px: Positive
    mask_iou: Probability
    cosine: Probability
    reason: str


class GoldenTolerance(ResultTolerance):
    """How far a replay may be from the reference, at each of its steps.

    Attributes:
        pixel_levels: most levels of 255 that a uint8 row value may differ.
        pixel_fraction: largest part of the row values that may differ at all.
        raw: by execution provider.
    """

    pixel_levels: Annotated[int, Field(ge=0, le=8)]
    pixel_fraction: Probability
    raw: Mapping[str, RawTolerance]


class GoldenOptions(Spec):
    """Options of one recorded decode; null means the manifest's own value."""

    score_threshold: Probability | None
    iou_threshold: Probability | None


class GoldenSample(Spec):
    """A sample image and its recorded reference, as paths inside the package."""

    image: str
    record: str


class GoldenRecords(Spec):
    """Reference results that every load must reproduce.

    Attributes:
        reference: whose results: the ``torch`` model, the ``upstream`` project, or ``onnxruntime`` itself (stability
            only, not correctness).
        recorded_with: versions and script of the recording.
        options: each sample is decoded once with each; those of a cascade act on its detector.
        samples: one to four.
    """

    reference: Literal["torch", "upstream", "onnxruntime"]
    recorded_with: Mapping[str, str]
    options: tuple[GoldenOptions, ...] = Field(min_length=1)
    samples: tuple[GoldenSample, ...] = Field(min_length=1, max_length=4)


class Golden(GoldenRecords):
    """Of a package with a graph of its own; ``tolerance`` is of each step of the comparison."""

    tolerance: GoldenTolerance


class CascadeGolden(GoldenRecords):
    """Of a cascade as a whole; pixels and raw outputs are replayed by its members.

    ``tolerance`` is of the second model's results; detections are compared as the detector's package says. A box that
    moves by a fraction of a pixel may move its crop by a whole one, so these need one of their own.
    """

    tolerance: ResultTolerance


class Metric(Spec):
    """A measured figure and the data that it was measured on."""

    value: float
    split: str


class Provenance(Spec):
    """Where the graph comes from: versions by tool, measured metrics, the export's parity report."""

    tools: Mapping[str, str]
    opset: int
    metrics: Mapping[str, Metric]
    parity: Mapping[str, Any] | None


class PackageManifest(Spec):
    """Who a package is: the first keys of every manifest."""

    schema_version: Literal[1]
    name: Annotated[str, Field(pattern=NAME_PATTERN)]
    version: Count
    description: str
    license: str
    source: str


class ModelManifest(PackageManifest):
    """The manifest of a package with a graph of its own."""

    image: ImageSpec
    head: Head
    labels: tuple[str, ...]
    inputs: tuple[TensorSpec, ...] = Field(min_length=1, max_length=1)
    outputs: tuple[TensorSpec, ...] = Field(min_length=1)
    files: Mapping[str, Sha256]
    golden: Golden
    seal: Sha256
    provenance: Provenance

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        known = {output.name for output in self.outputs}
        for name in self.head.output_names:
            if name not in known:
                raise ValueError(f"head names output {name!r}, the graph's outputs are {sorted(known)}")
        if isinstance(self.head, SegmentationHead) and isinstance(self.image.fit, CenterCrop):
            raise ValueError("segmentation needs a fit that keeps the whole image, got center_crop")
        if self.inputs[0].dtype != self.image.dtype:
            raise ValueError(f"image.dtype is {self.image.dtype}, the graph's input is {self.inputs[0].dtype}")
        return self


class CascadeProvenance(Spec):
    """Where a cascade's figures come from: versions by tool, measured metrics."""

    tools: Mapping[str, str]
    metrics: Mapping[str, Metric]


class CascadeManifest(PackageManifest):
    """The manifest of a package that joins two others: the graphs, tensors and labels are theirs.

    Attributes:
        image: how a file becomes the pixels that both models see; the detector's own, checked at load.
        head: which members, and how one's objects become the other's images.
        files: SHA-256 of the golden files; the members' files are theirs.
        golden: the nested results.
        seal: over ``head`` and ``image``.
        provenance: of the cascade as a whole.
    """

    image: DecodeSpec
    head: CascadeHead
    files: Mapping[str, Sha256]
    golden: CascadeGolden
    seal: Sha256
    provenance: CascadeProvenance


Manifest: TypeAlias = ModelManifest | CascadeManifest
ManifestT = TypeVar("ManifestT", ModelManifest, CascadeManifest)


def is_cascade(raw: Mapping[str, Any]) -> bool:
    """Whether a manifest's JSON says that it is a cascade's."""
    head = raw.get("head")
    return isinstance(head, dict) and head.get("task") == "cascade"


def sealed_keys(raw: Mapping[str, Any]) -> tuple[str, ...]:
    """The keys that make the recipe of a manifest's JSON."""
    return CASCADE_SEALED_KEYS if is_cascade(raw) else SEALED_KEYS


def seal_of(raw: Mapping[str, Any]) -> str:
    """SHA-256 over the canonical JSON of the recipe keys of a manifest as it stands in the file."""
    recipe = {key: raw[key] for key in sealed_keys(raw)}
    text = json.dumps(recipe, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def parse_manifest(raw: Mapping[str, Any], *, where: str = MANIFEST_FILE) -> Manifest:
    """Validate a manifest's JSON object; raises ManifestError with the path of the first bad key."""
    kind = CascadeManifest if is_cascade(raw) else ModelManifest
    try:
        return kind.model_validate_json(json.dumps(raw))
    except ValidationError as error:
        raise ManifestError(f"{where}: {first_problem(error, raw)}") from error
    except ValueError as error:
        raise ManifestError(f"{where}: {error}") from error


def first_problem(error: ValidationError, raw: Any = None) -> str:
    """Say the first validation error of ``raw`` as ``path.to.key: what must hold (got value)``; unknown keys first."""
    problem = min(error.errors(include_url=False), key=lambda one: one["type"] != "extra_forbidden")
    got = problem.get("input")
    shown = "" if isinstance(got, dict | list) or problem["type"] == "missing" else f" (got {got!r:.80})"
    more = f"; and {error.error_count() - 1} more" if error.error_count() > 1 else ""
    return f"{_path(problem['loc'], raw)}: {problem['msg'].removeprefix('Value error, ')}{shown}{more}"


def _path(loc: tuple[int | str, ...], raw: Any) -> str:
    """Join a location to ``a.b[0].c``, leaving out the union tags that pydantic adds and the document does not have."""
    text, node = "", raw
    for depth, part in enumerate(loc):
        if isinstance(part, str) and isinstance(node, dict) and part not in node and depth < len(loc) - 1:
            continue
        text += f"[{part}]" if isinstance(part, int) else f".{part}"
        try:
            node = node[part]
        except (LookupError, TypeError):
            node = None
    return text.lstrip(".") or "manifest"


def read_raw_manifest(folder: Path) -> dict[str, Any]:
    """Read ``manifest.json`` of a package folder as a JSON object; raises ManifestError."""
    path = folder / MANIFEST_FILE
    try:
        found = path.stat()
        if not stat.S_ISREG(found.st_mode):  # to read a pipe is to wait for whoever writes it
            raise ManifestError(f"{path} must be a regular file, it is something else")
        if found.st_size > MAX_MANIFEST_BYTES:
            raise ManifestError(f"{path} must be at most {MAX_MANIFEST_BYTES:,} bytes, got {found.st_size:,}")
        raw = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ManifestError(f"{path} cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise ManifestError(f"{path} is not JSON: {error}") from error
    if not isinstance(raw, dict):
        raise ManifestError(f"{path} must hold a JSON object, got {type(raw).__name__}")
    return raw


def read_manifest(folder: Path, *, check_seal: bool = True) -> Manifest:
    """Read and validate the manifest of a package folder; raises ManifestError or SealError ("recipe changed")."""
    raw = read_raw_manifest(folder)
    manifest = parse_manifest(raw, where=str(folder / MANIFEST_FILE))
    if check_seal and (seal := seal_of(raw)) != manifest.seal:
        raise SealError(
            f"recipe changed: one of {', '.join(sealed_keys(raw))} of {folder} was edited after it was made "
            f"(seal {manifest.seal[:12]}, recipe {seal[:12]}); `ocella golden {folder}` shows the difference"
        )
    return manifest


def write_manifest(manifest: ManifestT, folder: Path) -> ManifestT:
    """Write ``manifest.json`` in one step, its seal computed from what is written; returns the sealed manifest."""
    raw = manifest.model_dump(mode="json")
    raw["seal"] = seal_of(raw)
    unfinished = folder / f".{MANIFEST_FILE}"
    unfinished.write_text(json.dumps(raw, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    unfinished.replace(folder / MANIFEST_FILE)
    return type(manifest).model_validate_json(json.dumps(raw))
