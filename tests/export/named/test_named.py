"""torchvision's models by name: recipes as published, anchors as torchvision's own, the whole list through the gate."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torchvision.models.detection.image_list import ImageList

from export.draft import ExportChoices
from export.exporters import export_subject
from export.named.table import named_subject, names
from export.subject import Subject
from pipelines.anchors import make_anchors
from pipelines.errors import RecipeError

# Rows as small as still hold something to compare: what is wrong with a graph does not need large ones.
REQUIRED = {
    "resnet18": (64, 64),
    "mobilenet_v3_small": (64, 64),
    "mobilenet_v3_large": (64, 64),
    "efficientnet_b0": (64, 64),
    "vit_b_16": None,  # its position embeddings are for 224 x 224
    "vgg16": (64, 64),
    "densenet121": (64, 64),
    "inception_v3": (96, 96),
    "retinanet_resnet50_fpn": (96, 128),
    "ssdlite320_mobilenet_v3_large": (160, 192),
    "fcos_resnet50_fpn": (96, 128),
    "fasterrcnn_resnet50_fpn": (96, 128),
    "deeplabv3_mobilenet_v3_large": (96, 128),
    "lraspp_mobilenet_v3_large": (96, 128),
    "fcn_resnet50": (96, 128),
}
SSDLITE_MAPS_HW = [(side, side) for side in (20, 10, 5, 3, 2, 1)]


@pytest.fixture(scope="module")
def ssdlite() -> Subject:
    return named_subject("ssdlite320_mobilenet_v3_large")


def test_every_required_model_has_a_name():
    assert set(REQUIRED) <= set(names())


def test_a_name_has_the_same_random_weights_each_time():
    first, second = (named_subject("mobilenet_v3_small").module.state_dict() for _ in range(2))
    assert all(torch.equal(first[key], second[key]) for key in first)


def test_a_classifier_is_fed_as_its_published_weights_want_it():
    image = named_subject("inception_v3").image
    assert (image.fit.size_hw, image.fit.resize_shorter, image.resample) == ((299, 299), 342, "pil_bilinear")
    assert image.mean == (0.485, 0.456, 0.406)


def assert_anchors_are_torchvisions(subject: Subject, hw: tuple[int, int], maps_hw: list[tuple[int, int]]) -> None:
    """Compare with torchvision's own generator on empty feature maps: it reads their sizes alone."""
    maps = [torch.zeros(1, 1, *map_hw) for map_hw in maps_hw]
    expected = subject.module.net.anchor_generator(ImageList(torch.zeros(1, 3, *hw), [hw]), maps)[0].numpy()
    anchors = make_anchors(subject.head.decoder.anchors, hw)
    # torchvision makes fractions in float32 and multiplies them by up to 320.
    np.testing.assert_allclose(anchors.at(np.arange(len(anchors))), expected, atol=1e-3)


def test_the_default_boxes_of_ssdlite_are_those_of_torchvision(ssdlite):
    assert_anchors_are_torchvisions(ssdlite, (320, 320), SSDLITE_MAPS_HW)


def test_the_anchors_of_retinanet_are_those_of_torchvision():
    maps_hw = [(16, 20), (8, 10), (4, 5), (2, 3), (1, 2)]
    assert_anchors_are_torchvisions(named_subject("retinanet_resnet50_fpn"), (128, 160), maps_hw)


def test_the_outputs_of_a_head_are_decoded_as_torchvision_does_itself(ssdlite):
    with torch.no_grad():
        rows = torch.rand(1, 3, 320, 320, generator=torch.Generator().manual_seed(0))
        classes, deltas = ssdlite.module(rows)
        maps = list(ssdlite.module.net.backbone(rows).values())
        expected = ssdlite.module.net.head(maps)
    assert [tuple(one.shape[2:]) for one in maps] == SSDLITE_MAPS_HW
    assert torch.equal(classes, expected["cls_logits"])
    assert torch.equal(deltas, expected["bbox_regression"])


def test_an_unknown_name_is_refused():
    with pytest.raises(RecipeError, match="no model 'resnet_18', did you mean 'resnet18'"):
        named_subject("resnet_18")


@pytest.mark.slow
@pytest.mark.parametrize("name", REQUIRED)
def test_a_model_with_random_weights_passes_the_gate(name):
    subject = named_subject(name, size_hw=REQUIRED[name])
    exported = export_subject(subject, ExportChoices())
    report = exported.reports[-1]
    assert report.passed, report.sentence
    assert report.compared > 0
    assert report.excluded <= 0.05 * (report.compared + report.excluded)
    assert ("batch" in report.dynamic) == subject.dynamic_batch
