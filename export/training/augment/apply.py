"""Drawing one random placement, applying it once, then changing colours."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from export.training.augment.color import jitter
from export.training.augment.scene import Scene
from export.training.augment.spec import Augment
from export.training.augment.warp import Matrix, about, identity, scaled, shifted, turned, warp


def augment(scene: Scene, spec: Augment, rng: np.random.Generator) -> Scene:
    """Change a scene as ``spec`` says, at random: all moves are one matrix, so pixels are interpolated only once."""
    matrix, out_hw = draw_placement(scene.hw, spec, rng)
    moved = scene
    if out_hw != scene.hw or not np.array_equal(matrix, identity()):
        moved = warp(scene, matrix, out_hw, fill=spec.fill, min_visible=spec.min_visible)
    return replace(moved, image=jitter(moved.image, spec, rng))


def draw_placement(hw: tuple[int, int], spec: Augment, rng: np.random.Generator) -> tuple[Matrix, tuple[int, int]]:
    """A random affine from an image of ``hw`` to its picture, and the picture's size.

    The image is mirrored, turned and scaled about its centre and shifted; then the window is cut, at a place that
    shows as much of the image as it can.
    """
    height, width = hw
    mirror_x = -1 if rng.random() < spec.flip_horizontal else 1
    mirror_y = -1 if rng.random() < spec.flip_vertical else 1
    quarters = int(rng.integers(4)) if spec.quarter_turns else 0
    degrees = 90 * quarters + spec.rotate_degrees * rng.uniform(-1, 1)
    factor = float(np.exp(rng.uniform(*np.log(spec.scale))))
    shift_x, shift_y = spec.translate * rng.uniform(-1, 1, size=2) * (width, height)
    place_y, place_x = rng.random(2)
    about_centre = turned(degrees) @ scaled(mirror_x * factor, mirror_y * factor)
    if spec.crop_hw is None:
        # Turned by a quarter, an oblong image keeps its shape only in a picture turned like it.
        out_hw = (width, height) if quarters % 2 else hw
        centre = shifted(out_hw[1] / 2, out_hw[0] / 2) @ about_centre @ shifted(-width / 2, -height / 2)
        return shifted(shift_x, shift_y) @ centre, out_hw
    around = about(about_centre, width / 2, height / 2)
    corners = np.array([[0, 0, 1], [width, 0, 1], [0, height, 1], [width, height, 1]], np.float64) @ around.T
    (left, top), (right, bottom) = corners[:, :2].min(axis=0), corners[:, :2].max(axis=0)
    crop_height, crop_width = spec.crop_hw
    # Whole pixels, so that an image of its own size and direction is cut without interpolation.
    x = np.floor(left + place_x * (right - left - crop_width) + 0.5)
    y = np.floor(top + place_y * (bottom - top - crop_height) + 0.5)
    return shifted(shift_x - x, shift_y - y) @ around, spec.crop_hw
