"""The grid's loss: its boxes are those that the pipelines decode, and it falls to nothing where they are right."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from export.training.losses import Grid, GridTargets, grid_loss
from export.training.losses.grid import predicted_boxes
from pipelines.decoders.yolo_grid import decode
from tests.builders import yolo_grid

ANCHORS = torch.tensor([[24.0, 30.0], [52.0, 40.0], [90.0, 80.0]])
STRIDE, CLASSES = 8, 2


def targets(boxes: list[list[float]], *, rows: list[int] | None = None) -> GridTargets:
    count = len(boxes)
    return GridTargets(
        torch.tensor(rows or [0] * count, dtype=torch.int64),
        torch.tensor(boxes).reshape(-1, 4),
        torch.zeros(count, dtype=torch.int64),
    )


def loss(raw: torch.Tensor, wanted: GridTargets, **over: float) -> dict[str, torch.Tensor]:
    return grid_loss([raw], wanted, Grid(**over), strides=[STRIDE], anchors=[ANCHORS])


def perfect(box: list[float], *, hw: tuple[int, int] = (8, 12)) -> torch.Tensor:
    """A map that is sure of one box of class 0, at the anchor whose shape is nearest, and of nothing else."""
    raw = torch.full((1, 3, 5 + CLASSES, *hw), 0.0)
    raw[:, :, 4] = -30
    cx, cy, w, h = (box[0] + box[2]) / 16, (box[1] + box[3]) / 16, box[2] - box[0], box[3] - box[1]
    x, y = int(cx), int(cy)
    for anchor, (aw, ah) in enumerate(ANCHORS.tolist()):
        if max(w / aw, aw / w, h / ah, ah / h) <= 3:
            centre = torch.logit(torch.tensor([cx - x, cy - y]), eps=1e-6)
            side = torch.tensor([w / aw, h / ah]).log()
            raw[0, anchor, :, y, x] = torch.tensor([*centre, *side, 30, 30, -30])
    return raw.flatten(1, 2)


def test_boxes_are_those_that_the_pipeline_decodes() -> None:
    raw = torch.randn(1, 3 * 7, 4, 6)
    grid = raw.view(1, 3, 7, 4, 6).movedim(2, -1)
    ours = predicted_boxes(grid, ANCHORS, STRIDE)[0].movedim(0, 2).reshape(-1, 4)
    found = decode({"grid": raw[0].numpy()}, yolo_grid(), row_hw=(32, 48), score_threshold=0.0)
    np.testing.assert_allclose(found.boxes, ours, rtol=1e-4, atol=1e-3)  # float32 beside float64


def test_a_perfect_prediction_costs_nothing() -> None:
    box = [20.5, 11.0, 50.0, 44.0]
    assert float(loss(perfect(box), targets([box]))["loss"]) == pytest.approx(0, abs=1e-4)


@pytest.mark.parametrize("part", ["box", "objectness", "class"])
def test_each_part_sees_its_own_mistake(part: str) -> None:
    box = [20.5, 11.0, 50.0, 44.0]
    raw = perfect(box).view(1, 3, 7, 8, 12)
    channel, value = {"box": (0, 4.0), "objectness": (4, -4.0), "class": (5, -4.0)}[part]
    raw[:, :, channel, 3, 4] = value
    parts = loss(raw.flatten(1, 2), targets([box]))
    assert float(parts[part]) > 0.1
    assert all(float(parts[name]) < 1e-3 for name in ("box", "objectness", "class") if name != part)


def test_an_object_of_no_anchors_shape_goes_to_the_nearest() -> None:
    raw = torch.zeros(1, 21, 8, 12)
    assert float(loss(raw, targets([[10.0, 10.0, 12.0, 13.0]]))["box"]) > 0


def test_of_two_objects_at_one_place_the_smaller_stays() -> None:
    small, large = [20.0, 12.0, 48.0, 44.0], [19.5, 11.5, 48.5, 44.5]  # of one cell, and of the same two anchors.
    raw = perfect(small)
    alone = loss(raw, targets([small]))["box"]
    for both in ([small, large], [large, small]):
        assert float(loss(raw, targets(both))["box"]) == pytest.approx(float(alone), abs=1e-4)


def test_an_anchor_that_nearly_sees_the_object_is_not_told_that_it_is_wrong() -> None:
    box = [20.5, 11.0, 50.0, 44.0]
    raw = perfect(box).view(1, 3, 7, 8, 12)
    raw[0, 0, :, 3, 5] = raw[0, 0, :, 3, 4]  # the same box, seen from the cell beside.
    raw[0, 0, 0, 3, 5] = -6.0
    beside = raw.flatten(1, 2)
    assert float(loss(beside, targets([box]), ignore_iou=0.6)["objectness"]) == pytest.approx(0, abs=1e-3)
    assert float(loss(beside, targets([box]), ignore_iou=1.0)["objectness"]) > 1


def test_rows_without_objects_only_teach_that_there_is_none() -> None:
    raw = torch.zeros(2, 21, 8, 12, requires_grad=True)
    parts = loss(raw, targets([]))
    parts["loss"].backward()
    assert float(parts["box"]) == float(parts["class"]) == 0
    assert float(parts["objectness"].detach()) > 0
    assert raw.grad is not None


def test_objects_teach_their_own_row_alone() -> None:
    box = [20.5, 11.0, 50.0, 44.0]
    raw = torch.zeros(2, 21, 8, 12, requires_grad=True)
    loss(raw, targets([box], rows=[1]))["box"].backward()
    assert raw.grad is not None
    assert not raw.grad[0].any()
    assert raw.grad[1].any()
