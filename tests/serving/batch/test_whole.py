"""Images answered by one thread each: the same bytes as in batches, whatever an image brings."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

import pytest

from pipelines.options import PredictOptions
from serving.batch.local import local_engine
from serving.cpu import usable_cores
from tests.serving.batch.jobs import data_files, run

NO_OPTIONS = PredictOptions()


def in_batches(package: Path, place: Path) -> Path:
    """The package as it is where the operator wants batches."""
    model = place / package.parent.name
    shutil.copytree(package, model / package.name)
    (model / "deploy.toml").write_text("[batching]\nmax_size = 8\n")
    return model / package.name


async def concurrency_of(package: Path) -> int:
    async with local_engine(package, NO_OPTIONS) as engine:
        return engine.concurrency


@pytest.mark.parametrize("model", ["classes", "things", "masks", "vectors"])
def test_whole_images_give_the_bytes_of_batches(
    tmp_path: Path, folders: dict[str, Path], photos: list[bytes], model: str
):
    folder = tmp_path / "in"
    folder.mkdir()
    for i, photo in enumerate([*photos, b"no image", photos[0]]):
        (folder / f"{i:02}.png").write_bytes(photo)
    for out, package in (("whole", folders[model]), ("batches", in_batches(folders[model], tmp_path))):
        run(tmp_path / out, folder, engine=local_engine(package, NO_OPTIONS), draw=True)
    assert len(data_files(tmp_path / "whole")) > 2
    assert data_files(tmp_path / "whole") == data_files(tmp_path / "batches")


def test_one_whole_image_a_core_is_in_work_and_one_waits_behind_it(tmp_path: Path, folders: dict[str, Path]):
    assert asyncio.run(concurrency_of(folders["classes"])) == 2 * usable_cores()
    assert asyncio.run(concurrency_of(in_batches(folders["classes"], tmp_path))) > 2 * usable_cores()
