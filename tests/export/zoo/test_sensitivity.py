"""Which wrong recipes the shipped golden samples see: every field that acts on a zoo model, changed a little."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from export.zoo import RECIPES
from pipelines.errors import GoldenMismatchError
from pipelines.golden import replay
from pipelines.manifest import parse_manifest, read_raw_manifest
from pipelines.session import OnnxSession
from pipelines.tasks import build_pipeline

OTHER: dict[str, Any] = {
    "opencv_linear": "pil_bilinear",
    "pil_lanczos": "pil_bicubic",
    "opencv_lanczos4": "opencv_cubic",
    "rgb": "bgr",
    "bgr": "rgb",
    "chw": "hwc",
    "ceil": "nearest",
    "floor": "nearest",
    "yx": "xy",
    "log": "linear",
    "none": "sigmoid",
    "image_max": 255.0,
    "minmax": "sigmoid",  # not none: these maps span 0..1 already.
}
ROUNDINGS = {"stretch_to_multiple": "ceil", "center_crop": "floor"}
IMAGE = ("color", "layout", "resample")
NUMBERS = ("mean", "std", "scale")
FITS = {
    "centerface": ("multiple_of", "rounding", "max_longer"),
    "page-orientation": ("resize_shorter", "size_rounding", "offset_rounding"),
    "text-detector": ("multiple_of", "rounding", "min_shorter"),
    "u2netp": ("size_hw",),
}
HEADS = {
    "centerface": ("score_threshold", "max_detections"),
    "page-orientation": ("activation", "top_k"),
    "text-detector": ("score_threshold", "max_detections"),
    "u2netp": ("activation", "threshold", "mask_resample"),
}
DECODERS = {
    "centerface": ("stride", "center_shift", "size_encoding", "axis_order", "peak_kernel"),
    "text-detector": ("binarize_threshold", "dilate", "unclip_ratio", "min_side", "max_candidates"),
}
# Left out is what cannot act on these samples: the cap of 2000 on text rows, which its project does not have, and
# whether suppression regards the only class. Caps on counts are tried low, since they are there to be high.
LOW = {"max_candidates": 5, "max_detections": 2, "candidates": 20, "top_k": 2, "peak_kernel": 3}


def changed(value: Any, key: str, recipe: dict[str, Any]) -> Any:
    """Another value of the same kind, near the true one."""
    if key in LOW:
        return LOW[key]
    if isinstance(value, bool):
        return not value
    if isinstance(value, str):
        rounding = ROUNDINGS.get(recipe["image"]["fit"]["kind"])
        return rounding if key.endswith("rounding") and value == "nearest" else OTHER[value]
    if isinstance(value, list):
        return [changed(part, key, recipe) for part in value]
    if key == "mean":
        return value + 0.01 * (255 if recipe["image"]["scale"] == 1 else 1)
    if key == "score_threshold":
        return value * 0.8  # below, there are detections that the reference does not have.
    return value * 2 if isinstance(value, int) else value * 1.2


def cases() -> Iterator[tuple[str, tuple[str, ...]]]:
    for name in sorted(FITS):
        yield from ((name, ("image", key)) for key in (*IMAGE, *NUMBERS))
        yield from ((name, ("image", "fit", key)) for key in FITS[name])
        yield from ((name, ("head", key)) for key in HEADS[name])
        yield from ((name, ("head", "decoder", key)) for key in DECODERS.get(name, ()))
    yield from (("centerface", ("head", "nms", key)) for key in ("iou_threshold", "candidates"))


@pytest.fixture(scope="module")
def sessions(pulled_model: Callable[[str], Path]) -> Iterator[Callable[[str], OnnxSession]]:
    opened: dict[str, OnnxSession] = {}

    def session(name: str) -> OnnxSession:
        if name not in opened:
            opened[name] = OnnxSession(pulled_model(name) / "model.onnx", outputs=RECIPES[name].head.output_names)
        return opened[name]

    yield session
    for one in opened.values():
        one.close()


@pytest.mark.parametrize(
    ("name", "path"), list(cases()), ids=lambda part: part if isinstance(part, str) else ".".join(part)
)
def test_a_changed_recipe_is_refused_by_the_replay(
    name: str, path: tuple[str, ...], pulled_model: Callable[[str], Path], sessions: Callable[[str], OnnxSession]
) -> None:
    folder = pulled_model(name)
    raw = copy.deepcopy(read_raw_manifest(folder))
    node = raw
    for key in path[:-1]:
        node = node[key]
    node[path[-1]] = changed(node[path[-1]], path[-1], raw)
    manifest = parse_manifest(raw)
    with pytest.raises(GoldenMismatchError) as caught:
        replay(manifest, folder, build_pipeline(manifest), sessions(name))
    assert caught.value.step in ("pixels", "raw outputs", "decoded result")
    if path[0] == "head":
        assert caught.value.step == "decoded result"
