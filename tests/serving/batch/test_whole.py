"""Images answered by one thread, alone or in groups: the same bytes as in batches, whatever an image brings."""

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


def with_batching(package: Path, place: Path, choice: str) -> Path:
    """The package as it is where the operator wants ``choice``."""
    model = place / package.parent.name
    shutil.copytree(package, model / package.name)
    (model / "deploy.toml").write_text(f"[batching]\n{choice}\n")
    return model / package.name


async def concurrency_of(package: Path) -> int:
    async with local_engine(package, NO_OPTIONS) as engine:
        return engine.concurrency


@pytest.mark.parametrize("model", ["classes", "things", "masks", "vectors"])
def test_lone_images_groups_and_batches_of_rows_give_the_same_bytes(
    tmp_path: Path, folders: dict[str, Path], photos: list[bytes], model: str
):
    rows = with_batching(folders[model], tmp_path / "rows", "max_delay_ms = 1")
    alone = with_batching(folders[model], tmp_path / "alone", "max_size = 1")
    folder = tmp_path / "in"
    folder.mkdir()
    for i, photo in enumerate([*photos, b"no image", photos[0]]):
        (folder / f"{i:02}.png").write_bytes(photo)
    for out, package in (("group", folders[model]), ("alone", alone), ("rows", rows)):
        run(tmp_path / "out" / out, folder, engine=local_engine(package, NO_OPTIONS), draw=True)
    written = [data_files(tmp_path / "out" / out) for out in ("group", "alone", "rows")]
    assert len(written[0]) > 2
    assert written[1:] == [written[0]] * 2


@pytest.mark.parametrize(("choice", "size"), [("max_size = 1", 1), ("max_size = 4", 4)])
def test_one_group_a_core_is_in_work_and_one_waits_behind_it(
    tmp_path: Path, folders: dict[str, Path], choice: str, size: int
):
    package = with_batching(folders["classes"], tmp_path, choice)
    assert asyncio.run(concurrency_of(package)) == 2 * size * usable_cores()
