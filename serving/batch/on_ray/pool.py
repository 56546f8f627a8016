"""A pool of actors on a Ray cluster, fed and read by Ray Data."""

from __future__ import annotations

import logging
import os
import pickle
import socket
from collections.abc import AsyncIterator, Generator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.errors import MissingExtraError, OcellaError
from pipelines.loader import find_package
from pipelines.manifest import read_manifest
from pipelines.options import PredictOptions
from pipelines.session import CUDA, TENSORRT
from serving.batch.errors import JobError
from serving.batch.identity import digest_of
from serving.batch.on_ray.chunks import Found
from serving.batch.on_ray.ledger import Ledger
from serving.batch.on_ray.places import places_on
from serving.batch.on_ray.worker import Duty
from serving.batch.work import Work
from serving.repository import scan

if TYPE_CHECKING:
    from ray.data import Dataset

ANSWER_S = 5.0
CHUNKS_AT_ONCE = 2  # in one actor: while one is computed the next is read


class RayPool:
    """A package on a cluster; see ``Described``."""

    def __init__(self, package: Path, options: PredictOptions, *, actors: int | None, cores: int | None) -> None:
        """``actors`` and ``cores``: ``None`` for as many as the cluster's machines have. Raises OcellaError."""
        self.folder = find_package(package).resolve()
        manifest = read_manifest(self.folder)
        options.check_for(manifest.head.task)
        self.model, self.version, self.task = manifest.name, manifest.version, str(manifest.head.task)
        self.labels: tuple[str, ...] = getattr(manifest, "labels", ())  # a cascade has none of its own
        self.manifest_json = manifest.model_dump_json()
        import ray

        machines = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        on_gpu = not {CUDA, TENSORRT}.isdisjoint(scan((self.folder,))[0].deploy.runtime.providers)
        self._places = places_on(machines, actors=actors, cores=cores, on_gpu=on_gpu)

    def found(self, work: Work) -> Generator[list[Found], None, None]:
        """What the workers say, chunk by chunk in the order of the entries; raises JobError."""
        from ray.data.exceptions import ExecutionTimeoutError, SystemException
        from ray.exceptions import RayError

        try:
            rows = self._dataset(work).iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=1)
            for table in rows:
                for packed in table.column("chunk"):
                    answer = pickle.loads(packed.as_py())
                    if isinstance(answer, OcellaError):
                        raise JobError(str(answer)) from answer
                    yield answer
        except (RayError, SystemException, ExecutionTimeoutError) as error:
            raise JobError(f"the cluster gave the job up: {_cause(error)}") from error

    def _dataset(self, work: Work) -> Dataset:
        """Chunks of entries from one task that walks the sources, through the actors, in order."""
        import ray
        from ray.data import ActorPoolStrategy, DataContext, read_datasource
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        from serving.batch.on_ray.dataset import Chunks, MapChunks, RemoteClaims

        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        remote = ray.remote(num_cpus=0, scheduling_strategy=here)(Ledger)  # beside the journal
        journal = (work.private / "journal.sqlite").resolve()
        overlays = work.overlays and work.overlays.resolved()
        claims = RemoteClaims(remote.remote(journal, overlays))
        duty = Duty(
            package=self.folder,
            package_sha256=digest_of(self.manifest_json),
            options=work.options,
            overlays=overlays,
            cores=self._places.cores,
            here=Path.cwd(),
        )
        context = DataContext.get_current().copy()
        context.execution_options.preserve_order = True
        context.enable_progress_bars = False
        context.target_max_block_size = 1  # a block for each chunk, so that one actor's work is another's no more
        with DataContext.current(context):
            return read_datasource(
                Chunks(work.sources, work.shard, claims, Path.cwd()), num_cpus=0, override_num_blocks=1
            ).map_batches(
                MapChunks,
                fn_constructor_args=(duty, claims),
                batch_size=1,
                batch_format="pyarrow",
                num_cpus=self._places.cores,
                num_gpus=self._places.gpus,
                compute=ActorPoolStrategy(
                    size=self._places.actors,
                    max_tasks_in_flight_per_actor=2 * CHUNKS_AT_ONCE,
                    max_concurrent_calls_per_actor=CHUNKS_AT_ONCE,
                    enable_true_multi_threading=True,
                ),
            )


@asynccontextmanager
async def ray_pool(
    package: Path,
    options: PredictOptions,
    *,
    address: str | None = None,
    actors: int | None = None,
    cores: int | None = None,
) -> AsyncIterator[RayPool]:
    """Join a cluster, or start one on this machine where ``address`` is ``None``; leaving it leaves the cluster.

    Raises MissingExtraError, PackageError, JobError.
    """
    find_package(package)  # before a cluster is started for nothing
    if address and address != "auto":
        _check_answers(address)
    ray = _ray()
    try:
        ray.init(address=address or "local", include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise JobError(f"{address or 'ray'} must be a Ray cluster, it did not answer: {_cause(error)}") from error
    try:
        yield RayPool(package, options, actors=actors, cores=cores)
    finally:
        ray.shutdown()


def _ray() -> Any:
    """The module, told to be quiet and to tell nobody that it is used; raises MissingExtraError."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    try:
        import ray
        import ray.data
    except ImportError as missing:
        raise MissingExtraError("--ray needs Ray: pip install 'ocella[ray]'") from missing
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    return ray


def _check_answers(address: str) -> None:
    """Raise JobError unless something listens at ``host:port``; Ray itself would try for minutes."""
    host, colon, port = address.rpartition(":")
    if not colon or not port.isdigit() or "/" in host:
        raise JobError(f"address must be auto, or host:port of a cluster that this machine is part of, got {address}")
    try:
        socket.create_connection((host.strip("[]"), int(port)), ANSWER_S).close()
    except (OSError, OverflowError) as error:
        raise JobError(f"{address} must be a Ray cluster, it did not answer: {error}") from error


def _cause(error: Exception) -> str:
    """One line of what Ray says in many."""
    cause = getattr(error, "cause", None) or error
    return f"{type(cause).__name__}: {(str(cause).strip().splitlines() or ['no more is known'])[0].strip()}"
