"""What a measurement ran on, in words that name no machine."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from serving.cpu import usable_cores

PACKAGES = ("grpcio", "numpy", "onnxruntime", "onnxruntime-gpu", "opencv-python-headless", "protobuf")
# Instructions that decide how fast convolutions are.
_FEATURES = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_tile", "asimd")


def machine(cpuinfo: Path = Path("/proc/cpuinfo")) -> dict[str, Any]:
    """Cores, the processor's family and instructions, and the versions of what does the work."""
    known = {}
    for name in PACKAGES:
        try:
            known[name] = version(name)
        except PackageNotFoundError:
            continue
    return {
        "cores": usable_cores(),
        "processor": f"{platform.machine()}, {processor(_text(cpuinfo))}",
        "python": platform.python_version(),
        **known,
    }


def processor(cpuinfo: str) -> str:
    """Vendor, family and model numbers and instruction sets of a Linux ``cpuinfo``."""
    first = {
        key.strip(): value.strip()
        for key, _, value in (line.partition(":") for line in cpuinfo.partition("\n\n")[0].splitlines())
    }
    words = [first[key] for key in ("vendor_id",) if key in first]
    words += [f"{key.split(' ')[-1]} {first[key]}" for key in ("cpu family", "model") if key in first]
    flags = first.get("flags", first.get("Features", "")).split()
    return ", ".join([*words, *(name for name in _FEATURES if name in flags)]) or "unknown"


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
