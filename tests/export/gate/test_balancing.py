import pytest
import torch
from torch import nn

from export.gate.balancing import balance_classes
from export.gate.scaling import GAIN, scale_last_layers
from export.subject import Scaling
from tests.export.gate.test_scaling import batches

CLASSES = 6


class _Sum(nn.Module):
    """Two layers whose outputs are added after an interpolation, as in LR-ASPP."""

    def __init__(self) -> None:
        super().__init__()
        self.low, self.high = nn.Conv2d(3, CLASSES, 1), nn.Conv2d(3, CLASSES, 3, stride=2, padding=1, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.low(x) + nn.functional.interpolate(self.high(x), size=x.shape[2:], mode="bilinear")


def one_line_net() -> nn.Sequential:
    """Scores that are nearly multiples of one value, as a deep random network's are: two classes win everywhere."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, CLASSES, 1))
    with torch.no_grad():
        net[2].weight.copy_(torch.randn(CLASSES, 1, 1, 1) + 0.05 * torch.randn(CLASSES, 8, 1, 1))
    return net


@torch.no_grad()
def shares(net: nn.Module, data: list[torch.Tensor]) -> torch.Tensor:
    wins = torch.cat([net(batch).argmax(1).flatten() for batch in data])
    return torch.bincount(wins, minlength=CLASSES) / len(wins)


def test_scores_along_one_line_become_an_even_share_for_every_class():
    net, data = one_line_net(), batches(2, 3, 40, 40)
    before = shares(net, data)
    balance_classes(net, data, ("2",), gain=GAIN)
    assert float(before.min()) < 0.01
    torch.testing.assert_close(shares(net, data), torch.full((CLASSES,), 1 / CLASSES), atol=0.02, rtol=0)


@torch.no_grad()
def test_scores_are_uncorrelated_with_the_gain_as_deviation():
    net, data = one_line_net(), batches(2, 3, 48, 48)
    balance_classes(net, data, ("2",), gain=GAIN)
    values = torch.cat([net(batch).movedim(1, -1).flatten(0, 2) for batch in data])
    covariance = torch.cov(values.T)
    # A part of the pixels is measured: 1,000 of each row's 2,116.
    torch.testing.assert_close(covariance, GAIN**2 * torch.eye(CLASSES), atol=0.05 * GAIN**2, rtol=0)


def test_layers_whose_outputs_are_added_are_balanced_together_and_a_missing_bias_is_made():
    torch.manual_seed(0)
    net, data = _Sum(), batches(2, 3, 40, 40)
    (done,) = scale_last_layers(net, data, Scaling(layers=("low", "high"), balanced=True))
    assert done.startswith("low + high: classes uncorrelated")
    assert net.high.bias is not None
    torch.testing.assert_close(shares(net, data), torch.full((CLASSES,), 1 / CLASSES), atol=0.02, rtol=0)


def test_rows_of_all_sizes_have_the_same_say():
    net, (small, *_), (large, *_) = one_line_net(), batches(1, 3, 20, 20), batches(1, 3, 90, 90)
    balance_classes(net, [small, large * 3 + 1], ("2",), gain=GAIN)
    both = (shares(net, [small]) + shares(net, [large * 3 + 1])) / 2
    torch.testing.assert_close(both, torch.full((CLASSES,), 1 / CLASSES), atol=0.03, rtol=0)


def test_a_layer_that_is_no_convolution_cannot_be_balanced():
    with pytest.raises(TypeError, match="1 must be a Conv2d, it is a ReLU"):
        balance_classes(nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU()), batches(1, 3, 8, 8), ("1",), gain=GAIN)
