"""A large image tile by tile: where the tiles lie, what each answers, and the whole that they make."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from pipelines.errors import InvalidRequestError
from pipelines.manifest import ModelManifest
from pipelines.options import PredictOptions
from pipelines.specs import DetectionHead, SegmentationHead
from pipelines.tasks.cascade import CascadePipeline, CascadeSessions
from pipelines.tasks.pipeline import NO_OPTIONS, Pipeline, predict_one
from pipelines.tasks.segment import foreground
from pipelines.tile_merge import blend, check_fusible, fuse_detections, shift, suppress_detections, vote
from pipelines.tile_options import DEFAULT_TILES, TileOptions
from pipelines.types import ByteArray, Detections, Result, SegmentationMap

if TYPE_CHECKING:
    from pipelines.session import Session


class Window(NamedTuple):
    """Whole pixels of an image; ``right`` and ``bottom`` are exclusive."""

    left: int
    top: int
    right: int
    bottom: int

    def cut(self, image: ByteArray) -> ByteArray:
        """The window's pixels, contiguous."""
        return np.ascontiguousarray(image[self.top : self.bottom, self.left : self.right])


def spans(length: int, size: int, overlap: float) -> list[tuple[int, int]]:
    """Starts and ends of the tiles along an axis of ``length`` pixels.

    They cover every pixel. Neighbours share ``ceil(size * overlap)`` pixels; the last one ends where the axis does, and
    so shares more. An axis no longer than ``size`` is one tile.
    """
    if length <= size:
        return [(0, length)]
    step = max(1, size - math.ceil(size * overlap))
    last = length - size
    return [(start, start + size) for start in (*range(0, last, step), last)]


def plan(image_hw: tuple[int, int], tiles: TileOptions) -> tuple[Window, ...]:
    """The tiles of an image, row by row; the whole image last, where it was asked for and is not the only tile.

    Raises InvalidRequestError where they are more than ``tiles.max_tiles``.
    """
    height, width = image_hw
    rows, columns = (spans(length, tiles.size, tiles.overlap) for length in (height, width))
    count = len(rows) * len(columns)
    adds_whole = tiles.whole_image and count > 1
    if count + adds_whole > tiles.max_tiles:
        raise InvalidRequestError(
            f"an image of {width:,} x {height:,} has {count + adds_whole:,} tiles of {tiles.size} px with overlap "
            f"{tiles.overlap}, the limit is {tiles.max_tiles:,}"
        )
    grid = [Window(left, top, right, bottom) for top, bottom in rows for left, right in columns]
    return (*grid, Window(0, 0, width, height)) if adds_whole else tuple(grid)


class Tiling:
    """How one model answers in tiles, for requests of one kind; holds no state, so any thread may call it."""

    def __init__(
        self, pipeline: Pipeline | CascadePipeline, tiles: TileOptions, options: PredictOptions = NO_OPTIONS
    ) -> None:
        """Raises InvalidRequestError where the model cannot answer in tiles, or an option does not act on it."""
        manifest = pipeline.manifest
        head = manifest.head
        tiles.check_for(head.task)
        pipeline.check(options)
        if isinstance(head, SegmentationHead) and head.activation == "minmax":
            raise InvalidRequestError(
                f"{manifest.name} cannot answer in tiles: it stretches each image's map between the map's own "
                "extremes (activation minmax), so a tile without foreground would be full of it"
            )
        assert isinstance(head, DetectionHead | SegmentationHead), "checked by its task"
        assert isinstance(manifest, ModelManifest), "a cascade's task is another"
        self._head = head
        self._labels = manifest.labels
        self._tiles = tiles
        self._options = options

    def plan(self, image_hw: tuple[int, int]) -> tuple[Window, ...]:
        """See :func:`plan`."""
        return plan(image_hw, self._tiles)

    def place(self, result: Result, window: Window) -> Result:
        """A tile's result in pixels of the whole image; a segmentation stays a map of its window.

        Raises InvalidRequestError where objects that are more than boxes are to be fused.
        """
        if not isinstance(result, Detections):
            return result
        if self._tiles.merge == "fuse":
            check_fusible(result)
        return shift(result, (window.left, window.top))

    def merge(self, results: Sequence[Result], windows: Sequence[Window], image_hw: tuple[int, int]) -> Result:
        """Join the placed results of all tiles, in the order of the plan; that of a lone tile is the answer."""
        if len(results) == 1:
            return results[0]
        if isinstance(self._head, DetectionHead):
            return self._merge_detections([each for each in results if isinstance(each, Detections)])
        maps = [each for each in results if isinstance(each, SegmentationMap)]
        return self._merge_maps(maps, windows, image_hw, self._head)

    def _merge_detections(self, found: Sequence[Detections]) -> Detections:
        head, tiles = self._head, self._tiles
        assert isinstance(head, DetectionHead), "its results are detections"
        if tiles.merge == "fuse":
            merged = fuse_detections(found, labels=self._labels, threshold=tiles.merge_threshold)
        else:
            threshold = tiles.merge_threshold
            if threshold is None and tiles.criterion != "ios":
                threshold = self._options.iou_threshold
            merged = suppress_detections(found, head.nms, by_smaller=tiles.criterion == "ios", threshold=threshold)
        most = self._options.max_detections
        return merged[: head.max_detections if most is None else most]

    def _merge_maps(
        self,
        maps: Sequence[SegmentationMap],
        windows: Sequence[Window],
        image_hw: tuple[int, int],
        head: SegmentationHead,
    ) -> SegmentationMap:
        alphas = [each.alpha for each in maps if each.alpha is not None]
        if not alphas:
            return SegmentationMap(vote([each.class_map for each in maps], windows, image_hw), None, self._labels)
        alpha = blend(alphas, windows, image_hw)
        threshold = head.threshold if self._options.score_threshold is None else self._options.score_threshold
        return SegmentationMap(foreground(alpha, threshold), alpha, self._labels)


@dataclass(frozen=True, eq=False)
class TiledResult:
    """The answer to one image in tiles.

    Attributes:
        windows: where each tile lies.
        results: of each tile, in pixels of the whole image; a segmentation is a map of its window.
        merged: of the whole image.
    """

    windows: tuple[Window, ...]
    results: tuple[Result, ...]
    merged: Result


def predict_tiles(
    pipeline: Pipeline | CascadePipeline,
    session: Session | CascadeSessions,
    image: ByteArray,
    tiles: TileOptions = DEFAULT_TILES,
    options: PredictOptions = NO_OPTIONS,
) -> TiledResult:
    """Answer one ``(H, W, 3)`` uint8 RGB image in tiles, each with a run of its own.

    This is the definition of correct: whatever batches or serves tiles must answer the same. The merged result of an
    image that fits one tile is that of ``tasks.predict``, to the bit.

    Raises:
        InvalidRequestError: the model cannot answer in tiles, an option does not act on it, or the tiles are too many.
        ModelRunError: the graph failed.
        ModelOutputError: the graph answered NaN, infinity or the wrong shape.
    """
    tiling = Tiling(pipeline, tiles, options)
    assert not isinstance(pipeline, CascadePipeline), "refused by its task"
    assert not isinstance(session, CascadeSessions), "it comes with a cascade's pipeline"
    image_hw = (image.shape[0], image.shape[1])
    windows = tiling.plan(image_hw)
    results = tuple(
        tiling.place(predict_one(pipeline, session, window.cut(image), options), window) for window in windows
    )
    return TiledResult(windows, results, tiling.merge(results, windows, image_hw))
