"""Weights from a file: the model's own and nothing else, and no norm whose epsilon is guessed."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torchvision import models

from export.named import weights
from export.named.table import named_subject
from export.subject import Subject
from pipelines.errors import RecipeError

SMALL = "mobilenet_v3_small"
FROZEN = "retinanet_resnet50_fpn"


@pytest.fixture(scope="module")
def retinanet() -> Subject:
    return named_subject(FROZEN)


def saved(tmp_path: Path, state: Mapping[str, Any]) -> Path:
    torch.save(dict(state), tmp_path / "weights.pth")
    return tmp_path / "weights.pth"


def frozen(subject: Subject) -> dict[str, Any]:
    """The weights as a model with frozen norms saves them."""
    state = subject.module.net.state_dict()  # type: ignore[union-attr]
    return {name: value for name, value in state.items() if not name.endswith("num_batches_tracked")}


def test_weights_from_a_file_are_taken_and_not_scaled(tmp_path: Path) -> None:
    module = models.mobilenet_v3_small(weights=None)
    subject = named_subject(SMALL, weights=saved(tmp_path, module.state_dict()))
    assert subject.trained
    taken = subject.module.state_dict()
    assert all(torch.equal(taken[f"net.{name}"], value) for name, value in module.state_dict().items())


def test_a_file_that_holds_no_weights_is_refused(tmp_path: Path) -> None:
    (tmp_path / "weights.pth").write_text("hello")
    with pytest.raises(RecipeError, match=r"must be a whole file of tensors that torch\.save wrote"):
        named_subject(SMALL, weights=tmp_path / "weights.pth")


def test_weights_of_another_model_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="does not hold the weights of mobilenet_v3_small"):
        named_subject(SMALL, weights=saved(tmp_path, {"a": torch.zeros(1)}))


def test_frozen_norms_of_an_unknown_file_are_refused_since_it_does_not_hold_their_epsilon(
    tmp_path: Path, retinanet: Subject
) -> None:
    with pytest.raises(RecipeError, match="must not have frozen norms"):
        weights.with_weights(retinanet, saved(tmp_path, frozen(retinanet)))


def test_frozen_norms_of_a_published_file_have_no_epsilon(
    tmp_path: Path, retinanet: Subject, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = saved(tmp_path, frozen(retinanet))
    published = frozenset({hashlib.sha256(path.read_bytes()).hexdigest()[:8]})
    monkeypatch.setattr(weights, "published_hashes", lambda _: published)
    taken = weights.with_weights(retinanet, path)
    norms = [layer for layer in taken.module.modules() if isinstance(layer, nn.BatchNorm2d)]
    assert {layer.eps for layer in norms} == {0.0}


def test_a_published_file_is_known_by_the_sum_in_its_address() -> None:
    assert weights.published_hashes(FROZEN) == {"eeacb38b"}
