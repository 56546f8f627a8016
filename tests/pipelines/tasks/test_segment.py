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
