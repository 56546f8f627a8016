"""Decoders: raw outputs of a detection head to candidates, one file a head family."""

from collections.abc import Mapping
from typing import Any, Protocol

from pipelines.decoders import (
    box_delta,
    center_heatmap,
    end_to_end,
    fcos,
    probability_map,
    retina_landmarks,
    set_prediction,
    yolo_dfl,
    yolo_grid,
    yolo_v5,
    yolox,
)
from pipelines.decoders.candidates import Candidates
from pipelines.types import AnyArray


class Decoder(Protocol):
    """A pure function; ``spec`` is the decoder's own model from ``pipelines.specs``. Raises ModelOutputError."""

    def __call__(
        self, outputs: Mapping[str, AnyArray], spec: Any, *, row_hw: tuple[int, int], score_threshold: float
    ) -> Candidates:
        """Decode the outputs of one row, without batch axis."""
        ...


DECODERS: Mapping[str, Decoder] = {
    "box_delta": box_delta.decode,
    "center_heatmap": center_heatmap.decode,
    "end_to_end": end_to_end.decode,
    "fcos": fcos.decode,
    "probability_map": probability_map.decode,
    "retina_landmarks": retina_landmarks.decode,
    "set_prediction": set_prediction.decode,
    "yolo_dfl": yolo_dfl.decode,
    "yolo_grid": yolo_grid.decode,
    "yolo_v5": yolo_v5.decode,
    "yolox": yolox.decode,
}

__all__ = ["DECODERS", "Candidates", "Decoder"]
