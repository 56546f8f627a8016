"""Named statistics: the contract's numbers, and the rows that they make."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pipelines.errors import RecipeError
from pipelines.preprocess import normalize
from pipelines.statistics import STATISTICS, statistics_for
from tests.builders import image_spec


def test_the_named_statistics_are_those_of_the_contract() -> None:
    assert sorted(STATISTICS) == ["coco", "imagenet", "none", "symmetric", "unit"]
    assert statistics_for("imagenet", "rgb") == (255.0, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def test_the_channels_turn_around_for_bgr() -> None:
    assert statistics_for("imagenet", "bgr") == (255.0, (0.406, 0.456, 0.485), (0.225, 0.224, 0.229))


def test_gray_takes_one_channel_where_all_are_equal() -> None:
    assert statistics_for("symmetric", "gray") == (1.0, (127.5,), (127.5,))


def test_gray_is_refused_where_channels_differ() -> None:
    with pytest.raises(RecipeError, match="'imagenet' have three channels, a gray image has one"):
        statistics_for("imagenet", "gray")


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(RecipeError, match=r"must be one of .*'coco'.*, got 'ade20k'"):
        statistics_for("ade20k", "rgb")


def test_imagenet_is_what_torchvision_s_weights_were_trained_with() -> None:
    models = pytest.importorskip("torchvision.models", reason="the oracle is in the export extra")
    transforms = models.ResNet18_Weights.IMAGENET1K_V1.transforms()
    scale, mean, std = statistics_for("imagenet", "rgb")
    assert (scale, list(mean), list(std)) == (255.0, transforms.mean, transforms.std)


@pytest.mark.parametrize(
    ("name", "darkest", "brightest"),
    [
        ("none", 0, 255),
        ("unit", 0, 1),
        ("symmetric", -1, 1),
        ("coco", [-0.471 / 0.234, -0.448 / 0.239, -0.408 / 0.242], [0.529 / 0.234, 0.552 / 0.239, 0.592 / 0.242]),
    ],
)
def test_statistics_stretch_levels_to_their_range(name: str, darkest: Any, brightest: Any) -> None:
    scale, mean, std = statistics_for(name, "rgb")
    spec = image_spec(scale=scale, mean=mean, std=std, layout="hwc")
    row = normalize(np.array([[[0] * 3, [255] * 3]], np.uint8), spec)
    np.testing.assert_allclose(row[0, 0], darkest, rtol=1e-6)  # rounded to float32 once
    np.testing.assert_allclose(row[0, 1], brightest, rtol=1e-6)  # as above
