"""Recipes that between them use every field of a manifest's image and head, each with a graph that makes it act."""

from collections.abc import Callable
from typing import Any

from PIL import Image

from pipelines.manifest import GoldenOptions
from pipelines.specs import (
    BoxDelta,
    CenterCrop,
    DiouNms,
    EndToEnd,
    Fcos,
    MaskNms,
    NoFit,
    Pad,
    RetinaLandmarks,
    SetPrediction,
    SoftGaussianNms,
    SoftLinearNms,
    Stretch,
    StretchToMultiple,
    Suppression,
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
from tests.packages import photo, png

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


def instances(suppression: Suppression, **over: Any) -> dict[str, Any]:
    return {
        "graph": dfl_graph(extras=4, prototypes=4),
        "head": detection_head(
            decoder=yolo_dfl(extra={"extra": "masks", "num": 4, "prototypes": "prototypes", "threshold": 0.5}),
            nms=suppression,
        ),
        **over,
    }


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
    "own size": lambda: classifier(NoFit(kind="none")),
    "pad": lambda: classifier(Pad(kind="pad", multiple_of=32, pad_value=114, max_longer=250)),
    "heatmap": lambda: {
        "graph": heatmap_graph(),
        "head": detection_head(score_threshold=0.8, max_detections=60, nms=nms(candidates=200)),
        "options": TWICE,
    },
    "diou": lambda: instances(DiouNms(kind="diou", iou_threshold=0.3, class_agnostic=False, candidates=150)),
    "soft linear": lambda: instances(
        SoftLinearNms(kind="soft_linear", iou_threshold=0.3, class_agnostic=False, candidates=150)
    ),
    "soft": lambda: instances(SoftGaussianNms(kind="soft_gaussian", sigma=0.5, class_agnostic=False, candidates=150)),
    "by mask": lambda: instances(MaskNms(kind="mask", iou_threshold=0.3, class_agnostic=False, candidates=150)),
    "yolo": lambda: {
        "graph": yolo_graph(),
        "head": detection_head(decoder=yolo_grid(), score_threshold=0.4),
        "options": TWICE,
    },
    "instances": lambda: instances(nms(), options=TWICE),
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
                    "scales": (0.15, 0.8, 0.9),  # with a ratio of 2, wider than the row: clip acts
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
    "classes that compete": lambda: {
        "graph": segmenter_graph(num_classes=3),
        "head": segmentation_head(activation="sigmoid", class_thresholds=(0.5, 0.5, 0.5)),
    },
    "embedding": lambda: {"graph": embedder_graph(), "head": embedding_head()},
}
