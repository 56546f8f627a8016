"""Builders of specs, heads and manifests: valid as they are, each field open to a keyword."""

from __future__ import annotations

from typing import Any

import numpy as np

from pipelines.manifest import (
    Golden,
    GoldenOptions,
    GoldenSample,
    GoldenTolerance,
    ModelManifest,
    Provenance,
    RawTolerance,
)
from pipelines.specs import (
    BoxDelta,
    CenterHeatmap,
    ClassificationHead,
    DetectionHead,
    DflAngle,
    DflKeypoints,
    DflMasks,
    EmbeddingHead,
    EndToEnd,
    Fcos,
    Head,
    ImageSpec,
    Letterbox,
    Nms,
    ProbabilityMap,
    SegmentationHead,
    SetPrediction,
    TensorSpec,
    YoloDfl,
    YoloGrid,
    YoloV5,
    Yolox,
)
from pipelines.types import FloatArray

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
NUM_CLASSES = 10


def f32(values: Any) -> FloatArray:
    """Numbers, nested as wanted, as a float32 array."""
    return np.array(values, np.float32)


def letterbox(**over: Any) -> Letterbox:
    fields: dict[str, Any] = {
        "kind": "letterbox",
        "size_hw": (96, 128),
        "size_rounding": "nearest",
        "pad_value": 114,
        "pad_position": "center",
        "pad_rounding": None if over.get("pad_position") == "top_left" else "floor",
        "scale_up": True,
    }
    return Letterbox(**(fields | over))


def image_spec(**over: Any) -> ImageSpec:
    fields: dict[str, Any] = {
        "fit": letterbox(),
        "resample": "opencv_linear",
        "color": "rgb",
        "exif": "apply",
        "alpha": "white",
        "layout": "chw",
        "dtype": "float32",
        "scale": 255.0,
        "mean": IMAGENET_MEAN,
        "std": IMAGENET_STD,
        "in_graph": (),
    }
    return ImageSpec(**(fields | over))


# --- decoders and heads: each fits the graph of its name in tests/graphs.py ------------------------------------------


def center_heatmap(**over: Any) -> CenterHeatmap:
    fields: dict[str, Any] = {
        "kind": "center_heatmap",
        "heatmap": "heatmap",
        "size": "size",
        "offset": "offset",
        "landmarks": "landmarks",
        "stride": 4,
        "center_shift": 0.5,
        "size_encoding": "log",
        "axis_order": "yx",
        "peak_kernel": 1,
    }
    return CenterHeatmap(**(fields | over))


def yolo_grid(**over: Any) -> YoloGrid:
    fields: dict[str, Any] = {
        "kind": "yolo_grid",
        "outputs": ("grid",),
        "strides": (8,),
        "anchors": (((24.0, 30.0), (52.0, 40.0), (90.0, 80.0)),),
        "anchor_unit": "pixel",
        "channel_order": "chw",
        "class_activation": "sigmoid",
        "objectness": "sigmoid",
    }
    return YoloGrid(**(fields | over))


def probability_map(**over: Any) -> ProbabilityMap:
    fields: dict[str, Any] = {
        "kind": "probability_map",
        "output": "probabilities",
        "binarize_threshold": 0.3,
        "dilate": True,
        "unclip_ratio": 1.6,
        "min_side": 3,
        "max_candidates": 1000,
    }
    return ProbabilityMap(**(fields | over))


def yolo_dfl(**over: Any) -> YoloDfl:
    fields: dict[str, Any] = {
        "kind": "yolo_dfl",
        "layout": {"form": "maps", "outputs": ("grid",), "strides": (8,), "reg_max": 4, "activation": "sigmoid"},
        "extra": None,
        "multi_label": False,
    }
    return YoloDfl(**(fields | over))


def nms(**over: Any) -> Nms:
    fields: dict[str, Any] = {"kind": "hard", "iou_threshold": 0.3, "class_agnostic": False, "candidates": 1000}
    return Nms(**(fields | over))


def classification_head(**over: Any) -> ClassificationHead:
    fields: dict[str, Any] = {
        "task": "classification",
        "output": "logits",
        "activation": "softmax",
        "temperature": 1.0,
        "score_threshold": None,
        "top_k": 5,
    }
    return ClassificationHead(**(fields | over))


def detection_head(**over: Any) -> DetectionHead:
    fields: dict[str, Any] = {
        "task": "detection",
        "decoder": center_heatmap(),
        "score_threshold": 0.5,
        "nms": nms(),
        "max_detections": 100,
    }
    return DetectionHead(**(fields | over))


def segmentation_head(**over: Any) -> SegmentationHead:
    fields: dict[str, Any] = {
        "task": "segmentation",
        "output": "mask",
        "activation": "minmax",
        "threshold": 0.5,
        "mask_resample": "opencv_linear",
    }
    return SegmentationHead(**(fields | over))


def embedding_head(**over: Any) -> EmbeddingHead:
    fields: dict[str, Any] = {"task": "embedding", "output": "embedding", "dim": 16, "normalize": True}
    return EmbeddingHead(**(fields | over))


# --- manifests -------------------------------------------------------------------------------------------------------


def tensor(name: str, *shape: int | str, dtype: str = "float32") -> TensorSpec:
    return TensorSpec(name=name, dtype=dtype, shape=("batch", *shape))


def golden_tolerance(**over: Any) -> GoldenTolerance:
    fields: dict[str, Any] = {
        "pixel_levels": 1,
        "pixel_fraction": 0.05,
        "raw": {"CPUExecutionProvider": RawTolerance(rtol=1e-4, atol=1e-4)},
        "score": 0.001,
        "box_iou": 0.99,
        "point_px": 0.5,
        "mask_iou": 0.99,
        "cosine": 0.9999,
        "reason": "float32 on one execution provider; kernels of CPU families differ in the last bits",
    }
    return GoldenTolerance(**(fields | over))


def golden(**over: Any) -> Golden:
    fields: dict[str, Any] = {
        "reference": "onnxruntime",
        "recorded_with": {"script": "tests/packages.py"},
        "options": (GoldenOptions(score_threshold=None, iou_threshold=None),),
        "samples": (GoldenSample(image="golden/astronaut.png", record="golden/astronaut.npz"),),
        "tolerance": golden_tolerance(),
    }
    return Golden(**(fields | over))


def graph_input(image: ImageSpec) -> TensorSpec:
    """The input ``image`` of a graph with dynamic batch, height and width."""
    channels = 1 if image.color == "gray" else 3
    shape = (channels, "height", "width") if image.layout == "chw" else ("height", "width", channels)
    return tensor("image", *shape, dtype=image.dtype)


def graph_outputs(head: Head) -> tuple[TensorSpec, ...]:
    """The outputs of the graph in ``tests/graphs.py`` that fits the head, in the graph's order."""
    match head:
        case ClassificationHead():
            return (tensor(head.output, NUM_CLASSES),)
        case SegmentationHead():
            classes = 4 if head.activation == "softmax" else 1
            return (tensor(head.output, classes, "map_height", "map_width"),)
        case EmbeddingHead():
            return (tensor(head.output, head.dim),)
        case DetectionHead(decoder=CenterHeatmap()):
            channels = {"heatmap": 1, "size": 2, "offset": 2, "landmarks": 10}
            return tuple(tensor(name, count, "map_height", "map_width") for name, count in channels.items())
        case DetectionHead(decoder=YoloGrid(channel_order=order, anchors=((*anchors,),))):
            channels_per_cell = len(anchors) * (5 + NUM_CLASSES)
            cells = ("map_height", "map_width")
            return (tensor("grid", *((channels_per_cell, *cells) if order == "chw" else (*cells, channels_per_cell))),)
        case DetectionHead(decoder=ProbabilityMap(output=name)):
            return (tensor(name, 1, "map_height", "map_width"),)
        case DetectionHead(decoder=YoloDfl(layout=layout, extra=extra)):
            cells = ("map_height", "map_width") if layout.form == "maps" else ("cells",)
            sides = 4 if layout.form == "decoded" else 4 * layout.reg_max
            channels = sides + NUM_CLASSES + dfl_channels(extra)
            found = tuple(tensor(name, channels, *cells) for name in layout.output_names)
            maps = ("prototype_height", "prototype_width")
            return (*found, tensor(extra.prototypes, extra.num, *maps)) if isinstance(extra, DflMasks) else found
    raise ValueError(f"no graph in tests/graphs.py fits {head}")


def dfl_channels(extra: DflMasks | DflKeypoints | DflAngle | None) -> int:
    """How many channels of a column the extra takes."""
    match extra:
        case DflMasks(num=num):
            return num
        case DflKeypoints(num=num, scored=scored):
            return num * (3 if scored else 2)
        case DflAngle():
            return 1
        case None:
            return 0


def labels_of(head: Head) -> tuple[str, ...]:
    """As many names as the graph that fits the head has classes."""
    match head:
        case (
            ClassificationHead()
            | DetectionHead(
                decoder=YoloGrid() | YoloDfl() | YoloV5() | Yolox() | EndToEnd() | BoxDelta() | Fcos() | SetPrediction()
            )
        ):
            return tuple(f"class {i}" for i in range(NUM_CLASSES))
        case SegmentationHead(many_classes=True):
            return ("background", "sky", "cup", "cat")
        case SegmentationHead():
            return ("background", "object")
        case DetectionHead():
            return ("thing",)
        case EmbeddingHead():
            return ()


def manifest(**over: Any) -> ModelManifest:
    """A manifest; labels, inputs and outputs follow from ``head`` and ``image`` unless they are given."""
    head = over.get("head", classification_head())
    image = over.get("image", image_spec())
    files = ("golden/astronaut.npz", "golden/astronaut.png", "model.onnx")
    fields: dict[str, Any] = {
        "schema_version": 1,
        "name": "tiny",
        "version": 1,
        "description": "A tiny model with fixed random weights.",
        "license": "Apache-2.0",
        "source": "tests/graphs.py",
        "image": image,
        "head": head,
        "labels": labels_of(head),
        "inputs": (graph_input(image),),
        "outputs": graph_outputs(head),
        "files": dict.fromkeys(files, "0" * 64),
        "golden": golden(),
        "seal": "0" * 64,
        "provenance": Provenance(tools={}, opset=18, metrics={}, parity=None),
    }
    return ModelManifest(**(fields | over))
