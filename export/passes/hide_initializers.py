"""Takes weights out of the graph's input list: what a caller may override, no optimiser may fold."""

from __future__ import annotations

import onnx

from export.passes.result import PassResult

_SEPARATE_SINCE_IR = 4  # from IR version 4 on, initializers need not be listed as inputs.


def hide_initializers(model: onnx.ModelProto) -> PassResult:
    """Drop inputs that have an initializer of the same name (a weight is one rewrite)."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    weights = {tensor.name for tensor in copy.graph.initializer}
    real = [value for value in copy.graph.input if value.name not in weights]
    count = len(copy.graph.input) - len(real)
    if count:
        del copy.graph.input[:]
        copy.graph.input.extend(real)
        copy.ir_version = max(copy.ir_version, _SEPARATE_SINCE_IR)
    return PassResult(copy, count)
