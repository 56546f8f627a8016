import pytest
import torch
from torch.nn import functional

from export.zoo.efficientnet_lite0_net import STAGES, ConvNorm, EfficientNetLite0, from_published
from pipelines.errors import RecipeError

PARAMETERS = 4_652_008  # 4.7 million, as the published network


def published_names(model):
    """A state as the published file names it."""
    top = {"stem.conv": "_conv_stem", "stem.norm": "_bn0", "head.conv": "_conv_head", "head.norm": "_bn1"}
    top["classifier"] = "_fc"
    inner = {"expand.conv": "_expand_conv", "expand.norm": "_bn0", "depthwise.conv": "_depthwise_conv"}
    inner |= {"depthwise.norm": "_bn1", "project.conv": "_project_conv", "project.norm": "_bn2"}
    state = {}
    for key, value in model.state_dict().items():
        if key.startswith("blocks."):
            _, index, part, kind, rest = key.split(".")
            state[f"_blocks.{index}.{inner[f'{part}.{kind}']}.{rest}"] = value
        else:
            name = next(name for name in top if key.startswith(name))
            state[key.replace(name, top[name])] = value
    return state


def test_the_network_has_the_published_size():
    model = EfficientNetLite0()
    assert sum(parameter.numel() for parameter in model.parameters()) == PARAMETERS
    assert len(model.blocks) == sum(stage.repeats for stage in STAGES) == 16


def test_published_names_all_find_their_place():
    torch.manual_seed(0)
    model = EfficientNetLite0().eval()
    loaded = from_published(published_names(model))
    assert not loaded.training
    x = torch.randn(1, 3, 64, 64)
    with torch.inference_mode():
        assert torch.equal(loaded(x), model(x))


@pytest.mark.parametrize("change", ["missing", "extra", "unknown"])
def test_weights_of_another_network_are_refused(change):
    state = published_names(EfficientNetLite0())
    if change == "missing":
        del state["_fc.bias"]
    else:
        state["_blocks.0._expand_conv.weight" if change == "extra" else "layer1.weight"] = torch.zeros(1)
    with pytest.raises(RecipeError, match="the weights are not those of EfficientNet-Lite0"):
        from_published(state)


@pytest.mark.parametrize(("kernel", "stride"), [(1, 1), (3, 1), (3, 2), (5, 1), (5, 2)])
def test_padding_is_tensorflows_same_for_even_sizes(kernel, stride):
    torch.manual_seed(0)
    layer = ConvNorm(2, 2, kernel=kernel, stride=stride).eval()
    x = torch.randn(1, 2, 12, 12)
    # SAME, by its definition: out = ceil(in / stride), the smaller half of the padding before.
    total = max((-(-12 // stride) - 1) * stride + kernel - 12, 0)
    padded = functional.pad(x, (total // 2, total - total // 2) * 2)
    with torch.inference_mode():
        expected = layer.activation(layer.norm(functional.conv2d(padded, layer.conv.weight, stride=stride)))
        assert torch.equal(layer(x), expected)
    assert layer(x).shape == (1, 2, 12 // stride, 12 // stride)
