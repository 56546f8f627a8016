"""The tiny graphs hold what the tests built on them take for granted."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import onnxruntime as ort
import pytest

from pipelines.types import AnyArray
from tests import graphs
from tests.builders import f32

ALL = {
    "classifier": graphs.classifier_graph,
    "embedder": graphs.embedder_graph,
    "segmenter": graphs.segmenter_graph,
    "heatmap": graphs.heatmap_graph,
    "yolo": graphs.yolo_graph,
    "probability map": graphs.probability_map_graph,
}


def run(model: onnx.ModelProto, batch: AnyArray) -> list[AnyArray]:
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"image": batch})


def pixels(count: int, height: int = 64, width: int = 96) -> AnyArray:
    return np.random.default_rng(0).normal(0, 1, (count, 3, height, width)).astype(np.float32)


@pytest.mark.parametrize("build", ALL.values(), ids=ALL)
def test_a_graph_is_the_same_each_time(build: Callable[[], onnx.ModelProto]) -> None:
    assert build().SerializeToString(deterministic=True) == build().SerializeToString(deterministic=True)


@pytest.mark.parametrize("build", ALL.values(), ids=ALL)
def test_a_row_does_not_depend_on_its_batch_mates(build: Callable[[], onnx.ModelProto]) -> None:
    batch = pixels(3)
    for together, alone in zip(run(build(), batch), run(build(), batch[1:2]), strict=True):
        np.testing.assert_allclose(together[1], alone[0], atol=1e-5)  # float32 sums in another order


def test_a_row_of_the_broken_graph_depends_on_its_batch_mates() -> None:
    batch = pixels(3) * f32([0.5, 1, 2]).reshape(3, 1, 1, 1)
    (together,), (alone,) = (run(graphs.broken_batch_graph(), rows) for rows in (batch, batch[1:2]))
    assert np.abs(together[1] - alone[0]).max() > 0.1


@pytest.mark.parametrize("build", ALL.values(), ids=ALL)
def test_height_and_width_are_dynamic(build: Callable[[], onnx.ModelProto]) -> None:
    for height, width in ((32, 64), (96, 32)):
        assert all(len(value) == 1 for value in run(build(), pixels(1, height, width)))


def test_the_hwc_classifier_answers_like_the_chw_one() -> None:
    batch = pixels(2)
    (chw,) = run(graphs.classifier_graph(), batch)
    (hwc,) = run(graphs.classifier_graph(layout="hwc"), np.ascontiguousarray(batch.transpose(0, 2, 3, 1)))
    np.testing.assert_allclose(chw, hwc, atol=1e-5)  # float32 sums in another order


def test_the_uint8_classifier_normalises_like_imagenet() -> None:
    levels = np.random.default_rng(0).integers(0, 256, (1, 3, 64, 96), dtype=np.uint8)
    mean, std = (np.reshape(v, (3, 1, 1)) for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    (inside,) = run(graphs.classifier_graph(dtype="uint8"), levels)
    (outside,) = run(graphs.classifier_graph(), ((levels / 255 - mean) / std).astype(np.float32))
    np.testing.assert_allclose(inside, outside, atol=1e-4)  # float32 sums and quotients
