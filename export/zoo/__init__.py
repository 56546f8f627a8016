"""Real pretrained models by name: each recipe pins its files and says how they are fed and read."""

from __future__ import annotations

from collections.abc import Mapping

from export.zoo import centerface, efficientnet_lite0, page_orientation, text_detector, u2netp
from export.zoo.recipe import ZooRecipe

RECIPES: Mapping[str, ZooRecipe] = {
    "centerface": centerface.RECIPE,
    "efficientnet-lite0": efficientnet_lite0.RECIPE,
    "page-orientation": page_orientation.RECIPE,
    "text-detector": text_detector.RECIPE,
    "u2netp": u2netp.RECIPE,
}

__all__ = ["RECIPES", "ZooRecipe"]
