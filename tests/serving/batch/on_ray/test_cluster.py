"""A Ray cluster of two nodes: the bytes of the local run, whatever becomes of the actors."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import pytest

from pipelines.options import PredictOptions
from serving.batch.errors import JobError
from serving.batch.job import Job
from serving.batch.local import local_engine
from serving.batch.on_ray.job import RayJob
from serving.batch.on_ray.pool import ray_pool
from serving.batch.run import Request, Watch, run_job
from serving.batch.sources import Choices, Sources
from serving.batch.summary import Summary
from serving.batch.tally import Tally
from tests.cascades import make_cascade
from tests.serving.batch.jobs import data_files, image_folder, rows, video_file
from tests.serving.batch.test_sandbox import deadly_image, path_of_the_deadly
from tests.serving.servers import PATIENCE_S

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("default"),  # what Ray does with sockets, threads and files is Ray's
]
NO_OPTIONS = PredictOptions()
FORMATS = ("jsonl", "csv", "parquet")
ray = pytest.importorskip("ray", reason="Ray is not installed: pip install 'ocella[ray]'")


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """Two nodes of a core each."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        from ray.cluster_utils import Cluster

        cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
        cluster.add_node(num_cpus=1)
        yield cluster
        cluster.shutdown()


def actor_processes(cluster: Any) -> dict[int, int]:
    """The process of each actor of the pool, with that of its node."""
    nodes = {node.all_processes["raylet"][0].process.pid for node in cluster.list_all_nodes()}
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            title, status = (folder / "cmdline").read_bytes(), (folder / "stat").read_text()
        except OSError:  # it ended meanwhile
            continue
        parent = int(status.rpartition(")")[2].split()[1])
        if title.startswith(b"ray::MapWorker(MapBatches(MapChunks))") and parent in nodes:
            found[int(folder.name)] = parent
    return found


def request(out: Path, *sources: Path | str, **over: Any) -> Request:
    choices = Choices(stride=over.pop("stride", 1))
    return Request(sources=Sources(tuple(map(os.fsencode, sources)), choices), out=out, **over)


def on(cluster: Any, job: Request, package: Path, **over: Any) -> Summary:
    watch: Watch = over.pop("watch", lambda tally, total: nullcontext())
    pool = ray_pool(package, job.options, address=cluster.address, **over)
    return run_job(job, pool, watch, begin=RayJob)


def here(job: Request, package: Path) -> Summary:
    return run_job(job, local_engine(package, job.options), begin=Job)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    count = 400
    equal = {20: 3, 155: 3, 3: 350, 351: 350}
    return image_folder(tmp_path_factory.mktemp("images") / "in", count, bad=(9, 240), equal=equal)


def test_every_kind_of_source_gives_the_bytes_of_the_local_run(
    tmp_path: Path, cluster: Any, folder: Path, folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "list.txt").write_text("\n".join(str(path) for path in sorted(folder.iterdir())[:5]) + "\nnone.png\n")
    for name, mode in (("a.tar", "w"), ("b.tar.gz", "w:gz")):
        with tarfile.open(tmp_path / name, mode) as tar:  # type: ignore[call-overload]
            tar.add(image_folder(tmp_path / name[0], 40, bad=(2,)), arcname="")
    video_file(tmp_path / "film.avi", 20)
    monkeypatch.chdir(tmp_path)
    words = ("list.txt", folder, "a.tar", "b.tar.gz", "film.avi")
    here(request(tmp_path / "here", *words, formats=FORMATS, draw=True, stride=3), folders["things"])
    summary = on(cluster, request(tmp_path / "there", *words, formats=FORMATS, draw=True, stride=3), folders["things"])
    assert summary.complete, summary.problem
    assert len(rows(tmp_path / "there")) > 470
    assert data_files(tmp_path / "there") == data_files(tmp_path / "here")
    again = on(cluster, request(tmp_path / "there", *words, formats=FORMATS, draw=True, stride=3), folders["things"])
    assert (again.computed, again.tally.ok) == (0, summary.tally.ok)


@contextmanager
def in_the_middle(tally: Tally, harm: Callable[[], None], when: list[int]) -> Iterator[None]:
    """Do harm once the first rows are there; ``when`` keeps how many there were after it."""

    def work() -> None:
        while not tally.rows and not over.is_set():
            over.wait(0.01)
        harm()
        when.append(tally.rows)

    over = threading.Event()
    thread = threading.Thread(target=work)
    thread.start()
    yield
    over.set()
    thread.join()


def test_an_actor_that_is_killed_costs_no_row_and_doubles_none(
    tmp_path: Path, cluster: Any, folder: Path, folders: dict[str, Path]
):
    here(request(tmp_path / "here", folder, formats=FORMATS), folders["masks"])
    seen: dict[int, int] = {}
    when: list[int] = []

    def kill() -> None:
        seen.update(actor_processes(cluster))
        os.kill(min(seen), signal.SIGKILL)

    job = request(tmp_path / "there", folder, formats=FORMATS)
    summary = on(cluster, job, folders["masks"], watch=lambda tally, _: in_the_middle(tally, kill, when))
    assert summary.complete, summary.problem
    assert len(set(seen.values())) == 2, "an actor on each node"
    assert when[0] < 400, "in the middle"
    assert summary.computed == 397
    assert data_files(tmp_path / "there") == data_files(tmp_path / "here")


def test_a_machine_that_is_lost_costs_no_row_and_doubles_none(
    tmp_path: Path, cluster: Any, folder: Path, folders: dict[str, Path]
):
    here(request(tmp_path / "here", folder, formats=FORMATS, draw=True), folders["masks"])
    machine = cluster.add_node(num_cpus=1)
    raylet = machine.all_processes["raylet"][0].process.pid
    seen: dict[int, int] = {}
    when: list[int] = []

    def lose() -> None:
        seen.update(actor_processes(cluster))
        cluster.remove_node(machine, allow_graceful=False)

    job = request(tmp_path / "there", folder, formats=FORMATS, draw=True)
    summary = on(cluster, job, folders["masks"], watch=lambda tally, _: in_the_middle(tally, lose, when))
    assert summary.complete, summary.problem
    assert raylet in seen.values(), "an actor on the machine"
    assert when[0] < 400, "in the middle"
    assert (summary.tally.rows, summary.tally.ok, summary.computed) == (400, 398, 397)
    assert data_files(tmp_path / "there") == data_files(tmp_path / "here")


def test_a_cascade_runs_on_the_cluster_as_it_does_here(tmp_path: Path, cluster: Any, photos: list[bytes]):
    folder = tmp_path / "in"
    folder.mkdir()
    for i, photo in enumerate(photos):
        (folder / f"{i}.png").write_bytes(photo)
    cascade = make_cascade(tmp_path / "pair")
    here(request(tmp_path / "here", folder), cascade)
    on(cluster, request(tmp_path / "there", folder), cascade, actors=1)
    assert data_files(tmp_path / "there") == data_files(tmp_path / "here")


def test_too_many_errors_end_the_job_on_a_cluster_too(
    tmp_path: Path, cluster: Any, folder: Path, folders: dict[str, Path]
):
    summary = on(cluster, request(tmp_path / "out", folder, max_errors=1), folders["classes"])
    assert "at most 1 images may fail, 2 did" in summary.problem
    assert not (tmp_path / "out" / "results.jsonl").exists()


def test_a_package_that_does_not_load_on_the_workers_ends_the_job_in_its_own_words(
    tmp_path: Path, cluster: Any, folder: Path, folders: dict[str, Path]
):
    package = Path(shutil.copytree(folders["classes"], tmp_path / "classes"))
    with (package / "model.onnx").open("ab") as graph:
        graph.write(b"x")
    summary = on(cluster, request(tmp_path / "out", folder), package)
    assert "model.onnx" in summary.problem
    assert "SHA-256" in summary.problem


def test_no_machine_with_the_cores_of_an_actor_is_said_before_anything_runs(
    tmp_path: Path, cluster: Any, folder: Path, folders: dict[str, Path]
):
    with pytest.raises(JobError, match="must have the 3 cores of an actor, the largest has 1"):
        on(cluster, request(tmp_path / "out", folder), folders["classes"], cores=3)


def test_the_command_on_a_cluster_of_its_own_quarantines_an_image_of_which_the_actors_die(
    tmp_path: Path, folders: dict[str, Path]
):
    folder = image_folder(tmp_path / "in", 60)
    here(request(tmp_path / "here", folder), folders["classes"])
    (folder / "0030-deadly.png").write_bytes(deadly_image())
    words = ["batch", str(folder), "--model", str(folders["classes"]), "--out", str(tmp_path / "out")]
    done = subprocess.run(
        [sys.executable, "-m", "ocella", *words, "--ray", "--json"],
        env=os.environ | {"PYTHONPATH": path_of_the_deadly()},
        capture_output=True,
        text=True,
        timeout=5 * PATIENCE_S,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    summary = json.loads(done.stdout)
    assert (summary["ok"], summary["reasons"]) == (60, {"ProcessDiedError": 1})
    assert "0030-deadly.png" in summary["failures"][0]["source"]
    found, expected = ([(row["source"], row["result"]) for row in rows(tmp_path / name)] for name in ("out", "here"))
    assert found == expected
    assert "Traceback" not in done.stderr


def test_a_cluster_that_is_not_there_is_one_sentence(tmp_path: Path, folders: dict[str, Path]):
    folder = image_folder(tmp_path / "in", 1)
    words = ["batch", str(folder), "--model", str(folders["classes"]), "--out", str(tmp_path / "out")]
    command = [sys.executable, "-m", "ocella", *words, "--ray", "--address", "127.0.0.1:1"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.splitlines()[-1].startswith("error: 127.0.0.1:1 must be a Ray cluster, it did not answer")
    assert "Traceback" not in done.stderr
