"""Augmentations: one random placement applied to pixels, boxes, masks and landmarks alike, then colours."""

from export.training.augment.apply import augment
from export.training.augment.scene import Scene
from export.training.augment.spec import Augment

__all__ = ["Augment", "Scene", "augment"]
