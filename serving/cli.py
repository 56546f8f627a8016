"""``ocella serve``."""

from __future__ import annotations

import gc
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer


def serve(
    models: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="DIR", help="Repository <model>/<version>/, a model in one, or a package; may be repeated."
        ),
    ] = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on; default 127.0.0.1.")] = None,
    port: Annotated[
        int | None, typer.Option(min=0, max=65_535, help="gRPC port; 0: any free one; default 8001.")
    ] = None,
    http_port: Annotated[
        int | None, typer.Option(min=0, max=65_535, help="HTTP port; 0: any free one; default 8000.")
    ] = None,
    health_port: Annotated[
        int | None,
        typer.Option(min=0, max=65_535, help="Plain HTTP port for /healthz and /readyz alone; default none."),
    ] = None,
    tls_cert: Annotated[
        Path | None, typer.Option(metavar="PEM", help="Encrypt gRPC and HTTP; renewed where the file changes.")
    ] = None,
    tls_key: Annotated[Path | None, typer.Option(metavar="PEM", help="Key of --tls-cert, not encrypted.")] = None,
    tls_client_ca: Annotated[
        Path | None, typer.Option(metavar="PEM", help="Ask clients for a certificate that these authorities signed.")
    ] = None,
    tokens: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Ask callers for a token of this file, which `ocella token` writes."),
    ] = None,
    insecure: Annotated[
        bool | None,
        typer.Option("--insecure", help="Allow a host that other machines reach without --tls-cert or --tokens."),
    ] = None,
    max_request_s: Annotated[
        float | None, typer.Option(metavar="SECONDS", help="Longest time that a request may take; default 300.")
    ] = None,
    max_requests_per_s: Annotated[
        float | None, typer.Option(metavar="RATE", help="Requests a second of each client; default no limit.")
    ] = None,
    watch: Annotated[
        bool | None, typer.Option("--watch", help="Follow changes in the folders of models while serving.")
    ] = None,
    plan: Annotated[
        bool, typer.Option("--plan", help="Print how the cores would be used, and why; serve nothing.")
    ] = False,
    processes: Annotated[
        int | None,
        typer.Option(min=1, max=64, help="Processes that share the ports; each loads every model; default 1."),
    ] = None,
    admin: Annotated[
        bool | None, typer.Option("--admin", help="Let all callers load and unload models and change the log.")
    ] = None,
    allow_shared_memory: Annotated[
        bool | None,
        typer.Option("--allow-shared-memory", help="Let callers on this machine send tensors through shared memory."),
    ] = None,
    galleries: Annotated[
        Path | None,
        typer.Option(metavar="DIR", file_okay=False, help="Keep galleries of faces here, one a model; default none."),
    ] = None,
    keep_crops: Annotated[
        bool | None,
        typer.Option("--keep-crops", help="Keep each enrolled face's crop, so that another embedder can embed it."),
    ] = None,
    log_format: Annotated[
        str | None, typer.Option(help="console, json, or auto: console on a terminal, JSON elsewhere; default auto.")
    ] = None,
    log_level: Annotated[
        str | None, typer.Option(help="Least level written: debug, info, warning, error; default info.")
    ] = None,
    otlp_endpoint: Annotated[
        str | None, typer.Option(metavar="URL", help="Send a trace of each request to this OTLP receiver over gRPC.")
    ] = None,
    ray: Annotated[
        bool, typer.Option("--ray", help="Serve on Ray: each model in replicas that follow the load.")
    ] = False,
    address: Annotated[
        str | None,
        typer.Option(metavar="ADDRESS", help="With --ray: the cluster to deploy on, auto for this machine's."),
    ] = None,
) -> None:
    """Serve packages over gRPC and HTTP until SIGTERM or Ctrl-C; what is in flight is finished first.

    Each option that is not given is read from the environment: OCELLA_MODELS (joined by ":"), OCELLA_HOST and so on.

    Example: ocella serve --models ~/.cache/ocella/models --port 8001 --http-port 8000
    """
    if address is not None and not ray:
        raise typer.BadParameter("--address must come with --ray, got it alone")
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # its own lines repeat our errors; before it is imported
    with _not_collecting():
        from serving.settings import read_settings

    settings = read_settings(
        models=tuple(models) if models else None,
        host=host,
        port=port,
        http_port=http_port,
        health_port=health_port,
        tls_cert=tls_cert,
        tls_key=tls_key,
        tls_client_ca=tls_client_ca,
        tokens=tokens,
        insecure=insecure,
        max_request_s=max_request_s,
        max_requests_per_s=max_requests_per_s,
        watch=watch,
        processes=processes,
        admin=admin,
        allow_shared_memory=allow_shared_memory,
        galleries=galleries,
        keep_crops=keep_crops,
        log_format=log_format,
        log_level=log_level,
        otlp_endpoint=otlp_endpoint,
        ray_address=address,
    )
    if plan:
        from serving.cpu_plan import plan_text
        from serving.repository import embedded_repository, scan

        print(plan_text(scan(settings.models or (embedded_repository(),)), processes=settings.processes))
        return
    with _not_collecting():
        from serving import event_loop

        if ray:
            from serving.ray_app import serve_on_ray as serve_until_stopped
        elif settings.processes > 1:
            from serving.processes import serve_with_processes as serve_until_stopped
        else:
            from serving.app import serve as serve_until_stopped
        from serving.logs.install import server_log

    with server_log(settings, serves=settings.processes == 1):
        event_loop.run(serve_until_stopped(settings, _announce))


def _announce(line: str) -> None:
    """Print a line; where nobody reads any more, print nothing from here on: a server goes on without its listener."""
    try:
        print(line, flush=True)
    except OSError as error:
        logging.getLogger(__name__).warning("standard output is closed, it takes no more lines: %s", error.strerror)
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@contextmanager
def _not_collecting() -> Iterator[None]:
    """Import without looking for garbage, and never look among what is there then: it stays.

    Looking through it takes a tenth of the start, and later some 50 ms each time, for which every request would wait.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
