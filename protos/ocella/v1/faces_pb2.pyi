from protos.ocella.v1 import vision_pb2 as _vision_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Decision(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    DECISION_UNSPECIFIED: _ClassVar[Decision]
    DECISION_SAME: _ClassVar[Decision]
    DECISION_UNCERTAIN: _ClassVar[Decision]
    DECISION_DIFFERENT: _ClassVar[Decision]
DECISION_UNSPECIFIED: Decision
DECISION_SAME: Decision
DECISION_UNCERTAIN: Decision
DECISION_DIFFERENT: Decision

class EnrollRequest(_message.Message):
    __slots__ = ("model", "person", "images")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    PERSON_FIELD_NUMBER: _ClassVar[int]
    IMAGES_FIELD_NUMBER: _ClassVar[int]
    model: str
    person: str
    images: _containers.RepeatedScalarFieldContainer[bytes]
    def __init__(self, model: _Optional[str] = ..., person: _Optional[str] = ..., images: _Optional[_Iterable[bytes]] = ...) -> None: ...

class EnrollResponse(_message.Message):
    __slots__ = ("qualities", "samples")
    QUALITIES_FIELD_NUMBER: _ClassVar[int]
    SAMPLES_FIELD_NUMBER: _ClassVar[int]
    qualities: _containers.RepeatedCompositeFieldContainer[_vision_pb2.FaceQuality]
    samples: int
    def __init__(self, qualities: _Optional[_Iterable[_Union[_vision_pb2.FaceQuality, _Mapping]]] = ..., samples: _Optional[int] = ...) -> None: ...

class VerifyRequest(_message.Message):
    __slots__ = ("model", "probe", "image", "person", "threshold")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    PROBE_FIELD_NUMBER: _ClassVar[int]
    IMAGE_FIELD_NUMBER: _ClassVar[int]
    PERSON_FIELD_NUMBER: _ClassVar[int]
    THRESHOLD_FIELD_NUMBER: _ClassVar[int]
    model: str
    probe: bytes
    image: bytes
    person: str
    threshold: float
    def __init__(self, model: _Optional[str] = ..., probe: _Optional[bytes] = ..., image: _Optional[bytes] = ..., person: _Optional[str] = ..., threshold: _Optional[float] = ...) -> None: ...

class VerifyResponse(_message.Message):
    __slots__ = ("decision", "score", "thresholds")
    DECISION_FIELD_NUMBER: _ClassVar[int]
    SCORE_FIELD_NUMBER: _ClassVar[int]
    THRESHOLDS_FIELD_NUMBER: _ClassVar[int]
    decision: Decision
    score: float
    thresholds: Thresholds
    def __init__(self, decision: _Optional[_Union[Decision, str]] = ..., score: _Optional[float] = ..., thresholds: _Optional[_Union[Thresholds, _Mapping]] = ...) -> None: ...

class Thresholds(_message.Message):
    __slots__ = ("same", "different", "target_fmr")
    SAME_FIELD_NUMBER: _ClassVar[int]
    DIFFERENT_FIELD_NUMBER: _ClassVar[int]
    TARGET_FMR_FIELD_NUMBER: _ClassVar[int]
    same: float
    different: float
    target_fmr: float
    def __init__(self, same: _Optional[float] = ..., different: _Optional[float] = ..., target_fmr: _Optional[float] = ...) -> None: ...

class IdentifyRequest(_message.Message):
    __slots__ = ("model", "image", "top_k", "threshold")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    IMAGE_FIELD_NUMBER: _ClassVar[int]
    TOP_K_FIELD_NUMBER: _ClassVar[int]
    THRESHOLD_FIELD_NUMBER: _ClassVar[int]
    model: str
    image: bytes
    top_k: int
    threshold: float
    def __init__(self, model: _Optional[str] = ..., image: _Optional[bytes] = ..., top_k: _Optional[int] = ..., threshold: _Optional[float] = ...) -> None: ...

class IdentifyResponse(_message.Message):
    __slots__ = ("faces", "thresholds", "searched")
    FACES_FIELD_NUMBER: _ClassVar[int]
    THRESHOLDS_FIELD_NUMBER: _ClassVar[int]
    SEARCHED_FIELD_NUMBER: _ClassVar[int]
    faces: _containers.RepeatedCompositeFieldContainer[IdentifiedFace]
    thresholds: Thresholds
    searched: int
    def __init__(self, faces: _Optional[_Iterable[_Union[IdentifiedFace, _Mapping]]] = ..., thresholds: _Optional[_Union[Thresholds, _Mapping]] = ..., searched: _Optional[int] = ...) -> None: ...

class IdentifiedFace(_message.Message):
    __slots__ = ("box", "score", "landmarks", "quality", "decision", "person", "candidates")
    BOX_FIELD_NUMBER: _ClassVar[int]
    SCORE_FIELD_NUMBER: _ClassVar[int]
    LANDMARKS_FIELD_NUMBER: _ClassVar[int]
    QUALITY_FIELD_NUMBER: _ClassVar[int]
    DECISION_FIELD_NUMBER: _ClassVar[int]
    PERSON_FIELD_NUMBER: _ClassVar[int]
    CANDIDATES_FIELD_NUMBER: _ClassVar[int]
    box: _containers.RepeatedScalarFieldContainer[float]
    score: float
    landmarks: _containers.RepeatedScalarFieldContainer[float]
    quality: _vision_pb2.FaceQuality
    decision: Decision
    person: str
    candidates: _containers.RepeatedCompositeFieldContainer[Candidate]
    def __init__(self, box: _Optional[_Iterable[float]] = ..., score: _Optional[float] = ..., landmarks: _Optional[_Iterable[float]] = ..., quality: _Optional[_Union[_vision_pb2.FaceQuality, _Mapping]] = ..., decision: _Optional[_Union[Decision, str]] = ..., person: _Optional[str] = ..., candidates: _Optional[_Iterable[_Union[Candidate, _Mapping]]] = ...) -> None: ...

class Candidate(_message.Message):
    __slots__ = ("person", "score")
    PERSON_FIELD_NUMBER: _ClassVar[int]
    SCORE_FIELD_NUMBER: _ClassVar[int]
    person: str
    score: float
    def __init__(self, person: _Optional[str] = ..., score: _Optional[float] = ...) -> None: ...

class ListPeopleRequest(_message.Message):
    __slots__ = ("model",)
    MODEL_FIELD_NUMBER: _ClassVar[int]
    model: str
    def __init__(self, model: _Optional[str] = ...) -> None: ...

class ListPeopleResponse(_message.Message):
    __slots__ = ("people", "embedder_sha256", "recipe_seal", "thresholds", "searched_by")
    PEOPLE_FIELD_NUMBER: _ClassVar[int]
    EMBEDDER_SHA256_FIELD_NUMBER: _ClassVar[int]
    RECIPE_SEAL_FIELD_NUMBER: _ClassVar[int]
    THRESHOLDS_FIELD_NUMBER: _ClassVar[int]
    SEARCHED_BY_FIELD_NUMBER: _ClassVar[int]
    people: _containers.RepeatedCompositeFieldContainer[Person]
    embedder_sha256: str
    recipe_seal: str
    thresholds: Thresholds
    searched_by: str
    def __init__(self, people: _Optional[_Iterable[_Union[Person, _Mapping]]] = ..., embedder_sha256: _Optional[str] = ..., recipe_seal: _Optional[str] = ..., thresholds: _Optional[_Union[Thresholds, _Mapping]] = ..., searched_by: _Optional[str] = ...) -> None: ...

class Person(_message.Message):
    __slots__ = ("name", "samples", "enrolled_at_s")
    NAME_FIELD_NUMBER: _ClassVar[int]
    SAMPLES_FIELD_NUMBER: _ClassVar[int]
    ENROLLED_AT_S_FIELD_NUMBER: _ClassVar[int]
    name: str
    samples: int
    enrolled_at_s: float
    def __init__(self, name: _Optional[str] = ..., samples: _Optional[int] = ..., enrolled_at_s: _Optional[float] = ...) -> None: ...

class RemovePersonRequest(_message.Message):
    __slots__ = ("model", "person")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    PERSON_FIELD_NUMBER: _ClassVar[int]
    model: str
    person: str
    def __init__(self, model: _Optional[str] = ..., person: _Optional[str] = ...) -> None: ...

class RemovePersonResponse(_message.Message):
    __slots__ = ("samples", "erased")
    SAMPLES_FIELD_NUMBER: _ClassVar[int]
    ERASED_FIELD_NUMBER: _ClassVar[int]
    samples: int
    erased: bool
    def __init__(self, samples: _Optional[int] = ..., erased: bool = ...) -> None: ...
