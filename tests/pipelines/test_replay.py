"""With the seal recomputed, the golden replay still refuses every field of a recipe that acts, and names the step."""

import shutil
from collections.abc import Callable
from functools import reduce
from pathlib import Path
from typing import Any

import onnx
import pytest
from PIL import Image

from pipelines.errors import GoldenMismatchError
from pipelines.loader import load_package, sha256_of
from pipelines.manifest import GoldenOptions
from pipelines.specs import CenterCrop, Pad, SoftGaussianNms, Stretch, StretchToMultiple
from tests.builders import (
    classification_head,
    detection_head,
    embedding_head,
    image_spec,
    letterbox,
    nms,
    probability_map,
    segmentation_head,
    yolo_dfl,
    yolo_grid,
)
from tests.graphs import (
    classifier_graph,
    dfl_graph,
    embedder_graph,
    heatmap_graph,
    probability_map_graph,
    segmenter_graph,
    yolo_graph,
)
from tests.packages import edit_manifest, make_package, photo, png

TWICE = (
    GoldenOptions(score_threshold=None, iou_threshold=None),
    GoldenOptions(score_threshold=0.4, iou_threshold=None),
)


def clear_and_turned() -> bytes:
    """A photo that fades out to the right, stored lying on its side."""
    image = photo()
    image.putalpha(Image.linear_gradient("L").rotate(90).resize(image.size))
    exif = Image.Exif()
    exif[0x0112] = 6
    return png(image, exif=exif)


def classifier(fit: Any, **over: Any) -> dict[str, Any]:
    return {"graph": classifier_graph(), "image": image_spec(fit=fit), **over}


PACKAGES: dict[str, Callable[[], dict[str, Any]]] = {
    "letterbox": lambda: classifier(letterbox(), samples=[clear_and_turned()]),
    "letterbox up": lambda: classifier(letterbox(size_hw=(448, 352))),
    # 96.7 x 131, with 3 lines spare: both roundings act.
    "letterbox odd": lambda: classifier(letterbox(size_hw=(100, 131)), samples=[png(photo(size_wh=(260, 192)))]),
    "labels": lambda: classifier(
        letterbox(), head=classification_head(activation="sigmoid", score_threshold=0.6, top_k=10)
    ),
    "stretch": lambda: classifier(Stretch(kind="stretch", size_hw=(96, 128))),
    "crop": lambda: classifier(
        CenterCrop(
            kind="center_crop", size_hw=(95, 96), resize_shorter=103, size_rounding="floor", offset_rounding="floor"
        ),
        samples=[png(photo(size_wh=(301, 199)))],
    ),
    "multiple": lambda: classifier(
        StretchToMultiple(kind="stretch_to_multiple", multiple_of=32, rounding="ceil", min_shorter=220, max_longer=None)
    ),
    "capped multiple": lambda: classifier(
        StretchToMultiple(kind="stretch_to_multiple", multiple_of=32, rounding="ceil", min_shorter=None, max_longer=250)
    ),
    "dark": lambda: classifier(
        Stretch(kind="stretch", size_hw=(96, 128)), samples=[png(photo().point(lambda level: level * 0.8))]
    ),
    "pad": lambda: classifier(Pad(kind="pad", multiple_of=32, pad_value=114, max_longer=250)),
    "heatmap": lambda: {
        "graph": heatmap_graph(),
        "head": detection_head(score_threshold=0.8, max_detections=60, nms=nms(candidates=200)),
        "options": TWICE,
    },
    "soft": lambda: {
        "graph": heatmap_graph(),
        "head": detection_head(
            score_threshold=0.8,
            nms=SoftGaussianNms(kind="soft_gaussian", sigma=0.5, class_agnostic=False, candidates=200),
        ),
    },
    "yolo": lambda: {
        "graph": yolo_graph(),
        "head": detection_head(decoder=yolo_grid(), score_threshold=0.4),
        "options": TWICE,
    },
    "instances": lambda: {
        "graph": dfl_graph(extras=4, prototypes=4),
        "head": detection_head(
            decoder=yolo_dfl(extra={"extra": "masks", "num": 4, "prototypes": "prototypes", "threshold": 0.5})
        ),
        "options": TWICE,
    },
    "skeletons": lambda: {
        "graph": dfl_graph(form="columns", extras=9),
        "head": detection_head(
            decoder=yolo_dfl(
                layout={"form": "columns", "output": "grid", "strides": (8,), "reg_max": 4, "activation": "sigmoid"},
                extra={"extra": "keypoints", "num": 3, "scored": True},
            )
        ),
    },
    "turned": lambda: {
        "graph": dfl_graph(form="decoded", extras=1),
        "head": detection_head(
            decoder=yolo_dfl(
                layout={"form": "decoded", "output": "grid", "box_format": "cxcywh"}, extra={"extra": "angle"}
            ),
            nms=nms(candidates=150),
            max_detections=60,
        ),
        "options": TWICE,
    },
    "text": lambda: {
        "graph": probability_map_graph(),
        "head": detection_head(decoder=probability_map(max_candidates=40), score_threshold=0.4, nms=None),
        "image": image_spec(fit=letterbox(size_hw=(192, 256))),
        "samples": [png(photo("page", size_wh=(200, 140)))],
    },
    "mask": lambda: {"graph": segmenter_graph(), "head": segmentation_head()},
    "classes": lambda: {"graph": segmenter_graph(num_classes=4), "head": segmentation_head(activation="softmax")},
    "embedding": lambda: {"graph": embedder_graph(), "head": embedding_head()},
}


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
    ("heatmap", "head.score_threshold", 0.9),
    ("heatmap", "head.max_detections", 10),
    ("heatmap", "head.nms", None),
    ("heatmap", "head.nms.iou_threshold", 0.35),
    ("heatmap", "head.nms.candidates", 50),
    ("heatmap", "head.nms.kind", "diou"),
    ("heatmap", "head.nms.kind", "soft_linear"),
    ("heatmap", "head.nms", {"kind": "soft_gaussian", "sigma": 0.3, "class_agnostic": False, "candidates": 200}),
    ("soft", "head.nms.sigma", 0.6),
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
    ("text", "head.decoder.binarize_threshold", 0.4),
    ("text", "head.decoder.dilate", False),
    ("text", "head.decoder.unclip_ratio", 1.8),
    ("text", "head.decoder.min_side", 6),
    ("text", "head.decoder.max_candidates", 5),
    ("mask", "head.activation", "sigmoid"),
    ("mask", "head.threshold", 0.6),
    ("mask", "head.mask_resample", "nearest"),
    ("classes", "head.mask_resample", "nearest"),
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
