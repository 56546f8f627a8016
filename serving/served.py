"""One model version that answers: the loaded package, its threads and its queue."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Self

import numpy as np

from pipelines.golden import GROUP_S, MOST_ROWS, GoldenReport, rows_within
from pipelines.loader import LoadedModel
from pipelines.manifest import GRAPH_FILE, CascadeManifest
from pipelines.options import PredictOptions
from pipelines.preprocess import fixed_row_shape
from pipelines.session import CPU, GraphSession
from pipelines.shaped_session import batch_sizes
from pipelines.types import AnyArray
from serving.batcher import Batcher, BatchPolicy
from serving.cpu_plan import plan_model
from serving.deploy import Deploy
from serving.executor import Executor
from serving.image_group import GroupWork
from serving.metrics import ModelMeter
from serving.rows import Rows, TensorContract
from serving.whole_images import WholeImages

MOST_ROWS_ON_DEVICE = 32
BATCH_S = 0.05
# What a run took is taken for the next one until so long none came.
SHRINK_IDLE_S = 10.0


def rows_per_run(row_s: float | None, *, most: int = MOST_ROWS) -> int:
    """Most rows in one run where the operator does not say: as many as take ``BATCH_S`` one by one, and ``most``.

    Batching pays where a row is quick: it gains 45 % below a millisecond a row, 3 % at 16 ms. Memory grows with the
    batch whatever it gains: a segmentation model of 300 ms a row took 4.5 GB at 8 rows, 1 GB at one.

    Args:
        row_s: seconds of one warm row; ``None`` where nothing measured them.
        most: that a run is given in any case.
    """
    return most if row_s is None else rows_within(BATCH_S, row_s, most)


def rows_for(session: GraphSession, row_s: float | None) -> int:
    """As ``rows_per_run``: at most 8 on a CPU; on a GPU at most 32, and a number that is not padded."""
    if session.provider == CPU:
        return rows_per_run(row_s)
    rows = rows_per_run(row_s, most=MOST_ROWS_ON_DEVICE)
    return max((size for size in batch_sizes(session, rows) if size <= rows), default=rows)


def images_per_group(golden: GoldenReport | None) -> int:
    """Most images that one run thread takes at once where the operator does not say: as many as run ``GROUP_S`` alone.

    ResNet-18 (45 ms) takes 7 % less CPU by two, photos decoded among it, and no less by three or four. One where no
    batch was seen to give the bits of its rows alone.
    """
    return max(1, min(golden.identical_rows, rows_within(GROUP_S, golden.row_s, MOST_ROWS))) if golden else 1


class ServedModel:
    """A context manager: leaving it starts no further run and frees the graph.

    Attributes:
        pipeline: pre- and post-processing.
        contract: the graph's own tensors, for requests that bring them.
        batcher: the queue and the runs.
        whole_images: images that run threads do everything for.
        meter: metrics of this version.
    """

    def __init__(
        self,
        loaded: LoadedModel,
        deploy: Deploy,
        meter: ModelMeter,
        *,
        cores: int,
        identity: CascadeManifest | None = None,
    ) -> None:
        """Serve a model with its threads.

        Args:
            loaded: the model.
            deploy: the operator's choices.
            meter: metrics of this version.
            cores: concurrent runs where ``deploy`` does not say.
            identity: of the cascade in whose name the model answers; ``None``: it answers in its own.
        """
        manifest = identity or loaded.manifest
        self.name, self.version, self.task = manifest.name, manifest.version, manifest.head.task
        self.manifest_json = manifest.model_dump_json()
        self.loaded = loaded
        self.pipeline = loaded.pipeline
        self.meter = meter
        self.contract = TensorContract(loaded.session.inputs, loaded.session.graph_outputs)
        self._image_input = loaded.session.inputs[0].name
        self._row_shape = fixed_row_shape(loaded.manifest.image)
        self._image_outputs = tuple(spec.name for spec in loaded.session.outputs)
        slots = plan_model(deploy.runtime, cores=cores, provider=loaded.session.provider).runs
        max_size = self.contract.fixed_rows or _max_size(loaded, deploy)
        self.policy = BatchPolicy(
            slots=slots,
            max_size=max_size,
            max_delay_ms=deploy.batching.max_delay_ms,
            max_queue=deploy.batching.max_queue,
            max_queue_bytes=deploy.batching.max_queue_bytes,
            group_size=self._group_size(deploy) if identity is None and slots >= cores else 0,
            shrink_idle_s=SHRINK_IDLE_S if deploy.runtime.shrink_arena else None,
        )
        shrinks, name = deploy.runtime.shrink_arena, f"{self.name}-{self.version}"
        self._executor = Executor(loaded.session, slots=self.policy.slots, name=name, shrinks=shrinks)
        self._holds = 0
        self.batcher = Batcher(self._executor, self.policy, meter=meter, pixel_threads=cores)
        run_rows = partial(self._executor.run_rows, self._image_input, self._image_outputs)
        dtype = loaded.manifest.image.dtype
        work = GroupWork(run_rows, self._executor.spare, row_shape=self._row_shape, dtype=dtype)
        self.whole_images = WholeImages(self.batcher, work)

    def _group_size(self, deploy: Deploy) -> int:
        """Images that one run thread takes at once; 0 where rows of images batch as those of tensors do.

        On a CPU nothing is gained by several threads for an image. Its answer is the offline one to the bit: a group of
        more than one forms only where the golden replay saw a batch answer so, or where the operator asks for it.
        """
        if self.loaded.session.provider != CPU or deploy.batching.max_delay_ms or (self.contract.fixed_rows or 1) > 1:
            return 0
        most = self.contract.fixed_rows or deploy.batching.max_size
        if self._row_shape is None:
            return 1 if (most or 1) == 1 else 0
        return most or images_per_group(self.loaded.golden)

    @property
    def has_masks(self) -> bool:
        """Whether answers hold masks."""
        return self.pipeline.has_masks

    @property
    def most_rows(self) -> tuple[int, ...]:
        """Most rows in one run, of each model of the package."""
        return (max(self.policy.max_size, self.policy.group_size),)

    @property
    def waiting(self) -> int:
        """Images and rows that wait for a run."""
        return self.batcher.queue_depth + len(self.whole_images)

    @property
    def is_used(self) -> bool:
        """Whether a request is inside, or holds it for more."""
        return self.batcher.inside > 0 or self._holds > 0

    @contextmanager
    def hold(self) -> Iterator[None]:
        """Keep it from being freed between the images of one request."""
        self._holds += 1
        try:
            yield
        finally:
            self._holds -= 1

    def show(self) -> None:
        """Let the gauges of this version tell of this one, in the place of any other that was loaded under its name."""
        batcher, whole_images, meter = self.batcher, self.whole_images, self.meter  # not self: it is to be freed
        meter.watch(
            queue_depth=lambda: batcher.queue_depth + len(whole_images),
            inflight=lambda: batcher.inside,
            queue_bytes=lambda: batcher.admission.bytes,
        )
        provider = self.loaded.session.provider
        meter.info(task=self.task, sha256=self.loaded.manifest.files[GRAPH_FILE], provider=provider)

    def check(self, options: PredictOptions) -> None:
        """Raise InvalidRequestError where an option does not act on this model."""
        self.pipeline.check(options)

    def image_rows(self, row: AnyArray) -> Rows:
        """The rows of one image: its row, and the outputs that the pipeline reads."""
        return Rows({self._image_input: row[np.newaxis]}, 1, self._image_outputs)

    def keep_apart(self, *, apart: bool) -> None:
        """Keep the run threads on a core each, or let them run anywhere again."""
        self._executor.keep_apart(apart=apart)

    def abandon(self, error: BaseException) -> int:
        """Fail what is inside and what comes with ``error``; returns how many threads hang in a run."""
        return self._executor.abandon(error)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._executor.close()
        self.loaded.close()


def _max_size(loaded: LoadedModel, deploy: Deploy) -> int:
    row_s = loaded.golden.row_s if loaded.golden else None
    return deploy.batching.max_size or rows_for(loaded.session, row_s)
