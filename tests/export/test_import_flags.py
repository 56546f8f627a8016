import json
from pathlib import Path
from typing import Any

import pytest

from export.flag_values import FlagError
from export.import_flags import recipe_from
from pipelines.errors import GraphMismatchError
from pipelines.specs import TensorSpec
from tests.builders import center_heatmap, probability_map, tensor, yolo_grid

COMMON: dict[str, Any] = {
    "model": Path("My Model.onnx"),
    "name": "mine",
    "model_version": 1,
    "description": "",
    "license_": "MIT",
    "source": None,
    "metric": None,
    "labels": None,
    "label": None,
    "dynamic_batch": False,
    "resample": "opencv_linear",
    "color": "rgb",
    "exif": "apply",
    "alpha": "white",
    "layout": "chw",
    "stats": "imagenet",
    "fit": "stretch",
    "size": "224x320",
    "task": "classification",
    "activation": "softmax",
}
NOT_GIVEN = (
    *("scale", "mean", "std", "resize_shorter", "size_rounding", "offset_rounding", "multiple_of", "rounding"),
    *("min_shorter", "max_longer", "pad_value", "pad_position", "scale_up", "output", "top_k", "threshold"),
    *("mask_resample", "embedding_dim", "normalize", "decoder", "decoder_field", "score_threshold", "max_detections"),
    *("nms", "iou_threshold", "class_agnostic", "nms_candidates", "skeleton"),
    *("suppression", "sigma", "temperature", "pad_rounding"),
)
DETECTION = {"task": "detection", "activation": None, "score_threshold": 0.5, "iou_threshold": 0.4}
INPUT = tensor("x", "batch", 3, 224, 320)
OUTPUT = tensor("y", "batch", 10)


def recipe(
    *, inputs: tuple[TensorSpec, ...] = (INPUT,), outputs: tuple[TensorSpec, ...] = (OUTPUT,), **flags: Any
) -> Any:
    given = {**dict.fromkeys(NOT_GIVEN), **COMMON, **flags}
    return recipe_from(given, inputs=inputs, outputs=outputs)


def decoder_flags(spec: Any) -> dict[str, Any]:
    fields = spec.model_dump(mode="json")
    kind = fields.pop("kind")
    return {
        **DETECTION,
        "decoder": kind,
        "decoder_field": [f"{key}={json.dumps(value)}" for key, value in fields.items()],
    }


def test_a_classifier_needs_little():
    made = recipe()
    assert (made.image.fit.kind, made.image.fit.size_hw) == ("stretch", (224, 320))
    assert (made.image.scale, made.image.mean) == (255.0, (0.485, 0.456, 0.406))
    assert (made.head.output, made.head.activation, made.head.top_k) == ("y", "softmax", 5)


def test_the_named_statistics_turn_around_for_bgr():
    assert recipe(color="bgr").image.mean == (0.406, 0.456, 0.485)


def test_own_statistics_replace_named_ones():
    image = recipe(stats=None, scale="1", mean="127.5,127.5,127.5", std="128,128,128").image
    assert (image.scale, image.mean, image.std) == (1.0, (127.5,) * 3, (128.0,) * 3)


def test_the_divisor_may_be_the_largest_value_of_the_image():
    assert recipe(stats=None, scale="image_max", mean="0,0,0", std="1,1,1").image.scale == "image_max"


def test_a_uint8_input_normalises_in_the_graph():
    image = recipe(inputs=(tensor("x", "batch", 3, 224, 320, dtype="uint8"),)).image
    assert (image.dtype, image.in_graph) == ("uint8", ("normalize",))


def test_a_center_crop_rounds_as_torchvision_unless_told():
    fit = recipe(fit="center_crop", size="224x224", resize_shorter=256).image.fit
    assert (fit.size_rounding, fit.offset_rounding) == ("floor", "nearest")


@pytest.mark.parametrize("spec", [center_heatmap(), yolo_grid(), probability_map()], ids=lambda spec: spec.kind)
def test_every_field_of_a_decoder_can_be_given(spec: Any):
    assert recipe(**decoder_flags(spec)).head.decoder == spec


def test_a_decoder_field_that_is_no_json_is_text():
    flags = decoder_flags(probability_map())
    flags["decoder_field"] = [text.replace('"', "") for text in flags["decoder_field"]]
    assert recipe(**flags).head.decoder == probability_map()


def test_a_skeleton_joins_keypoints():
    assert recipe(**decoder_flags(center_heatmap())).head.skeleton == ()
    assert recipe(**decoder_flags(center_heatmap()), skeleton="0-1,1-12").head.skeleton == ((0, 1), (1, 12))


@pytest.mark.parametrize("text", ["", "0", "0-1,", "0-1-2", "a-b", "-1-2"])
def test_a_skeleton_of_anything_else_is_refused(text: str):
    with pytest.raises(FlagError, match="--skeleton must be pairs of keypoints, as 0-1,1-2"):
        recipe(**decoder_flags(center_heatmap()), skeleton=text)


def test_suppression_can_be_left_out():
    assert recipe(**{**decoder_flags(probability_map()), "iou_threshold": None, "nms": False}).head.nms is None


def test_suppression_has_defaults():
    nms = recipe(**decoder_flags(center_heatmap())).head.nms
    assert (nms.iou_threshold, nms.class_agnostic, nms.candidates) == (0.4, False, 1000)


def test_a_segmentation_head_is_built():
    head = recipe(task="segmentation", activation="sigmoid", threshold=0.3).head
    assert (head.task, head.threshold, head.mask_resample) == ("segmentation", 0.3, "opencv_linear")


def test_an_embedding_head_is_built():
    head = recipe(task="embedding", activation=None, embedding_dim=128).head
    assert (head.dim, head.normalize) == (128, True)


def test_labels_come_from_a_file_or_one_by_one(tmp_path: Path):
    (tmp_path / "names.txt").write_text("cat\n\ndog \n")
    assert recipe(labels=tmp_path / "names.txt").labels == recipe(label=["cat", "dog"]).labels == ("cat", "dog")


def test_a_metric_has_a_split():
    metric = recipe(metric=["top1=0.76@ImageNet val"]).metrics["top1"]
    assert (metric.value, metric.split) == (0.76, "ImageNet val")


def test_the_name_is_the_files_own_where_it_can_be():
    assert recipe(name=None, model=Path("ResNet-18.onnx")).name == "resnet-18"


@pytest.mark.parametrize(
    ("flags", "problem"),
    [
        ({"task": "pose"}, "--task must be one of classification, detection, embedding, segmentation, got pose"),
        ({"fit": "squeeze"}, "--fit must be one of .*letterbox.*, got squeeze"),
        ({"size": None}, "--fit stretch needs --size"),
        ({"size": "224"}, "--size must be HEIGHTxWIDTH, as 224x224, got '224'"),
        ({"size": "0x5"}, r"image.fit.size_hw\[0\]: .*greater than or equal to 1"),
        ({"multiple_of": 32}, "--multiple-of has no effect with --fit stretch"),
        ({"fit": "center_crop", "size": "9x9", "resize_shorter": 4}, "resize_shorter must be at least 9, got 4"),
        ({"resample": "lanczos"}, "image.resample: Input should be 'opencv_linear'"),
        ({"color": "cmyk"}, "--color must be one of rgb, bgr, gray, got cmyk"),
        ({"stats": "ade20k"}, "--stats: statistics must be one of"),
        ({"stats": None}, r"--stats, or all of --scale, --mean, --std \(--scale is missing"),
        ({"stats": None, "scale": "1", "mean": "0,0,0"}, "--std.* is missing"),
        ({"mean": "0,0,0"}, "--stats and --mean exclude each other"),
        ({"stats": None, "scale": "1", "mean": "a,b", "std": "1,1,1"}, "--mean must be numbers"),
        ({"stats": None, "scale": "1", "mean": "0,0", "std": "1,1,1"}, "mean must have 3 values for rgb, got 2"),
        ({"stats": None, "scale": "1", "mean": "0,0,0", "std": "1,0,1"}, r"image.std\[1\]: .*greater than 0"),
        ({"activation": None}, "--task classification needs --activation"),
        ({"top_k": 0}, "head.top_k: .*greater than or equal to 1"),
        ({"threshold": 0.5}, "--threshold has no effect with --task classification"),
        ({"iou_threshold": 0.5}, "--iou-threshold has no effect with --task classification"),
        ({"nms": True}, "--nms has no effect with --task classification"),
        ({"nms_candidates": 5}, "--nms-candidates has no effect"),
        ({"embedding_dim": 5}, "--embedding-dim has no effect with --task classification"),
        ({"label": ["a"], "labels": Path("x")}, "--labels and --label exclude each other"),
        ({"labels": Path("/nowhere/x")}, "--labels: /nowhere/x cannot be read"),
        ({"metric": ["top1=0.5"]}, "--metric must be NAME=VALUE@SPLIT, got 'top1=0.5'"),
        ({"metric": ["top1=nan@val"]}, "--metric must be NAME=VALUE@SPLIT"),
        ({"name": "My Model"}, "--name must be up to 64 of a-z, .*got 'My Model'"),
        ({"name": None}, "--name must be up to 64 of a-z, .*got 'my model'"),
        ({**DETECTION}, "--decoder must be one of .*center_heatmap.*, got none"),
        ({**DETECTION, "decoder": "probability_map"}, "--decoder probability_map needs binarize_threshold, dilate"),
        ({**DETECTION, "decoder": "probability_map", "decoder_field": ["x"]}, "must be FIELD=VALUE, got 'x'"),
        ({**DETECTION, "decoder": "probability_map", "decoder_field": ["anchors=1"]}, "has no field 'anchors'"),
    ],
)
def test_a_flag_that_is_missing_wrong_or_without_effect_is_named(flags: dict[str, Any], problem: str):
    with pytest.raises(FlagError, match=problem):
        recipe(**flags)


def test_a_bad_value_of_a_decoder_field_is_named():
    flags = decoder_flags(probability_map())
    flags["decoder_field"] = [*flags["decoder_field"], "unclip_ratio=-1"]
    with pytest.raises(FlagError, match=r"unclip_ratio: .*greater than 0"):
        recipe(**flags)


def test_a_detection_head_says_how_it_suppresses():
    with pytest.raises(FlagError, match="needs --iou-threshold, or --no-nms"):
        recipe(**{**decoder_flags(center_heatmap()), "iou_threshold": None})


def test_suppression_flags_have_no_effect_without_suppression():
    with pytest.raises(FlagError, match="--iou-threshold has no effect with --no-nms"):
        recipe(**{**decoder_flags(center_heatmap()), "nms": False})


def test_one_of_several_outputs_has_to_be_named():
    with pytest.raises(FlagError, match="--task classification needs --output"):
        recipe(outputs=(OUTPUT, tensor("z", "batch", 4)))


@pytest.mark.parametrize(
    ("inputs", "problem"),
    [
        ((INPUT, tensor("w", 3)), r"must have one input, it has \['x', 'w'\]"),
        ((tensor("image", "batch", dtype="object"),), "holds strings, under the name that the server keeps"),
        ((tensor("ids", "batch", 12, dtype="int64"),), "'ids' must hold pixels as one of .*, it holds int64"),
    ],
)
def test_a_graph_that_takes_no_pixels_is_refused(inputs: tuple[TensorSpec, ...], problem: str):
    with pytest.raises(GraphMismatchError, match=problem):
        recipe(inputs=inputs)


@pytest.mark.parametrize("kind", ["hard", "diou", "soft_linear"])
def test_a_suppression_is_chosen_by_name(kind: str):
    nms = recipe(**{**decoder_flags(center_heatmap()), "suppression": kind}).head.nms
    assert (nms.kind, nms.iou_threshold) == (kind, 0.4)


def test_a_gaussian_suppression_needs_its_width_and_no_iou_threshold():
    flags = {**decoder_flags(center_heatmap()), "suppression": "soft_gaussian", "iou_threshold": None}
    assert recipe(**flags, sigma=0.5).head.nms.sigma == 0.5
    with pytest.raises(FlagError, match="--suppression soft_gaussian needs --sigma"):
        recipe(**flags)
    with pytest.raises(FlagError, match="--iou-threshold has no effect with --suppression soft_gaussian"):
        recipe(**{**flags, "iou_threshold": 0.5, "sigma": 0.5})
    with pytest.raises(FlagError, match="--sigma has no effect with --suppression hard"):
        recipe(**decoder_flags(center_heatmap()), sigma=0.5)


def test_a_classifier_of_many_labels_has_a_threshold():
    head = recipe(activation="sigmoid", score_threshold=0.4, temperature=1.5).head
    assert (head.score_threshold, head.temperature) == (0.4, 1.5)
    assert (recipe().head.score_threshold, recipe().head.temperature) == (None, 1.0)


def test_a_letterbox_rounds_as_ultralytics_unless_told():
    fit = recipe(fit="letterbox", size="96x128").image.fit
    assert (fit.size_rounding, fit.pad_rounding) == ("nearest", "floor")
    assert recipe(fit="letterbox", size="96x128", pad_position="top_left").image.fit.pad_rounding is None


def test_no_fit_takes_no_size():
    assert recipe(fit="none", size=None).image.fit.kind == "none"
    with pytest.raises(FlagError, match="--size has no effect with --fit none"):
        recipe(fit="none")
