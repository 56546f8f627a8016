"""A batcher and its whole images over run threads that do their next job when a test says so."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from pipelines.types import AnyArray
from serving.batcher import Batcher
from serving.executor import Run
from serving.image_group import GroupWork
from serving.whole_images import WholeImages
from tests.serving.test_batcher import RUN_S, Runs, Seen, batcher_of, place_in

GROUP = 4


class ThreadsByHand(Runs):
    """An executor whose run threads do their next job when the test says so."""

    def __init__(self) -> None:
        super().__init__()
        self.jobs: list[Callable[[], None]] = []
        self.closed = False

    def call(self, job: Callable[[Run], Any], run: Run) -> asyncio.Future[Any]:
        if self.closed:
            raise RuntimeError("the threads are closed")
        done = super().call(job, run)

        def work() -> None:
            job(run)
            done.set_result(None)

        self.jobs.append(work)
        return done

    def work(self, times: int = 1) -> None:
        for _ in range(times):
            self.jobs.pop(0)()


class Job:
    """An image whose answer is its value."""

    def __init__(self, value: float) -> None:
        self.value = value
        self.prepared = False

    def prepare(self, out: AnyArray | None) -> AnyArray:
        assert out is not None
        self.prepared = True
        out[...] = self.value
        return out

    def finish(self, outputs: Mapping[str, AnyArray], inference_s: float) -> float:
        return float(outputs["out"][0])


class Models:
    """A batcher and its whole images over threads by hand; its graph answers rows with themselves."""

    def __init__(self, *, slots: int = 1, group_size: int = GROUP) -> None:
        self.threads, self.seen = ThreadsByHand(), Seen()
        self.batcher: Batcher = batcher_of(self.threads, slots=slots, group_size=group_size, seen=self.seen)
        work = GroupWork(self.graph, [], row_shape=(1,), dtype="float32")
        self.whole = WholeImages(self.batcher, work)
        self.in_run: Callable[[Run], Any] = lambda run: None
        self.sizes: list[int] = []

    def graph(self, rows: AnyArray, run: Run) -> Mapping[str, AnyArray]:
        self.sizes.append(len(rows))
        run.seconds = RUN_S
        self.in_run(run)
        return {"out": rows}

    async def answer(self, job: Job) -> float:
        with place_in(self.batcher, image=True) as place:
            return await self.whole.answer(job, place)

    def send(self, *values: float) -> list[asyncio.Task[float]]:
        return [asyncio.create_task(self.answer(Job(value))) for value in values]
