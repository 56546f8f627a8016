"""An environment and what to fix in it, as a table, as plain lines and as JSON."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from serving.cpu_plan import plan_text
from serving.doctor.facts import Facts, Folder, Gpus
from serving.doctor.rules import Finding
from serving.memory import MIB

PACKAGES = (
    "onnxruntime",
    "onnxruntime-gpu",
    "opencv-python-headless",
    "opencv-python",
    "numpy",
    "pillow",
    "grpcio",
    "protobuf",
    "pydantic",
    "torch",
)


def rows(facts: Facts) -> dict[str, str]:
    """What the environment is, a line for each of its parts."""
    installed = [f"{name} {facts.packages[name]}" for name in PACKAGES if name in facts.packages]
    shared = facts.shared_memory_bytes
    soft, hard = facts.open_files
    return {
        "ocella": facts.ocella,
        "python": f"{facts.python}, glibc {facts.glibc}" if facts.glibc else facts.python,
        "system": facts.system,
        "packages": ", ".join(installed),
        "providers": ", ".join(facts.providers) or "none",
        "gpu": _gpu(facts.gpus, facts.onnxruntime_cuda),
        **_plan(facts),
        "memory": _memory(facts),
        "open files": f"{soft} (at most {hard})",
        "shared memory": "no /dev/shm" if shared is None else f"{shared // MIB:,} MiB free",
        "temporary files": _folder(facts.temporary),
        "cache": _folder(facts.cache),
        "built-in models": ", ".join(facts.built_in_models) or "none",
        "clock": {True: "synchronised", False: "not synchronised", None: "unknown"}[facts.clock_synchronised],
    }


def to_text(facts: Facts, found: Sequence[Finding]) -> str:
    """Plain lines for pipes and logs."""
    shown = rows(facts)
    width = max(map(len, shown))
    lines = [f"{name:<{width}}  {value}" for name, value in shown.items()]
    return "\n".join([*lines, "", *finding_lines(found)])


def finding_lines(found: Sequence[Finding]) -> list[str]:
    """Two lines for each finding, or one that says that there is nothing to fix."""
    lines = [line for finding in found for line in (f"{finding.level}: {finding.what}", f"      {finding.do}")]
    return lines if must_fix(found) else [*lines, "nothing must be fixed"]


def to_json(facts: Facts, found: Sequence[Finding]) -> dict[str, Any]:
    """One document: the rows, every figure that a script may want, and the findings."""
    quota = facts.allowance.quota
    return {
        "ok": not must_fix(found),
        "environment": rows(facts),
        "packages": _sorted(facts.packages),
        "providers": list(facts.providers),
        "cores": {
            "usable": facts.allowance.cores,
            "affinity": facts.allowance.affinity,
            "quota": quota if math.isfinite(quota) else None,
        },
        "memory_bytes": facts.memory_bytes,
        "memory_limit_bytes": facts.memory_limit_bytes,
        "gpus": [{"name": gpu.name, "memory_bytes": gpu.memory_bytes} for gpu in facts.gpus.devices],
        "findings": [{"level": finding.level, "what": finding.what, "do": finding.do} for finding in found],
    }


def must_fix(found: Sequence[Finding]) -> bool:
    """Whether one of them must be fixed before serving works."""
    return any(finding.level == "fix" for finding in found)


def _plan(facts: Facts) -> dict[str, str]:
    """The lines of the CPU plan that hold for every model."""
    pairs = (line.partition(": ") for line in plan_text((), allowance=facts.allowance).splitlines())
    return {name: value for name, _, value in pairs}


def _gpu(gpus: Gpus, built_for: str) -> str:
    if not gpus.devices:
        return "none" if not gpus.problem else f"unknown: {gpus.problem}"
    devices = ", ".join(f"{gpu.name} ({gpu.memory_bytes // MIB:,} MiB)" for gpu in gpus.devices)
    runs = f", CUDA up to {gpus.cuda[0]}.{gpus.cuda[1]}" if gpus.cuda else ""
    wants = f"; onnxruntime is built for CUDA {built_for}" if built_for else ""
    return f"{devices}, driver {gpus.driver}{runs}{wants}"


def _memory(facts: Facts) -> str:
    limit = _mebibytes(facts.memory_limit_bytes, "none")
    return f"{_mebibytes(facts.memory_bytes, 'unknown how much')} available, cgroup limit {limit}"


def _mebibytes(count: int | None, unsaid: str) -> str:
    return unsaid if count is None else f"{count // MIB:,} MiB"


def _folder(folder: Folder) -> str:
    state = "writable" if folder.writable else "not writable"
    return f"{folder.path}, {state}, {folder.free_bytes // MIB:,} MiB free"


def _sorted(packages: Mapping[str, str]) -> dict[str, str]:
    return dict(sorted(packages.items()))
