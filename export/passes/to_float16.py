"""float16 inside, float32 outside: half the bytes, for GPUs with half-precision units."""

from __future__ import annotations

import warnings
from collections import Counter

import onnx

from export.passes.result import PassResult

# What must stay float32 beside the converter's own list: sums over many values, exponentials, and box arithmetic in
# pixels above 2048, where float16 has no odd numbers.
KEPT = ("Softmax", "LogSoftmax", "ReduceMean", "ReduceSum", "LayerNormalization", "Exp", "Pow", "Sqrt", "TopK")


def to_float16(model: onnx.ModelProto, *, keep_nodes: tuple[str, ...] = ()) -> PassResult:
    """Convert weights and activations to float16, inputs and outputs stay as they are; a converted node is one rewrite.

    A float16 number has 11 significand bits: ``|x' - x| <= 2**-11 * |x|`` for each rounding, from 6e-5 to 65504. Nodes
    of ``KEPT``, of the converter's block list and of ``keep_nodes`` compute in float32, casts around them; a weight
    that float16 would take for 0 or infinity is clamped by the converter.
    """
    from onnxruntime.transformers import float16

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # one a clamped weight.
        converted = float16.convert_float_to_float16(
            model_copy(model),
            keep_io_types=True,
            op_block_list=[*float16.DEFAULT_OP_BLOCK_LIST, *KEPT],
            node_block_list=list(keep_nodes),
        )
    before = Counter(node.op_type for node in model.graph.node)
    blocked = set(float16.DEFAULT_OP_BLOCK_LIST) | set(KEPT)
    return PassResult(converted, sum(count for kind, count in before.items() if kind not in blocked))


def model_copy(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy that a converter may write into."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    return copy
