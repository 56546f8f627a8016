import pytest

from export.statistics import STATISTICS, statistics_for
from pipelines.errors import RecipeError


def test_the_named_statistics_are_those_of_the_contract():
    assert sorted(STATISTICS) == ["coco", "imagenet", "none", "symmetric", "unit"]
    assert statistics_for("imagenet", "rgb") == (255.0, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def test_the_channels_turn_around_for_bgr():
    assert statistics_for("imagenet", "bgr") == (255.0, (0.406, 0.456, 0.485), (0.225, 0.224, 0.229))


def test_gray_takes_one_channel_where_all_are_equal():
    assert statistics_for("symmetric", "gray") == (1.0, (127.5,), (127.5,))


def test_gray_is_refused_where_channels_differ():
    with pytest.raises(RecipeError, match="'imagenet' have three channels, a gray image has one"):
        statistics_for("imagenet", "gray")


def test_an_unknown_name_is_refused():
    with pytest.raises(RecipeError, match=r"must be one of .*'coco'.*, got 'ade20k'"):
        statistics_for("ade20k", "rgb")
