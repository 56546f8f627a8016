"""One actor's work, and what the driver makes of it, in this process: the same bytes as a job without a cluster."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

import pytest

from pipelines.manifest import read_manifest
from pipelines.options import PredictOptions
from serving.batch.errors import JobError
from serving.batch.identity import digest_of
from serving.batch.local import local_engine
from serving.batch.on_ray.chunks import Found, chunks
from serving.batch.on_ray.job import RayJob
from serving.batch.on_ray.ledger import Ledger
from serving.batch.on_ray.worker import Duty, Worker
from serving.batch.run import Request, run_job
from serving.batch.sources import Sources
from serving.batch.summary import Summary
from serving.batch.work import Work
from tests.serving.batch.jobs import data_files, image_folder, rows, run

NO_OPTIONS = PredictOptions()
FORMATS = ("jsonl", "csv", "parquet")


class Pool:
    """A pool of one worker in this process; ``deal`` changes what comes back."""

    def __init__(self, package: Path, deal: Callable[[list[list[Found]]], list[list[Found]]]) -> None:
        manifest = read_manifest(package)
        self.model, self.version, self.task = manifest.name, manifest.version, str(manifest.head.task)
        self.labels: tuple[str, ...] = getattr(manifest, "labels", ())
        self.manifest_json = manifest.model_dump_json()
        self._package, self._deal = package, deal

    def found(self, work: Work) -> Iterator[list[Found]]:
        with (
            closing(Ledger(work.private / "journal.sqlite", work.overlays)) as ledger,
            closing(Worker(duty(self._package, work), ledger)) as worker,
        ):
            yield from self._deal([worker(chunk) for chunk in chunks(work.sources, work.shard, ledger)])


def duty(package: Path, work: Work, **over: object) -> Duty:
    digest = digest_of(read_manifest(package).model_dump_json())
    fields = {"package": package, "package_sha256": digest, "options": work.options, "overlays": work.overlays}
    return Duty(**(fields | {"cores": 2, "here": Path.cwd()} | over))  # type: ignore[arg-type]


def run_in_pool(
    out: Path, folder: Path, package: Path, deal: Callable[[list[list[Found]]], list[list[Found]]] = lambda same: same
) -> Summary:
    @asynccontextmanager
    async def pool() -> AsyncIterator[Pool]:
        yield Pool(package, deal)

    request = Request(sources=Sources((bytes(folder),)), out=out, formats=FORMATS, draw=True)
    return run_job(request, pool(), begin=RayJob)  # type: ignore[arg-type]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return image_folder(tmp_path / "in", 80, bad=(9, 40), equal={20: 3, 55: 3, 60: 61})


def test_a_worker_gives_the_bytes_of_a_job_without_one(tmp_path: Path, folder: Path, folders: dict[str, Path]):
    (folder / "gone.png").symlink_to(folder / "nothing")
    run(tmp_path / "here", folder, engine=local_engine(folders["things"], NO_OPTIONS), formats=FORMATS, draw=True)
    summary = run_in_pool(tmp_path / "there", folder, folders["things"])
    assert data_files(tmp_path / "there") == data_files(tmp_path / "here")
    assert (summary.tally.ok, summary.tally.failed, summary.computed) == (78, 3, 77)
    assert summary.has_sheet


def test_a_job_begun_here_goes_on_there_and_computes_nothing_twice(
    tmp_path: Path, folder: Path, folders: dict[str, Path]
):
    run(tmp_path / "out", folder, engine=local_engine(folders["things"], NO_OPTIONS), formats=FORMATS, draw=True)
    before = data_files(tmp_path / "out")
    assert run_in_pool(tmp_path / "out", folder, folders["things"]).computed == 0
    assert data_files(tmp_path / "out") == before


def test_a_row_waits_for_the_entry_whose_worker_has_its_content(tmp_path: Path, folder: Path, folders: dict[str, Path]):
    """As where the worker of a later chunk was the first to claim a content that an earlier chunk has, too."""
    run(tmp_path / "here", folder, engine=local_engine(folders["things"], NO_OPTIONS), formats=FORMATS, draw=True)

    def swap(found: list[list[Found]]) -> list[list[Found]]:
        flat = [one for chunk in found for one in chunk]
        first, later = flat[3], flat[55]
        flat[3] = Found(first.ticket, first.sha256, None)
        flat[55] = Found(later.ticket, later.sha256, first.outcome)
        return [flat[:32], flat[32:64], flat[64:]]

    assert run_in_pool(tmp_path / "there", folder, folders["things"], swap).complete
    assert data_files(tmp_path / "there") == data_files(tmp_path / "here")


def test_a_content_that_nobody_answers_ends_the_job_by_name(tmp_path: Path, folder: Path, folders: dict[str, Path]):
    def lose(found: list[list[Found]]) -> list[list[Found]]:
        return [[Found(one.ticket, one.sha256, None if i == 70 else one.outcome) for i, one in enumerate(chunk, at)]
                for at, chunk in zip((0, 32, 64), found, strict=True)]  # fmt: skip

    summary = run_in_pool(tmp_path / "out", folder, folders["things"], lose)
    assert "0070.png must stay as it is while the job runs, it changed" in summary.problem
    assert not (tmp_path / "out" / "results.jsonl").exists()
    assert run_in_pool(tmp_path / "out", folder, folders["things"]).computed == 1


def test_a_machine_with_another_package_ends_the_job(tmp_path: Path, folders: dict[str, Path]):
    told = Duty(
        package=folders["things"], package_sha256="00", options=NO_OPTIONS, overlays=None, cores=1, here=tmp_path
    )
    with (
        closing(Ledger(tmp_path / "journal.sqlite", None)) as ledger,
        pytest.raises(JobError, match="must be the same package on every machine of the cluster"),
    ):
        Worker(told, ledger)


def test_rows_keep_the_order_of_the_sources(tmp_path: Path, folder: Path, folders: dict[str, Path]):
    run_in_pool(tmp_path / "out", folder, folders["classes"])
    indices = [row["index"] for row in rows(tmp_path / "out")]
    assert indices == [i for i in range(80) if i not in (9, 40)]
