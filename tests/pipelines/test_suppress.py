"""The table of suppressions: every kind of the manifest, with the fields that it names."""

from __future__ import annotations

from typing import Any, get_args

import numpy as np
import pytest

from pipelines.diou_nms import diou_nms
from pipelines.nms import batched_nms, best_first
from pipelines.soft_nms import gaussian_decay, linear_decay, soft_nms
from pipelines.specs import DiouNms, SoftGaussianNms, SoftLinearNms, Suppression
from pipelines.suppress import NMS, suppress
from tests.builders import nms
from tests.crowds import crowd

BOXES, SCORES = crowd(200, seed=11)
CLASS_IDS = np.random.default_rng(11).integers(0, 3, 200)
COMMON: dict[str, Any] = {"class_agnostic": False, "candidates": 150}


def test_every_kind_of_the_manifest_that_compares_boxes_has_a_function() -> None:
    union, _ = get_args(Suppression)
    kinds = {get_args(kind.model_fields["kind"].annotation)[0] for kind in get_args(union)}
    assert set(NMS) == kinds - {"mask"}


@pytest.mark.parametrize("class_agnostic", [False, True])
def test_hard_is_batched_nms(class_agnostic: bool) -> None:
    fields = {"iou_threshold": 0.3, "class_agnostic": class_agnostic, "candidates": 150}
    kept, scores = suppress(BOXES, SCORES, CLASS_IDS, nms(**fields), score_threshold=0.5)
    np.testing.assert_array_equal(kept, batched_nms(BOXES, SCORES, CLASS_IDS, **fields))
    np.testing.assert_array_equal(scores, SCORES[kept])


def test_diou_is_diou_nms() -> None:
    spec = DiouNms(kind="diou", iou_threshold=0.3, **COMMON)
    kept, scores = suppress(BOXES, SCORES, CLASS_IDS, spec, score_threshold=0.5)
    np.testing.assert_array_equal(kept, diou_nms(BOXES, SCORES, CLASS_IDS, iou_threshold=0.3, **COMMON))
    np.testing.assert_array_equal(scores, SCORES[kept])


@pytest.mark.parametrize(
    ("spec", "decay"),
    [
        (SoftLinearNms(kind="soft_linear", iou_threshold=0.3, **COMMON), linear_decay(0.3)),
        (SoftGaussianNms(kind="soft_gaussian", sigma=0.4, **COMMON), gaussian_decay(0.4)),
    ],
)
def test_soft_kinds_decay_down_to_the_head_s_threshold(spec: Suppression, decay: Any) -> None:
    kept, scores = suppress(BOXES, SCORES, CLASS_IDS, spec, score_threshold=0.2)
    expected = soft_nms(BOXES, SCORES, CLASS_IDS, decay=decay, score_threshold=0.2, **COMMON)
    np.testing.assert_array_equal(kept, expected[0])
    np.testing.assert_array_equal(scores, expected[1])
    assert scores.min() >= np.float32(0.2)


def test_no_suppression_keeps_all_best_first() -> None:
    kept, scores = suppress(BOXES, SCORES, CLASS_IDS, None, score_threshold=0.0)
    np.testing.assert_array_equal(kept, best_first(SCORES))
    np.testing.assert_array_equal(scores, SCORES[kept])
