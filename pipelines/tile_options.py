"""How a request wants a large image cut into tiles and their results joined."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from pipelines.errors import InvalidRequestError

Merge: TypeAlias = Literal["suppress", "fuse"]
Criterion: TypeAlias = Literal["iou", "ios"]

MERGES = ("suppress", "fuse")
CRITERIA = ("iou", "ios")
MIN_SIZE, MAX_SIZE = 32, 16_384
MAX_OVERLAP = 0.9
MAX_TILES = 1024


@dataclass(frozen=True, kw_only=True)
class TileOptions:
    """Raises InvalidRequestError for a value out of range.

    Attributes:
        size: width and height of a tile in pixels, 32 to 16,384; an image that is smaller is one tile.
        overlap: share of a tile that its neighbour also sees, at least; 0 to 0.9. The default is that of SAHI
            (arXiv:2202.06934), as is the idea of the whole image beside its tiles.
        whole_image: answer the whole image as one more tile, for objects larger than a tile; detection alone.
        max_tiles: an image of more tiles is refused; 1 to 1,024.
        merge: detection: ``suppress`` (the default) keeps the best of those that overlap, ``fuse`` makes them one box.
        criterion: of ``suppress``: ``iou`` (the default) compares as the head's own suppression does, ``ios`` by the
            intersection over the smaller of two boxes, which finds the part of an object that a tile's edge cut.
        merge_threshold: detection: overlap above which two are one object, 0 to 1; unset: the request's or the head's
            own ``iou_threshold`` (0.5 where it has none), 0.5 for ``ios``, 0.55 for ``fuse``.
    """

    size: int = 640
    overlap: float = 0.2
    whole_image: bool = False
    max_tiles: int = MAX_TILES
    merge: Merge | None = None
    criterion: Criterion | None = None
    merge_threshold: float | None = None

    def __post_init__(self) -> None:
        _require("tile size", self.size, MIN_SIZE, MAX_SIZE)
        _require("tile overlap", self.overlap, 0, MAX_OVERLAP)
        _require("max_tiles", self.max_tiles, 1, MAX_TILES)
        if self.merge not in (None, *MERGES):
            raise InvalidRequestError(f"merge must be one of {', '.join(MERGES)}, got {self.merge!r}")
        if self.criterion not in (None, *CRITERIA):
            raise InvalidRequestError(f"criterion must be one of {', '.join(CRITERIA)}, got {self.criterion!r}")
        if self.merge == "fuse" and self.criterion is not None:
            raise InvalidRequestError(
                f"criterion does not apply to merge fuse, which measures IoU, got {self.criterion}"
            )
        if self.merge_threshold is not None:
            _require("merge_threshold", self.merge_threshold, 0, 1)

    def check_for(self, task: str) -> None:
        """Raise InvalidRequestError where ``task`` cannot be answered in tiles, or an option does not act on it."""
        if task not in ("detection", "segmentation"):
            raise InvalidRequestError(f"tiles apply to detection and segmentation, not to {task}")
        if task == "segmentation":
            acting = {"merge": self.merge, "criterion": self.criterion, "merge_threshold": self.merge_threshold}
            idle = [name for name, value in acting.items() if value is not None]
            idle += ["whole_image"] if self.whole_image else []
            if idle:
                raise InvalidRequestError(f"{idle[0]} does not apply to segmentation in tiles")


def _require(name: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:  # NaN, too
        raise InvalidRequestError(f"{name} must be between {low:,} and {high:,}, got {value:,}")


DEFAULT_TILES = TileOptions()
