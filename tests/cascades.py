"""Small real cascades: the heatmap detector of ``tests/graphs.py`` and a second graph, joined by ``export.cascade``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnx

from export.cascade import CascadeRecipe, write_cascade
from pipelines.specs import AlignCrop, BoxCrop, Crop, Head
from tests.builders import classification_head, detection_head, embedding_head, letterbox, segmentation_head
from tests.builders import image_spec as image
from tests.graphs import classifier_graph, embedder_graph, heatmap_graph, segmenter_graph
from tests.packages import make_package, photo, png

SECONDS: dict[str, tuple[onnx.ModelProto, Head]] = {
    "classification": (classifier_graph(), classification_head(top_k=3)),
    "embedding": (embedder_graph(), embedding_head()),
    "segmentation": (segmenter_graph(), segmentation_head()),
}


def box_crop(**over: Any) -> BoxCrop:
    fields: dict[str, Any] = {"kind": "box", "margin": 0.1, "square": True, "pad_value": 114}
    return BoxCrop(**(fields | over))


def align_crop(**over: Any) -> AlignCrop:
    fields: dict[str, Any] = {
        "kind": "align",
        "template": "arcface_112",
        "landmarks": (0, 1, 2, 3, 4),
        "size_px": 48,
        "pad_value": 0,
    }
    return AlignCrop(**(fields | over))


def make_cascade(
    folder: Path,
    *,
    second: str = "classification",
    crop: Crop | None = None,
    name: str = "pair",
    detector: tuple[onnx.ModelProto, Head] | None = None,
    **recipe: Any,
) -> Path:
    """Write a cascade whose detector finds some dozen things in any photo; returns its folder."""
    graph, head = SECONDS[second]
    found_by, found = detector or (heatmap_graph(), detection_head(max_detections=12))
    parts = folder.parent / f".{folder.name}-members"
    finder = make_package(parts / "detector", graph=found_by, head=found, name="things")
    small = image(fit=letterbox(size_hw=(32, 32)))
    other = make_package(parts / "second", graph=graph, head=head, image=small, name="kinds")
    sample = parts / "sample.png"
    sample.write_bytes(png(photo()))
    write_cascade(
        folder,
        CascadeRecipe(name=name, version=1, description="Two tiny models.", crop=crop or box_crop(), **recipe),
        detector=finder,
        second=other,
        samples=[sample],
    )
    return folder
