"""Puts decoding of anchors and suppression into the graph, for runtimes that have no pipeline of ours around it."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from export.passes.result import PassResult
from pipelines.anchors import make_anchors
from pipelines.specs import BoxDelta, DetectionHead, EndToEnd, Nms

OUTPUT = "detections"
_COLUMNS = 6
# A padded row: its score is below every threshold, so that nothing of it is read.
_PADDING = -1.0


def nms_in_graph(model: onnx.ModelProto, head: DetectionHead, *, row_hw: tuple[int, int]) -> PassResult:
    """Replace the outputs of an anchor head by ``(N, max_detections, 6)``: x1, y1, x2, y2, score, class; one rewrite.

    Decoding is that of ``pipelines.decoders.box_delta``, with the anchors ``a`` of ``row_hw`` as constants::

        centre = a.centre + d[:2] / w[:2] * a.side       side = a.side * exp(min(d[2:] / w[2:], limit))

    ONNX's ``NonMaxSuppression`` answers ``(K, 3)`` triples of row, class and box over the whole batch. A box's place
    among those of its row, ``p``, is how many better ones the row has (of equal ones the earlier, as on the host):
    ``p[i] = sum_j [row_j = row_i and (score_j > score_i or (score_j = score_i and j < i))]``; those with ``p`` below
    ``max_detections`` are scattered to ``[row, p]``, so that the batch stays free. What is left is ``-1``.

    Refuses other decoders than ``box_delta`` with anchors of its own, boxes by class, other suppression than ``hard``
    by class, and graphs whose height and width are free: the anchors are those of one size.
    """
    decoder, nms = head.decoder, head.nms
    if not isinstance(decoder, BoxDelta) or decoder.anchors is None or decoder.deltas_per != "anchor":
        return PassResult(model, 0, f"it decodes box_delta with one box an anchor, the head has {decoder.kind}")
    if not isinstance(nms, Nms) or nms.class_agnostic:
        return PassResult(model, 0, "suppression in a graph is hard and class by class")
    if decoder.min_side:
        return PassResult(model, 0, f"min_side must be 0, it is {decoder.min_side}")
    sides = [dim for dim in model.graph.input[0].type.tensor_type.shape.dim if dim.dim_param]
    if len(sides) > 1:
        return PassResult(model, 0, "height and width must be fixed: the anchors are those of one size")
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    build = _Builder(copy.graph)
    boxes = _boxes(build, decoder, row_hw)
    scores = _scores(build, decoder)
    _select(build, boxes, scores, head, nms)
    del copy.graph.output[:]
    batch = model.graph.input[0].type.tensor_type.shape.dim[0]
    size = batch.dim_param or batch.dim_value
    copy.graph.output.append(
        helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, [size, head.max_detections, _COLUMNS])
    )
    return PassResult(copy, 1)


def suppressing_head(head: DetectionHead, *, num_classes: int) -> DetectionHead:
    """The head of the graph that :func:`nms_in_graph` makes: its rows need neither decoding nor suppression."""
    decoder = EndToEnd(kind="end_to_end", output=OUTPUT, unit="pixel", num_classes=num_classes)
    return head.model_copy(update={"decoder": decoder, "nms": None})


class _Builder:
    """Appends nodes and constants with names of their own."""

    def __init__(self, graph: onnx.GraphProto) -> None:
        self._graph = graph
        self._count = 0

    def constant(self, values: Any, dtype: type) -> str:
        name = self._name("constant")
        self._graph.initializer.append(numpy_helper.from_array(np.asarray(values, dtype), name))
        return name

    def add(self, kind: str, *inputs: str, output: str | None = None, **attributes: Any) -> str:
        name = output or self._name(kind.lower())
        self._graph.node.append(helper.make_node(kind, list(inputs), [name], name=f"nms_{name}", **attributes))
        return name

    def columns(self, values: str, start: int, stop: int, *, axis: int) -> str:
        ends = [self.constant([one], np.int64) for one in (start, stop, axis)]
        return self.add("Slice", values, *ends)

    def _name(self, stem: str) -> str:
        self._count += 1
        return f"nms/{stem}_{self._count}"


def _boxes(build: _Builder, decoder: BoxDelta, row_hw: tuple[int, int]) -> str:
    """``(N, A, 4)`` corners in row pixels."""
    assert decoder.anchors is not None
    anchors = make_anchors(decoder.anchors, row_hw)
    corners = anchors.at(np.arange(len(anchors)))
    sides = corners[:, 2:] - corners[:, :2]
    weights = np.array(decoder.weights)
    centre = build.constant((corners[:, :2] + corners[:, 2:]) / 2, np.float32)
    moved = build.columns(decoder.deltas, 0, 2, axis=2)
    moved = build.add("Add", build.add("Mul", moved, build.constant(sides / weights[:2], np.float32)), centre)
    grown = build.add("Div", build.columns(decoder.deltas, 2, 4, axis=2), build.constant(weights[2:], np.float32))
    if decoder.max_log_scale is not None:
        grown = build.add("Min", grown, build.constant(decoder.max_log_scale, np.float32))
    half = build.add("Mul", build.add("Exp", grown), build.constant(sides / 2, np.float32))
    found = build.add("Concat", build.add("Sub", moved, half), build.add("Add", moved, half), axis=2)
    if not decoder.clip_to_row:
        return found
    limit = build.constant([row_hw[1], row_hw[0], row_hw[1], row_hw[0]], np.float32)
    return build.add("Min", build.add("Max", found, build.constant(0, np.float32)), limit)


def _scores(build: _Builder, decoder: BoxDelta) -> str:
    """``(N, C, A)`` probabilities of the classes, without the background."""
    values = decoder.classes
    if decoder.class_activation == "softmax":
        values = build.add("Softmax", values, axis=2)
    elif decoder.class_activation == "sigmoid":
        values = build.add("Sigmoid", values)
    if decoder.background == "first":
        values = build.columns(values, 1, np.iinfo(np.int64).max, axis=2)
    elif decoder.background == "last":
        values = build.columns(values, 0, -1, axis=2)
    return build.add("Transpose", values, perm=[0, 2, 1])


def _select(build: _Builder, boxes: str, scores: str, head: DetectionHead, nms: Nms) -> None:
    """Suppress, rank each row's boxes, and scatter them into ``OUTPUT``."""
    # The operator keeps scores above its threshold, the pipeline those at it, too.
    threshold = np.nextafter(np.float32(head.score_threshold), np.float32(-1))
    triples = build.add(
        "NonMaxSuppression",
        boxes,
        scores,
        build.constant(nms.candidates, np.int64),
        build.constant(nms.iou_threshold, np.float32),
        build.constant(threshold, np.float32),
    )
    rows, classes, places = (build.columns(triples, i, i + 1, axis=1) for i in range(3))
    score = build.add("GatherND", scores, triples)  # (K,)
    corner = build.add("GatherND", boxes, build.add("Concat", rows, places, axis=1))  # (K, 4)
    rank = _rank(build, rows, score)
    one = build.constant([1], np.int64)
    line = build.add(
        "Concat",
        corner,
        build.add("Unsqueeze", score, one),
        build.add("Cast", classes, to=TensorProto.FLOAT),
        axis=1,
    )
    most = build.constant(head.max_detections, np.int64)
    kept = build.add("Less", rank, most)
    where = build.add("Compress", build.add("Concat", rows, build.add("Unsqueeze", rank, one), axis=1), kept, axis=0)
    values = build.add("Compress", line, kept, axis=0)
    batch = build.add("Shape", boxes, start=0, end=1)
    shape = build.add("Concat", batch, build.constant([head.max_detections, _COLUMNS], np.int64), axis=0)
    empty = build.add("Expand", build.constant(_PADDING, np.float32), shape)
    build.add("ScatterND", empty, where, values, output=OUTPUT)


def _rank(build: _Builder, rows: str, score: str) -> str:
    """``(K,)`` how many better boxes each box's row has."""
    first, second = build.constant([0], np.int64), build.constant([1], np.int64)
    across, down = build.add("Unsqueeze", score, first), build.add("Unsqueeze", score, second)  # (1, K), (K, 1)
    same = build.add("Equal", rows, build.add("Transpose", rows, perm=[1, 0]))  # (K, K)
    count = build.add("Squeeze", build.add("Shape", score), first)
    index = build.add("Range", build.constant(0, np.int64), count, build.constant(1, np.int64))
    earlier = build.add("Less", build.add("Unsqueeze", index, first), build.add("Unsqueeze", index, second))
    tied = build.add("And", build.add("Equal", across, down), earlier)
    better = build.add("And", same, build.add("Or", build.add("Greater", across, down), tied))
    return build.add("ReduceSum", build.add("Cast", better, to=TensorProto.INT64), second, keepdims=0)
