"""With the seal recomputed, the golden replay still refuses every field of a recipe that acts, and names the step."""

import shutil
from collections.abc import Callable, Iterator
from functools import reduce
from pathlib import Path
from typing import Any, get_args

import onnx
import pytest

from pipelines.errors import GoldenMismatchError
from pipelines.loader import load_package, sha256_of
from pipelines.specs import Decoder, Fit, Head, Spec, Suppression
from tests.builders import classification_head, image_spec, letterbox
from tests.graphs import classifier_graph
from tests.packages import edit_manifest, make_package
from tests.pipelines.recipes import PACKAGES


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("packages")
    return {name: make_package(root / name, **build()) for name, build in PACKAGES.items()}


def replay_with(package: Path, copy: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Load a copy of ``package`` whose recipe was changed and sealed again."""
    shutil.copytree(package, copy)
    edit_manifest(copy, change, reseal=True)
    load_package(copy).close()


def put(path: str, value: Any) -> Callable[[dict[str, Any]], None]:
    """Set ``a.b.c`` of a manifest."""
    *parents, last = path.split(".")

    def change(raw: dict[str, Any]) -> None:
        reduce(lambda node, key: node[key], parents, raw)[last] = value

    return change


STRETCH = {"kind": "stretch", "size_hw": [96, 128]}
TOP_LEFT = letterbox(pad_position="top_left").model_dump(mode="json")
PIXELS = [
    ("letterbox", "image.color", "bgr"),
    ("letterbox", "image.exif", "ignore"),
    ("letterbox", "image.alpha", "black"),
    ("letterbox", "image.alpha", "drop"),
    ("letterbox", "image.resample", "opencv_area"),
    ("letterbox", "image.resample", "opencv_cubic"),
    ("letterbox", "image.resample", "opencv_lanczos4"),
    ("letterbox", "image.resample", "pil_bilinear"),
    ("letterbox", "image.resample", "pil_bicubic"),
    ("letterbox", "image.resample", "pil_lanczos"),
    ("letterbox", "image.resample", "torch_bilinear"),
    ("letterbox", "image.resample", "torch_bilinear_antialias"),
    ("letterbox", "image.resample", "nearest"),
    ("letterbox", "image.fit", {"kind": "none"}),
    ("letterbox", "image.fit", STRETCH),
    ("letterbox", "image.fit.size_hw", [96, 96]),
    ("letterbox", "image.fit", TOP_LEFT),
    ("letterbox", "image.fit.pad_value", 0),
    ("letterbox odd", "image.fit.size_rounding", "floor"),
    ("letterbox odd", "image.fit.pad_rounding", "nearest"),
    ("letterbox up", "image.fit.scale_up", False),
    ("stretch", "image.fit.size_hw", [128, 96]),
    ("crop", "image.fit.size_hw", [96, 96]),
    ("crop", "image.fit.resize_shorter", 110),
    ("crop", "image.fit.size_rounding", "nearest"),
    ("crop", "image.fit.offset_rounding", "nearest"),
    ("multiple", "image.fit.multiple_of", 64),
    ("multiple", "image.fit.rounding", "nearest"),
    ("multiple", "image.fit.min_shorter", None),
    ("capped multiple", "image.fit.max_longer", None),
    ("pad", "image.fit.multiple_of", 48),
    ("pad", "image.fit.pad_value", 0),
    ("pad", "image.fit.max_longer", None),
]
RAW = [
    ("letterbox", "image.mean", [0.485, 0.456, 0.5]),
    ("letterbox", "image.mean", [0.406, 0.456, 0.485]),
    ("letterbox", "image.std", [0.229, 0.224, 0.25]),
    ("letterbox", "image.scale", 1.0),
    ("dark", "image.scale", "image_max"),
    ("letterbox", "image.layout", "hwc"),
]
DECODED = [
    ("letterbox", "head.activation", "sigmoid"),
    ("letterbox", "head.activation", "none"),
    ("letterbox", "head.activation", "log_softmax"),
    ("letterbox", "head.temperature", 1.5),
    ("letterbox", "head.top_k", 3),
    ("labels", "head.score_threshold", 0.9),
    ("labels", "head.score_threshold", None),
    ("heatmap", "head.decoder.stride", 8),
    ("heatmap", "head.decoder.center_shift", 0.0),
    ("heatmap", "head.decoder.size_encoding", "linear"),
    ("heatmap", "head.decoder.axis_order", "xy"),
    ("heatmap", "head.decoder.peak_kernel", 3),
    ("heatmap", "head.decoder.size", "offset"),
    ("heatmap", "head.decoder.offset", "size"),
    ("heatmap", "head.decoder.landmarks", None),
    ("heatmap", "head.score_threshold", 0.9),
    ("heatmap", "head.max_detections", 10),
    ("heatmap", "head.nms", None),
    ("heatmap", "head.nms.iou_threshold", 0.35),
    ("heatmap", "head.nms.candidates", 50),
    ("heatmap", "head.nms.kind", "diou"),
    ("heatmap", "head.nms.kind", "soft_linear"),
    ("heatmap", "head.nms", {"kind": "soft_gaussian", "sigma": 0.3, "class_agnostic": False, "candidates": 200}),
    ("diou", "head.nms.iou_threshold", 0.2),
    ("diou", "head.nms.class_agnostic", True),
    ("diou", "head.nms.candidates", 40),
    ("soft linear", "head.nms.iou_threshold", 0.2),
    ("soft linear", "head.nms.class_agnostic", True),
    ("soft linear", "head.nms.candidates", 40),
    ("soft", "head.nms.sigma", 0.6),
    ("soft", "head.nms.class_agnostic", True),
    ("soft", "head.nms.candidates", 40),
    ("by mask", "head.nms.iou_threshold", 0.2),
    ("by mask", "head.nms.class_agnostic", True),
    ("by mask", "head.nms.candidates", 40),
    ("by mask", "head.nms.kind", "hard"),
    ("yolo", "head.decoder.strides", [4]),
    ("yolo", "head.decoder.anchors", [[[24.0, 30.0], [52.0, 44.0], [90.0, 80.0]]]),
    ("yolo", "head.decoder.anchors", [[[24.0, 30.0], [52.0, 40.0]]]),
    ("yolo", "head.decoder.anchor_unit", "cell"),
    ("yolo", "head.decoder.channel_order", "hwc"),
    ("yolo", "head.decoder.class_activation", "softmax"),
    ("yolo", "head.decoder.objectness", "none"),
    ("yolo", "head.nms.class_agnostic", True),
    ("instances", "head.decoder.layout.strides", [4]),
    ("instances", "head.decoder.layout.reg_max", 3),
    ("instances", "head.decoder.layout.activation", "none"),
    ("instances", "head.decoder.multi_label", True),
    ("instances", "head.decoder.extra", None),
    ("instances", "head.decoder.extra.num", 3),
    ("instances", "head.decoder.extra.prototypes", "grid"),
    ("instances", "head.decoder.extra.threshold", 0.55),
    ("instances", "head.nms.iou_threshold", 0.35),
    ("skeletons", "head.decoder.layout.strides", [4]),
    ("skeletons", "head.decoder.layout.reg_max", 3),
    ("skeletons", "head.decoder.layout.activation", "none"),
    ("skeletons", "head.decoder.extra", None),
    ("skeletons", "head.decoder.extra.num", 2),
    ("skeletons", "head.decoder.extra.scored", False),
    ("skeletons", "head.decoder.extra", {"extra": "keypoints", "num": 9, "scored": False}),
    ("turned", "head.decoder.layout.box_format", "xyxy"),
    ("turned", "head.decoder.extra", None),
    ("turned", "head.nms", None),
    ("turned", "head.nms.iou_threshold", 0.35),
    ("turned", "head.nms.class_agnostic", True),
    ("turned", "head.nms.candidates", 50),
    ("instances", "head.nms.kind", "mask"),
    ("anchors v5", "head.decoder.layout.strides", [4]),
    ("anchors v5", "head.decoder.layout.anchors", [[[12.0, 16.0], [30.0, 24.0], [50.0, 40.0]]]),
    ("anchors v5", "head.decoder.layout.channel_order", "ahwc"),
    ("anchors v5", "head.decoder.multi_label", True),
    ("yolox", "head.decoder.strides", [16, 8]),
    ("yolox", "head.decoder.activation", "sigmoid"),
    ("yolox", "head.decoder.multi_label", True),
    ("end to end", "head.nms", {"kind": "hard", "iou_threshold": 0.3, "class_agnostic": True, "candidates": 100}),
    ("end to end", "head.decoder.unit", "pixel"),
    ("end to end", "head.decoder.num_classes", 5),
    ("ssd", "head.decoder.weights", [10.0, 10.0, 4.0, 5.0]),
    ("ssd", "head.decoder.weights", [8.0, 10.0, 5.0, 5.0]),
    ("ssd", "head.decoder.class_activation", "sigmoid"),
    ("ssd", "head.decoder.background", "last"),
    ("ssd", "head.decoder.background", "none"),
    ("ssd", "head.decoder.clip_to_row", False),
    ("ssd", "head.decoder.anchors.scales", [0.15, 0.7, 0.9]),
    ("ssd", "head.decoder.anchors.levels", [{"stride": 8, "aspect_ratios": [3.0]}] * 2),
    ("ssd", "head.decoder.anchors.step", "stride"),
    ("ssd", "head.decoder.anchors.clip", True),
    ("retina", "head.decoder.max_log_scale", None),
    ("retina", "head.decoder.max_log_scale", 0.3),
    ("retina", "head.decoder.min_side", 12.0),
    (
        "retina",
        "head.decoder.anchors.levels",
        [
            {"stride": 8, "sizes": [20.0, 30.0], "aspect_ratios": [0.5, 2.0]},
            {"stride": 16, "sizes": [35.0, 50.0], "aspect_ratios": [0.5, 2.0]},
        ],
    ),
    ("retina", "head.decoder.anchors.order", "size_major"),
    ("retina", "head.decoder.anchors.rounding", "none"),
    ("retina", "head.decoder.anchors.center_shift", 0.5),
    ("retina", "head.decoder.anchors.step", "spread"),
    ("retina", "head.decoder.classes", "deltas"),
    ("retina", "head.decoder.deltas_per", "column"),
    ("fcos", "head.decoder.strides", [16, 8]),
    ("fcos", "head.decoder.step", "spread"),
    ("fcos", "head.decoder.center_shift", 0.5),
    ("fcos", "head.decoder.distance_unit", "pixel"),
    ("fcos", "head.decoder.score", "product"),
    ("fcos", "head.decoder.clip_to_row", False),
    ("queries", "head.decoder.class_activation", "sigmoid"),
    ("queries", "head.decoder.background", "first"),
    ("queries", "head.decoder.background", "none"),
    ("queries", "head.decoder.per", "query"),
    ("queries", "head.decoder.top_k", 10),
    ("priors", "head.decoder.coding.variances", [0.2, 0.2]),
    ("priors", "head.decoder.coding.variances", [0.1, 0.3]),
    ("priors", "head.decoder.coding.levels", [{"stride": 8, "min_sizes": [16.0]}, {"stride": 16, "min_sizes": [32.0]}]),
    ("priors", "head.decoder.center_shift", 0.0),
    ("priors", "head.decoder.class_activation", "none"),
    ("priors", "head.decoder.background", "last"),
    ("priors", "head.decoder.landmarks", None),
    ("priors", "head.skeleton", [[0, 9]]),
    ("distances", "head.decoder.coding.strides", [16, 8]),
    ("distances", "head.decoder.coding.anchors_per_cell", 1),
    ("distances", "head.decoder.center_shift", 0.5),
    ("distances", "head.decoder.class_activation", "none"),
    ("text", "head.decoder.binarize_threshold", 0.4),
    ("text", "head.decoder.dilate", False),
    ("text", "head.decoder.unclip_ratio", 1.8),
    ("text", "head.decoder.min_side", 6),
    ("text", "head.decoder.max_candidates", 5),
    ("mask", "head.activation", "sigmoid"),
    ("mask", "head.threshold", 0.6),
    ("mask", "head.mask_resample", "nearest"),
    ("classes", "head.activation", "sigmoid"),
    ("classes", "head.mask_resample", "nearest"),
    ("classes", "head.resized", "logits"),
    ("classes", "head.class_thresholds", [0.5, 0.5, 0.9]),
    ("classes that compete", "head.class_thresholds", []),
    ("classes that compete", "head.class_thresholds", [0.5, 0.5, 0.7]),
    ("embedding", "head.normalize", False),
]


@pytest.mark.parametrize(
    ("step", "package", "path", "value"),
    [
        pytest.param(step, *case, id=f"{case[0]}: {case[1]} = {case[2]}")
        for step, cases in (("pixels", PIXELS), ("raw outputs", RAW), ("decoded result", DECODED))
        for case in cases
    ],
)
def test_a_changed_field_is_refused_and_the_step_is_named(
    packages: dict[str, Path], tmp_path: Path, step: str, package: str, path: str, value: Any
) -> None:
    with pytest.raises(GoldenMismatchError, match=step) as caught:
        replay_with(packages[package], tmp_path / "copy", put(path, value))
    assert caught.value.step == step


# Tags, and what the graph settles: a wrong name or dtype does not load.
SETTLED = {"task", "kind", "form", "extra", "output", "outputs", "dim", "dtype", "in_graph"}
SETTLED |= {"heatmap", "classes", "boxes", "distances", "centerness", "deltas", "proposals"}
WITH_ANOTHER = {"Letterbox.pad_position"}  # TOP_LEFT changes it with pad_rounding, which has to go along


def fields_of(spec: Spec, path: str) -> Iterator[tuple[str, str]]:
    """Each field that acts, as ``Kind.field`` and its path in the manifest; lists of parts change as a whole."""
    for field in type(spec).model_fields:
        value = getattr(spec, field)
        if isinstance(value, Spec):
            yield from fields_of(value, f"{path}.{field}")
        elif field not in SETTLED:
            yield f"{type(spec).__name__}.{field}", f"{path}.{field}"


def test_each_field_of_each_kind_is_changed_at_least_once() -> None:
    changes = {(package, path) for package, path, _ in (*PIXELS, *RAW, *DECODED)}
    changed: set[str] = set()
    known: set[str] = set()
    for name, build in PACKAGES.items():
        recipe = build()
        for part, spec in (
            ("image", recipe.get("image") or image_spec()),
            ("head", recipe.get("head") or classification_head()),
        ):
            for field, path in fields_of(spec, part):
                known.add(field)
                changed |= {field} if (name, path) in changes else set()
    assert known - changed == WITH_ANOTHER


def test_every_kind_is_in_a_recipe() -> None:
    seen: set[type[Spec]] = set()

    def visit(spec: Spec) -> None:
        seen.add(type(spec))
        for field in type(spec).model_fields:
            if isinstance(value := getattr(spec, field), Spec):
                visit(value)

    for build in PACKAGES.values():
        recipe = build()
        visit(recipe.get("image") or image_spec())
        visit(recipe.get("head") or classification_head())
    kinds = {kind for union in (Fit, Head, Decoder, Suppression) for kind in get_args(get_args(union)[0])}
    assert kinds - seen == set()


@pytest.mark.parametrize("package", PACKAGES)
def test_an_unchanged_recipe_passes(packages: dict[str, Path], tmp_path: Path, package: str) -> None:
    replay_with(packages[package], tmp_path / "copy", lambda raw: None)


def test_the_same_numbers_in_another_graph_are_named_as_raw_outputs(tmp_path: Path) -> None:
    """A graph with other weights, its checksum made to fit: only the replay can see it."""
    package = make_package(tmp_path / "tiny")
    other = classifier_graph(seed=9)
    onnx.save(other, package / "model.onnx")
    digest = sha256_of(package / "model.onnx")
    edit_manifest(package, lambda raw: raw["files"].update({"model.onnx": digest}), reseal=True)
    with pytest.raises(GoldenMismatchError, match="raw outputs differ: logits by up to") as caught:
        load_package(package)
    assert caught.value.step == "raw outputs"
