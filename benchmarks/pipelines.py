"""Pre-processing against bare OpenCV, post-processing against torchvision: a table of time ratios, on one core."""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
import torchvision

# The folder of a script is searched first, and there `pipelines` is this very file.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from pipelines.decoders import yolo_dfl, yolo_grid
from pipelines.nms import batched_nms
from pipelines.preprocess import normalize, preprocess
from pipelines.specs import DflDecoded, ImageSpec, Letterbox, YoloDfl, YoloGrid
from pipelines.statistics import STATISTICS
from pipelines.types import AnyArray, FloatArray

IOU_THRESHOLD = 0.45
EVALUATION_CANDIDATES = 3000
REPEATS = 41


@dataclass(frozen=True)
class Row:
    """One line of the table: ``ours`` may take at most ``goal`` times as long as ``floor``.

    Both return how many boxes they found, which must be equal; 0 where they write rows instead.
    """

    name: str
    ours: Callable[[], int]
    floor: Callable[[], int]
    goal: float


def measure(row: Row) -> tuple[float, float]:
    """Median milliseconds of ``ours`` and ``floor``, run in turns so that a busy machine slows both."""
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(REPEATS):
        for run, taken in zip((row.ours, row.floor), times, strict=True):
            start = time.perf_counter()
            run()
            taken.append((time.perf_counter() - start) * 1000)
    return statistics.median(times[0]), statistics.median(times[1])


# --- heads that look like a detector's: a few objects seen by many cells, and a long tail of low scores --------------


def detector_head(*, objects: int, tail: float, seed: int) -> FloatArray:
    """A decoded ``(84, 8400)`` head at 640 pixels: each of ``objects`` is seen by about 20 cells above 0.25.

    ``tail``: share of the other class scores that are 0.001 or more.
    """
    random = np.random.default_rng(seed)
    head = np.empty((84, 8400), np.float32)
    head[:2] = random.uniform(0, 640, (2, 8400))
    head[2:4] = random.lognormal(4, 0.7, (2, 8400))
    # Log-normal background scores around 1e-5; the spread puts `tail` of them at 0.001 or more.
    spread = np.log(0.001 / 1e-5) / statistics.NormalDist().inv_cdf(1 - tail)
    head[4:] = np.minimum(np.exp(random.normal(np.log(1e-5), spread, (80, 8400))), 0.2)
    columns = random.permutation(8400)[: objects * 20].reshape(objects, 20)
    for at in columns:
        head[:4, at] = head[:4, at[:1]] * random.normal(1, 0.05, (4, 20))
        head[4 + random.integers(80), at] = random.uniform(0.25, 0.95, 20)
    return head


def dfl_spec(*, multi_label: bool) -> YoloDfl:
    """Columns as Ultralytics exports them."""
    layout = DflDecoded(form="decoded", output="output0", box_format="cxcywh")
    return YoloDfl(kind="yolo_dfl", layout=layout, extra=None, multi_label=multi_label)


def dfl_row(name: str, head: FloatArray, *, score_threshold: float, multi_label: bool, goal: float) -> Row:
    """Decode and suppress ``head`` with us and with torchvision."""
    spec, tensor = dfl_spec(multi_label=multi_label), torch.from_numpy(head)

    def ours() -> int:
        found = yolo_dfl.decode({"output0": head}, spec, row_hw=(640, 640), score_threshold=score_threshold)
        kept = batched_nms(
            found.boxes,
            found.scores,
            found.class_ids,
            iou_threshold=IOU_THRESHOLD,
            class_agnostic=False,
            candidates=EVALUATION_CANDIDATES,
        )
        return len(kept)

    def floor() -> int:
        if multi_label:
            class_ids, columns = torch.where(tensor[4:] >= score_threshold)
            scores = tensor[4:][class_ids, columns]
            if len(scores) > EVALUATION_CANDIDATES:
                scores, best = scores.topk(EVALUATION_CANDIDATES)
                class_ids, columns = class_ids[best], columns[best]
        else:
            scores, class_ids = tensor[4:].max(dim=0)
            columns = torch.where(scores >= score_threshold)[0]
            scores, class_ids = scores[columns], class_ids[columns]
        boxes = torchvision.ops.box_convert(tensor[:4, columns].T, "cxcywh", "xyxy")
        return len(torchvision.ops.batched_nms(boxes, scores, class_ids, IOU_THRESHOLD))

    return Row(name, ours, floor, goal)


def grid_row() -> Row:
    """YOLOv2 at 608 pixels: 200 of the 1,805 anchors of a ``(19, 19, 5, 85)`` grid hold an object."""
    random = np.random.default_rng(2)
    grid = random.normal(0, 0.5, (19, 19, 5, 85)).astype(np.float32)
    grid[..., 4] = -8
    flat = grid.reshape(-1, 85)
    hot = random.permutation(len(flat))[:200]
    flat[hot, 4] = random.uniform(1, 6, 200)
    flat[hot, 5 + random.integers(0, 80, 200)] = 12
    anchors = ((0.57273, 0.677385), (1.87446, 2.06253), (3.33843, 5.47434), (7.88282, 3.52778), (9.77052, 9.16828))
    spec = YoloGrid(
        kind="yolo_grid",
        outputs=("grid",),
        strides=(32,),
        anchors=(anchors,),
        anchor_unit="cell",
        channel_order="hwc",
        class_activation="softmax",
        objectness="sigmoid",
    )
    tensor, sizes = torch.from_numpy(grid), torch.tensor(anchors) * 32

    def ours() -> int:
        found = yolo_grid.decode({"grid": grid}, spec, row_hw=(608, 608), score_threshold=0.25)
        kept = batched_nms(
            found.boxes,
            found.scores,
            found.class_ids,
            iou_threshold=IOU_THRESHOLD,
            class_agnostic=False,
            candidates=EVALUATION_CANDIDATES,
        )
        return len(kept)

    def floor() -> int:
        objectness = tensor[..., 4].sigmoid()
        y, x, anchor = torch.where(objectness >= 0.25)
        found = tensor[y, x, anchor]
        scores, class_ids = found[:, 5:].softmax(dim=1).max(dim=1)
        scores = scores * objectness[y, x, anchor]
        kept = scores >= 0.25
        found, scores, class_ids = found[kept], scores[kept], class_ids[kept]
        centers = (torch.stack((x, y), dim=1)[kept] + found[:, :2].sigmoid()) * 32
        halves = sizes[anchor[kept]] * found[:, 2:4].exp() / 2
        boxes = torch.cat((centers - halves, centers + halves), dim=1)
        return len(torchvision.ops.batched_nms(boxes, scores, class_ids, IOU_THRESHOLD))

    return Row("19x19x5x85 decode + NMS, 200 candidates", ours, floor, 1.5)


# --- a frame into a slot of a batch -----------------------------------------------------------------------------------

FRAME_HW, ROW_HW, SHOWN_HW, TOP = (720, 1280), (640, 640), (360, 640), 140


def frame() -> AnyArray:
    """Smooth noise: what a camera sees costs the same."""
    levels = np.random.default_rng(3).integers(0, 256, (*FRAME_HW, 3), np.uint8)
    return cv2.GaussianBlur(levels, (7, 7), 0)


def frame_spec(**fields: Any) -> ImageSpec:
    """A detector's letterbox, padded with 114."""
    statistics_of = STATISTICS["imagenet"]
    fit = Letterbox(
        kind="letterbox",
        size_hw=ROW_HW,
        size_rounding="nearest",
        pad_value=114,
        pad_position="center",
        pad_rounding="floor",
        scale_up=True,
    )
    return ImageSpec(
        fit=fit,
        resample="opencv_linear",
        color="rgb",
        exif="apply",
        alpha="white",
        scale=statistics_of.scale,
        mean=statistics_of.mean,
        std=statistics_of.std,
        **fields,
    )


def float_row() -> Row:
    """Planes of float32; the floor is one resize, one split and a table look-up a plane, all into memory at hand."""
    spec = frame_spec(layout="chw", dtype="float32", in_graph=())
    image, batch = frame(), np.empty((2, 2, 3, *ROW_HW), np.float32)
    small, planes = np.empty((*SHOWN_HW, 3), np.uint8), [np.empty(SHOWN_HW, np.uint8) for _ in range(3)]
    levels = normalize(np.arange(256, dtype=np.uint8).repeat(3).reshape(1, 256, 3), spec)[:, 0]
    window = slice(TOP, TOP + SHOWN_HW[0])
    slot = batch[1, 1]

    def ours() -> int:
        preprocess(image, spec, batch[0, 1])
        return 0

    def floor() -> int:
        cv2.resize(image, SHOWN_HW[::-1], dst=small, interpolation=cv2.INTER_LINEAR)
        cv2.split(small, planes)
        for plane, table, values in zip(planes, levels, slot, strict=True):
            values[:TOP] = table[114]
            values[window.stop :] = table[114]
            cv2.LUT(plane, table, dst=values[window])
        return 0

    return same_rows(Row("1280x720 -> 640 letterbox, normalised, into a batch", ours, floor, 1.15), batch)


def byte_row() -> Row:
    """Pixels of uint8 for a graph that normalises itself; the floor is one resize into the slot."""
    spec = frame_spec(layout="hwc", dtype="uint8", in_graph=("normalize",))
    image, batch = frame(), np.empty((2, 2, *ROW_HW, 3), np.uint8)
    slot = batch[1, 1]

    def ours() -> int:
        preprocess(image, spec, batch[0, 1])
        return 0

    def floor() -> int:
        slot[:TOP] = 114
        slot[TOP + SHOWN_HW[0] :] = 114
        cv2.resize(image, SHOWN_HW[::-1], dst=slot[TOP : TOP + SHOWN_HW[0]], interpolation=cv2.INTER_LINEAR)
        return 0

    return same_rows(Row("1280x720 -> 640 letterbox, uint8, into a batch", ours, floor, 1.10), batch)


def same_rows(row: Row, batch: AnyArray) -> Row:
    """Pass the row on where both sides write the same values; they are not looked at while the clock runs."""
    row.ours(), row.floor()
    if not np.array_equal(batch[0, 1], batch[1, 1]):
        raise SystemExit(f"{row.name}: the two sides write different rows")
    return row


ROWS = [
    float_row(),
    byte_row(),
    dfl_row(
        "YOLO head 84x8400 -> boxes at 0.25",
        detector_head(objects=15, tail=0.002, seed=0),
        score_threshold=0.25,
        multi_label=False,
        goal=1.0,
    ),
    dfl_row(
        "the same at 0.001, multi-label, top 3,000",
        detector_head(objects=15, tail=0.02, seed=1),
        score_threshold=0.001,
        multi_label=True,
        goal=1.5,
    ),
    grid_row(),
]


def main() -> None:
    """Check that both sides agree, measure every row, print the table."""
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    print(f"{'one core, median of ' + str(REPEATS):<52}{'ours ms':>9}{'floor ms':>10}{'ratio':>7}{'goal':>6}")
    for row in ROWS:
        ours, floor = row.ours(), row.floor()
        if ours != floor:
            raise SystemExit(f"{row.name}: {ours} boxes against {floor}")
        taken, least = measure(row)
        print(f"{row.name:<52}{taken:>9.2f}{least:>10.2f}{taken / least:>7.2f}{row.goal:>6.2f}")


if __name__ == "__main__":
    main()
