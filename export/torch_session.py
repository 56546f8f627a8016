"""A torch module behind the ``Session`` protocol, so that it runs through the same pipeline as its export."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import nn

from pipelines.errors import ModelRunError
from pipelines.specs import TensorSpec
from pipelines.types import AnyArray


class TorchSession:
    """Runs ``module`` in eval mode on the CPU, without gradients. See ``pipelines.session.Session``."""

    provider = "torch"

    def __init__(self, module: nn.Module, *, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]) -> None:
        """``inputs`` (one) and ``outputs`` name the tensors; the module returns one tensor or a tuple of them."""
        self._module: nn.Module | None = module.eval()
        self.inputs = tuple(inputs)
        self.outputs = tuple(outputs)

    def run(self, feeds: Mapping[str, AnyArray]) -> dict[str, AnyArray]:
        """Run a batch; raises ModelRunError."""
        if self._module is None:
            raise ModelRunError("the session is closed")
        try:
            with torch.inference_mode():
                answer = self._module(torch.from_numpy(feeds[self.inputs[0].name]))
        except (
            RuntimeError,
            AssertionError,
            ValueError,
            TypeError,
            IndexError,
        ) as error:  # as torch and its models say
            raise ModelRunError(f"torch refused or failed the run: {' '.join(str(error).split())[:300]}") from error
        values = (answer,) if isinstance(answer, torch.Tensor) else tuple(answer)
        if len(values) != len(self.outputs):
            raise ModelRunError(f"the module must return {len(self.outputs)} tensors, it returned {len(values)}")
        return {spec.name: value.numpy() for spec, value in zip(self.outputs, values, strict=True)}

    def close(self) -> None:
        """Drop the module."""
        self._module = None
