"""What streams and tiles add to the messages of ``wire.py``: their options, and answers that are not one result."""

from __future__ import annotations

from collections.abc import Mapping

from pipelines.errors import InvalidRequestError
from pipelines.tile_options import DEFAULT_TILES, Criterion, Merge, TileOptions
from pipelines.types import SegmentationMap
from protos.ocella.v1 import vision_pb2 as pb
from serving.tiles import TileAnswer
from serving.wire import AnswerForm, write_answer

WHEN_FULL = (pb.WHEN_FULL_UNSPECIFIED, pb.WHEN_FULL_BLOCK, pb.WHEN_FULL_DROP_OLDEST)
MERGES: Mapping[int, Merge | None] = {
    pb.TILE_MERGE_UNSPECIFIED: None,
    pb.TILE_MERGE_SUPPRESS: "suppress",
    pb.TILE_MERGE_FUSE: "fuse",
}
CRITERIA: Mapping[int, Criterion | None] = {
    pb.TILE_CRITERION_UNSPECIFIED: None,
    pb.TILE_CRITERION_IOU: "iou",
    pb.TILE_CRITERION_IOS: "ios",
}


def read_drops(request: pb.PredictRequest) -> bool:
    """Whether a stream whose first request this is drops requests; raises InvalidRequestError for what it cannot do."""
    when_full = request.stream_options.when_full
    if when_full not in WHEN_FULL:
        raise InvalidRequestError(f"stream_options.when_full must be one of {_names(pb.WhenFull)}, got {when_full}")
    return when_full == pb.WHEN_FULL_DROP_OLDEST


def write_dropped(request: pb.PredictRequest) -> pb.PredictResponse:
    """What a stream answers to a request that it dropped."""
    return pb.PredictResponse(id=request.id, model=request.model, version=request.version, dropped=True)


def read_tile_options(request: pb.PredictRequest) -> TileOptions:
    """How a request wants its image in tiles; raises InvalidRequestError for a value out of range."""
    asked = request.tile_options
    if asked.merge not in MERGES:
        raise InvalidRequestError(f"tile_options.merge must be one of {_names(pb.TileMerge)}, got {asked.merge}")
    if asked.criterion not in CRITERIA:
        raise InvalidRequestError(
            f"tile_options.criterion must be one of {_names(pb.TileCriterion)}, got {asked.criterion}"
        )
    return TileOptions(
        size=asked.size or DEFAULT_TILES.size,
        overlap=asked.overlap if asked.HasField("overlap") else DEFAULT_TILES.overlap,
        whole_image=asked.whole_image,
        max_tiles=asked.max_tiles or DEFAULT_TILES.max_tiles,
        merge=MERGES[asked.merge],
        criterion=CRITERIA[asked.criterion],
        merge_threshold=asked.merge_threshold if asked.HasField("merge_threshold") else None,
    )


def write_tile(tile: TileAnswer, form: AnswerForm) -> pb.TileResponse:
    """A tile's answer, or that of all of them, in a form that ``check_form`` let through."""
    left, top, right, bottom = tile.window
    response = pb.TileResponse(
        index=tile.index,
        count=tile.count,
        window=pb.PixelWindow(left=left, top=top, width=right - left, height=bottom - top),
        merged=tile.merged,
        response=write_answer(tile.answer, form),
    )
    if isinstance(tile.answer.result, SegmentationMap) and not tile.merged:
        size = pb.ImageSize(width=right - left, height=bottom - top)
        response.response.segmentation.size.CopyFrom(size)
    return response


def _names(kind: type[pb.WhenFull] | type[pb.TileMerge] | type[pb.TileCriterion]) -> str:
    return ", ".join(kind.keys())
