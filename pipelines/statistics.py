"""Statistics that have a name on the command line; a manifest holds their numbers, never the name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from pipelines.errors import RecipeError


@dataclass(frozen=True)
class Statistics:
    """``row = (pixels / scale - mean) / std``, channels in the order red, green, blue."""

    scale: float
    mean: tuple[float, float, float]
    std: tuple[float, float, float]


STATISTICS: Mapping[str, Statistics] = {
    "coco": Statistics(255.0, (0.471, 0.448, 0.408), (0.234, 0.239, 0.242)),
    "imagenet": Statistics(255.0, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "none": Statistics(1.0, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
    "symmetric": Statistics(1.0, (127.5, 127.5, 127.5), (127.5, 127.5, 127.5)),
    "unit": Statistics(255.0, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
}


def statistics_for(
    name: str, color: Literal["rgb", "bgr", "gray"]
) -> tuple[float, tuple[float, ...], tuple[float, ...]]:
    """Scale, mean and std in the channel order of ``color``; raises RecipeError for a name or colour that has none."""
    if name not in STATISTICS:
        raise RecipeError(f"statistics must be one of {sorted(STATISTICS)}, got {name!r}")
    chosen = STATISTICS[name]
    if color == "rgb":
        return chosen.scale, chosen.mean, chosen.std
    if color == "bgr":
        return chosen.scale, chosen.mean[::-1], chosen.std[::-1]
    if len({*chosen.mean}) > 1:
        raise RecipeError(f"statistics {name!r} have three channels, a gray image has one: give scale, mean and std")
    return chosen.scale, chosen.mean[:1], chosen.std[:1]
