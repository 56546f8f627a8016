"""What ``ocella doctor`` knows of an environment, as values that rules and tests can be given."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from serving.cpu import Allowance


@dataclass(frozen=True)
class Folder:
    """A folder that Ocella writes to.

    Attributes:
        path: of the folder.
        writable: whether this user can make files there, or make the folder.
        free_bytes: of its file system.
    """

    path: Path
    writable: bool
    free_bytes: int


@dataclass(frozen=True)
class Gpu:
    """One device, as its driver tells of it."""

    name: str
    memory_bytes: int


@dataclass(frozen=True, kw_only=True)
class Gpus:
    """The NVIDIA side of a machine.

    Attributes:
        driver: version of the driver's library; empty where there is none.
        cuda: newest CUDA that the driver runs, ``(major, minor)``; ``None`` where it does not say.
        devices: those that this process may use.
        kernel: whether the kernel has the driver, whether or not this process sees its library.
        problem: what the library answered instead; empty where it answered.
        session: why a session on the GPU did not start; empty where it did, ``None`` where none was tried.
    """

    driver: str = ""
    cuda: tuple[int, int] | None = None
    devices: tuple[Gpu, ...] = ()
    kernel: bool = False
    problem: str = ""
    session: str | None = None


@dataclass(frozen=True, kw_only=True)
class Requirement:
    """What Ocella asks of another distribution.

    Attributes:
        name: as registries spell it: lower case, ``-`` for all separators.
        specifier: such as ``<8,>=6.33.5``.
        extra: the extra that asks for it; empty where every install does.
    """

    name: str
    specifier: str
    extra: str = ""


@dataclass(frozen=True, kw_only=True)
class Facts:
    """One environment.

    Attributes:
        ocella: version.
        python: version.
        system: kernel and processor, in words that name no machine.
        glibc: version; empty where another C library runs.
        packages: version of each installed distribution, by its name in lower case with ``-``.
        requirements: of Ocella.
        broken_imports: why a module that serving needs cannot be imported, by module.
        providers: execution providers of the installed onnxruntime.
        onnxruntime_cuda: CUDA that onnxruntime was built for, such as ``13.0``; empty for a CPU build.
        gpus: the NVIDIA side.
        allowance: processor time of this process.
        memory_bytes: that can still be had; ``None`` where the system does not say.
        memory_limit_bytes: that the process's cgroups grant; ``None`` where they grant all.
        open_files: soft and hard limit.
        shared_memory_bytes: free in ``/dev/shm``; ``None`` where there is none.
        temporary: where temporary files go.
        cache: where pulled models lie.
        built_in_models: names of the models inside the install.
        unknown_variables: ``OCELLA_`` variables that nothing reads.
        clock_synchronised: whether the kernel's clock is; ``None`` where it does not say.
        clock_behind_s: seconds by which the clock is behind the newest file of this install; 0 where it is not.
    """

    ocella: str
    python: str
    system: str
    glibc: str
    packages: Mapping[str, str]
    requirements: tuple[Requirement, ...]
    broken_imports: Mapping[str, str] = field(default_factory=dict)
    providers: tuple[str, ...]
    onnxruntime_cuda: str = ""
    gpus: Gpus = field(default_factory=Gpus)
    allowance: Allowance
    memory_bytes: int | None
    memory_limit_bytes: int | None = None
    open_files: tuple[int, int]
    shared_memory_bytes: int | None
    temporary: Folder
    cache: Folder
    built_in_models: tuple[str, ...]
    unknown_variables: tuple[str, ...] = ()
    clock_synchronised: bool | None
    clock_behind_s: float = 0.0
