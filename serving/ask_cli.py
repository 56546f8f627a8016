"""Commands that ask a server: ``ocella models``, ``ocella health``."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from typing import Annotated

import typer

from pipelines.errors import InvalidRequestError
from serving.client.channel import DEFAULT_SERVER, check_address


def _address(text: str) -> str:
    try:
        return check_address(text)
    except InvalidRequestError as error:
        raise typer.BadParameter(str(error)) from error


ServerOption = Annotated[str, typer.Option(metavar="HOST:PORT", help="The server's gRPC address.", callback=_address)]


def models(
    server: ServerOption = DEFAULT_SERVER,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """List what a server serves.

    Example: ocella models --server 127.0.0.1:8001
    """
    _silence_grpc()
    from serving.client import VisionClient
    from serving.client.environment import credentials_from_environment

    with VisionClient(server, **credentials_from_environment()) as client:
        statuses = client.list_models()
    if as_json:
        print(json.dumps([asdict(status) for status in statuses], indent=2))
        return
    width = max([len(status.name) for status in statuses], default=0)
    for status in statuses:
        state = "ready" if status.ready else f"not ready: {status.reason}"
        print(f"{status.name:<{width}}  {status.version:>3}  {status.task or '?':<14}  {state}")


def health(
    model: Annotated[str, typer.Argument(metavar="[MODEL]", help="A model; without it, the server.")] = "",
    server: ServerOption = DEFAULT_SERVER,
) -> None:
    """Exit with 0 when a server, or one of its models, is ready.

    Example: ocella health --server 127.0.0.1:8001
    """
    _silence_grpc()
    from serving.client import VisionClient
    from serving.client.environment import credentials_from_environment

    with VisionClient(server, **credentials_from_environment()) as client:
        ready = client.is_ready(model)
    if not ready:
        typer.echo(f"error: {model or 'the server'} at {server} is not ready", err=True)
        raise typer.Exit(1)
    print("ready")


def _silence_grpc() -> None:
    """Keep gRPC's own lines, which repeat our errors, off standard error; to be called before it is imported."""
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
