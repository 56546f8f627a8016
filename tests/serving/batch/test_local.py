"""A package in this process: the offline results, and a failing batch taken apart."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipelines.errors import InvalidRequestError, ModelRunError, ProviderError
from pipelines.loader import LoadedModel, load_package
from pipelines.options import PredictOptions
from pipelines.present import to_json
from pipelines.session import Session
from pipelines.types import AnyArray
from serving.batch.errors import JobError
from serving.batch.local import local_engine
from tests.cascades import SECONDS, make_cascade
from tests.corpus import encode
from tests.packages import make_package
from tests.serving.batch.jobs import rows, run
from tests.serving.servers import Offline

NO_OPTIONS = PredictOptions()


@pytest.fixture
def folder(tmp_path: Path, photos: list[bytes]) -> Path:
    folder = tmp_path / "in"
    folder.mkdir()
    for i, photo in enumerate(photos):
        (folder / f"{i:02}.png").write_bytes(photo)
    return folder


@pytest.mark.parametrize("model", ["classes", "things", "masks", "vectors"])
def test_results_equal_the_offline_ones(
    tmp_path: Path, folder: Path, folders: dict[str, Path], offline: Offline, photos: list[bytes], model: str
):
    run(tmp_path / "out", folder, engine=local_engine(folders[model], NO_OPTIONS))
    expected = [json.loads(json.dumps(to_json(offline(model, photo)))) for photo in photos]
    assert [row["result"] for row in rows(tmp_path / "out")] == expected


@pytest.mark.parametrize("second", SECONDS)
def test_a_cascade_gives_the_offline_results_too(tmp_path: Path, folder: Path, photos: list[bytes], second: str):
    cascade = make_cascade(tmp_path / "pair", second=second)
    expected = Offline({"pair": cascade})
    summary = run(tmp_path / "out", folder, engine=local_engine(cascade, NO_OPTIONS), draw=True)
    found = [row["result"] for row in rows(tmp_path / "out")]
    assert found == [json.loads(json.dumps(to_json(expected("pair", photo)))) for photo in photos]
    assert sum(summary.tally.classes.by_class().values()) > len(photos)
    assert len(list((tmp_path / "out" / "overlays").iterdir())) == len(photos)


def test_an_option_that_acts_on_neither_model_of_a_cascade_is_refused(tmp_path: Path, folder: Path):
    cascade = make_cascade(tmp_path / "pair", second="segmentation")
    with pytest.raises(InvalidRequestError, match="does not apply"):
        run(tmp_path / "out", folder, engine=local_engine(cascade, PredictOptions(top_k=3)))


def test_a_format_that_holds_no_cascade_is_refused(tmp_path: Path, folder: Path):
    cascade = make_cascade(tmp_path / "pair")
    with pytest.raises(JobError, match="holds results of"):
        run(tmp_path / "out", folder, engine=local_engine(cascade, NO_OPTIONS), formats=("csv",))


def test_an_option_that_does_not_act_is_refused_before_any_image(
    tmp_path: Path, folder: Path, folders: dict[str, Path]
):
    with pytest.raises(InvalidRequestError, match="top_k does not apply to embedding"):
        run(tmp_path / "out", folder, engine=local_engine(folders["vectors"], PredictOptions(top_k=3)))


def test_the_deploy_file_of_the_model_counts_as_on_a_server(tmp_path: Path, folder: Path):
    package = make_package(tmp_path / "tiny" / "1", name="tiny")
    (tmp_path / "tiny" / "deploy.toml").write_text('[runtime]\nproviders = ["CUDAExecutionProvider"]\n')
    with pytest.raises(ProviderError, match="CUDAExecutionProvider"):
        run(tmp_path / "out", folder, engine=local_engine(package, NO_OPTIONS))


class FussySession:
    """Fails every batch that holds an all-white image, as a graph with a division by zero might."""

    def __init__(self, session: Session) -> None:
        self.inputs, self.outputs, self.provider = session.inputs, session.outputs, session.provider
        self.graph_outputs = session.outputs
        self._session = session

    def run(self, feeds: Mapping[str, AnyArray], **arguments: Any) -> dict[str, AnyArray]:
        (batch,) = feeds.values()
        if any(np.ptp(row[:, 30:60, 40:80], axis=(1, 2)).max() == 0 for row in batch):
            raise ModelRunError("a row is white")
        return self._session.run(feeds, **arguments)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._session, name)


def test_only_the_image_that_the_model_fails_on_is_quarantined(
    tmp_path: Path,
    folder: Path,
    folders: dict[str, Path],
    photos: list[bytes],
    monkeypatch: pytest.MonkeyPatch,
):
    (folder / "07-white.png").write_bytes(encode(np.full((96, 128, 3), 255, np.uint8), "PNG"))
    sessions: list[FussySession] = []

    def load(path: Path, **arguments: Any) -> LoadedModel:
        loaded = load_package(path, **arguments)
        sessions.append(FussySession(loaded.session))
        return replace(loaded, session=sessions[0])

    monkeypatch.setattr("serving.batch.local.load_package", load)
    run(tmp_path / "out", folder, engine=local_engine(folders["classes"], NO_OPTIONS))
    (error,) = rows(tmp_path / "out", "errors.jsonl")
    assert (Path(error["source"]).name, error["reason"], error["message"]) == (
        "07-white.png",
        "ModelRunError",
        "a row is white",
    )
    assert len(rows(tmp_path / "out")) == len(photos)
