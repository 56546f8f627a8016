"""Streams' and tiles' part of the wire: what they add to a request, and what comes back beside predictions."""

from __future__ import annotations

from collections.abc import Mapping

from pipelines.errors import FrameDroppedError, InvalidRequestError, OcellaError, ServerFaultError
from pipelines.tile_options import TileOptions
from protos.ocella.v1 import vision_pb2 as pb
from serving.client.errors import error_of_frame
from serving.client.results import Prediction, TilePrediction, WhenFull
from serving.client.wire import read_prediction

WHEN_FULL: Mapping[str, pb.WhenFull] = {"block": pb.WHEN_FULL_BLOCK, "drop_oldest": pb.WHEN_FULL_DROP_OLDEST}
MERGES = {None: pb.TILE_MERGE_UNSPECIFIED, "suppress": pb.TILE_MERGE_SUPPRESS, "fuse": pb.TILE_MERGE_FUSE}
CRITERIA = {None: pb.TILE_CRITERION_UNSPECIFIED, "iou": pb.TILE_CRITERION_IOU, "ios": pb.TILE_CRITERION_IOS}


def check_when_full(when_full: WhenFull) -> bool:
    """Whether a stream drops; raises InvalidRequestError for a word that is none of the two."""
    if when_full not in WHEN_FULL:
        raise InvalidRequestError(f"when_full must be one of {sorted(WHEN_FULL)}, got {when_full!r}")
    return when_full == "drop_oldest"


def read_frame(response: pb.PredictResponse, *, request_id: str) -> Prediction | OcellaError:
    """One answer of the stream that has ``request_id``."""
    if response.HasField("error"):
        error = error_of_frame(response.error)
    elif response.HasField("dropped"):
        error = FrameDroppedError("the stream's window was full and a newer image took this one's place")
    else:
        return read_prediction(response)
    error.request_id = request_id
    return error


def write_tile_options(tiles: TileOptions) -> pb.TileOptions:
    """How an image is to be cut."""
    return pb.TileOptions(
        size=tiles.size,
        overlap=tiles.overlap,
        whole_image=tiles.whole_image,
        max_tiles=tiles.max_tiles,
        merge=MERGES[tiles.merge],
        criterion=CRITERIA[tiles.criterion],
        merge_threshold=tiles.merge_threshold,
    )


def read_tile(message: pb.TileResponse) -> TilePrediction:
    """One tile's answer, or the merged one; raises ServerFaultError for one that does not fit together."""
    window, response = message.window, message.response
    if min(window.width, window.height) < 1:
        raise ServerFaultError(f"the server's tile must have pixels, got {window.width} x {window.height}")
    whole_hw = (response.image.height, response.image.width)
    map_hw = (window.height, window.width) if response.HasField("segmentation") else whole_hw
    response.image.CopyFrom(pb.ImageSize(height=map_hw[0], width=map_hw[1]))  # the size that a tile's map has
    corners = (window.left, window.top, window.left + window.width, window.top + window.height)
    prediction = read_prediction(response)
    return TilePrediction(
        prediction.result,
        prediction.model,
        prediction.version,
        whole_hw,
        prediction.timings,
        prediction.id,
        index=message.index,
        count=message.count,
        window=corners,
        merged=message.merged,
    )
