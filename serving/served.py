"""One model version that answers: the loaded package, its threads and its queue."""

from __future__ import annotations

from typing import Self

from pipelines.loader import LoadedModel
from pipelines.manifest import GRAPH_FILE
from serving.batcher import Batcher, BatchPolicy
from serving.deploy import Deploy
from serving.executor import Executor
from serving.metrics import ModelMeter


class ServedModel:
    """A context manager: leaving it starts no further run and frees the graph.

    Attributes:
        pipeline: pre- and post-processing.
        batcher: the queue and the runs.
        meter: metrics of this version.
    """

    def __init__(self, loaded: LoadedModel, deploy: Deploy, meter: ModelMeter, *, cores: int) -> None:
        """``cores``: concurrent runs where ``deploy`` does not say."""
        manifest = loaded.manifest
        self.name, self.version, self.task = manifest.name, manifest.version, manifest.head.task
        self.manifest_json = manifest.model_dump_json()
        self.loaded = loaded
        self.pipeline = loaded.pipeline
        self.meter = meter
        self.policy = BatchPolicy(
            slots=deploy.runtime.instances or cores,
            max_size=1 if manifest.inputs[0].shape[0] == 1 else deploy.batching.max_size,
            max_delay_ms=deploy.batching.max_delay_ms,
            max_queue=deploy.batching.max_queue,
        )
        self._executor = Executor(loaded.session, slots=self.policy.slots, name=f"{self.name}-{self.version}")
        self.batcher = batcher = Batcher(self._executor.submit, self.policy, on_batch=meter.batch)
        meter.watch(queue_depth=lambda: batcher.queue_depth, inflight=lambda: batcher.inside)
        meter.info(task=self.task, sha256=manifest.files[GRAPH_FILE], provider=loaded.session.provider)
        meter.ready(is_ready=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._executor.close()
        self.loaded.close()
