"""Starting from weights that were trained before."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from export.training.start import start_from
from pipelines.errors import RecipeError


def net(classes: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(4, 8), nn.Linear(8, classes))


def test_what_fits_is_taken_and_another_head_stays_behind(tmp_path: Path) -> None:
    before, after = net(10), net(3)
    torch.save(before.state_dict(), tmp_path / "weights.pth")
    assert start_from(after, tmp_path / "weights.pth").startswith("2 of 4 tensors start from")
    assert torch.equal(before[0].weight, after[0].weight)


def test_weights_of_torchvision_fit_the_model_that_wraps_it(tmp_path: Path) -> None:
    inner = net(3)
    torch.save(inner.state_dict(), tmp_path / "weights.pth")
    wrapper = nn.Module()
    wrapper.net = net(3)
    start_from(wrapper, tmp_path / "weights.pth")
    assert torch.equal(inner[1].weight, wrapper.net[1].weight)


def test_weights_of_which_nothing_fits_are_refused(tmp_path: Path) -> None:
    torch.save({"other": torch.zeros(2)}, tmp_path / "weights.pth")
    with pytest.raises(RecipeError, match=r"none of the 1 in .* does"):
        start_from(net(3), tmp_path / "weights.pth")
