"""``deploy.toml``: the operator's choices for one model."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, ValidationError, field_validator, model_validator

from pipelines.errors import OcellaError
from pipelines.manifest import first_problem
from pipelines.specs import Count, Spec
from serving.accelerators import Cuda, TensorRt
from serving.ray.choices import RayChoices

DEPLOY_FILE = "deploy.toml"


class DeployError(OcellaError):
    """A ``deploy.toml`` cannot be used; the text names the key."""


class Batching(Spec):
    """How rows of concurrent requests are run together.

    Attributes:
        max_size: most rows in one run, and most images that one run thread takes at once; null: as many as fit their
            times, see ``serving.served``.
        max_delay_ms: longest time that a row waits for others; 0: rows leave as soon as a run is free.
        max_queue: requests that may be inside the server beyond those that can run; one more is refused.
        max_queue_bytes: of encoded images and tensors that may be inside; a lone request may bring more.
    """

    max_size: Annotated[int, Field(ge=1, le=1024)] | None = None
    max_delay_ms: Annotated[float, Field(ge=0, le=10_000)] = 0.0
    max_queue: Annotated[int, Field(ge=0, le=1_000_000)] = 128
    max_queue_bytes: Annotated[int, Field(ge=1)] = 256 * 1024 * 1024


class Runtime(Spec):
    """How the graph is run.

    Attributes:
        providers: execution providers, most wanted first.
        require: refuse to load where the first provider is not the one that would run; else the next one that can
            runs, which the log, ``model_info`` and ``DescribeModel`` say.
        instances: concurrent runs; null: one for each usable core, two on a GPU.
        intra_op_threads: threads inside one run.
        arena: keep freed memory for the next run.
        shrink_arena: after 10 s without a request give what runs took back to the process (CPU alone).
        memory_mb: MiB that loading takes, for the check that there is room; null: measured at an earlier load, else
            estimated from the size of the graph.
        gpu_memory_mb: as ``memory_mb``, of the card's memory; null: measured at an earlier load, else the size of the
            graph, which is a least.
        cuda: options of CUDAExecutionProvider.
        tensorrt: options of TensorrtExecutionProvider.
    """

    providers: Annotated[tuple[str, ...], Field(min_length=1)] = ("CPUExecutionProvider",)
    require: bool = True
    instances: Annotated[int, Field(ge=1, le=256)] | None = None
    intra_op_threads: Annotated[int, Field(ge=1, le=256)] = 1
    arena: bool = True
    shrink_arena: bool = False
    memory_mb: Annotated[int, Field(ge=1, le=16_777_216)] | None = None
    gpu_memory_mb: Annotated[int, Field(ge=1, le=16_777_216)] | None = None
    cuda: Cuda | None = None
    tensorrt: TensorRt | None = None

    @model_validator(mode="after")
    def _only_what_acts(self) -> Self:
        if self.shrink_arena and not (self.arena and self.providers[0] == "CPUExecutionProvider"):
            raise ValueError(
                "shrink_arena acts only with arena = true on CPUExecutionProvider first, "
                f"got arena = {str(self.arena).lower()} on {self.providers[0]}"
            )
        if self.gpu_memory_mb is not None and not {"CUDAExecutionProvider", "TensorrtExecutionProvider"}.intersection(
            self.providers
        ):
            raise ValueError(f"gpu_memory_mb acts only where providers names one of a GPU, got {list(self.providers)}")
        for key, options, provider in (
            ("cuda", self.cuda, "CUDAExecutionProvider"),
            ("tensorrt", self.tensorrt, "TensorrtExecutionProvider"),
        ):
            if options is not None and provider not in self.providers:
                raise ValueError(f"{key} acts only where providers names {provider}, got {list(self.providers)}")
        return self


class Warmup(Spec):
    """What a version runs before it answers, beyond its golden samples.

    Attributes:
        runs: runs of a full batch of the first golden sample.
    """

    runs: Annotated[int, Field(ge=0, le=100)] = 0


class Health(Spec):
    """How a version is judged while it answers.

    Attributes:
        canary_max_ms: longest time that a row of a golden canary may take, two canaries in a row; null: any.
    """

    canary_max_ms: Annotated[float, Field(gt=0, le=3_600_000)] | None = None


class Deploy(Spec):
    """One model's ``deploy.toml``; every key has a default.

    Attributes:
        versions: which versions are served.
        batching: of each version.
        runtime: of each version.
        warmup: of each version.
        health: of each version.
        ray: replicas under ``ocella serve --ray``, which alone reads it.
    """

    versions: Literal["latest", "all"] | Annotated[tuple[Count, ...], Field(min_length=1)] = "latest"
    batching: Batching = Batching()
    runtime: Runtime = Runtime()
    warmup: Warmup = Warmup()
    health: Health = Health()
    ray: RayChoices = RayChoices()

    @field_validator("versions", mode="before")
    @classmethod
    def _one_message(cls, value: Any) -> Any:
        """Say what may stand there; pydantic alone would speak of one member of the union, often the wrong one."""
        listed = isinstance(value, list | tuple)
        if value in ("latest", "all"):
            return value
        if listed and value and all(type(one) is int and one >= 1 for one in value):
            return tuple(value)
        raise ValueError(
            'must be "latest", "all" or numbers from 1 such as [1, 3]' + (f", got {value}" if listed else "")
        )


def read_deploy(model_folder: Path) -> Deploy:
    """Read a model folder's ``deploy.toml``, or the defaults where it has none; raises DeployError."""
    path = model_folder / DEPLOY_FILE
    try:
        if path.exists() and not path.is_file():  # to read a pipe is to wait for whoever writes it
            raise DeployError(f"{path} must be a regular file, it is something else")
        # Through JSON: strict models take its arrays as tuples; a TOML date becomes a string, which no key accepts.
        raw = json.dumps(tomllib.loads(path.read_text(encoding="utf-8")), default=str)
    except FileNotFoundError:
        return Deploy()
    except OSError as error:
        raise DeployError(f"{path} cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise DeployError(f"{path} is not TOML: {error}") from error
    try:
        return Deploy.model_validate_json(raw)
    except ValidationError as error:
        raise DeployError(f"{path}: {first_problem(error)}") from error


def chosen_versions(deploy: Deploy, present: tuple[int, ...], *, model_folder: Path) -> tuple[int, ...]:
    """The versions to serve, ascending; raises DeployError where a listed one is not present."""
    if deploy.versions == "latest":
        return (max(present),)
    if deploy.versions == "all":
        return tuple(sorted(present))
    missing = sorted(set(deploy.versions) - set(present))
    if missing:
        raise DeployError(f"{model_folder / DEPLOY_FILE}: versions must be among {sorted(present)}, got {missing[0]}")
    return tuple(sorted(set(deploy.versions)))
