import numpy as np
import onnx
import pytest

from export.foreign.whole_detector import JOINED, Parts, find_parts
from export.graph import inspect_graph
from export.passes.join_outputs import join_outputs
from tests.export.models import parse, pixels, run

PARTS = Parts("boxes", "scores", "labels")


def unbatched(*, opset: int = 17) -> onnx.ModelProto:
    """As torchvision's detectors answer: no batch axis anywhere."""
    return parse(
        """m (float[3,2,4] image) => (float[2,4] boxes, int64[2] labels, float[2] scores)
        <int64[2] ids = {1, 7}> {
          boxes = ReduceMean<axes=[0], keepdims=0>(image)
          tops = Relu(boxes)
          mean = ReduceMean<axes=[1], keepdims=0>(tops)
          scores = Sigmoid(mean)
          labels = Identity(ids)
        }""",
        opset=opset,
    )


def batched() -> onnx.ModelProto:
    return parse(
        """m (float[N,3,2,4] image) => (float[N,2,4] boxes, int64[N,2] labels, float[N,2] scores) {
          boxes = ReduceMean<axes=[1], keepdims=0>(image)
          mean = ReduceMean<axes=[2], keepdims=0>(boxes)
          scores = Sigmoid(mean)
          labels = Cast<to=7>(scores)
        }"""
    )


@pytest.mark.parametrize("opset", [11, 17])
def test_parts_without_a_batch_get_one_of_1_and_so_does_the_input(opset: int) -> None:
    model, image = unbatched(opset=opset), pixels(3, 2, 4)
    result = join_outputs(model, PARTS)
    assert (result.refusal, result.count) == (None, 2)
    onnx.checker.check_model(result.model, full_check=True)
    boxes, labels, scores = run(model, image)
    (joined,) = run(result.model, image[None])
    assert joined.shape == (1, 2, 6)
    np.testing.assert_array_equal(joined[0], np.column_stack((boxes, scores, labels)).astype(np.float32))


def test_parts_with_a_batch_keep_it() -> None:
    image = pixels(5, 3, 2, 4)
    result = join_outputs(batched(), PARTS)
    assert result.count == 1
    boxes, labels, scores = run(batched(), image)
    (joined,) = run(result.model, image)
    expected = np.concatenate((boxes, scores[..., None], labels[..., None]), axis=2)
    np.testing.assert_array_equal(joined, expected.astype(np.float32))


def test_the_joined_output_is_the_only_one() -> None:
    _, outputs = inspect_graph(join_outputs(unbatched(), PARTS).model)
    assert [(one.name, one.shape) for one in outputs] == [(JOINED, (1, "objects", 6))]


def test_a_missing_part_is_a_refusal() -> None:
    assert "no output 'masks'" in str(join_outputs(unbatched(), Parts("boxes", "scores", "masks")).refusal)


def test_parts_of_unequal_axes_are_a_refusal() -> None:
    assert "one axis more" in str(join_outputs(unbatched(), Parts("scores", "boxes", "labels")).refusal)


def test_the_model_that_went_in_is_not_changed() -> None:
    model = unbatched()
    before = model.SerializeToString(deterministic=True)
    join_outputs(model, PARTS)
    assert model.SerializeToString(deterministic=True) == before


@pytest.mark.parametrize("build", [unbatched, batched])
def test_parts_are_found_by_their_types(build: object) -> None:
    assert find_parts(inspect_graph(build())[1]) == PARTS  # type: ignore[operator]
