"""Bakes normalisation and layout into the graph: it takes the pixels themselves, a quarter of the bytes."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from export.passes.result import PassResult
from pipelines.specs import ImageSpec


def bake_input(model: onnx.ModelProto, image: ImageSpec) -> PassResult:
    """Put ``Transpose -> Cast -> Mul -> Add`` before a graph of one float32 input ``(N, C, H, W)``; one rewrite.

    The new input is uint8 ``(N, H, W, C)``. With ``s`` = scale, ``m`` = mean, ``d`` = std per channel::

        (x / s - m) / d  =  x * 1 / (s * d)  +  (-m / d)

    so that one product and one sum do it, with constants ``(C, 1, 1)`` computed in float64. The transpose comes first,
    on bytes: normalising before it made a MobileNet 1.8 times slower.

    Refuses scale ``image_max``, which no constant holds, and graphs that do not take ``chw`` float32 rows.
    """
    weights = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in weights]
    if image.scale == "image_max":
        return PassResult(model, 0, "scale image_max depends on the image")
    if len(inputs) != 1:
        return PassResult(model, 0, f"it must have one input, it has {[value.name for value in inputs]}")
    tensor = inputs[0].type.tensor_type
    if tensor.elem_type != TensorProto.FLOAT or len(tensor.shape.dim) != 4 or image.layout != "chw":
        return PassResult(model, 0, "its input must be float32 (N, C, H, W)")
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    name, inner = inputs[0].name, f"{inputs[0].name}_normalized"
    for node in copy.graph.node:
        for i, read in enumerate(node.input):
            if read == name:
                node.input[i] = inner
    std = np.array(image.std, np.float64)
    scale = (1 / (float(image.scale) * std)).astype(np.float32)
    shift = (-np.array(image.mean, np.float64) / std).astype(np.float32)
    for suffix, values in (("scale", scale), ("shift", shift)):
        copy.graph.initializer.append(numpy_helper.from_array(values.reshape(-1, 1, 1), f"{name}_{suffix}"))
    steps = [
        helper.make_node("Transpose", [name], [f"{name}_planes"], perm=[0, 3, 1, 2], name=f"{name}_transpose"),
        helper.make_node("Cast", [f"{name}_planes"], [f"{name}_float"], to=TensorProto.FLOAT, name=f"{name}_cast"),
        helper.make_node("Mul", [f"{name}_float", f"{name}_scale"], [f"{name}_scaled"], name=f"{name}_mul"),
        helper.make_node("Add", [f"{name}_scaled", f"{name}_shift"], [inner], name=f"{name}_add"),
    ]
    for i, node in enumerate(steps):
        copy.graph.node.insert(i, node)
    outer = next(value for value in copy.graph.input if value.name == name).type.tensor_type
    outer.elem_type = TensorProto.UINT8
    dims = [onnx.TensorShapeProto.Dimension() for _ in range(4)]
    for target, source in zip(dims, (0, 2, 3, 1), strict=True):
        target.CopyFrom(tensor.shape.dim[source])
    del outer.shape.dim[:]
    outer.shape.dim.extend(dims)
    return PassResult(copy, 1)


def baked_spec(image: ImageSpec) -> ImageSpec:
    """The recipe of the graph that :func:`bake_input` makes: mean and std stay in it, for the record."""
    return image.model_copy(update={"layout": "hwc", "dtype": "uint8", "in_graph": ("normalize",)})
