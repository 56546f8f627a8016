"""What a graph pass answers: a rewritten copy with a count, or the reason why it refused."""

from __future__ import annotations

from dataclasses import dataclass

import onnx

from pipelines.errors import RecipeError


@dataclass(frozen=True, eq=False)
class PassResult:
    """The outcome of one pass; the graph that went in is never changed.

    Attributes:
        model: the rewritten copy, or the graph that went in where the pass refused or found nothing.
        count: rewrites that were made; what counts as one is said by the pass.
        refusal: why the pass cannot be applied, or ``None``.
    """

    model: onnx.ModelProto
    count: int
    refusal: str | None = None


def accepted(result: PassResult, *, name: str) -> onnx.ModelProto:
    """The rewritten graph; raises RecipeError with the reason where the pass named ``name`` refused."""
    if result.refusal is not None:
        raise RecipeError(f"{name} cannot be applied to this graph: {result.refusal}")
    return result.model
