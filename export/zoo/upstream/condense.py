"""Turns the whole arrays that a ``record_<model>.py`` wrote into the small records that are shipped.

In Ocella's environment: ``python -m export.zoo.upstream.condense NAME OUT``.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from export.package import npz_bytes
from export.zoo import RECIPES
from export.zoo.pull import RECORDS
from pipelines.golden import record_arrays
from pipelines.types import AnyArray, Classification, Detections, Result, SegmentationMap


def condense(name: str, folder: Path) -> None:
    """Write ``golden/<name>/<sample>.npz`` and the recording's versions beside the sample images."""
    recipe = RECIPES[name]
    for sample in recipe.samples:
        with np.load(folder / f"{sample}.npz", allow_pickle=False) as archive:
            arrays = {key: archive[key] for key in archive.files}
        outputs = {key.removeprefix("raw/"): value for key, value in arrays.items() if key.startswith("raw/")}
        results = [_result(recipe.task, _decoded(arrays, i)) for i in range(len(recipe.options))]
        record = record_arrays(arrays["pixels"], outputs, results)
        (RECORDS / name / f"{sample}.npz").write_bytes(npz_bytes(record))
    shutil.copy(folder / "recorded_with.json", RECORDS / name / "recorded_with.json")


def _decoded(arrays: Mapping[str, AnyArray], index: int) -> dict[str, AnyArray]:
    stem = f"decoded/{index}/"
    return {key.removeprefix(stem): value for key, value in arrays.items() if key.startswith(stem)}


def _result(task: str, values: Mapping[str, AnyArray]) -> Result:
    if task == "detection":
        polygons = values.get("polygons")
        return Detections(
            boxes=values["boxes"],
            scores=values["scores"],
            class_ids=values["class_ids"],
            keypoints=values.get("keypoints"),
            polygons=None if polygons is None else tuple(polygons),
        )
    if task == "segmentation":
        return SegmentationMap(class_map=values["class_map"], alpha=values["alpha"])
    return Classification(class_ids=values["class_ids"], scores=values["scores"])


if __name__ == "__main__":
    condense(sys.argv[1], Path(sys.argv[2]))
