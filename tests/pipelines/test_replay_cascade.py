"""With the seal recomputed, the replay of a cascade still refuses every field of its recipe that acts."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, get_args

import pytest

from pipelines.errors import GoldenMismatchError, ManifestError
from pipelines.loader import load_package
from pipelines.specs import AlignCrop, BoxCrop, CascadeHead, Crop
from tests.builders import detection_head, yolo_grid
from tests.cascades import align_crop, box_crop, make_cascade
from tests.graphs import yolo_graph
from tests.packages import edit_manifest

CASCADES: dict[str, Callable[[], dict[str, Any]]] = {
    "box": lambda: {"crop": box_crop(), "max_objects": 8},
    "align": lambda: {"crop": align_crop(), "second": "embedding"},
    "classes": lambda: {
        "crop": box_crop(),
        "classes": (3, 5),
        "detector": (yolo_graph(), detection_head(decoder=yolo_grid(), score_threshold=0.4)),
    },
}
CHANGES = [
    ("box", "crop.margin", 0.4),
    ("box", "crop.square", False),
    ("box", "crop.pad_value", 0),
    ("box", "min_size_px", 60.0),
    ("box", "max_objects", 3),
    ("align", "crop.template", "dlib_150"),
    ("align", "crop.landmarks", [1, 0, 2, 3, 4]),
    ("align", "crop.size_px", 20),
    ("align", "crop.pad_value", 255),
    ("classes", "classes", [3]),
    ("classes", "classes", None),
]


@pytest.fixture(scope="module")
def cascades(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("cascades")
    return {name: make_cascade(root / name, **build()) for name, build in CASCADES.items()}


def load_with(cascade: Path, copy: Path, path: str, value: Any) -> None:
    """Load a copy of a cascade with another value at ``path`` of its manifest, sealed again."""
    shutil.copytree(cascade, copy)
    *parents, last = path.split(".")

    def change(raw: dict[str, Any]) -> None:
        for parent in parents:
            raw = raw[parent]
        raw[last] = value

    edit_manifest(copy, change, reseal=True)
    load_package(copy).close()


@pytest.mark.parametrize(("name", "path", "value"), CHANGES)
def test_a_changed_field_of_a_cascade_is_refused(
    cascades: dict[str, Path], tmp_path: Path, name: str, path: str, value: Any
) -> None:
    with pytest.raises(GoldenMismatchError, match="decoded result differs"):
        load_with(cascades[name], tmp_path / "copy", f"head.{path}", value)


@pytest.mark.parametrize(("field", "value"), [("exif", "ignore"), ("alpha", "black")])
def test_an_image_read_unlike_the_detector_s_is_refused(
    cascades: dict[str, Path], tmp_path: Path, field: str, value: str
) -> None:
    with pytest.raises(ManifestError, match="image must be the detector's"):
        load_with(cascades["box"], tmp_path / "copy", f"image.{field}", value)


def test_each_field_of_a_cascade_is_changed_at_least_once() -> None:
    def fields() -> Iterator[str]:
        for kind in (BoxCrop, AlignCrop):
            assert kind in get_args(get_args(Crop)[0])
            yield from (f"crop.{field}" for field in kind.model_fields if field != "kind")
        # The members are bound by their checksums.
        yield from (field for field in CascadeHead.model_fields if field not in ("task", "crop", "detector", "second"))

    assert set(fields()) == {path for _, path, _ in CHANGES}
