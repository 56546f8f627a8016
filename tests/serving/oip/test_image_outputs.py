import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings

from pipelines.errors import InvalidRequestError
from pipelines.present import to_json
from pipelines.types import CascadeResult, Classification, Detections, Embedding, Result, SegmentationMap
from serving.dataplane import Answer, Timings
from serving.oip.image_outputs import BY_TASK, OUTPUTS, check_outputs, image_row, pad, stack_rows
from serving.oip.tensors import NUMPY_DTYPES, Tensor, from_raw, to_raw
from tests.builders import f32
from tests.serving import results

NO_TIME = Timings(0, 0, 0, 0, 0)


def answer(result: Result) -> Answer:
    return Answer("m", 1, (20, 30), result, NO_TIME)


def found(*many: Result, names: tuple[str, ...] = ()) -> dict[str, Tensor]:
    rows = [image_row(answer(result), frozenset(names)) for result in many]
    return {tensor.name: tensor for tensor in stack_rows(rows, names)}


def boxes(count: int, **more: Any) -> Detections:
    corners = f32([[i, i, i + 2, i + 1] for i in range(count)]).reshape(-1, 4)
    return Detections(corners, f32([0.5] * count), np.arange(count), ("a",) * count, **more)


def test_detections_are_padded_to_the_most_in_an_image():
    outputs = found(boxes(1), boxes(3), boxes(0))
    assert outputs["num_detections"].array.tolist() == [1, 3, 0]
    assert outputs["boxes"].array.shape == (3, 3, 4)
    assert outputs["boxes"].array[0, 0].tolist() == [0, 0, 2, 1]
    assert outputs["class_ids"].array.tolist() == [[0, -1, -1], [0, 1, 2], [-1, -1, -1]]
    assert outputs["labels"].array.tolist() == [[b"a", b"", b""], [b"a"] * 3, [b""] * 3]


def test_masks_of_images_of_different_sizes_start_at_their_corner():
    small, large = SegmentationMap(np.ones((2, 3), np.uint8)), SegmentationMap(np.full((4, 2), 2, np.uint8))
    mask = found(small, large)["mask"]
    assert (mask.datatype, mask.array.shape) == ("UINT8", (2, 4, 3))
    assert mask.array[0].tolist() == [[1, 1, 1], [1, 1, 1], [0, 0, 0], [0, 0, 0]]
    assert mask.array[1].tolist() == [[2, 2, 0]] * 4


def test_a_mask_of_many_classes_has_16_bits():
    assert found(SegmentationMap(np.ones((2, 3), np.uint16)))["mask"].datatype == "UINT16"


def test_object_masks_say_where_they_lie():
    masked = boxes(2, masks=(np.ones((1, 2), bool), np.zeros((1, 2), bool)))
    outputs = found(masked)
    assert outputs["mask_windows"].array.tolist() == [[[0, 0, 2, 1], [1, 1, 3, 2]]]
    assert outputs["masks"].array[0, 0].startswith(b"\x89PNG")


def test_polygons_say_how_many_points_they_have():
    outputs = found(boxes(2, polygons=(f32([[1, 2]]), f32([[3, 4], [5, 6]]))))
    assert outputs["polygon_sizes"].array.tolist() == [[1, 2]]
    assert outputs["polygons"].array.tolist() == [[[[1, 2], [0, 0]], [[3, 4], [5, 6]]]]


def test_a_cascade_has_its_objects_beside_its_boxes():
    objects = (Embedding(f32([1, 2])), Embedding(f32([3, 4])))
    outputs = found(CascadeResult(boxes(2), objects, np.zeros((2, 2, 3), np.float32)))
    assert outputs["object_embedding"].array.tolist() == [[[1, 2], [3, 4]]]
    assert outputs["transforms"].array.shape == (1, 2, 2, 3)


def test_a_cascade_without_objects_in_one_image_has_room_for_the_others():
    one = CascadeResult(boxes(1), (Embedding(f32([1, 2])),), np.zeros((1, 2, 3), np.float32))
    none = CascadeResult(boxes(0), (), np.zeros((0, 2, 3), np.float32))
    assert found(none, one)["object_embedding"].array.shape == (2, 1, 2)
    assert found(none, names=("object_embedding",))["object_embedding"].array.size == 0


def test_only_what_is_asked_for_comes_in_the_order_of_asking():
    names = ("scores", "result", "boxes")
    assert tuple(found(boxes(2), names=names)) == names


@settings(max_examples=30)
@given(results.results)
def test_every_output_is_of_its_stated_dtype_and_can_be_written(result: Result):
    every = frozenset(name for names in BY_TASK.values() for name in names)
    for tensor in stack_rows([image_row(answer(result), every)], ()):
        name = tensor.name
        stated = {OUTPUTS[name.removeprefix("object_")][0]} | ({"UINT8"} if name.endswith("mask") else set())
        assert tensor.datatype in stated
        assert tensor.array.dtype == NUMPY_DTYPES[tensor.datatype]
        assert len(tensor.array) == 1
        from_raw(name, tensor.datatype, tensor.array.shape, bytes(to_raw(tensor)))


def test_the_result_is_the_json_of_the_offline_command():
    result = Classification(np.array([2, 0]), f32([0.75, 0.25]))
    assert json.loads(found(result)["result"].array[0]) == to_json(result)


@pytest.mark.parametrize("task", BY_TASK)
def test_a_name_that_no_model_of_the_task_answers_is_refused(task: str):
    check_outputs(task, (*BY_TASK[task], "result", "image_hw"))
    with pytest.raises(InvalidRequestError, match=f"for {task} must be among .*, got 'boxen'"):
        check_outputs(task, ("boxen",))


def test_a_name_that_this_model_does_not_answer_is_refused():
    with pytest.raises(InvalidRequestError, match=r"must be among those of the model \(.*\), got 'keypoints'"):
        found(boxes(1), names=("keypoints",))


def test_padding_makes_not_much_of_little():
    wide, high = np.zeros((1, 2**15), np.uint8), np.zeros((2**15, 1), np.uint8)
    with pytest.raises(InvalidRequestError, match="send fewer images in a request"):
        pad("mask", [wide, high], 0)
