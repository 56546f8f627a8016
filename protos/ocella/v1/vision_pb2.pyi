from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class MaskFormat(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    MASK_FORMAT_UNSPECIFIED: _ClassVar[MaskFormat]
    MASK_FORMAT_PNG: _ClassVar[MaskFormat]
    MASK_FORMAT_RLE: _ClassVar[MaskFormat]
    MASK_FORMAT_POLYGON: _ClassVar[MaskFormat]

class WhenFull(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    WHEN_FULL_UNSPECIFIED: _ClassVar[WhenFull]
    WHEN_FULL_BLOCK: _ClassVar[WhenFull]
    WHEN_FULL_DROP_OLDEST: _ClassVar[WhenFull]

class TileMerge(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    TILE_MERGE_UNSPECIFIED: _ClassVar[TileMerge]
    TILE_MERGE_SUPPRESS: _ClassVar[TileMerge]
    TILE_MERGE_FUSE: _ClassVar[TileMerge]

class TileCriterion(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    TILE_CRITERION_UNSPECIFIED: _ClassVar[TileCriterion]
    TILE_CRITERION_IOU: _ClassVar[TileCriterion]
    TILE_CRITERION_IOS: _ClassVar[TileCriterion]
MASK_FORMAT_UNSPECIFIED: MaskFormat
MASK_FORMAT_PNG: MaskFormat
MASK_FORMAT_RLE: MaskFormat
MASK_FORMAT_POLYGON: MaskFormat
WHEN_FULL_UNSPECIFIED: WhenFull
WHEN_FULL_BLOCK: WhenFull
WHEN_FULL_DROP_OLDEST: WhenFull
TILE_MERGE_UNSPECIFIED: TileMerge
TILE_MERGE_SUPPRESS: TileMerge
TILE_MERGE_FUSE: TileMerge
TILE_CRITERION_UNSPECIFIED: TileCriterion
TILE_CRITERION_IOU: TileCriterion
TILE_CRITERION_IOS: TileCriterion

class PredictRequest(_message.Message):
    __slots__ = ("model", "version", "image", "id", "options", "stream_options", "tile_options")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    IMAGE_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    OPTIONS_FIELD_NUMBER: _ClassVar[int]
    STREAM_OPTIONS_FIELD_NUMBER: _ClassVar[int]
    TILE_OPTIONS_FIELD_NUMBER: _ClassVar[int]
    model: str
    version: int
    image: bytes
    id: str
    options: PredictOptions
    stream_options: StreamOptions
    tile_options: TileOptions
    def __init__(self, model: _Optional[str] = ..., version: _Optional[int] = ..., image: _Optional[bytes] = ..., id: _Optional[str] = ..., options: _Optional[_Union[PredictOptions, _Mapping]] = ..., stream_options: _Optional[_Union[StreamOptions, _Mapping]] = ..., tile_options: _Optional[_Union[TileOptions, _Mapping]] = ...) -> None: ...

class PredictOptions(_message.Message):
    __slots__ = ("score_threshold", "iou_threshold", "max_detections", "top_k", "mask_format", "timings", "embeddings")
    SCORE_THRESHOLD_FIELD_NUMBER: _ClassVar[int]
    IOU_THRESHOLD_FIELD_NUMBER: _ClassVar[int]
    MAX_DETECTIONS_FIELD_NUMBER: _ClassVar[int]
    TOP_K_FIELD_NUMBER: _ClassVar[int]
    MASK_FORMAT_FIELD_NUMBER: _ClassVar[int]
    TIMINGS_FIELD_NUMBER: _ClassVar[int]
    EMBEDDINGS_FIELD_NUMBER: _ClassVar[int]
    score_threshold: float
    iou_threshold: float
    max_detections: int
    top_k: int
    mask_format: MaskFormat
    timings: bool
    embeddings: bool
    def __init__(self, score_threshold: _Optional[float] = ..., iou_threshold: _Optional[float] = ..., max_detections: _Optional[int] = ..., top_k: _Optional[int] = ..., mask_format: _Optional[_Union[MaskFormat, str]] = ..., timings: bool = ..., embeddings: bool = ...) -> None: ...

class StreamOptions(_message.Message):
    __slots__ = ("window", "when_full")
    WINDOW_FIELD_NUMBER: _ClassVar[int]
    WHEN_FULL_FIELD_NUMBER: _ClassVar[int]
    window: int
    when_full: WhenFull
    def __init__(self, window: _Optional[int] = ..., when_full: _Optional[_Union[WhenFull, str]] = ...) -> None: ...

class TileOptions(_message.Message):
    __slots__ = ("size", "overlap", "whole_image", "max_tiles", "merge", "criterion", "merge_threshold")
    SIZE_FIELD_NUMBER: _ClassVar[int]
    OVERLAP_FIELD_NUMBER: _ClassVar[int]
    WHOLE_IMAGE_FIELD_NUMBER: _ClassVar[int]
    MAX_TILES_FIELD_NUMBER: _ClassVar[int]
    MERGE_FIELD_NUMBER: _ClassVar[int]
    CRITERION_FIELD_NUMBER: _ClassVar[int]
    MERGE_THRESHOLD_FIELD_NUMBER: _ClassVar[int]
    size: int
    overlap: float
    whole_image: bool
    max_tiles: int
    merge: TileMerge
    criterion: TileCriterion
    merge_threshold: float
    def __init__(self, size: _Optional[int] = ..., overlap: _Optional[float] = ..., whole_image: bool = ..., max_tiles: _Optional[int] = ..., merge: _Optional[_Union[TileMerge, str]] = ..., criterion: _Optional[_Union[TileCriterion, str]] = ..., merge_threshold: _Optional[float] = ...) -> None: ...

class PredictResponse(_message.Message):
    __slots__ = ("id", "model", "version", "image", "timings", "classification", "detections", "segmentation", "embedding", "faces", "cascade", "error", "dropped")
    ID_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    IMAGE_FIELD_NUMBER: _ClassVar[int]
    TIMINGS_FIELD_NUMBER: _ClassVar[int]
    CLASSIFICATION_FIELD_NUMBER: _ClassVar[int]
    DETECTIONS_FIELD_NUMBER: _ClassVar[int]
    SEGMENTATION_FIELD_NUMBER: _ClassVar[int]
    EMBEDDING_FIELD_NUMBER: _ClassVar[int]
    FACES_FIELD_NUMBER: _ClassVar[int]
    CASCADE_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    DROPPED_FIELD_NUMBER: _ClassVar[int]
    id: str
    model: str
    version: int
    image: ImageSize
    timings: Timings
    classification: Classification
    detections: Detections
    segmentation: Segmentation
    embedding: Embedding
    faces: FaceList
    cascade: Cascade
    error: Error
    dropped: bool
    def __init__(self, id: _Optional[str] = ..., model: _Optional[str] = ..., version: _Optional[int] = ..., image: _Optional[_Union[ImageSize, _Mapping]] = ..., timings: _Optional[_Union[Timings, _Mapping]] = ..., classification: _Optional[_Union[Classification, _Mapping]] = ..., detections: _Optional[_Union[Detections, _Mapping]] = ..., segmentation: _Optional[_Union[Segmentation, _Mapping]] = ..., embedding: _Optional[_Union[Embedding, _Mapping]] = ..., faces: _Optional[_Union[FaceList, _Mapping]] = ..., cascade: _Optional[_Union[Cascade, _Mapping]] = ..., error: _Optional[_Union[Error, _Mapping]] = ..., dropped: bool = ...) -> None: ...

class TileResponse(_message.Message):
    __slots__ = ("index", "count", "window", "merged", "response")
    INDEX_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    WINDOW_FIELD_NUMBER: _ClassVar[int]
    MERGED_FIELD_NUMBER: _ClassVar[int]
    RESPONSE_FIELD_NUMBER: _ClassVar[int]
    index: int
    count: int
    window: PixelWindow
    merged: bool
    response: PredictResponse
    def __init__(self, index: _Optional[int] = ..., count: _Optional[int] = ..., window: _Optional[_Union[PixelWindow, _Mapping]] = ..., merged: bool = ..., response: _Optional[_Union[PredictResponse, _Mapping]] = ...) -> None: ...

class PixelWindow(_message.Message):
    __slots__ = ("left", "top", "width", "height")
    LEFT_FIELD_NUMBER: _ClassVar[int]
    TOP_FIELD_NUMBER: _ClassVar[int]
    WIDTH_FIELD_NUMBER: _ClassVar[int]
    HEIGHT_FIELD_NUMBER: _ClassVar[int]
    left: int
    top: int
    width: int
    height: int
    def __init__(self, left: _Optional[int] = ..., top: _Optional[int] = ..., width: _Optional[int] = ..., height: _Optional[int] = ...) -> None: ...

class ImageSize(_message.Message):
    __slots__ = ("width", "height")
    WIDTH_FIELD_NUMBER: _ClassVar[int]
    HEIGHT_FIELD_NUMBER: _ClassVar[int]
    width: int
    height: int
    def __init__(self, width: _Optional[int] = ..., height: _Optional[int] = ...) -> None: ...

class Classification(_message.Message):
    __slots__ = ("class_ids", "scores", "labels")
    CLASS_IDS_FIELD_NUMBER: _ClassVar[int]
    SCORES_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    class_ids: _containers.RepeatedScalarFieldContainer[int]
    scores: _containers.RepeatedScalarFieldContainer[float]
    labels: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, class_ids: _Optional[_Iterable[int]] = ..., scores: _Optional[_Iterable[float]] = ..., labels: _Optional[_Iterable[str]] = ...) -> None: ...

class Detections(_message.Message):
    __slots__ = ("boxes", "scores", "class_ids", "labels", "keypoints", "polygons", "masks", "angles")
    BOXES_FIELD_NUMBER: _ClassVar[int]
    SCORES_FIELD_NUMBER: _ClassVar[int]
    CLASS_IDS_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    KEYPOINTS_FIELD_NUMBER: _ClassVar[int]
    POLYGONS_FIELD_NUMBER: _ClassVar[int]
    MASKS_FIELD_NUMBER: _ClassVar[int]
    ANGLES_FIELD_NUMBER: _ClassVar[int]
    boxes: _containers.RepeatedScalarFieldContainer[float]
    scores: _containers.RepeatedScalarFieldContainer[float]
    class_ids: _containers.RepeatedScalarFieldContainer[int]
    labels: _containers.RepeatedScalarFieldContainer[str]
    keypoints: Keypoints
    polygons: Polygons
    masks: ObjectMasks
    angles: Angles
    def __init__(self, boxes: _Optional[_Iterable[float]] = ..., scores: _Optional[_Iterable[float]] = ..., class_ids: _Optional[_Iterable[int]] = ..., labels: _Optional[_Iterable[str]] = ..., keypoints: _Optional[_Union[Keypoints, _Mapping]] = ..., polygons: _Optional[_Union[Polygons, _Mapping]] = ..., masks: _Optional[_Union[ObjectMasks, _Mapping]] = ..., angles: _Optional[_Union[Angles, _Mapping]] = ...) -> None: ...

class Keypoints(_message.Message):
    __slots__ = ("per_object", "values", "skeleton")
    PER_OBJECT_FIELD_NUMBER: _ClassVar[int]
    VALUES_FIELD_NUMBER: _ClassVar[int]
    SKELETON_FIELD_NUMBER: _ClassVar[int]
    per_object: int
    values: _containers.RepeatedScalarFieldContainer[float]
    skeleton: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, per_object: _Optional[int] = ..., values: _Optional[_Iterable[float]] = ..., skeleton: _Optional[_Iterable[int]] = ...) -> None: ...

class Polygons(_message.Message):
    __slots__ = ("sizes", "values")
    SIZES_FIELD_NUMBER: _ClassVar[int]
    VALUES_FIELD_NUMBER: _ClassVar[int]
    sizes: _containers.RepeatedScalarFieldContainer[int]
    values: _containers.RepeatedScalarFieldContainer[float]
    def __init__(self, sizes: _Optional[_Iterable[int]] = ..., values: _Optional[_Iterable[float]] = ...) -> None: ...

class ObjectMasks(_message.Message):
    __slots__ = ("objects",)
    OBJECTS_FIELD_NUMBER: _ClassVar[int]
    objects: _containers.RepeatedCompositeFieldContainer[ObjectMask]
    def __init__(self, objects: _Optional[_Iterable[_Union[ObjectMask, _Mapping]]] = ...) -> None: ...

class ObjectMask(_message.Message):
    __slots__ = ("left", "top", "width", "height", "counts", "png", "regions")
    LEFT_FIELD_NUMBER: _ClassVar[int]
    TOP_FIELD_NUMBER: _ClassVar[int]
    WIDTH_FIELD_NUMBER: _ClassVar[int]
    HEIGHT_FIELD_NUMBER: _ClassVar[int]
    COUNTS_FIELD_NUMBER: _ClassVar[int]
    PNG_FIELD_NUMBER: _ClassVar[int]
    REGIONS_FIELD_NUMBER: _ClassVar[int]
    left: int
    top: int
    width: int
    height: int
    counts: _containers.RepeatedScalarFieldContainer[int]
    png: bytes
    regions: _containers.RepeatedCompositeFieldContainer[Region]
    def __init__(self, left: _Optional[int] = ..., top: _Optional[int] = ..., width: _Optional[int] = ..., height: _Optional[int] = ..., counts: _Optional[_Iterable[int]] = ..., png: _Optional[bytes] = ..., regions: _Optional[_Iterable[_Union[Region, _Mapping]]] = ...) -> None: ...

class Region(_message.Message):
    __slots__ = ("outer", "holes")
    OUTER_FIELD_NUMBER: _ClassVar[int]
    HOLES_FIELD_NUMBER: _ClassVar[int]
    outer: _containers.RepeatedScalarFieldContainer[float]
    holes: _containers.RepeatedCompositeFieldContainer[Ring]
    def __init__(self, outer: _Optional[_Iterable[float]] = ..., holes: _Optional[_Iterable[_Union[Ring, _Mapping]]] = ...) -> None: ...

class Ring(_message.Message):
    __slots__ = ("points",)
    POINTS_FIELD_NUMBER: _ClassVar[int]
    points: _containers.RepeatedScalarFieldContainer[float]
    def __init__(self, points: _Optional[_Iterable[float]] = ...) -> None: ...

class Angles(_message.Message):
    __slots__ = ("radians",)
    RADIANS_FIELD_NUMBER: _ClassVar[int]
    radians: _containers.RepeatedScalarFieldContainer[float]
    def __init__(self, radians: _Optional[_Iterable[float]] = ...) -> None: ...

class Segmentation(_message.Message):
    __slots__ = ("labels", "class_map_png", "alpha_png", "class_masks", "size")
    LABELS_FIELD_NUMBER: _ClassVar[int]
    CLASS_MAP_PNG_FIELD_NUMBER: _ClassVar[int]
    ALPHA_PNG_FIELD_NUMBER: _ClassVar[int]
    CLASS_MASKS_FIELD_NUMBER: _ClassVar[int]
    SIZE_FIELD_NUMBER: _ClassVar[int]
    labels: _containers.RepeatedScalarFieldContainer[str]
    class_map_png: bytes
    alpha_png: bytes
    class_masks: _containers.RepeatedCompositeFieldContainer[ClassMask]
    size: ImageSize
    def __init__(self, labels: _Optional[_Iterable[str]] = ..., class_map_png: _Optional[bytes] = ..., alpha_png: _Optional[bytes] = ..., class_masks: _Optional[_Iterable[_Union[ClassMask, _Mapping]]] = ..., size: _Optional[_Union[ImageSize, _Mapping]] = ...) -> None: ...

class ClassMask(_message.Message):
    __slots__ = ("class_id", "counts", "regions")
    CLASS_ID_FIELD_NUMBER: _ClassVar[int]
    COUNTS_FIELD_NUMBER: _ClassVar[int]
    REGIONS_FIELD_NUMBER: _ClassVar[int]
    class_id: int
    counts: _containers.RepeatedScalarFieldContainer[int]
    regions: _containers.RepeatedCompositeFieldContainer[Region]
    def __init__(self, class_id: _Optional[int] = ..., counts: _Optional[_Iterable[int]] = ..., regions: _Optional[_Iterable[_Union[Region, _Mapping]]] = ...) -> None: ...

class Cascade(_message.Message):
    __slots__ = ("detections", "objects")
    DETECTIONS_FIELD_NUMBER: _ClassVar[int]
    OBJECTS_FIELD_NUMBER: _ClassVar[int]
    detections: Detections
    objects: _containers.RepeatedCompositeFieldContainer[CascadeObject]
    def __init__(self, detections: _Optional[_Union[Detections, _Mapping]] = ..., objects: _Optional[_Iterable[_Union[CascadeObject, _Mapping]]] = ...) -> None: ...

class CascadeObject(_message.Message):
    __slots__ = ("transform", "classification", "segmentation", "embedding")
    TRANSFORM_FIELD_NUMBER: _ClassVar[int]
    CLASSIFICATION_FIELD_NUMBER: _ClassVar[int]
    SEGMENTATION_FIELD_NUMBER: _ClassVar[int]
    EMBEDDING_FIELD_NUMBER: _ClassVar[int]
    transform: _containers.RepeatedScalarFieldContainer[float]
    classification: Classification
    segmentation: Segmentation
    embedding: Embedding
    def __init__(self, transform: _Optional[_Iterable[float]] = ..., classification: _Optional[_Union[Classification, _Mapping]] = ..., segmentation: _Optional[_Union[Segmentation, _Mapping]] = ..., embedding: _Optional[_Union[Embedding, _Mapping]] = ...) -> None: ...

class FaceList(_message.Message):
    __slots__ = ("detections", "qualities", "embeddings", "transforms")
    DETECTIONS_FIELD_NUMBER: _ClassVar[int]
    QUALITIES_FIELD_NUMBER: _ClassVar[int]
    EMBEDDINGS_FIELD_NUMBER: _ClassVar[int]
    TRANSFORMS_FIELD_NUMBER: _ClassVar[int]
    detections: Detections
    qualities: _containers.RepeatedCompositeFieldContainer[FaceQuality]
    embeddings: _containers.RepeatedCompositeFieldContainer[Embedding]
    transforms: _containers.RepeatedScalarFieldContainer[float]
    def __init__(self, detections: _Optional[_Union[Detections, _Mapping]] = ..., qualities: _Optional[_Iterable[_Union[FaceQuality, _Mapping]]] = ..., embeddings: _Optional[_Iterable[_Union[Embedding, _Mapping]]] = ..., transforms: _Optional[_Iterable[float]] = ...) -> None: ...

class FaceQuality(_message.Message):
    __slots__ = ("size_px", "sharpness", "brightness", "turn")
    SIZE_PX_FIELD_NUMBER: _ClassVar[int]
    SHARPNESS_FIELD_NUMBER: _ClassVar[int]
    BRIGHTNESS_FIELD_NUMBER: _ClassVar[int]
    TURN_FIELD_NUMBER: _ClassVar[int]
    size_px: float
    sharpness: float
    brightness: float
    turn: float
    def __init__(self, size_px: _Optional[float] = ..., sharpness: _Optional[float] = ..., brightness: _Optional[float] = ..., turn: _Optional[float] = ...) -> None: ...

class Embedding(_message.Message):
    __slots__ = ("vector",)
    VECTOR_FIELD_NUMBER: _ClassVar[int]
    vector: _containers.RepeatedScalarFieldContainer[float]
    def __init__(self, vector: _Optional[_Iterable[float]] = ...) -> None: ...

class Timings(_message.Message):
    __slots__ = ("decode_s", "preprocess_s", "queue_s", "inference_s", "postprocess_s")
    DECODE_S_FIELD_NUMBER: _ClassVar[int]
    PREPROCESS_S_FIELD_NUMBER: _ClassVar[int]
    QUEUE_S_FIELD_NUMBER: _ClassVar[int]
    INFERENCE_S_FIELD_NUMBER: _ClassVar[int]
    POSTPROCESS_S_FIELD_NUMBER: _ClassVar[int]
    decode_s: float
    preprocess_s: float
    queue_s: float
    inference_s: float
    postprocess_s: float
    def __init__(self, decode_s: _Optional[float] = ..., preprocess_s: _Optional[float] = ..., queue_s: _Optional[float] = ..., inference_s: _Optional[float] = ..., postprocess_s: _Optional[float] = ...) -> None: ...

class Error(_message.Message):
    __slots__ = ("code", "reason", "message", "retry_after_s")
    CODE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    RETRY_AFTER_S_FIELD_NUMBER: _ClassVar[int]
    code: int
    reason: str
    message: str
    retry_after_s: float
    def __init__(self, code: _Optional[int] = ..., reason: _Optional[str] = ..., message: _Optional[str] = ..., retry_after_s: _Optional[float] = ...) -> None: ...

class ListModelsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListModelsResponse(_message.Message):
    __slots__ = ("models",)
    MODELS_FIELD_NUMBER: _ClassVar[int]
    models: _containers.RepeatedCompositeFieldContainer[ModelStatus]
    def __init__(self, models: _Optional[_Iterable[_Union[ModelStatus, _Mapping]]] = ...) -> None: ...

class ModelStatus(_message.Message):
    __slots__ = ("name", "version", "task", "ready", "reason")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    TASK_FIELD_NUMBER: _ClassVar[int]
    READY_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    name: str
    version: int
    task: str
    ready: bool
    reason: str
    def __init__(self, name: _Optional[str] = ..., version: _Optional[int] = ..., task: _Optional[str] = ..., ready: bool = ..., reason: _Optional[str] = ...) -> None: ...

class DescribeModelRequest(_message.Message):
    __slots__ = ("model", "version")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    model: str
    version: int
    def __init__(self, model: _Optional[str] = ..., version: _Optional[int] = ...) -> None: ...

class DescribeModelResponse(_message.Message):
    __slots__ = ("model", "version", "manifest_json", "provider", "max_batch", "golden")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    MANIFEST_JSON_FIELD_NUMBER: _ClassVar[int]
    PROVIDER_FIELD_NUMBER: _ClassVar[int]
    MAX_BATCH_FIELD_NUMBER: _ClassVar[int]
    GOLDEN_FIELD_NUMBER: _ClassVar[int]
    model: str
    version: int
    manifest_json: str
    provider: str
    max_batch: int
    golden: str
    def __init__(self, model: _Optional[str] = ..., version: _Optional[int] = ..., manifest_json: _Optional[str] = ..., provider: _Optional[str] = ..., max_batch: _Optional[int] = ..., golden: _Optional[str] = ...) -> None: ...
