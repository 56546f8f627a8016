"""U-Net: masks as large as the rows, made by transposed convolutions."""

from __future__ import annotations

import pytest
import torch
from pydantic import ValidationError
from torch import nn

from export.nets import build_model
from export.nets.specs import UNet
from pipelines.specs import Pad, Stretch


@pytest.mark.parametrize("hw", [(32, 32), (64, 32), (8, 40)])
def test_masks_are_as_large_as_the_rows(hw: tuple[int, int]) -> None:
    module = build_model(UNet(width=4, levels=3), num_classes=3).module.eval()
    assert module(torch.randn(2, 3, *hw)).shape == (2, 3, *hw)


def test_each_level_is_doubled_by_a_transposed_convolution() -> None:
    module = build_model(UNet(width=4, levels=3), num_classes=2).module
    doubling = [part for part in module.modules() if isinstance(part, nn.ConvTranspose2d)]
    assert [(part.in_channels, part.out_channels, part.stride) for part in doubling] == [
        (8, 4, (2, 2)),
        (16, 8, (2, 2)),
        (32, 16, (2, 2)),
    ]


def test_fine_maps_reach_the_output_past_the_coarse_ones() -> None:
    module = build_model(UNet(color="gray", width=4, levels=2), num_classes=2).module.eval()
    rows = torch.zeros(1, 1, 32, 32)
    changed = rows.clone()
    changed[0, 0, 16, 16] = 5
    moved = (module(changed) - module(rows)).abs().amax(dim=1)[0]
    assert moved[16, 16] > 0


def test_an_image_keeps_its_size_unless_one_is_named() -> None:
    fits = [build_model(UNet(width=4, levels=3, size_hw=size), num_classes=2).image.fit for size in (None, (64, 96))]
    assert fits == [
        Pad(kind="pad", multiple_of=8, pad_value=0, max_longer=2048),
        Stretch(kind="stretch", size_hw=(64, 96)),
    ]


def test_a_size_that_cannot_be_halved_is_refused() -> None:
    with pytest.raises(ValidationError, match="size_hw must be multiples of 16"):
        UNet(levels=4, size_hw=(40, 64))
