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
from pipelines.specs import (
    BoxDelta,
    CenterCrop,
    EndToEnd,
    Fcos,
    Pad,
    RetinaLandmarks,
    SetPrediction,
    SoftGaussianNms,
    Stretch,
    StretchToMultiple,
    YoloV5,
    Yolox,
)
from tests.builders import (
    NUM_CLASSES,
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
from tests.listed_graphs import (
    box_delta_graph,
    end_to_end_graph,
    faces_graph,
    fcos_graph,
    queries_graph,
    yolox_graph,
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


def box_delta(**over: Any) -> BoxDelta:
    fields: dict[str, Any] = {
        "kind": "box_delta",
        "classes": "classes",
        "deltas": "deltas",
        "proposals": None,
        "deltas_per": "anchor",
        "weights": (1.0, 1.0, 1.0, 1.0),
        "max_log_scale": 0.4,
        "class_activation": "sigmoid",
        "background": "none",
        "clip_to_row": True,
        "min_side": 0.0,
    }
    return BoxDelta(**(fields | over))


def faces(**over: Any) -> RetinaLandmarks:
    fields: dict[str, Any] = {
        "kind": "retina_landmarks",
        "classes": ("classes",),
        "boxes": ("boxes",),
        "landmarks": ("landmarks",),
    }
    return RetinaLandmarks(**(fields | over))


# No side is a multiple of a stride, so it matters how far one cell is from the next.
UNEVEN = image_spec(fit=letterbox(size_hw=(92, 124)))

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
    "anchors v5": lambda: {
        "graph": yolo_graph(seed=21),
        "head": detection_head(
            decoder=YoloV5(
                kind="yolo_v5",
                layout={
                    "form": "maps",
                    "outputs": ("grid",),
                    "strides": (8,),
                    "anchors": (((12.0, 16.0), (30.0, 24.0), (50.0, 44.0)),),
                    "channel_order": "chw",
                },
                multi_label=False,
            ),
            nms=nms(candidates=300),
        ),
        "options": TWICE,
    },
    "yolox": lambda: {
        "graph": yolox_graph(),
        "head": detection_head(
            decoder=Yolox(kind="yolox", output="rows", strides=(8, 16), activation="none", multi_label=False),
            score_threshold=0.4,
        ),
        "options": TWICE,
    },
    "end to end": lambda: {
        "graph": end_to_end_graph(),
        "head": detection_head(
            decoder=EndToEnd(kind="end_to_end", output="rows", unit="normalized", num_classes=NUM_CLASSES), nms=None
        ),
    },
    "ssd": lambda: {
        "graph": box_delta_graph(per_cell=4, columns=NUM_CLASSES + 1),
        "image": UNEVEN,
        "head": detection_head(
            decoder=box_delta(
                anchors={
                    "kind": "default_boxes",
                    "levels": ({"stride": 8, "aspect_ratios": (2.0,)}, {"stride": 16, "aspect_ratios": (2.0,)}),
                    "scales": (0.15, 0.3, 0.5),
                    "clip": False,
                    "step": "spread",
                },
                weights=(10.0, 10.0, 5.0, 5.0),
                class_activation="softmax",
                background="first",
            )
        ),
        "options": TWICE,
    },
    "retina": lambda: {
        "graph": box_delta_graph(per_cell=4, columns=NUM_CLASSES),
        "image": UNEVEN,
        "head": detection_head(
            decoder=box_delta(
                anchors={
                    "kind": "sized",
                    "levels": tuple(
                        {"stride": stride, "sizes": (2.2 * stride, 3.1 * stride), "aspect_ratios": (0.5, 2.0)}
                        for stride in (8, 16)
                    ),
                    "order": "ratio_major",
                    "rounding": "half_even",
                    "center_shift": 0.0,
                    "step": "spread_floor",
                },
            ),
            score_threshold=0.8,
        ),
    },
    "fcos": lambda: {
        "graph": fcos_graph(),
        "image": UNEVEN,
        "head": detection_head(
            decoder=Fcos(
                kind="fcos",
                classes="classes",
                distances="distances",
                centerness="centerness",
                strides=(8, 16),
                step="spread_floor",
                center_shift=0.0,
                distance_unit="stride",
                score="geometric_mean",
                clip_to_row=True,
            ),
            score_threshold=0.6,
        ),
        "options": TWICE,
    },
    "queries": lambda: {
        "graph": queries_graph(),
        "head": detection_head(
            decoder=SetPrediction(
                kind="set_prediction",
                classes="classes",
                boxes="boxes",
                class_activation="softmax",
                background="last",
                per="query_class",
                top_k=60,
            ),
            score_threshold=0.1,
            nms=None,
        ),
    },
    "priors": lambda: {
        "graph": faces_graph(per_cell=1, columns=2),
        "head": detection_head(
            decoder=faces(
                coding={
                    "form": "priors",
                    "levels": ({"stride": 8, "min_sizes": (16.0,)}, {"stride": 16, "min_sizes": (40.0,)}),
                    "variances": (0.1, 0.2),
                },
                center_shift=0.5,
                class_activation="softmax",
                background="first",
            ),
            skeleton=((0, 1), (3, 4)),
        ),
        "options": TWICE,
    },
    "distances": lambda: {
        "graph": faces_graph(per_cell=2, columns=1),
        "head": detection_head(
            decoder=faces(
                coding={"form": "distances", "strides": (8, 16), "anchors_per_cell": 2},
                center_shift=0.0,
                class_activation="sigmoid",
                background="none",
            ),
            score_threshold=0.7,
        ),
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
    ("instances", "head.nms.kind", "mask"),
    ("anchors v5", "head.decoder.layout.strides", [4]),
    ("anchors v5", "head.decoder.layout.anchors", [[[12.0, 16.0], [30.0, 24.0], [50.0, 40.0]]]),
    ("anchors v5", "head.decoder.layout.channel_order", "ahwc"),
    ("anchors v5", "head.decoder.multi_label", True),
    ("yolox", "head.decoder.strides", [16, 8]),
    ("yolox", "head.decoder.activation", "sigmoid"),
    ("yolox", "head.decoder.multi_label", True),
    ("end to end", "head.decoder.unit", "pixel"),
    ("end to end", "head.decoder.num_classes", 5),
    ("ssd", "head.decoder.weights", [10.0, 10.0, 4.0, 5.0]),
    ("ssd", "head.decoder.weights", [8.0, 10.0, 5.0, 5.0]),
    ("ssd", "head.decoder.class_activation", "sigmoid"),
    ("ssd", "head.decoder.background", "last"),
    ("ssd", "head.decoder.background", "none"),
    ("ssd", "head.decoder.clip_to_row", False),
    ("ssd", "head.decoder.anchors.scales", [0.15, 0.3, 0.6]),
    ("ssd", "head.decoder.anchors.levels", [{"stride": 8, "aspect_ratios": [3.0]}] * 2),
    ("ssd", "head.decoder.anchors.step", "stride"),
    ("retina", "head.decoder.max_log_scale", None),
    ("retina", "head.decoder.max_log_scale", 0.3),
    ("retina", "head.decoder.min_side", 12.0),
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
