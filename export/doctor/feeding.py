"""How the published models of each family are fed: assumed where the file does not say, and said to be assumed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from export.doctor.proposal import Doubt, Flags, doubt
from export.doctor.sighting import Sighting

DYNAMIC_SIDE = 640  # of a row whose size the graph leaves open, where a convention needs one.
_PIXEL_FLAGS: tuple[tuple[str, ...], ...] = (("fit",), ("resample",), ("stats", "scale"))

# Everything but the row's size; the keys are the flags' parameter names.
CONVENTIONS: Mapping[str, Flags] = {
    "Ultralytics": {
        "fit": "letterbox",
        "pad_value": 114,
        "pad_position": "center",
        "resample": "opencv_linear",
        "color": "rgb",
        "stats": "unit",
    },
    "YOLOX": {
        "fit": "letterbox",
        "size_rounding": "floor",
        "pad_value": 114,
        "pad_position": "top_left",
        "resample": "opencv_linear",
        "color": "bgr",
        "stats": "none",
    },
    "Darknet": {
        "fit": "letterbox",
        "size_rounding": "floor",
        "pad_value": 128,
        "pad_position": "center",
        "resample": "opencv_linear",
        "color": "rgb",
        "stats": "unit",
    },
    "torchvision's detectors": {
        "fit": "letterbox",
        "size_rounding": "floor",
        "pad_value": 116,
        "pad_position": "top_left",
        "resample": "torch_bilinear",
        "color": "rgb",
        "stats": "imagenet",
    },
    "torchvision's SSD": {"fit": "stretch", "resample": "torch_bilinear", "color": "rgb", "stats": "symmetric"},
    "torchvision's whole detectors": {"fit": "none", "resample": "torch_bilinear", "color": "rgb", "stats": "unit"},
    "torchvision's classifiers": {
        "fit": "center_crop",
        "resample": "pil_bilinear",
        "color": "rgb",
        "stats": "imagenet",
    },
    "torchvision's segmenters": {"fit": "stretch", "resample": "pil_bilinear", "color": "rgb", "stats": "imagenet"},
    "CenterFace": {"fit": "stretch_to_multiple", "resample": "opencv_linear", "color": "rgb", "stats": "none"},
    "CenterNet": {"fit": "letterbox", "pad_value": 0, "resample": "opencv_linear", "color": "bgr", "stats": "coco"},
    "RT-DETR": {"fit": "stretch", "resample": "pil_bilinear", "color": "rgb", "stats": "unit"},
    "DETR": {"fit": "stretch", "resample": "pil_bilinear", "color": "rgb", "stats": "imagenet"},
    "RetinaFace": {
        "fit": "letterbox",
        "pad_value": 0,
        "pad_position": "top_left",
        "resample": "opencv_linear",
        "color": "bgr",
        "scale": "1",
        "mean": "104,117,123",
        "std": "1,1,1",
    },
    "SCRFD": {
        "fit": "letterbox",
        "pad_value": 0,
        "pad_position": "top_left",
        "size_rounding": "floor",
        "resample": "opencv_linear",
        "color": "rgb",
        "scale": "1",
        "mean": "127.5,127.5,127.5",
        "std": "128,128,128",
    },
    "PP-OCR": {
        "fit": "stretch_to_multiple",
        "min_shorter": 736,
        "max_longer": 2000,
        "resample": "opencv_linear",
        "color": "bgr",
        "stats": "symmetric",
    },
    "U2-Net": {
        "fit": "stretch",
        "resample": "pil_lanczos",
        "color": "rgb",
        "scale": "image_max",
        "mean": "0.485,0.456,0.406",
        "std": "0.229,0.224,0.225",
    },
    "face embedders": {"fit": "stretch", "resample": "opencv_linear", "color": "rgb", "stats": "symmetric"},
}


def feed_as(convention: str, sighting: Sighting) -> tuple[Flags, tuple[Doubt, ...]]:
    """Flags of the image part: what the file says, else what a convention says, with the doubt that it is one."""
    if sighting.said is not None and sighting.said.feed:
        return sighting.said.feed, ()
    flags = _at_size({**CONVENTIONS[convention], "layout": sighting.layout}, sighting)
    if sighting.channels == 1:
        flags = {**flags, "color": "gray"} | ({"stats": "unit"} if flags.get("stats") in ("imagenet", "coco") else {})
        for key in ("mean", "std"):
            if key in flags:
                flags[key] = str(flags[key]).split(",")[0]
    if sighting.dtype == "uint8":
        text = f"the graph takes uint8 pixels; how images are fitted is not in the file: assumed as for {convention}"
        return {**_without_scale(flags), "stats": "none"}, (doubt(text, "fit", "resample"),)
    text = f"how pixels are fitted and scaled is not in the file: assumed as for {convention}"
    return flags, (doubt(text, *_PIXEL_FLAGS),)


def _without_scale(flags: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in flags.items() if key not in ("stats", "scale", "mean", "std")}


def _at_size(flags: dict[str, Any], sighting: Sighting) -> dict[str, Any]:
    """Give the fit the row's size: the graph's own where it is fixed."""
    height, width = sighting.row_hw
    fit = flags["fit"]
    if fit in ("stretch_to_multiple", "none") and not sighting.fixed_hw:
        return flags | ({"multiple_of": 32} if fit == "stretch_to_multiple" else {})
    if fit in ("stretch_to_multiple", "none"):  # a graph of one size takes no other
        kept = {key: value for key, value in flags.items() if key not in ("fit", "min_shorter", "max_longer")}
        return {**kept, "fit": "stretch", "size": f"{height}x{width}"}
    if fit == "center_crop":
        height, width = (height, width) if sighting.fixed_hw else (224, 224)
        return {**flags, "size": f"{height}x{width}", "resize_shorter": round(max(height, width) * 256 / 224)}
    if not sighting.fixed_hw:
        height = width = DYNAMIC_SIDE
    return {**flags, "size": f"{height}x{width}"}
