"""Masks brought into the row lie where the pixels lie."""

from __future__ import annotations

import numpy as np
import pytest

from export.data.dataset import IGNORED
from export.training.mask_rows import mask_to_row
from pipelines.preprocess import fit_pixels
from pipelines.specs import CenterCrop, Fit, Letterbox, Pad, Stretch
from tests import builders

FITS: dict[str, Fit] = {
    "stretch": Stretch(kind="stretch", size_hw=(24, 40)),
    "pad": Pad(kind="pad", multiple_of=16, pad_value=9, max_longer=None),
    "letterbox": Letterbox(
        kind="letterbox",
        size_hw=(48, 48),
        size_rounding="nearest",
        pad_value=9,
        pad_position="center",
        pad_rounding="floor",
        scale_up=True,
    ),
    "center_crop": CenterCrop(
        kind="center_crop", size_hw=(16, 16), resize_shorter=22, size_rounding="floor", offset_rounding="nearest"
    ),
}


@pytest.mark.parametrize("name", FITS)
def test_a_mask_lies_where_its_pixels_lie(name: str) -> None:
    mask = np.random.default_rng(0).integers(0, 2, (5, 7), dtype=np.uint8).repeat(6, axis=0).repeat(5, axis=1)
    image = np.repeat(mask[..., None] * np.uint8(200) + np.uint8(20), 3, axis=2)
    spec = builders.image_spec(fit=FITS[name], resample="nearest")
    pixels, affine = fit_pixels(image, spec)
    row = mask_to_row(mask, affine)
    shown = row != IGNORED
    assert (pixels[..., 0][~shown] == 9).all()
    found = pixels[..., 0][shown] == 220
    assert (found == row[shown]).mean() > 0.97  # nearest by corners and by centres differ at the edges of blocks.


def test_padding_is_not_counted() -> None:
    spec = builders.image_spec(fit=FITS["pad"], resample="nearest")
    affine = fit_pixels(np.zeros((10, 20, 3), np.uint8), spec)[1]
    row = mask_to_row(np.ones((10, 20), np.uint8), affine)
    assert row.shape == (16, 32)
    assert (row[:10, :20] == 1).all()
    assert (row == IGNORED).sum() == 16 * 32 - 10 * 20
