"""Per-request options: each is checked, and one that does not act on the model's task is refused."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

from pipelines.errors import InvalidRequestError

ACTING_OPTIONS = {
    "cascade": frozenset({"score_threshold", "iou_threshold", "max_detections", "top_k"}),
    "classification": frozenset({"score_threshold", "top_k"}),
    "detection": frozenset({"score_threshold", "iou_threshold", "max_detections"}),
    "segmentation": frozenset({"score_threshold"}),
    "embedding": frozenset[str](),
}
MAX_COUNT = 100_000


@dataclass(frozen=True, kw_only=True)
class PredictOptions:
    """What a request may change; ``None`` means the manifest's own value.

    Attributes:
        score_threshold: least score of a detection or of a class of a multi-label model, or least foreground
            probability of a pixel; 0 to 1.
        iou_threshold: of non-maximum suppression; 0 to 1.
        max_detections: most detections to return; 1 to 100,000.
        top_k: most classes to return; 1 to 100,000.
    """

    score_threshold: float | None = None
    iou_threshold: float | None = None
    max_detections: int | None = None
    top_k: int | None = None

    def __post_init__(self) -> None:
        for name in ("score_threshold", "iou_threshold"):
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and 0 <= value <= 1):
                raise InvalidRequestError(f"{name} must be between 0 and 1, got {value}")
        for name in ("max_detections", "top_k"):
            value = getattr(self, name)
            if value is not None and not 1 <= value <= MAX_COUNT:
                raise InvalidRequestError(f"{name} must be between 1 and {MAX_COUNT:,}, got {value}")

    def check_for(self, task: str) -> None:
        """Raise InvalidRequestError where an option is set that does not act on ``task``."""
        acting = ACTING_OPTIONS[task]
        for field in fields(self):
            if getattr(self, field.name) is not None and field.name not in acting:
                known = ", ".join(sorted(acting)) or "none"
                raise InvalidRequestError(f"{field.name} does not apply to {task} (options that do: {known})")
