"""Small real packages: a graph of ``tests/graphs.py``, a recipe of ``tests/builders.py``, a photo as golden sample."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import onnx
from PIL import Image

from export.package import PackageDraft, Sample, write_package
from pipelines.manifest import MANIFEST_FILE, GoldenOptions, GoldenTolerance, Provenance, seal_of
from pipelines.specs import Head, ImageSpec
from tests.builders import classification_head, golden_tolerance, image_spec, labels_of
from tests.graphs import classifier_graph

IMAGES = Path(__file__).parent.parent / "examples" / "images"
DEFAULT_OPTIONS = (GoldenOptions(score_threshold=None, iou_threshold=None),)


def photo(name: str = "astronaut", *, size_wh: tuple[int, int] = (300, 200)) -> Image.Image:
    """A real photo, its middle cut to ``size_wh``: not square, colourful."""
    image = Image.open(next(IMAGES.glob(f"{name}.*"))).convert("RGB")
    left, top = ((whole - part) // 2 for whole, part in zip(image.size, size_wh, strict=True))
    return image.crop((left, top, left + size_wh[0], top + size_wh[1]))


def png(image: Image.Image, **save: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG", **save)
    return buffer.getvalue()


def make_package(
    folder: Path,
    *,
    graph: onnx.ModelProto | None = None,
    image: ImageSpec | None = None,
    head: Head | None = None,
    name: str = "tiny",
    version: int = 1,
    samples: Sequence[bytes] | None = None,
    options: tuple[GoldenOptions, ...] = DEFAULT_OPTIONS,
    tolerance: GoldenTolerance | None = None,
) -> Path:
    """Write a package recorded with onnxruntime and return its folder; the default is a classifier."""
    head = head or classification_head()
    draft = PackageDraft(
        name=name,
        version=version,
        description="A tiny model with fixed random weights.",
        license="Apache-2.0",
        source="tests/graphs.py",
        image=image or image_spec(),
        head=head,
        labels=labels_of(head),
        provenance=Provenance(tools={"onnx": onnx.__version__}, opset=18, metrics={}, parity=None),
        reference="onnxruntime",
        recorded_with={"script": "tests/packages.py"},
        options=options,
        tolerance=tolerance or golden_tolerance(),
    )
    encoded = samples or (png(photo()),)
    write_package(
        folder,
        draft,
        graph=(graph or classifier_graph()).SerializeToString(),
        samples=[Sample(f"sample-{i}", data) for i, data in enumerate(encoded)],
    )
    return folder


def edit_manifest(folder: Path, change: Callable[[dict[str, Any]], object], *, reseal: bool) -> None:
    """Change the JSON of a package's manifest in place, with or without a fitting seal."""
    path = folder / MANIFEST_FILE
    raw = json.loads(path.read_text())
    change(raw)
    if reseal:
        raw["seal"] = seal_of(raw)
    path.write_text(json.dumps(raw))
