"""Families of outputs that the doctor knows, one file each."""

from collections.abc import Callable, Iterator, Mapping

from export.doctor.families import (
    anchor_grids,
    box_delta,
    center_heatmap,
    end_to_end,
    fcos,
    listed_rows,
    pixel_maps,
    retina_landmarks,
    set_prediction,
    vectors,
    yolo_dfl,
)
from export.doctor.proposal import Proposal
from export.doctor.sighting import Sighting

# Each lists the readings that its family has of what was seen; none where nothing fits.
FAMILIES: Mapping[str, Callable[[Sighting], Iterator[Proposal]]] = {
    "anchor_grids": anchor_grids.propose,
    "box_delta": box_delta.propose,
    "center_heatmap": center_heatmap.propose,
    "end_to_end": end_to_end.propose,
    "fcos": fcos.propose,
    "listed_rows": listed_rows.propose,
    "pixel_maps": pixel_maps.propose,
    "retina_landmarks": retina_landmarks.propose,
    "set_prediction": set_prediction.propose,
    "vectors": vectors.propose,
    "yolo_dfl": yolo_dfl.propose,
}

__all__ = ["FAMILIES"]
