"""Which parameters are trained, and which of them decay."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from export.training.config import Adam, AdamW, OptimizerSpec, RmsProp, Sgd
from export.training.optim import freeze, make_optimizer, train_mode
from pipelines.errors import RecipeError


def module() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4, 2))


@pytest.mark.parametrize("spec", [Sgd(), RmsProp(), Adam(weight_decay=0.1), AdamW()], ids=lambda spec: spec.kind)
def test_weights_decay_and_biases_and_norms_do_not(spec: OptimizerSpec) -> None:
    net = module()
    decay = {p: group["weight_decay"] for group in make_optimizer(net, spec).param_groups for p in group["params"]}
    for name, parameter in net.named_parameters():
        assert decay[parameter] == (spec.weight_decay if name in ("0.weight", "3.weight") else 0)


def test_frozen_parameters_are_not_given_to_the_optimizer() -> None:
    net = module()
    freeze(net, ["0", "1"])
    given = [p for group in make_optimizer(net, Sgd()).param_groups for p in group["params"]]
    assert {id(p) for p in given} == {id(p) for p in net[3].parameters()}


def test_frozen_norms_keep_their_statistics() -> None:
    net = module()
    train_mode(net, ["1"])
    assert not net[1].training
    assert net[0].training


def test_freezing_a_layer_leaves_those_whose_number_begins_alike() -> None:
    net = nn.Sequential(*(nn.Linear(2, 2) for _ in range(11)))
    freeze(net, ["1"])
    train_mode(net, ["1"])
    assert [name for name, parameter in net.named_parameters() if not parameter.requires_grad] == ["1.weight", "1.bias"]
    assert [name for name, part in net.named_children() if not part.training] == ["1"]


def test_half_of_a_layers_number_is_no_beginning() -> None:
    net = nn.Sequential(nn.Flatten(), *(nn.Linear(2, 2) for _ in range(10)))
    with pytest.raises(RecipeError, match=r"'10\.w' begins none of"):
        freeze(net, ["10.w"])


def test_a_beginning_that_no_parameter_has_is_refused() -> None:
    with pytest.raises(RecipeError, match=r"loop\.freeze must begin parameter names, 'backbone' begins none"):
        freeze(module(), ["backbone"])


def test_something_must_be_left_to_train() -> None:
    net = module()
    freeze(net, ["0", "1", "3"])
    with pytest.raises(RecipeError, match="must leave parameters to train"):
        make_optimizer(net, Sgd())


def test_the_step_is_that_of_the_formula_of_sgd_with_momentum() -> None:
    weight = nn.Linear(1, 1, bias=False)
    nn.init.constant_(weight.weight, 2.0)
    optimizer = make_optimizer(weight, Sgd(learning_rate=0.1, momentum=0.5, weight_decay=0.1))
    value, velocity = 2.0, 0.0
    for _ in range(3):
        optimizer.zero_grad()
        weight(torch.ones(1, 1)).sum().backward()
        optimizer.step()
        velocity = 0.5 * velocity + (1 + 0.1 * value)
        value -= 0.1 * velocity
    assert float(weight.weight.detach()) == pytest.approx(value)
