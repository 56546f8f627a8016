"""Segmentation: probabilities, 8-bit alpha, thresholds, and a class for every pixel of the original."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.activations import sigmoid, softmax
from pipelines.errors import InvalidRequestError, ModelOutputError
from pipelines.geometry import place
from pipelines.masks import to_source
from pipelines.options import PredictOptions
from pipelines.specs import Stretch
from pipelines.tasks.segment import SegmentationPipeline, minmax
from pipelines.types import AnyArray, SegmentationMap
from tests import reference
from tests.builders import f32, image_spec, letterbox, manifest, segmentation_head

SAME = Stretch(kind="stretch", size_hw=(4, 6))  # row and original are 4 x 6: nothing is resized


def run(maps: AnyArray, *, options: PredictOptions | None = None, **head: Any) -> SegmentationMap:
    """Postprocess at 4 x 6 pixels, where the row is the original image."""
    pipeline = SegmentationPipeline(manifest(head=segmentation_head(**head), image=image_spec(fit=SAME)))
    return pipeline.postprocess({"mask": maps}, place(SAME, (4, 6)), options or PredictOptions())


def ramp() -> AnyArray:
    """Foreground values ``(1, 4, 6)`` from 0 to 1."""
    return np.linspace(0, 1, 24, dtype=np.float32).reshape(1, 4, 6)


def test_alpha_is_the_probability_in_8_bits_rounded_down() -> None:
    found = run(ramp(), activation="none")
    np.testing.assert_array_equal(found.alpha, np.floor(ramp()[0] * np.float32(255)))


def test_sigmoid_logits_become_probabilities() -> None:
    logits = ramp() * 8 - 4
    np.testing.assert_array_equal(
        run(logits, activation="sigmoid").alpha, np.floor(sigmoid(logits[0]) * np.float32(255))
    )


def test_minmax_stretches_to_the_whole_range() -> None:
    alpha = run(ramp() * 5 + 3).alpha
    assert alpha is not None
    assert (alpha.min(), alpha.max()) == (0, 255)


def test_minmax_of_a_flat_map_is_background() -> None:
    assert not run(np.full((1, 4, 6), 0.7, np.float32)).class_map.any()


@given(st.floats(-1e6, 1e6, width=32), st.floats(0.0625, 1e6, width=32))
def test_minmax_does_not_depend_on_shift_and_scale(shift: float, scale: float) -> None:
    values = f32(np.float32(shift) + np.float32(scale) * f32([0, 1]))
    assert minmax(values).tolist() == ([0, 1] if values[0] < values[1] else [0, 0])


def test_minmax_takes_the_largest_range_of_float32() -> None:
    largest = np.finfo(np.float32).max
    assert minmax(f32([-largest, 0, largest])).tolist() == [0, 0.5, 1]


@given(st.integers(0, 255))
def test_a_pixel_at_the_threshold_is_foreground(level: int) -> None:
    values = np.full((1, 4, 6), level / 255 + 1e-4, np.float32).clip(0, 1)
    found = run(values, activation="none", threshold=level / 255)
    assert found.alpha is not None
    assert (found.alpha == level).all()
    assert found.class_map.all()


@given(st.floats(0, 1))
def test_the_class_map_is_the_alpha_at_or_above_the_threshold(threshold: float) -> None:
    found = run(ramp(), activation="none", threshold=threshold)
    assert found.alpha is not None
    np.testing.assert_array_equal(found.class_map, found.alpha / 255 >= threshold)


def test_a_request_may_move_the_threshold() -> None:
    few = run(ramp(), activation="none", options=PredictOptions(score_threshold=0.9))
    many = run(ramp(), activation="none", options=PredictOptions(score_threshold=0.1))
    assert 0 < few.class_map.sum() < many.class_map.sum()


@given(st.integers(0, 10_000))
def test_softmax_takes_the_most_probable_class_and_of_equals_the_lowest(seed: int) -> None:
    logits = f32(np.random.default_rng(seed).integers(0, 3, (4, 4, 6)))
    found = run(logits, activation="softmax", mask_resample="nearest")
    np.testing.assert_array_equal(found.class_map, reference.argmax_first(softmax(logits, axis=0)))
    assert found.class_map.dtype == np.uint8
    assert found.alpha is None


def test_softmax_resizes_probabilities_before_it_chooses() -> None:
    fit = letterbox(size_hw=(32, 48))
    affine = place(fit, (41, 53))
    logits = f32(np.random.default_rng(0).normal(0, 3, (4, 16, 24)))
    pipeline = SegmentationPipeline(manifest(head=segmentation_head(activation="softmax"), image=image_spec(fit=fit)))
    found = pipeline.postprocess({"mask": logits}, affine, PredictOptions())
    resized = np.stack([to_source(plane, affine, "opencv_linear") for plane in softmax(logits, axis=0)])
    assert found.class_map.shape == (41, 53)
    np.testing.assert_array_equal(found.class_map, resized.argmax(axis=0))


def test_more_than_256_classes_need_16_bits() -> None:
    logits = np.zeros((300, 4, 6), np.float32)
    logits[299, 1, 1] = 9
    pipeline = SegmentationPipeline(
        manifest(head=segmentation_head(activation="softmax"), image=image_spec(fit=SAME), labels=())
    )
    found = pipeline.postprocess({"mask": logits}, place(SAME, (4, 6)), PredictOptions())
    assert found.class_map.dtype == np.uint16
    assert found.class_map[1, 1] == 299


def test_padding_is_cut_off_before_the_mask_grows_back() -> None:
    fit = letterbox(size_hw=(32, 64))  # a 100 x 50 image becomes 32 x 16, with 24 columns of padding on both sides
    maps = np.zeros((1, 32, 64), np.float32)
    maps[:, :, 24:40] = 1
    pipeline = SegmentationPipeline(manifest(head=segmentation_head(activation="none"), image=image_spec(fit=fit)))
    found = pipeline.postprocess({"mask": maps}, place(fit, (100, 50)), PredictOptions())
    assert found.class_map.shape == (100, 50)
    assert found.class_map.all()


def test_labels_are_those_of_all_classes() -> None:
    assert run(ramp()).labels == ("background", "object")


def test_outputs_are_left_alone() -> None:
    maps = ramp()
    run(maps)
    np.testing.assert_array_equal(maps, ramp())


@pytest.mark.parametrize(
    ("maps", "head", "words"),
    [
        pytest.param(np.zeros((2, 4, 6)), {}, r"must have shape \(1, any, any\) a row, got \(2, 4, 6\)", id="two maps"),
        pytest.param(np.zeros((1, 6, 4)), {}, "'mask' does not fit the row: mask must be", id="another aspect"),
        pytest.param(np.full((1, 4, 6), 9.0), {"activation": "none"}, "must hold probabilities", id="logits"),
        pytest.param(np.full((1, 4, 6), np.nan), {}, "'mask' must be finite", id="NaN"),
        pytest.param(
            np.zeros((3, 4, 6)), {"activation": "softmax"}, "names 4 labels, the model has 3 classes", id="classes"
        ),
    ],
)
def test_an_output_of_another_kind_is_refused(maps: AnyArray, head: dict[str, Any], words: str) -> None:
    with pytest.raises(ModelOutputError, match=words):
        run(maps.astype(np.float32), **head)


def test_a_threshold_is_refused_where_each_pixel_takes_its_best_class() -> None:
    with pytest.raises(InvalidRequestError, match="score_threshold does not apply to tiny"):
        run(np.zeros((4, 4, 6), np.float32), activation="softmax", options=PredictOptions(score_threshold=0.5))


@pytest.mark.parametrize("options", [PredictOptions(iou_threshold=0.5), PredictOptions(top_k=3)])
def test_an_option_of_another_task_is_refused(options: PredictOptions) -> None:
    with pytest.raises(InvalidRequestError, match="does not apply to segmentation"):
        run(ramp(), options=options)


# --- classes with thresholds, and logits resized before the activation ---------------------------------------------


SOURCE_HW = (11, 17)
CLASSES = ("background", "sky", "cup", "cat")


def enlarge(maps: AnyArray, labels: tuple[str, ...] = CLASSES, **head: Any) -> SegmentationMap:
    """Postprocess maps of a 4 x 6 row for an original of 11 x 17 pixels."""
    head = {"activation": "softmax", "mask_resample": "opencv_linear"} | head
    made = manifest(head=segmentation_head(**head), image=image_spec(fit=SAME), labels=labels)
    return SegmentationPipeline(made).postprocess({"mask": maps}, place(SAME, SOURCE_HW), PredictOptions())


def logits_of(seed: int, channels: int = 4) -> AnyArray:
    return np.random.default_rng(seed).normal(0, 2, (channels, 4, 6)).astype(np.float32)


def grown(maps: AnyArray) -> AnyArray:
    """Each map at the original size."""
    return np.stack([to_source(each, place(SAME, SOURCE_HW), "opencv_linear") for each in maps])


def chosen(probabilities: AnyArray, thresholds: Any) -> AnyArray:
    """For each pixel the best class above the background that reaches its threshold and beats the background."""
    class_map = np.zeros(probabilities.shape[1:], np.uint8)
    for row, column in np.ndindex(class_map.shape):
        scores = probabilities[:, row, column]
        able = [0, *(c for c in range(1, len(scores)) if scores[c] >= np.float32(thresholds[c - 1]))]
        class_map[row, column] = max(able, key=lambda c: (scores[c], -c))
    return class_map


@given(st.integers(0, 2**32 - 1), st.tuples(*[st.floats(0, 1)] * 3))
def test_a_class_below_its_own_threshold_leaves_the_pixel_to_the_next(seed: int, thresholds: Any) -> None:
    found = enlarge(logits_of(seed), class_thresholds=thresholds)
    np.testing.assert_array_equal(found.class_map, chosen(grown(softmax(logits_of(seed), axis=0)), thresholds))


@given(st.integers(0, 2**32 - 1), st.tuples(*[st.floats(0.01, 1)] * 3))
def test_sigmoid_classes_compete_with_a_background_that_has_no_map(seed: int, thresholds: Any) -> None:
    found = enlarge(logits_of(seed, 3), activation="sigmoid", class_thresholds=thresholds)
    maps = grown(sigmoid(logits_of(seed, 3)))
    np.testing.assert_array_equal(found.class_map, chosen(np.concatenate((0 * maps[:1], maps)), thresholds))


@given(st.integers(0, 2**32 - 1))
def test_resized_logits_give_the_largest_resized_logit(seed: int) -> None:
    found = enlarge(logits_of(seed), resized="logits")
    resized = grown(logits_of(seed))
    best = np.take_along_axis(resized, found.class_map[None].astype(np.int64), axis=0)[0]
    # exp of float32: of two logits closer than its last bits either may win.
    np.testing.assert_allclose(best, resized.max(axis=0), atol=1e-5)


def test_resized_logits_are_probabilities_afterwards() -> None:
    found = enlarge(logits_of(5), resized="logits", class_thresholds=(0.6, 0.6, 0.6))
    np.testing.assert_array_equal(found.class_map, chosen(softmax(grown(logits_of(5)), axis=0), (0.6, 0.6, 0.6)))


def test_sigmoid_of_resized_logits_competes_too() -> None:
    found = enlarge(logits_of(6, 3), activation="sigmoid", resized="logits", class_thresholds=(0.5, 0.6, 0.7))
    maps = sigmoid(grown(logits_of(6, 3)))
    np.testing.assert_array_equal(found.class_map, chosen(np.concatenate((0 * maps[:1], maps)), (0.5, 0.6, 0.7)))


def test_one_foreground_can_be_resized_as_a_logit() -> None:
    logits = logits_of(7, 1)
    found = enlarge(logits, ("background", "object"), activation="sigmoid", resized="logits")
    np.testing.assert_array_equal(found.alpha, np.floor(sigmoid(grown(logits)[0]) * np.float32(255)))


@pytest.mark.parametrize("kernel", ["opencv_linear", "opencv_cubic", "pil_bicubic", "torch_bilinear_antialias"])
@pytest.mark.parametrize(
    ("head", "channels"),
    [
        ({"activation": "softmax"}, 4),
        ({"activation": "sigmoid", "class_thresholds": (0.5, 0.5, 0.5)}, 3),
        ({"activation": "sigmoid"}, 1),
    ],
    ids=["softmax", "sigmoid classes", "sigmoid"],
)
def test_the_largest_logits_can_be_resized(kernel: str, head: dict[str, Any], channels: int) -> None:
    largest = np.finfo(np.float32).max
    logits = np.random.default_rng(8).choice([-largest, largest], (channels, 4, 6)).astype(np.float32)
    labels = CLASSES if channels > 1 else CLASSES[:2]
    found = enlarge(logits, labels, resized="logits", mask_resample=kernel, **head)
    bounded = enlarge(np.sign(logits) * np.float32(2**30), labels, resized="logits", mask_resample=kernel, **head)
    np.testing.assert_array_equal(found.class_map, bounded.class_map)


@given(st.integers(0, 2**32 - 1))
def test_by_nearest_the_finished_labels_are_what_is_resized(seed: int) -> None:
    labels = softmax(logits_of(seed), axis=0).argmax(axis=0).astype(np.uint8)
    for resized in ("probabilities", "logits"):
        found = enlarge(logits_of(seed), resized=resized, mask_resample="nearest")
        np.testing.assert_array_equal(found.class_map, to_source(labels, place(SAME, SOURCE_HW), "nearest"))


@pytest.mark.parametrize(
    ("head", "problem"),
    [
        ({"activation": "minmax", "resized": "logits"}, "resized must be probabilities"),
        ({"activation": "none", "class_thresholds": (0.5,)}, "class_thresholds need activation softmax or sigmoid"),
    ],
    ids=["no logits", "no classes"],
)
def test_what_cannot_act_is_refused(head: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        segmentation_head(**head)


def test_as_many_thresholds_as_classes_are_needed() -> None:
    with pytest.raises(ModelOutputError, match="class_thresholds must be 3, one for each class"):
        enlarge(logits_of(1), class_thresholds=(0.5, 0.5))


def test_where_classes_compete_a_request_has_no_threshold() -> None:
    pipeline = SegmentationPipeline(
        manifest(head=segmentation_head(activation="sigmoid", class_thresholds=(0.5, 0.5)), labels=CLASSES[:3])
    )
    with pytest.raises(InvalidRequestError, match="score_threshold does not apply"):
        pipeline.check(PredictOptions(score_threshold=0.4))
