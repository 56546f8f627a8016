"""A torch detector that answers what a graph with suppression answers: the truth for its golden samples."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from export.passes.nms_in_graph import OUTPUT
from pipelines.decoders import DECODERS
from pipelines.session import Session, split_rows
from pipelines.specs import DetectionHead, TensorSpec
from pipelines.suppress import suppress
from pipelines.types import AnyArray


class SuppressedSession:
    """Runs ``raw`` and suppresses on the host by ``head``. See ``pipelines.session.Session``."""

    provider = "torch"

    def __init__(self, raw: Session, head: DetectionHead, *, row_hw: tuple[int, int]) -> None:
        """``raw`` answers the outputs that ``head`` decodes, for rows of ``row_hw``."""
        self._raw, self._head, self._row_hw = raw, head, row_hw
        self.inputs = raw.inputs
        self.outputs: tuple[TensorSpec, ...] = (
            TensorSpec(name=OUTPUT, dtype="float32", shape=("batch", head.max_detections, 6)),
        )

    def run(self, feeds: Mapping[str, AnyArray]) -> dict[str, AnyArray]:
        """Run a batch; ``(N, max_detections, 6)``, padded with -1. Raises ModelRunError, ModelOutputError."""
        rows = split_rows(self._raw.run(feeds), expected_rows=len(feeds[self.inputs[0].name]))
        return {OUTPUT: np.stack([self._detections(row) for row in rows])}

    def close(self) -> None:
        """Close the session behind."""
        self._raw.close()

    def _detections(self, outputs: Mapping[str, AnyArray]) -> AnyArray:
        head = self._head
        found = DECODERS[head.decoder.kind](
            outputs, head.decoder, row_hw=self._row_hw, score_threshold=head.score_threshold
        )
        kept, scores = suppress(
            found.boxes, found.scores, found.class_ids, head.nms, score_threshold=head.score_threshold
        )
        kept, scores = kept[: head.max_detections], scores[: head.max_detections]
        lines = np.full((head.max_detections, 6), -1, np.float32)
        lines[: len(kept), :4] = found.boxes[kept]
        lines[: len(kept), 4] = scores
        lines[: len(kept), 5] = found.class_ids[kept]
        return lines
