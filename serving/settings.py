"""What the server is told: read once, at the edge, from arguments, then ``OCELLA_*`` variables, then defaults."""

from __future__ import annotations

import ipaddress
import os
import socket
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from pipelines.errors import OcellaError
from pipelines.manifest import first_problem

Port = Annotated[int, Field(ge=0, le=65_535)]


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
        insecure: allow a ``host`` that other machines can reach, though nothing is encrypted or authenticated.
        admin: whether callers may load and unload models and change the log.
        allow_shared_memory: whether callers on this machine may send tensors through POSIX shared memory.
        grace_s: longest time that a stop waits for requests in flight.
        max_image_bytes: of one encoded image.
        max_image_pixels: of one decoded image.
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
        keep_crops: whether galleries keep what the embedder saw of each face, to embed it anew one day.
    """

    model_config = SettingsConfigDict(env_prefix="OCELLA_", frozen=True)

    models: Annotated[tuple[Path, ...], NoDecode] = ()
    host: str = "127.0.0.1"
    port: Port = 8001
    http_port: Port = 8000
    insecure: bool = False
    admin: bool = False
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
    stream_window: Annotated[int, Field(ge=1, le=256)] = 8
    galleries: Path | None = None
    keep_crops: bool = False

    @field_validator("models", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        return tuple(filter(None, value.split(os.pathsep))) if isinstance(value, str) else value


def read_settings(**given: Any) -> Settings:
    """Settings from arguments, then the environment, then defaults; an argument that is ``None`` was not given.

    Raises StartError, which names the variable that is wrong.
    """
    try:
        return Settings(**{name: value for name, value in given.items() if value is not None})
    except ValidationError as error:
        raise StartError(f"{Settings.model_config['env_prefix']}{_in_capitals(first_problem(error))}") from error


def _in_capitals(problem: str) -> str:
    name, colon, rest = problem.partition(":")
    return name.upper() + colon + rest


def check_exposure(settings: Settings) -> None:
    """Raise StartError where ``host`` can be reached from other machines without ``insecure``."""
    if not settings.insecure and not is_loopback(settings.host):
        raise StartError(
            f"host must be a loopback address unless --insecure is given, got {settings.host}: "
            "anybody who reaches it could use the server"
        )


def is_loopback(host: str) -> bool:
    """Whether every address of ``host`` stays on this machine; raises StartError where it has none."""
    try:
        found = socket.getaddrinfo(host or "0.0.0.0", None, type=socket.SOCK_STREAM)
    except OSError as error:
        raise StartError(f"host {host!r} has no address: {error.strerror}") from error
    return all(ipaddress.ip_address(str(address[0]).partition("%")[0]).is_loopback for *_, address in found)
