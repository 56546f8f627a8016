"""A job from its request to its outputs: lock, journal, engine, writers, summary."""

from __future__ import annotations

import errno
import json
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from pipelines.errors import OcellaError
from pipelines.options import PredictOptions
from serving import event_loop
from serving.batch.draw import Overlays
from serving.batch.engine import Described
from serving.batch.errors import TooManyErrorsError
from serving.batch.identity import Identity, identity_of
from serving.batch.journal import Journal
from serving.batch.lock import locked
from serving.batch.outcome import Row
from serving.batch.outputs import PRIVATE, Outputs, staged, write_whole
from serving.batch.report import to_html
from serving.batch.shard import WHOLE, Shard
from serving.batch.sheet import contact_sheet
from serving.batch.sources import Sources
from serving.batch.summary import Summary
from serving.batch.tally import Tally
from serving.batch.tasks import check_formats
from serving.batch.textfile import JobMetrics
from serving.batch.total import Total
from serving.batch.work import Running, Work
from serving.batch.writers import Target

METRICS_EVERY_S = 15.0
NO_OPTIONS = PredictOptions()
OVERLAYS = "overlays"
Watch = Callable[[Tally, Total], AbstractContextManager[None]]
M = TypeVar("M", bound=Described)


@dataclass(frozen=True, kw_only=True)
class Request:
    """What a job is to do.

    Attributes:
        sources: where its images come from.
        out: the output folder.
        options: of every prediction.
        shard: the part that this process takes.
        formats: of the results.
        draw: whether an overlay of each image is written.
        max_errors: failed images that are accepted; one more ends the job. ``None``: any number, none accepted.
        coco_truth: see ``Target``.
        textfile: where Prometheus' figures go.
    """

    sources: Sources
    out: Path
    options: PredictOptions = NO_OPTIONS
    shard: Shard = WHOLE
    formats: Sequence[str] = ("jsonl",)
    draw: bool = False
    max_errors: int | None = None
    coco_truth: Path | None = None
    textfile: Path | None = None


def run_job(
    request: Request,
    context: AbstractAsyncContextManager[M],
    watch: Watch = lambda tally, total: nullcontext(),
    *,
    begin: Callable[[M, Work], Running],
) -> Summary:
    """Run a job to its end, or on from where an earlier run ended.

    Args:
        request: what is to be done.
        context: opens the model.
        watch: shows the tally meanwhile, with the number of rows to come.
        begin: makes the run, such as ``Job`` of an engine.

    A job that cannot go on gives a summary with its ``problem``, once it has begun; before that it raises JobError
    or whatever opening the engine raises.
    """
    request.sources.check()
    private = request.out / PRIVATE
    private.mkdir(parents=True, exist_ok=True)
    with locked(private / "lock", of=request.out), Journal(private / "journal.sqlite") as journal:
        return event_loop.run(_run(request, context, journal, watch, begin))


async def _run(
    request: Request,
    context: AbstractAsyncContextManager[M],
    journal: Journal,
    watch: Watch,
    begin: Callable[[M, Work], Running],
) -> Summary:
    async with context as model:
        check_formats(request.formats, model.task)
        identity = _claim(request, model, journal)
        with Total(request.sources, request.shard) as total:
            work = Work(
                sources=request.sources,
                shard=request.shard,
                options=request.options,
                journal=journal,
                overlays=Overlays(request.out / OVERLAYS) if request.draw else None,
                private=request.out / PRIVATE,
                total=total,
            )
            run = _Run(request, model, begin(model, work), identity)
            with watch(run.tally, total):
                problem = await run.to_end()
        return run.summary(problem)


def _claim(request: Request, model: Described, journal: Journal) -> Identity:
    """The identity of the job; raises OtherJobError where the output folder has another one."""
    identity = identity_of(
        request.sources,
        request.shard,
        model=model.model,
        version=model.version,
        manifest_json=model.manifest_json,
        options=request.options,
    )
    kept = journal.identity()
    if kept is None:
        journal.claim(identity.to_json())
    else:
        identity.check_same(kept, where=str(request.out))
    return identity


class _Run:
    """One run: rows from the job to the writers, the tally and the metrics."""

    def __init__(self, request: Request, model: Described, job: Running, identity: Identity) -> None:
        self.tally = Tally()
        self._request, self._job, self._identity = request, job, identity
        self._start = self._metrics_at = time.monotonic()
        self._target = Target(folder=request.out, task=model.task, labels=model.labels, coco_truth=request.coco_truth)
        self._metrics = (
            JobMetrics(request.textfile, self.tally, model=model.model, shard=str(request.shard))
            if request.textfile
            else None
        )

    async def to_end(self) -> str:
        """Run the job and put its outputs into place; returns what stopped it, empty where nothing did."""
        try:
            if self._request.draw:
                (self._request.out / OVERLAYS).mkdir(exist_ok=True)
            with staged(self._request.out, self._target, self._request.formats) as outputs:
                await self._job.run(lambda rows: self._consume(rows, outputs))
        except OcellaError as error:
            return str(error)
        except OSError as error:
            return _reason(error, self._request.out)
        return ""

    def summary(self, problem: str) -> Summary:
        """What the run did; also written into the output folder, and the last metrics with it."""
        out, thumbnails = self._request.out, self.tally.thumbnails()
        summary = Summary(
            complete=not problem,
            problem=problem,
            model=self._identity.model,
            package_sha256=self._identity.package_sha256,
            shard=self._identity.shard,
            tally=self.tally,
            computed=self._job.computed,
            seconds=time.monotonic() - self._start,
            outputs=tuple(sorted(path.name for path in out.iterdir() if path.name != PRIVATE)),
            has_sheet=bool(thumbnails),
        )
        try:
            if thumbnails:
                write_whole(out / "contact_sheet.png", contact_sheet(thumbnails), staging=out / PRIVATE / "tmp")
            write_whole(out / "summary.html", to_html(summary).encode(), staging=out / PRIVATE / "tmp")
            document = json.dumps(summary.to_json(), indent=2) + "\n"
            write_whole(out / "summary.json", document.encode(), staging=out / PRIVATE / "tmp")
            if self._metrics:
                self._metrics.write(complete=summary.complete)
        except OSError as error:
            return replace(summary, complete=False, problem=problem or _reason(error, out))
        return summary

    def _consume(self, rows: Sequence[Row], outputs: Outputs) -> None:
        most = self._request.max_errors
        for row in rows:
            self.tally.add(row)
            outputs.write(row)
            failure = row.outcome.failure
            if failure and most is not None and self.tally.failed > most:
                raise TooManyErrorsError(
                    f"at most {most} images may fail, {self.tally.failed} did: {row.entry.text}: {failure.message}"
                )
        if self._metrics and time.monotonic() - self._metrics_at > METRICS_EVERY_S:
            self._metrics.write()
            self._metrics_at = time.monotonic()


def _reason(error: OSError, out: Path) -> str:
    words = error.strerror or str(error)
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"{out} is full ({words}): make room and give the same command, what was computed is kept"
    return f"{error.filename or out}: {words}"
