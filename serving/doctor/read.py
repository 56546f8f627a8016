"""Reads what ``ocella doctor`` judges: the one place of it that looks at the machine."""

from __future__ import annotations

import ctypes
import importlib
import os
import platform
import resource
import shutil
import tempfile
import time
from collections.abc import Iterable, Mapping
from dataclasses import replace
from importlib.metadata import distributions, requires, version
from pathlib import Path

from pipelines.errors import OcellaError
from pipelines.manifest import GRAPH_FILE
from serving.bench.machine import processor
from serving.cpu import read_allowance
from serving.doctor.facts import Facts, Folder
from serving.doctor.gpu import read_gpus
from serving.doctor.versions import parse_requirements, spelled
from serving.memory import available_bytes, limit_bytes
from serving.repository import embedded_repository
from serving.settings import Settings

# Modules that bring native code along: where one of them fails, a library of the system is missing.
NATIVE = ("cv2", "google.protobuf", "grpc", "numpy", "onnxruntime", "PIL")
CUDA_PROVIDER = "CUDAExecutionProvider"
# Those of clients are spelled again: their own module imports gRPC, which may be what is broken.
OTHER_VARIABLES = frozenset(
    {
        "OCELLA_CACHE",
        "OCELLA_CLIENT_CA",
        "OCELLA_CLIENT_CERT",
        "OCELLA_CLIENT_KEY",
        "OCELLA_CLIENT_SERVER_NAME",
        "OCELLA_CLIENT_TOKEN",
    }
)
_SHARED_MEMORY = Path("/dev/shm")
_TIME_ERROR = 5  # adjtimex(2): the clock is not synchronised


def read_facts(environment: Mapping[str, str] = os.environ) -> Facts:
    """Look at this process's environment."""
    broken = dict(_broken_imports(NATIVE))
    providers, built_for = ((), "") if "onnxruntime" in broken else _onnxruntime()
    models = _built_in_models()
    gpus = read_gpus()
    if CUDA_PROVIDER in providers and gpus.devices and models:
        gpus = replace(gpus, session=_try_cuda(models[0]))
    return Facts(
        ocella=version("ocella"),
        python=platform.python_version(),
        system=f"{platform.system()} {platform.release()}, {platform.machine()}, {_processor()}",
        glibc=platform.libc_ver()[1] if platform.libc_ver()[0] == "glibc" else "",
        packages={spelled(found.name): found.version for found in distributions() if found.name},
        requirements=parse_requirements(requires("ocella") or ()),
        broken_imports=broken,
        providers=providers,
        onnxruntime_cuda=built_for,
        gpus=gpus,
        allowance=read_allowance(),
        memory_bytes=available_bytes(),
        memory_limit_bytes=limit_bytes(),
        open_files=resource.getrlimit(resource.RLIMIT_NOFILE),
        shared_memory_bytes=shutil.disk_usage(_SHARED_MEMORY).free if _SHARED_MEMORY.is_dir() else None,
        temporary=_folder(_temporary()),
        cache=_folder(Path(environment.get("OCELLA_CACHE", Path.home() / ".cache" / "ocella"))),
        built_in_models=tuple(folder.name for folder in models),
        unknown_variables=tuple(sorted(unknown_variables(environment))),
        clock_synchronised=_clock_synchronised(),
        clock_behind_s=max(0.0, _newest_file() - time.time()),
    )


def unknown_variables(environment: Iterable[str]) -> set[str]:
    """Names with the server's prefix that are no setting of it, such as a misspelt one."""
    prefix = Settings.model_config["env_prefix"]
    known = {f"{prefix}{name}".upper() for name in Settings.model_fields} | OTHER_VARIABLES
    return {name for name in environment if name.upper().startswith(prefix) and name.upper() not in known}


def _broken_imports(modules: Iterable[str]) -> Iterable[tuple[str, str]]:
    for name in modules:
        try:
            importlib.import_module(name)
        except ImportError as error:
            yield name, str(error)


def _onnxruntime() -> tuple[tuple[str, ...], str]:
    """Its execution providers, and the CUDA that it was built for."""
    module = importlib.import_module("onnxruntime")
    return tuple(module.get_available_providers()), str(getattr(module, "cuda_version", "") or "")


def _built_in_models() -> list[Path]:
    folder = embedded_repository()
    return sorted(child for child in folder.iterdir() if child.is_dir()) if folder.is_dir() else []


def _try_cuda(model: Path) -> str:
    """Why a built-in graph does not start on the GPU; empty where it does."""
    from pipelines.session import CUDA, OnnxSession, SessionOptions

    graph = next(model.glob(f"*/{GRAPH_FILE}"))
    try:
        OnnxSession(graph, SessionOptions(providers=(CUDA,))).close()
    except OcellaError as error:
        return str(error)
    return ""


def _processor() -> str:
    try:
        return processor(Path("/proc/cpuinfo").read_text())
    except OSError:
        return "unknown processor"


def _temporary() -> Path:
    try:
        return Path(tempfile.gettempdir())
    except FileNotFoundError:  # none of the usual folders can be written
        return Path(os.environ.get("TMPDIR", "/tmp"))


def _folder(path: Path) -> Folder:
    """Judge a folder that may not be there yet by the nearest one that is."""
    there = next(folder for folder in (path, *path.parents) if folder.exists())
    return Folder(path, os.access(there, os.W_OK | os.X_OK), shutil.disk_usage(there).free)


def _clock_synchronised() -> bool | None:
    """What the kernel says of its clock; ``None`` where it may not be asked."""
    libc = ctypes.CDLL(None)
    if not hasattr(libc, "adjtimex"):
        return None
    state = libc.adjtimex(ctypes.create_string_buffer(512))  # zeroed, it asks and sets nothing; a timex has 208 bytes
    return None if state < 0 else state != _TIME_ERROR


def _newest_file() -> float:
    """Seconds since 1970 of the newest file of this package: no true clock shows an earlier time."""
    return max(file.stat().st_mtime for file in Path(__file__).parent.glob("*.py"))
