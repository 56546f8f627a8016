"""What every part of a manifest is made of: the base model and its number types."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field

Index: TypeAlias = Annotated[int, Field(ge=0)]
Count: TypeAlias = Annotated[int, Field(ge=1, le=1_000_000)]
SizeHW: TypeAlias = tuple[Annotated[int, Field(ge=1, le=16_384)], Annotated[int, Field(ge=1, le=16_384)]]
Level: TypeAlias = Annotated[int, Field(ge=0, le=255)]
Probability: TypeAlias = Annotated[float, Field(ge=0, le=1)]
Positive: TypeAlias = Annotated[float, Field(gt=0)]
OutputName: TypeAlias = Annotated[str, Field(min_length=1)]
Resample: TypeAlias = Literal[
    "opencv_linear",
    "opencv_area",
    "opencv_cubic",
    "opencv_lanczos4",
    "pil_bilinear",
    "pil_bicubic",
    "pil_lanczos",
    "torch_bilinear",
    "torch_bilinear_antialias",
    "nearest",
]


class Spec(BaseModel):
    """Base of everything in a manifest: frozen, no unknown keys, no NaN, no silent conversion of types."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, strict=True)


class TensorSpec(Spec):
    """A graph input or output: ONNX name, numpy dtype name, shape with a string for each dynamic dimension."""

    name: str
    dtype: str
    shape: tuple[int | str, ...]
