"""The sections of ``deploy.toml`` for execution providers on NVIDIA GPUs."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from pipelines.specs import Count, Spec

DeviceId = Annotated[int, Field(ge=0, le=255)]
Shapes = dict[str, Annotated[tuple[Count, ...], Field(min_length=1)]]


class Cuda(Spec):
    """``[runtime.cuda]``: options of CUDAExecutionProvider.

    Attributes:
        device_id: which GPU.
        memory_limit_mb: MiB of its memory that the arena of each of this model's ``shapes`` may hold; null: no limit.
        conv_search: how cuDNN chooses its convolutions; ``EXHAUSTIVE`` tries all at the first run of each shape.
        tf32: let float32 products lose 13 of their 23 bits, which is twice as fast; golden samples may refuse it.
        nhwc: run convolutions with channels last.
        shapes: of batches that are kept ready, each by a session with its own copy of the weights; see
            ``pipelines.shaped_session``.
    """

    device_id: DeviceId = 0
    memory_limit_mb: Annotated[int, Field(ge=1)] | None = None
    conv_search: Literal["EXHAUSTIVE", "HEURISTIC", "DEFAULT"] = "HEURISTIC"
    tf32: bool = False
    nhwc: bool = False
    shapes: Annotated[int, Field(ge=1, le=256)] = 8


class TensorRt(Spec):
    """``[runtime.tensorrt]``: options of TensorrtExecutionProvider.

    Attributes:
        device_id: which GPU.
        fp16: run in half precision where that is faster.
        workspace_mb: MiB that building an engine may take; null: as onnxruntime has it.
        engine_cache: folder for built engines, so that the next load takes seconds; from the model's folder where it
            is relative. Null: engines are built at each load.
        min_shapes: by input, the smallest shape that will come.
        opt_shapes: by input, the shape to be fastest at.
        max_shapes: by input, the largest shape that will come.
    """

    device_id: DeviceId = 0
    fp16: bool = False
    workspace_mb: Annotated[int, Field(ge=1)] | None = None
    engine_cache: Annotated[str, Field(min_length=1)] | None = None
    min_shapes: Shapes = Field(default_factory=dict)
    opt_shapes: Shapes = Field(default_factory=dict)
    max_shapes: Shapes = Field(default_factory=dict)

    @model_validator(mode="after")
    def _whole_profile(self) -> Self:
        """TensorRT takes a profile of three shapes for each input, or none."""
        least, best, most = self.min_shapes, self.opt_shapes, self.max_shapes
        if not least.keys() == best.keys() == most.keys():
            raise ValueError("min_shapes, opt_shapes and max_shapes must name the same inputs")
        for name in least:
            ranks = {len(least[name]), len(best[name]), len(most[name])}
            ordered = all(a <= b <= c for a, b, c in zip(least[name], best[name], most[name], strict=False))
            if len(ranks) > 1 or not ordered:
                raise ValueError(f"the shapes of {name} must have one rank and not shrink from min to opt to max")
        return self
