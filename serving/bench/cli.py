"""``ocella bench``."""

from __future__ import annotations

import asyncio
import json
import os
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipelines.errors import InvalidRequestError
from serving.client.channel import check_address

if TYPE_CHECKING:
    from serving.bench.rounds import Load
    from serving.bench.subject import Subject

_LOAD, _WHAT = "Load", "What is sent"


def _address(text: str | None) -> str | None:
    try:
        return text if text is None else check_address(text)
    except InvalidRequestError as error:
        raise typer.BadParameter(str(error)) from error


def _counts(text: str) -> str:
    if not all(word.isdecimal() and 1 <= int(word) <= 4096 for word in text.split(",")):
        raise typer.BadParameter(f"must be numbers from 1 to 4096 between commas, such as 1,8,32, got {text!r}")
    return text


def bench(  # one parameter a flag
    package: Annotated[
        Path | None, typer.Argument(metavar="[PACKAGE]", help="Serve this package on loopback, with its floor.")
    ] = None,
    server: Annotated[
        str | None, typer.Option(metavar="HOST:PORT", callback=_address, help="Or: ask this server.")
    ] = None,
    model: Annotated[str | None, typer.Option(help="With --server: the model.")] = None,
    metrics: Annotated[
        str | None,
        typer.Option(metavar="HOST:PORT", callback=_address, help="With --server: its HTTP address, for its CPU time."),
    ] = None,
    images: Annotated[
        Path | None,
        typer.Option(metavar="DIR", exists=True, file_okay=False, rich_help_panel=_WHAT, help="Send these in turns."),
    ] = None,
    image: Annotated[
        Path | None, typer.Option(metavar="FILE", exists=True, dir_okay=False, rich_help_panel=_WHAT, help="Send this.")
    ] = None,
    tensor: Annotated[
        bool, typer.Option("--tensor", rich_help_panel=_WHAT, help="Send the graph's own tensors, not images.")
    ] = False,
    concurrency: Annotated[
        str, typer.Option(callback=_counts, rich_help_panel=_LOAD, help="Requests at once; several: 1,8,32.")
    ] = "1,8,32",
    rate: Annotated[
        float | None,
        typer.Option(min=0.001, rich_help_panel=_LOAD, help="Requests a second at random moments, instead."),
    ] = None,
    duration: Annotated[
        float, typer.Option(min=0.1, max=3600, rich_help_panel=_LOAD, help="Seconds of one load in one round.")
    ] = 5.0,
    rounds: Annotated[int, typer.Option(min=1, max=100, rich_help_panel=_LOAD, help="Medians over so many.")] = 1,
    deadline_ms: Annotated[
        float | None, typer.Option(min=1, rich_help_panel=_LOAD, help="Deadline of each request.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, rich_help_panel=_LOAD, help="Of the random moments.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    r"""Load a server and say how fast it answers, how evenly, and what an image costs it.

    With a package: a server of its own, beside the same work without a server (the floor). Latency under --rate counts
    from the moment at which a request was due.

    Example:
        ocella bench ~/.cache/ocella/models/centerface \
            --image examples/images/rocket.jpg --concurrency 1,8 --duration 3
    """
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    _check_choice(package, server, model, images, image, tensor=tensor)
    from serving.bench.machine import machine
    from serving.bench.report import document, rows_of, table_text
    from serving.bench.rounds import Closed, Open, Plan, measure
    from serving.bench.subject import of_package, on_server, read_images

    photos = read_images(images or image)
    loads: tuple[Load, ...] = (
        (Open(rate, seed),) if rate else tuple(Closed(int(word)) for word in concurrency.split(","))
    )
    chosen: AbstractContextManager[Subject]
    if package is not None:
        chosen = of_package(package, images=photos, tensor=tensor, duration_s=duration)
    else:
        chosen = nullcontext(on_server(server or "", model or "", http=metrics, images=photos, tensor=tensor))
    with chosen as subject:
        plan = Plan(
            messages=subject.messages,
            loads=loads,
            duration_s=duration,
            rounds=rounds,
            timeout_s=deadline_ms and deadline_ms / 1000,
            http=subject.http,
        )
        measured = asyncio.run(measure(subject.grpc, plan, floor=subject.floor))
    if as_json:
        print(json.dumps(document(subject.model, measured.loads, measured.floor, machine()), indent=2))
    else:
        print(table_text(rows_of(measured.loads, measured.floor)))
    if not any(one.codes.get("OK") for one in measured.loads):
        codes = ", ".join(sorted({code for one in measured.loads for code in one.codes}))
        typer.echo(f"error: no request was answered with a result: {codes or 'none was sent'}", err=True)
        raise typer.Exit(1)


def _check_choice(
    package: Path | None,
    server: str | None,
    model: str | None,
    images: Path | None,
    image: Path | None,
    *,
    tensor: bool,
) -> None:
    """Raise BadParameter unless one thing is asked, and sent."""
    if (package is None) == (server is None):
        raise typer.BadParameter("must be a package, or --server with --model", param_hint="PACKAGE")
    if server is not None and model is None:
        raise typer.BadParameter("must name a model of the server", param_hint="--model")
    if sum((images is not None, image is not None, tensor)) > 1:
        raise typer.BadParameter("must be one of --images, --image and --tensor", param_hint="--images")
