"""What the server is told: read once, at the edge, from arguments, then ``OCELLA_*`` variables, then defaults."""

from __future__ import annotations

import ipaddress
import os
import socket
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from pipelines.errors import OcellaError
from pipelines.manifest import first_problem
from serving.tracing.environment import standard_endpoint

Port = Annotated[int, Field(ge=0, le=65_535)]
LogFormat = Literal["auto", "console", "json"]
LogLevel = Literal["debug", "info", "warning", "error"]


class StartError(OcellaError):
    """The server cannot start as it was told to."""


class Settings(BaseSettings):
    """One server's settings.

    Attributes:
        models: repositories, model or package folders; empty means the embedded default repository. The variable
            joins them as ``PATH`` does.
        host: address to bind, for gRPC and HTTP.
        port: gRPC; 0 lets the system choose.
        http_port: HTTP; 0 lets the system choose.
        health_port: of a second HTTP port, never encrypted, that answers probes alone; null: none.
        insecure: allow a ``host`` that other machines can reach, though nothing is encrypted or authenticated.
        admin: whether callers may load and unload models and change the log, where ``tokens`` do not say.
        tls_cert: PEM of the server's certificate, for gRPC and HTTP; with ``tls_key``.
        tls_key: PEM of its key, not encrypted.
        tls_client_ca: PEM of the authorities of clients' certificates, which each client then needs.
        tokens: file of tokens as ``ocella token`` writes it; with it each request needs one.
        secrets_interval_s: between two looks at certificates and tokens, which are renewed where they changed.
        allow_shared_memory: whether callers on this machine may send tensors through POSIX shared memory.
        grace_s: longest time that a stop waits for requests in flight.
        max_image_bytes: of one encoded image.
        max_image_pixels: of one decoded image.
        max_request_images: encoded images of one request.
        max_tensor_elements: of one tensor of a request.
        max_request_s: longest time that an image or tensors may be inside, and a body may take to come.
        max_requests_per_s: of one client on average, a second's worth at once; null: no limit.
        max_streams: open streams of one client.
        max_connections: open connections of one address, of HTTP and of gRPC each.
        max_grpc_connections: open gRPC connections of all clients.
        max_uploads: HTTP bodies that are on their way in at once.
        max_upload_bytes: that have come of them.
        processes: that share the ports; each loads every model.
        member_of: folder of sockets, in a process that shares the ports; set by its supervisor.
        member: number of this process among those; set by its supervisor.
        watch: follow changes in the folders of models.
        watch_interval_s: between two looks at them.
        load_timeout_s: longest time that loading one version may take.
        memory_budget_mb: MiB that the server may hold; a load beyond it is refused. Null: what the machine has.
        canary_interval_s: between two golden replays of a model that answers; 0: none.
        hang_s: a run that takes longer is ended, and where it cannot be, its session is replaced.
        breaker_calls: latest requests of a model by which it is judged.
        breaker_rate: part of them that must fail by the model's fault for it to be taken out.
        breaker_wait_s: before a canary decides whether a model that was taken out answers again.
        probation_s: how long the version before is kept after a reload, to go back to where the new one fails.
        stream_window: requests of one stream in work at once, where the client does not say.
        galleries: folder of the galleries of faces, one a model by its name; null: none are kept.
        ray_address: of the Ray cluster to deploy on, ``auto`` for the one that this machine belongs to; null: one of
            our own, that ends with us.
        ray_routers: processes that take requests to replicas, on a Ray cluster.
        keep_crops: whether galleries keep what the embedder saw of each face, to embed it anew one day.
        log_format: of the lines on standard error; ``auto``: for people on a terminal, JSON elsewhere.
        log_level: least level that is written.
        otlp_endpoint: URL of a receiver of OpenTelemetry's traces over gRPC; null: no traces are sent. Without
            OCELLA_OTLP_ENDPOINT, OpenTelemetry's own variables say.
    """

    model_config = SettingsConfigDict(env_prefix="OCELLA_", frozen=True)

    models: Annotated[tuple[Path, ...], NoDecode] = ()
    host: str = "127.0.0.1"
    port: Port = 8001
    http_port: Port = 8000
    health_port: Port | None = None
    insecure: bool = False
    admin: bool = False
    tls_cert: Path | None = None
    tls_key: Path | None = None
    tls_client_ca: Path | None = None
    tokens: Path | None = None
    secrets_interval_s: Annotated[float, Field(gt=0)] = 2.0
    allow_shared_memory: bool = False
    grace_s: Annotated[float, Field(ge=0)] = 30.0
    processes: Annotated[int, Field(ge=1, le=64)] = 1
    member_of: Path | None = None
    member: int = 0
    watch: bool = False
    watch_interval_s: Annotated[float, Field(gt=0)] = 2.0
    load_timeout_s: Annotated[float, Field(gt=0)] = 600.0
    memory_budget_mb: Annotated[int, Field(ge=1)] | None = None
    canary_interval_s: Annotated[float, Field(ge=0)] = 60.0
    hang_s: Annotated[float, Field(gt=0)] = 60.0
    breaker_calls: Annotated[int, Field(ge=1, le=10_000)] = 20
    breaker_rate: Annotated[float, Field(gt=0, le=1)] = 0.5
    breaker_wait_s: Annotated[float, Field(ge=0)] = 5.0
    probation_s: Annotated[float, Field(ge=0)] = 30.0
    max_image_bytes: Annotated[int, Field(ge=1)] = 64 * 1024 * 1024
    max_image_pixels: Annotated[int, Field(ge=1)] = 100_000_000
    max_request_images: Annotated[int, Field(ge=1)] = 1024
    max_tensor_elements: Annotated[int, Field(ge=1)] = 16_777_216  # 64 MiB of float32
    max_request_s: Annotated[float, Field(gt=0)] = 300.0
    max_requests_per_s: Annotated[float, Field(gt=0)] | None = None
    max_streams: Annotated[int, Field(ge=1)] = 256
    max_connections: Annotated[int, Field(ge=1)] = 512
    max_grpc_connections: Annotated[int, Field(ge=1)] = 4096
    max_uploads: Annotated[int, Field(ge=1)] = 256
    max_upload_bytes: Annotated[int, Field(ge=1)] = 512 * 1024 * 1024
    stream_window: Annotated[int, Field(ge=1, le=256)] = 8
    galleries: Path | None = None
    keep_crops: bool = False
    log_format: LogFormat = "auto"
    log_level: LogLevel = "info"
    otlp_endpoint: Annotated[str, Field(pattern="^https?://[^/]")] | None = None
    ray_address: str | None = None
    ray_routers: Annotated[int, Field(ge=1, le=1000)] = 2

    @field_validator("models", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        return tuple(filter(None, value.split(os.pathsep))) if isinstance(value, str) else value


def read_settings(**given: Any) -> Settings:
    """Settings from arguments, then the environment, then defaults; an argument that is ``None`` was not given.

    Raises StartError, which names the variable that is wrong.
    """
    if given.get("otlp_endpoint") is None and "OCELLA_OTLP_ENDPOINT" not in os.environ:
        given["otlp_endpoint"] = standard_endpoint(os.environ)
    try:
        return Settings(**{name: value for name, value in given.items() if value is not None})
    except ValidationError as error:
        raise StartError(f"{Settings.model_config['env_prefix']}{_in_capitals(first_problem(error))}") from error


def _in_capitals(problem: str) -> str:
    name, colon, rest = problem.partition(":")
    return name.upper() + colon + rest


def check_exposure(settings: Settings) -> None:
    """Raise StartError where settings contradict each other, or where ``host`` would be open to everybody unsaid."""
    if (settings.tls_cert is None) != (settings.tls_key is None):
        raise StartError("--tls-cert and --tls-key must come together, got one of them")
    if settings.tls_client_ca and not settings.tls_cert:
        raise StartError("--tls-client-ca must come with --tls-cert and --tls-key, got it alone")
    if settings.admin and settings.tokens:
        raise StartError("--admin must not come with --tokens: a token with the role admin allows what it would")
    protected = settings.tls_cert or settings.tokens
    if not settings.insecure and not protected and not is_loopback(settings.host):
        raise StartError(
            f"host must be a loopback address unless --tls-cert, --tokens or --insecure is given, got {settings.host}: "
            "anybody who reaches it could use the server"
        )


def exposure_warnings(settings: Settings) -> tuple[str, ...]:
    """What a reader of the log should know of who can reach the server, a line each."""
    if is_loopback(settings.host):
        return ()
    lines = []
    if not settings.tls_cert:
        what = "tokens, images and answers" if settings.tokens else "images and answers"
        lines.append(f"{what} travel unencrypted to and from {settings.host}: --tls-cert and --tls-key encrypt them")
    if not settings.tokens and not settings.tls_client_ca:
        lines.append(
            f"anybody who reaches {settings.host} can use the server: --tokens or --tls-client-ca ask who calls"
        )
    return tuple(lines)


def is_loopback(host: str) -> bool:
    """Whether every address of ``host`` stays on this machine; raises StartError where it has none."""
    try:
        found = socket.getaddrinfo(host or "0.0.0.0", None, type=socket.SOCK_STREAM)
    except OSError as error:
        raise StartError(f"host {host!r} has no address: {error.strerror}") from error
    return all(ipaddress.ip_address(str(address[0]).partition("%")[0]).is_loopback for *_, address in found)
