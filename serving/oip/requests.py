"""What a request of the Open Inference Protocol asks for, whatever carried it: checked, and free of any message."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

from pipelines.errors import InvalidRequestError, NotOfferedError
from pipelines.options import PredictOptions
from serving.oip.tensors import BYTES, Tensor

Parameter: TypeAlias = bool | int | float | str
Parameters: TypeAlias = Mapping[str, Parameter]

IMAGE = "image"
NO_OPTIONS = PredictOptions()
FINAL_RESPONSE = "triton_final_response"
EMPTY_FINAL_RESPONSE = "triton_enable_empty_final_response"
CLASSIFICATION = "classification"
REGION = "shared_memory_region"
REGION_SIZE = "shared_memory_byte_size"
REGION_OFFSET = "shared_memory_offset"
MAX_CLASSES = 100_000
MAX_PRIORITY = 2**32 - 1
# In whole numbers of 64 bits, the longest timeout that still is a time; the protocol's unit is the microsecond.
MAX_TIMEOUT_US = 2**53
_THRESHOLDS = ("score_threshold", "iou_threshold")
_COUNTS = ("max_detections", "top_k")
_SEQUENCES = ("sequence_id", "sequence_start", "sequence_end")
ACTING = ("timeout", "priority", EMPTY_FINAL_RESPONSE, *_THRESHOLDS, *_COUNTS)
# Of HTTP's binary extension: how tensors travel, which its transport has seen to.
_TRANSPORT = ("binary_data_output", "binary_data_size")


@dataclass(frozen=True, slots=True)
class Placement:
    """Where in shared memory a tensor's raw contents lie or go: a registered region, and bytes in it."""

    region: str
    offset: int
    byte_size: int


@dataclass(frozen=True, slots=True)
class RequestedOutput:
    """An output that a request names.

    Attributes:
        name: of the output.
        classes: so many best entries of each row take the output's place; 0 asks for the output itself.
        placement: where its contents go instead of into the answer.
    """

    name: str
    classes: int = 0
    placement: Placement | None = None


@dataclass(frozen=True, slots=True)
class Urgency:
    """How long a request may take in all (seconds, infinite where it does not say), and before which others it runs.

    Attributes:
        timeout_s: from its arrival.
        priority: 1 is the most urgent, 0 is the default.
    """

    timeout_s: float = math.inf
    priority: int = 0


NO_URGENCY = Urgency()


@dataclass(frozen=True, eq=False, slots=True)
class InferRequest:
    """One request.

    Attributes:
        model: name.
        version: 0 is the newest that is ready.
        id: echoed.
        inputs: tensors, names differ.
        outputs: empty asks for all.
        urgency: from its parameters.
        options: of the pipeline, from its parameters.
    """

    model: str
    inputs: tuple[Tensor, ...]
    version: int = 0
    id: str = ""
    outputs: tuple[RequestedOutput, ...] = ()
    urgency: Urgency = NO_URGENCY
    options: PredictOptions = NO_OPTIONS

    def __post_init__(self) -> None:
        if not self.inputs:
            raise InvalidRequestError("inputs must be one tensor or more, got none")
        if len(self.inputs) > 1:
            _require_distinct("inputs", [tensor.name for tensor in self.inputs])
        if len(self.outputs) > 1:
            _require_distinct("outputs", [output.name for output in self.outputs])
        if self.options is not NO_OPTIONS and not self.is_image:
            raise InvalidRequestError(
                f"{', '.join((*_THRESHOLDS, *_COUNTS))} apply to encoded images only: a BYTES input {IMAGE!r}"
            )

    @property
    def is_image(self) -> bool:
        """Whether the whole pipeline is asked for: the only input is a BYTES tensor ``image``."""
        first = self.inputs[0]
        return first.datatype == BYTES and first.name == IMAGE and len(self.inputs) == 1


def read_version(text: str) -> int:
    """A version as the protocol writes it, empty for 0; raises InvalidRequestError where it is no whole number."""
    if not text:
        return 0
    if not (text.isascii() and text.isdecimal() and len(text) <= 9):
        raise InvalidRequestError(f"model_version must be a whole number or empty, got {text[:32]!r}")
    return int(text)


def read_parameters(parameters: Parameters) -> tuple[Urgency, PredictOptions]:
    """What the parameters of a request mean.

    Raises InvalidRequestError for a name that does not act or a value out of range, NotOfferedError for sequences.
    """
    if not parameters:
        return NO_URGENCY, NO_OPTIONS
    for name in parameters:
        if name in _SEQUENCES:
            raise NotOfferedError(f"{name} is not offered: no model here keeps state between requests")
        if name not in ACTING and name not in _TRANSPORT:
            raise InvalidRequestError(f"parameters must be among {', '.join(ACTING)}, got {name[:64]!r}")
    if EMPTY_FINAL_RESPONSE in parameters and type(parameters[EMPTY_FINAL_RESPONSE]) is not bool:
        raise InvalidRequestError(f"{EMPTY_FINAL_RESPONSE} must be a bool, got {parameters[EMPTY_FINAL_RESPONSE]!r}")
    timeout_us = read_count("timeout", parameters.get("timeout", 0), most=MAX_TIMEOUT_US)
    priority = read_count("priority", parameters.get("priority", 0), most=MAX_PRIORITY)
    urgency = Urgency(timeout_us / 1e6 if timeout_us else math.inf, priority)
    return urgency, _read_options(parameters)


def read_output(name: str, parameters: Parameters) -> RequestedOutput:
    """A requested output; raises InvalidRequestError where its parameters are out of range."""
    if not parameters:
        return RequestedOutput(name)
    classes = read_count(CLASSIFICATION, parameters.get(CLASSIFICATION, 0), most=MAX_CLASSES)
    return RequestedOutput(name, classes, read_placement(name, parameters))


def read_placement(name: str, parameters: Parameters) -> Placement | None:
    """Where in shared memory a tensor lies, if there; raises InvalidRequestError where that is half said."""
    if not any(key in parameters for key in (REGION, REGION_SIZE, REGION_OFFSET)):
        return None
    region = parameters.get(REGION)
    if not isinstance(region, str) or REGION_SIZE not in parameters:
        raise InvalidRequestError(f"{name!r} must have {REGION} (a string) and {REGION_SIZE} where it has one of them")
    offset = read_count(REGION_OFFSET, parameters.get(REGION_OFFSET, 0), most=2**62)
    return Placement(region, offset, read_count(REGION_SIZE, parameters[REGION_SIZE], most=2**62))


def read_count(name: str, value: Parameter, *, most: int) -> int:
    """A whole number from 0 to ``most``, also one written as a string; raises InvalidRequestError for any other."""
    if isinstance(value, str) and value.isascii() and value.isdecimal() and len(value) <= 20:
        value = int(value)
    if type(value) is not int or not 0 <= value <= most:
        raise InvalidRequestError(f"{name} must be a whole number from 0 to {most}, got {value!r:.40}")
    return value


def _read_options(parameters: Parameters) -> PredictOptions:
    given: dict[str, float | int] = {}
    for name in _THRESHOLDS:
        if name in parameters:
            given[name] = _read_number(name, parameters[name])
    for name in _COUNTS:
        if name in parameters:
            given[name] = read_count(name, parameters[name], most=2**31)
    return PredictOptions(**given) if given else NO_OPTIONS  # type: ignore[arg-type]


def _read_number(name: str, value: Parameter) -> float:
    try:
        return float(value) if not isinstance(value, bool) else float("nan")
    except (ValueError, OverflowError) as error:
        raise InvalidRequestError(f"{name} must be a number, got {value!r:.40}") from error


def _require_distinct(kind: str, names: list[str]) -> None:
    if len(set(names)) != len(names):
        raise InvalidRequestError(f"{kind} must have different names, got {names[:16]}")
