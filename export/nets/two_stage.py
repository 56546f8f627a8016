"""Faster R-CNN with a fixed number of proposals a row, so that a batch of any size is one tensor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn
from torchvision.models.detection.image_list import ImageList
from torchvision.ops import clip_boxes_to_image, roi_align

PROPOSALS = "proposals"
PER_LEVEL = 100
_POOLED, _SAMPLES = 7, 2  # torchvision's box_roi_pool.
_STRIDES = (4, 8, 16, 32)  # of the pyramid levels that boxes are pooled from.
_CANONICAL_LEVEL, _CANONICAL_SIDE = 4, 224.0  # FPN's equation 1 (arXiv:1612.03144).


class FasterRcnnNet(nn.Module):
    """``(N, 3, H, W)`` to class logits ``(N, P, C)``, deltas ``(N, P, 4 C)`` and proposals ``(N, P, 4)`` xyxy.

    Training is torchvision's own. Here the ``PER_LEVEL`` best proposals of each pyramid level go on, without the
    suppression that torchvision does among them: its number of survivors differs from image to image, which no batch
    can hold, and the suppression of the final boxes removes the duplicates. Each proposal is pooled from every level
    and taken from its own, so that no shape depends on the data. The proposals of a level stand in the order of their
    anchors: in that of their scores, two that nearly tie would change places with the rounding of each runtime.
    """

    def __init__(self, net: Any) -> None:
        super().__init__()
        self.net = net

    def forward(self, rows: torch.Tensor, targets: Sequence[Mapping[str, torch.Tensor]] | None = None) -> Any:
        """Raw outputs; or, in training mode with ``targets`` (``boxes``, ``labels`` from 1), losses by name."""
        if targets is not None:
            return self.net(list(rows), targets)
        features = self.net.backbone(rows)
        proposals = self._propose(rows, list(features.values()))  # (N, P, 4)
        pooled = self._pool(list(features.values())[: len(_STRIDES)], proposals)
        logits, deltas = self.net.roi_heads.box_predictor(self.net.roi_heads.box_head(pooled))
        return logits.unflatten(0, proposals.shape[:2]), deltas.unflatten(0, proposals.shape[:2]), proposals

    def _propose(self, rows: torch.Tensor, features: list[torch.Tensor]) -> torch.Tensor:
        """The best proposals of each level, clipped to the row."""
        rpn = self.net.rpn
        objectness, deltas = rpn.head(features)
        size = (rows.shape[2], rows.shape[3])
        anchors = rpn.anchor_generator(ImageList(rows[:1], [size]), features)[0]
        per_level = [scores.shape[1] * scores.shape[2] * scores.shape[3] for scores in objectness]
        chosen = []
        for scores, moves, boxes in zip(objectness, deltas, anchors.split(per_level), strict=True):
            flat = scores.permute(0, 2, 3, 1).flatten(1)  # (N, h * w * A)
            flat_moves = moves.unflatten(1, (-1, 4)).permute(0, 3, 4, 1, 2).flatten(1, 3)  # (N, h * w * A, 4)
            best = flat.topk(min(PER_LEVEL, flat.shape[1]), dim=1).indices.sort(dim=1).values
            picked = torch.gather(flat_moves, 1, best.unsqueeze(-1).expand(-1, -1, 4))
            boxes_of_rows = boxes[best]  # (N, k, 4)
            decoded = rpn.box_coder.decode_single(picked.flatten(0, 1), boxes_of_rows.flatten(0, 1))
            chosen.append(decoded.unflatten(0, best.shape))
        return clip_boxes_to_image(torch.cat(chosen, dim=1), size)

    def _pool(self, features: list[torch.Tensor], proposals: torch.Tensor) -> torch.Tensor:
        """``(N * P, channels, 7, 7)`` of each proposal from the level that fits its size."""
        rows = torch.arange(proposals.shape[0], device=proposals.device, dtype=proposals.dtype)[:, None, None]
        of_row = torch.zeros_like(proposals[..., :1]) + rows  # (N, P, 1)
        regions = torch.cat((of_row, proposals), dim=2).flatten(0, 1)
        sides = (proposals[..., 2:] - proposals[..., :2]).prod(dim=-1).clamp(min=0).sqrt().flatten()
        # 1e-6: as torchvision's LevelMapper, so that a side on the border goes up.
        level = torch.floor(_CANONICAL_LEVEL + torch.log2(sides / _CANONICAL_SIDE + 1e-6)).clamp(2, 5) - 2
        pooled = None
        for i, (feature, stride) in enumerate(zip(features, _STRIDES, strict=True)):
            mine = roi_align(feature, regions, _POOLED, spatial_scale=1 / stride, sampling_ratio=_SAMPLES)
            pooled = mine if pooled is None else torch.where((level == i)[:, None, None, None], mine, pooled)
        assert pooled is not None
        return pooled
