import pytest
import torch
from torch import nn

from export.gate.scaling import GAIN, scale_last_layers, settle_batch_norm
from export.subject import Scaling
from tests.export.subjects import AnchorNet


def batches(*shape: int) -> list[torch.Tensor]:
    return [torch.randn(*shape, generator=torch.Generator().manual_seed(i)) for i in range(3)]


@torch.no_grad()
def test_each_channel_of_a_scaled_layer_has_mean_0_and_the_gain_as_deviation():
    net, data = AnchorNet(), batches(2, 3, 64, 96)
    scale_last_layers(net, data, Scaling(layers=("last",)))
    values = torch.cat([net(batch)[0] for batch in data])
    assert abs(float(values.mean())) < 1e-3
    assert float(values.std()) == pytest.approx(GAIN, rel=1e-2)


@torch.no_grad()
def test_a_layer_of_zeros_is_drawn_the_same_each_time():
    nets, data = [AnchorNet(), AnchorNet()], batches(2, 3, 64, 96)
    for net in nets:
        net.last.weight.zero_()
        (done,) = scale_last_layers(net, data, Scaling(layers=("last",)))
        assert "weights were 0 and are drawn" in done
    assert float(torch.cat([nets[0](batch)[0] for batch in data]).std()) == pytest.approx(GAIN, rel=1e-2)
    assert torch.equal(nets[0].last.weight, nets[1].last.weight)


@torch.no_grad()
def test_as_many_values_are_confident_as_were_asked_for():
    net, data = AnchorNet(), batches(2, 3, 64, 96)
    scale_last_layers(net, data, Scaling(layers=("last",), confident=25, level=-1.0))
    count = sum(int((net(batch)[0] > -1.0).sum()) for batch in data)
    assert count == pytest.approx(25 * 6, abs=3)  # the value at the level itself may round to either side


@torch.no_grad()
def test_the_background_is_raised_above_the_classes():
    plain, raised, data = AnchorNet(), AnchorNet(), batches(1, 3, 64, 96)
    scale_last_layers(plain, data, Scaling(layers=("last",)))
    scale_last_layers(raised, data, Scaling(layers=("last",), background=(3, 0)))
    difference = raised(data[0])[0] - plain(data[0])[0]
    torch.testing.assert_close(difference[..., 1:], torch.zeros_like(difference[..., 1:]))
    assert float(difference[..., 0].min()) > GAIN


@torch.no_grad()
def test_batch_norm_takes_the_statistics_of_what_it_sees_and_stays_in_eval_mode():
    net, data = nn.Sequential(nn.BatchNorm2d(3)), [batch * 5 + 2 for batch in batches(4, 3, 8, 8)]
    assert settle_batch_norm(net, data) == 1
    assert not net[0].training
    values = net(torch.cat(data))
    assert abs(float(values.mean())) < 0.05
    assert float(values.std()) == pytest.approx(1, rel=0.05)


def test_a_layer_that_cannot_be_scaled_is_refused():
    with pytest.raises(TypeError, match="0 must be a Conv2d or Linear, it is a ReLU"):
        scale_last_layers(nn.Sequential(nn.ReLU()), batches(1, 3, 4, 4), Scaling(layers=("0",)))
