"""One tiny package a task, with data that fits it, labelled by its own answers: what is measured is then known."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from pipelines.image import ImageLimits
from pipelines.loader import load_model
from pipelines.options import PredictOptions
from pipelines.tasks import predict
from pipelines.types import Classification, Detections, Result, SegmentationMap
from tests import datasets
from tests.builders import classification_head, detection_head, embedding_head, segmentation_head
from tests.graphs import classifier_graph, embedder_graph, heatmap_graph, segmenter_graph
from tests.packages import make_package

TASKS = ("classification", "detection", "segmentation", "embedding")
BUILDERS = {
    "classification": (classifier_graph, classification_head, "classes"),
    "detection": (heatmap_graph, detection_head, "things"),
    "segmentation": (segmenter_graph, segmentation_head, "masks"),
    "embedding": (embedder_graph, embedding_head, "vectors"),
}
NUM_IMAGES = 6


def package(root: Path, task: str) -> Path:
    """``root/<name>/1``: a repository when all are there."""
    graph, head, name = BUILDERS[task]
    return make_package(root / name / "1", graph=graph(), head=head(), name=name)


def answers(folder: Path, images: list[Path], **options: float) -> list[Result]:
    with load_model(folder) as loaded:
        pixels = [loaded.pipeline.decode(path.read_bytes(), ImageLimits()) for path in images]
        return predict(loaded.pipeline, loaded.session, pixels, PredictOptions(**options))


def data(root: Path, task: str, folder: Path) -> Path:
    """Data whose truth is the model's own answer, so that its metrics are perfect; identities are 2 people of 3."""
    if task == "embedding":
        return datasets.folders(root, {"ada": 3, "bob": 3})
    drafts = [
        datasets.write_image(root.parent / "drafts" / f"{i}.png", number=i, size_wh=(64 + 9 * i, 48))
        for i in range(NUM_IMAGES)
    ]
    results = answers(folder, drafts, **({"score_threshold": 0.7} if task == "detection" else {}))
    for i, (draft, result) in enumerate(zip(drafts, results, strict=True)):
        if isinstance(result, Classification):
            target = root / result.labels[0] / f"{i}.png"
            target.parent.mkdir(parents=True, exist_ok=True)
            draft.rename(target)
        elif isinstance(result, Detections):
            text = "".join(datasets.voc_object("thing", [float(v) for v in box]) for box in result.boxes)
            datasets.voc(root, {f"{i}": text})
            draft.rename(root / f"{i}.png")
        elif isinstance(result, SegmentationMap):
            datasets.masks(root, {f"{i}": result.class_map.astype(np.uint8)})
            draft.rename(root / "images" / f"{i}.png")
    return root
