"""``ocella batch``."""

from __future__ import annotations

import json
import logging
import os
import sys
from contextlib import AbstractContextManager, nullcontext, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipelines.errors import InvalidRequestError
from serving.batch.errors import JobError
from serving.batch.shard import parse_shard
from serving.batch.tasks import FORMAT_TASKS
from serving.client.channel import check_address

if TYPE_CHECKING:
    from pipelines.options import PredictOptions
    from serving.batch.engine import EngineContext
    from serving.batch.run import Request
    from serving.batch.summary import Summary
    from serving.batch.tally import Tally
    from serving.batch.total import Total

_SOURCES, _OUTPUTS, _OPTIONS, _SERVER, _RAY = (
    "Sources",
    "Outputs",
    "Options of each prediction",
    "Server",
    "Ray cluster",
)


def _address(text: str | None) -> str | None:
    try:
        return text if text is None else check_address(text)
    except InvalidRequestError as error:
        raise typer.BadParameter(str(error)) from error


def _shard(text: str) -> str:
    try:
        return str(parse_shard(text))
    except JobError as error:
        raise typer.BadParameter(str(error)) from error


def _formats(names: list[str] | None) -> list[str]:
    for name in names or ():
        if name not in FORMAT_TASKS:
            raise typer.BadParameter(f"must be one of {', '.join(FORMAT_TASKS)}, got {name!r}")
    return list(dict.fromkeys(names or ["jsonl"]))


def batch(  # one parameter a flag
    sources: Annotated[
        list[Path],
        typer.Argument(
            metavar="SOURCE...",
            readable=False,
            help="Folders, glob patterns, images, lists (.txt .csv .parquet), tar shards, videos.",
        ),
    ],
    model: Annotated[str, typer.Option(metavar="PACKAGE|MODEL", help="Package folder; with --server, a model name.")],
    out: Annotated[Path, typer.Option(metavar="DIR", file_okay=False, help="Output folder; again: goes on.")],
    server: Annotated[
        str | None,
        typer.Option(
            metavar="HOST:PORT", callback=_address, rich_help_panel=_SERVER, help="Ask this server, not a package."
        ),
    ] = None,
    model_version: Annotated[
        int, typer.Option(min=0, rich_help_panel=_SERVER, help="Version on the server; 0: the newest.")
    ] = 0,
    concurrency: Annotated[int, typer.Option(min=1, max=1024, rich_help_panel=_SERVER, help="Requests at once.")] = 16,
    patience: Annotated[
        float, typer.Option(min=0, rich_help_panel=_SERVER, help="Seconds that a server may be away.")
    ] = 60.0,
    timeout: Annotated[float, typer.Option(min=0.001, rich_help_panel=_SERVER, help="Seconds for one image.")] = 60.0,
    ray: Annotated[
        bool, typer.Option("--ray", rich_help_panel=_RAY, help="Compute on a Ray cluster; alone: one of this machine.")
    ] = False,
    address: Annotated[
        str | None,
        typer.Option(
            metavar="HOST:PORT|auto", rich_help_panel=_RAY, help="Join this cluster; this machine is part of it."
        ),
    ] = None,
    actors: Annotated[
        int | None, typer.Option(min=1, rich_help_panel=_RAY, help="Copies of the model; default: as many as fit.")
    ] = None,
    cores: Annotated[
        int | None, typer.Option(min=1, rich_help_panel=_RAY, help="Cores of each copy; default: 4, or a machine's.")
    ] = None,
    shard: Annotated[
        str, typer.Option(metavar="I/N", callback=_shard, rich_help_panel=_SOURCES, help="Take part I of N.")
    ] = "1/1",
    stride: Annotated[
        int, typer.Option(min=1, rich_help_panel=_SOURCES, help="Of a video, take every STRIDE-th frame.")
    ] = 1,
    column: Annotated[
        str | None, typer.Option(rich_help_panel=_SOURCES, help="Column of paths in CSV and Parquet lists.")
    ] = None,
    formats: Annotated[
        list[str] | None,
        typer.Option(
            "--format",
            callback=_formats,
            rich_help_panel=_OUTPUTS,
            help="jsonl (default), parquet, csv, coco, yolo, masks-png, masks-rle, embeddings; repeat for more.",
        ),
    ] = None,
    coco_truth: Annotated[
        Path | None,
        typer.Option(metavar="FILE", rich_help_panel=_OUTPUTS, help="Use the ids of this COCO file in --format coco."),
    ] = None,
    draw: Annotated[bool, typer.Option("--draw", rich_help_panel=_OUTPUTS, help="Draw each image's result.")] = False,
    max_errors: Annotated[
        int | None, typer.Option(min=0, help="Accept so many failed images, stop at one more; default: go on, exit 1.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as one JSON document.")] = False,
    textfile: Annotated[
        Path | None, typer.Option("--prometheus-textfile", metavar="FILE", help="Keep metrics of the job here.")
    ] = None,
    score_threshold: Annotated[
        float | None, typer.Option(rich_help_panel=_OPTIONS, help="Least score of a detection, label or pixel.")
    ] = None,
    iou_threshold: Annotated[
        float | None, typer.Option(rich_help_panel=_OPTIONS, help="IoU above which a detection is suppressed.")
    ] = None,
    max_detections: Annotated[
        int | None, typer.Option(rich_help_panel=_OPTIONS, help="Most detections of an image.")
    ] = None,
    top_k: Annotated[int | None, typer.Option(rich_help_panel=_OPTIONS, help="Most classes of an image.")] = None,
) -> None:
    r"""Run a model on many images, each exactly once: killed at any moment, the same command goes on.

    Example:
        ocella batch examples/images \
            --model ~/.cache/ocella/models/centerface --out out/faces --format jsonl --format coco
    """
    if ray and server:
        raise typer.BadParameter("must be given without --server, a cluster runs a package", param_hint="--ray")
    if not ray and (address or actors or cores):
        raise typer.BadParameter("must be given with --ray", param_hint="--address, --actors, --cores")
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    from pipelines.options import PredictOptions
    from serving.batch.run import Request
    from serving.batch.sources import Choices, Sources

    logging.getLogger("serving").setLevel(logging.CRITICAL)  # the job says what fails, image by image
    options = PredictOptions(
        score_threshold=score_threshold, iou_threshold=iou_threshold, max_detections=max_detections, top_k=top_k
    )
    request = Request(
        sources=Sources(tuple(os.fsencode(source) for source in sources), Choices(stride=stride, column=column)),
        out=out,
        options=options,
        shard=parse_shard(shard),
        formats=tuple(formats or ()),
        draw=draw,
        max_errors=max_errors,
        coco_truth=coco_truth,
        textfile=textfile,
    )
    if ray:
        summary = _on_ray(model, request, address, actors, cores)
    else:
        summary = _here(_engine(model, server, options, model_version, concurrency, patience, timeout), request)
    if as_json:
        print(json.dumps(summary.to_json(), indent=2))
    else:
        print(summary.line())
        if summary.complete:
            print(f"results: {out}")
    if not summary.complete:
        _fail(summary.problem)
    if summary.tally.failed and max_errors is None:
        _fail(f"{summary.tally.failed:,} of {summary.tally.rows:,} images failed, {out}/errors.jsonl says why")


def _fail(message: str) -> None:
    typer.echo(f"error: {' '.join(message.split())}", err=True)
    raise typer.Exit(1)


def _here(engine: EngineContext, request: Request) -> Summary:
    from serving.batch.job import Job
    from serving.batch.run import run_job

    return run_job(request, engine, _watch, begin=Job)


def _on_ray(model: str, request: Request, address: str | None, actors: int | None, cores: int | None) -> Summary:
    from serving.batch.on_ray.job import RayJob
    from serving.batch.on_ray.pool import ray_pool
    from serving.batch.run import run_job

    pool = ray_pool(Path(model), request.options, address=address, actors=actors, cores=cores)
    with redirect_stdout(sys.stderr):  # where Ray tells of actors that died
        return run_job(request, pool, _watch, begin=RayJob)


def _engine(
    model: str,
    server: str | None,
    options: PredictOptions,
    version: int,
    concurrency: int,
    patience_s: float,
    timeout_s: float,
) -> EngineContext:
    if server is None:
        from serving.batch.local import local_engine

        return local_engine(Path(model), options)
    from serving.batch.remote import remote_engine

    return remote_engine(
        server,
        model,
        options,
        version=version,
        concurrency=concurrency,
        patience_s=patience_s,
        timeout_s=timeout_s,
    )


def _watch(tally: Tally, total: Total) -> AbstractContextManager[None]:
    """Progress on standard error; none where it is closed."""
    from serving.batch.progress import shown

    return shown(tally, total, sys.stderr) if sys.stderr else nullcontext()
