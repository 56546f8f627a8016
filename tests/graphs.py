"""Tiny ONNX graphs with fixed random weights; batch, height and width are dynamic, the input is ``image``.

Each reacts to the order of the channels, to their normalisation and to the layout, since every channel has weights of
its own. They are made for pixels normalised to about -2..2 (``image_spec()`` of the builders).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from onnx import NodeProto, TensorProto, helper, numpy_helper

from tests.builders import IMAGENET_MEAN, IMAGENET_STD, NUM_CLASSES

OPSET = 18
IR_VERSION = 10
_ELEMENT = {"float32": TensorProto.FLOAT, "float16": TensorProto.FLOAT16, "uint8": TensorProto.UINT8}
_CELLS = ("map_height", "map_width")


class GraphBuilder:
    """Nodes and weights of one graph under construction; every method returns the name of what it adds."""

    def __init__(self, seed: int, *, layout: str = "chw", dtype: str = "float32") -> None:
        self._random = np.random.default_rng(seed)
        self._nodes: list[NodeProto] = []
        self._weights: list[TensorProto] = []
        shape = ("batch", 3, "height", "width") if layout == "chw" else ("batch", "height", "width", 3)
        self._input = helper.make_tensor_value_info("image", _ELEMENT[dtype], shape)
        pixels = "image"
        if layout == "hwc":
            pixels = self.add("Transpose", pixels, perm=[0, 3, 1, 2])
        if dtype != "float32":
            pixels = self.add("Cast", pixels, to=TensorProto.FLOAT)
        if dtype == "uint8":
            scaled = self.add("Div", pixels, self.constant(np.float32(255)))
            centered = self.add("Sub", scaled, self.constant(np.reshape(IMAGENET_MEAN, (3, 1, 1))))
            pixels = self.add("Div", centered, self.constant(np.reshape(IMAGENET_STD, (3, 1, 1))))
        self.pixels = pixels

    def constant(self, value: np.ndarray | np.generic, dtype: type = np.float32) -> str:
        name = f"weight_{len(self._weights)}"
        self._weights.append(numpy_helper.from_array(np.asarray(value, dtype), name))
        return name

    def add(self, operator: str, *inputs: str, output: str | None = None, **attributes: Any) -> str:
        name = output or f"value_{len(self._nodes)}"
        self._nodes.append(helper.make_node(operator, list(inputs), [name], **attributes))
        return name

    def convolve(
        self, value: str, channels: tuple[int, int], *, kernel: int = 1, stride: int = 1, gain: float = 1.0
    ) -> str:
        """Add a convolution that keeps ``size / stride``, its outputs about ``gain`` times as spread as its inputs."""
        spread = gain / np.sqrt(channels[0] * kernel * kernel)
        weights = self._random.normal(0, spread, (channels[1], channels[0], kernel, kernel))
        pad = (kernel - stride + 1) // 2
        return self.add(
            "Conv",
            value,
            self.constant(weights),
            kernel_shape=[kernel, kernel],
            strides=[stride, stride],
            pads=[pad] * 4,
        )

    def affine(self, value: str, scale: float, shift: float, output: str | None = None) -> str:
        """Add ``value * scale + shift``."""
        scaled = self.add("Mul", value, self.constant(np.float32(scale)))
        return self.add("Add", scaled, self.constant(np.float32(shift)), output=output)

    def vector(self, value: str, channels: tuple[int, int], *, gain: float, output: str | None = None) -> str:
        """Add the mean over all pixels and a linear layer."""
        pooled = self.add("Flatten", self.add("GlobalAveragePool", value))
        weights = self._random.normal(0, gain / np.sqrt(channels[0]), channels)
        return self.add("MatMul", pooled, self.constant(weights), output=output)

    def finish(self, outputs: Sequence[tuple[str, Sequence[int | str]]]) -> onnx.ModelProto:
        infos = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ("batch", *shape)) for name, shape in outputs]
        graph = helper.make_graph(self._nodes, "tiny", [self._input], infos, initializer=self._weights)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
        onnx.checker.check_model(model, full_check=True)
        return model


def classifier_graph(*, seed: int = 1, layout: str = "chw", dtype: str = "float32") -> onnx.ModelProto:
    """``logits (10,)``."""
    graph = GraphBuilder(seed, layout=layout, dtype=dtype)
    _classify(graph, output="logits")
    return graph.finish([("logits", (NUM_CLASSES,))])


def broken_batch_graph(*, seed: int = 1) -> onnx.ModelProto:
    """The classifier with the mean over the batch taken away: each answer depends on its batch mates."""
    graph = GraphBuilder(seed)
    logits = _classify(graph)
    mean = graph.add("ReduceMean", logits, graph.constant(np.array([0]), np.int64), keepdims=1)
    graph.add("Sub", logits, graph.affine(mean, 0.5, 0), output="logits")
    return graph.finish([("logits", (NUM_CLASSES,))])


def _classify(graph: GraphBuilder, output: str | None = None) -> str:
    features = graph.add("Relu", graph.convolve(graph.pixels, (3, 16), kernel=4, stride=4, gain=1.5))
    features = graph.add("Relu", graph.convolve(features, (16, 16), kernel=3, gain=1.5))
    return graph.vector(features, (16, NUM_CLASSES), gain=3, output=output)


def embedder_graph(*, seed: int = 2, dim: int = 16) -> onnx.ModelProto:
    """``embedding (dim,)``, not of length 1."""
    graph = GraphBuilder(seed)
    features = graph.add("Tanh", graph.convolve(graph.pixels, (3, 16), kernel=4, stride=4, gain=1.5))
    # Its zero padding makes the answer depend on where in the row the image lies.
    features = graph.add("Tanh", graph.convolve(features, (16, 16), kernel=3, gain=1.5))
    graph.vector(features, (16, dim), gain=3, output="embedding")
    return graph.finish([("embedding", (dim,))])


def segmenter_graph(*, seed: int = 3, num_classes: int = 1) -> onnx.ModelProto:
    """``mask (num_classes, height / 2, width / 2)``: logits in smooth regions."""
    graph = GraphBuilder(seed)
    features = graph.add("Tanh", graph.convolve(graph.pixels, (3, 8), kernel=8, stride=2))
    features = graph.add("AveragePool", features, kernel_shape=[7, 7], strides=[1, 1], pads=[3] * 4)
    graph.add("Identity", graph.convolve(features, (8, num_classes), gain=6), output="mask")
    return graph.finish([("mask", (num_classes, *_CELLS))])


def heatmap_graph(*, seed: int = 4) -> onnx.ModelProto:
    """``heatmap (1,)``, ``size (2,)`` (log), ``offset (2,)``, ``landmarks (10,)`` at stride 4.

    A photo gives hundreds of overlapping candidates with scores from 0.5 to 1.
    """
    graph = GraphBuilder(seed)
    features = graph.add("Tanh", graph.convolve(graph.pixels, (3, 8), kernel=4, stride=4, gain=1.5))
    logits = graph.convolve(features, (8, 1), kernel=3, gain=2)
    graph.add("Sigmoid", graph.affine(logits, 1, -0.5), output="heatmap")
    for name, channels, scale, shift in (("size", 2, 0.3, 1.8), ("offset", 2, 0.4, 0.0), ("landmarks", 10, 0.3, 0.5)):
        graph.affine(graph.add("Tanh", graph.convolve(features, (8, channels), kernel=3)), scale, shift, output=name)
    return graph.finish(
        [("heatmap", (1, *_CELLS)), ("size", (2, *_CELLS)), ("offset", (2, *_CELLS)), ("landmarks", (10, *_CELLS))]
    )


def yolo_graph(*, seed: int = 5, num_anchors: int = 3, channel_order: str = "chw") -> onnx.ModelProto:
    """``grid`` at stride 8: ``(A * (5 + 10), h, w)``, or ``(h, w, A * (5 + 10))``."""
    channels = num_anchors * (5 + NUM_CLASSES)
    graph = GraphBuilder(seed)
    features = graph.add("Tanh", graph.convolve(graph.pixels, (3, 16), kernel=8, stride=8, gain=2))
    values = graph.convolve(features, (16, channels), gain=3)
    if channel_order == "chw":
        graph.add("Identity", values, output="grid")
        return graph.finish([("grid", (channels, *_CELLS))])
    graph.add("Transpose", values, output="grid", perm=[0, 2, 3, 1])
    return graph.finish([("grid", (*_CELLS, channels))])


def dfl_graph(*, seed: int = 7, form: str = "maps", extras: int = 0, prototypes: int = 0) -> onnx.ModelProto:
    """``grid (16 + 10 + extras, h, w)`` at stride 8, its bins 4 a side; as ``columns`` the same, flattened.

    ``decoded``: ``(4 + 10 + extras, cells)``, centres and sides of 15 to 55 px in the row, probabilities, extras
    within -1.5..1.5. With ``prototypes`` also ``prototypes (prototypes, height / 4, width / 4)``: smooth regions.
    """
    graph = GraphBuilder(seed)
    features = graph.add("Tanh", graph.convolve(graph.pixels, (3, 16), kernel=8, stride=8, gain=2))
    if form == "decoded":
        channels = 4 + NUM_CLASSES + extras
        boxes = graph.add("Tanh", graph.convolve(features, (16, 4), gain=1.5))
        boxes = graph.add("Mul", boxes, graph.constant(np.reshape((50, 40, 20, 12), (4, 1, 1))))
        boxes = graph.add("Add", boxes, graph.constant(np.reshape((64, 48, 35, 27), (4, 1, 1))))
        parts = [boxes, graph.add("Sigmoid", graph.convolve(features, (16, NUM_CLASSES), gain=3))]
        if extras:
            parts.append(graph.affine(graph.add("Tanh", graph.convolve(features, (16, extras), gain=2)), 1.5, 0))
        values = graph.add("Concat", *parts, axis=1)
    else:
        channels = 4 * 4 + NUM_CLASSES + extras
        values = graph.convolve(features, (16, channels), gain=3)
    if form == "maps":
        graph.add("Identity", values, output="grid")
    else:
        graph.add("Reshape", values, graph.constant(np.array((0, channels, -1)), np.int64), output="grid")
    outputs: list[tuple[str, Sequence[int | str]]] = [("grid", (channels, *(_CELLS if form == "maps" else ("cells",))))]
    if prototypes:
        maps = graph.add("Tanh", graph.convolve(graph.pixels, (3, 8), kernel=4, stride=4, gain=1.5))
        maps = graph.add("AveragePool", maps, kernel_shape=[5, 5], strides=[1, 1], pads=[2] * 4)
        graph.add("Identity", graph.convolve(maps, (8, prototypes), gain=2), output="prototypes")
        outputs.append(("prototypes", (prototypes, "prototype_height", "prototype_width")))
    return graph.finish(outputs)


def probability_map_graph(*, seed: int = 6) -> onnx.ModelProto:
    """``probabilities (1, height, width)``: blobs where a pixel stands out from its surroundings."""
    graph = GraphBuilder(seed)
    near, wide = (
        graph.add("AveragePool", graph.pixels, kernel_shape=[k, k], strides=[1, 1], pads=[k // 2] * 4) for k in (3, 15)
    )
    contrast = graph.convolve(graph.add("Sub", near, wide), (3, 1), gain=25)
    graph.add("Sigmoid", graph.affine(contrast, 1, -1), output="probabilities")
    return graph.finish([("probabilities", (1, *_CELLS))])
