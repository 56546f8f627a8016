"""Published weights that recipes start from: EfficientNet-Lite0's, trained on ImageNet (Apache-2.0, 19 MB)."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import torch

from export.nets.efficientnet_features import published_weights
from export.zoo.efficientnet_lite0 import RECIPE as EFFICIENTNET
from export.zoo.efficientnet_lite0_net import from_published
from export.zoo.fetch import fetch_members


def fetch_backbone(root: Path, report: Callable[[str], None]) -> Path:
    """The file of them below ``root``, each named as a model whose ``backbone`` it is names its own."""
    target = root / "weights" / "efficientnet-lite0-backbone.pth"
    if target.exists():
        report(f"already there: {target}")
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".weights-", dir=target.parent) as temporary:
        published = fetch_members(EFFICIENTNET.members, Path(temporary), report=report)["weights"]
        model = from_published(torch.load(published, map_location="cpu", weights_only=True))
        unfinished = Path(temporary) / target.name
        torch.save(published_weights(model, "backbone"), unfinished)
        unfinished.replace(target)
    return target
