"""Training recipes by name: real data, a held-out split, and the figure to expect."""

from __future__ import annotations

from collections.abc import Mapping

from export.training.recipes import digits, nuclei, orl_faces, trees
from export.training.recipes.recipe import Recipe

RECIPES: Mapping[str, Recipe] = {
    "digits": digits.RECIPE,
    "nuclei": nuclei.RECIPE,
    "orl-faces": orl_faces.RECIPE,
    "trees": trees.RECIPE,
}

__all__ = ["RECIPES", "Recipe"]
