"""Environments of doctor's tests: one with nothing to fix, from which each test differs in what it names."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from serving.cpu import Allowance
from serving.doctor.facts import Facts, Folder
from serving.doctor.versions import parse_requirements

GIB = 1024**3
SOUND = Facts(
    ocella="0.1.0",
    python="3.13.5",
    system="Linux 6.1, x86_64, GenuineIntel, avx2",
    glibc="2.41",
    packages={"onnxruntime": "1.31.1", "opencv-python-headless": "5.0.0.93", "protobuf": "6.33.5"},
    requirements=parse_requirements(["protobuf<8,>=6.33.5", "onnxruntime<2,>=1.23; extra == 'cpu'"]),
    providers=("CPUExecutionProvider",),
    allowance=Allowance(affinity=4, quota=2.0),
    memory_bytes=8 * GIB,
    open_files=(65_536, 65_536),
    shared_memory_bytes=GIB,
    temporary=Folder(Path("/tmp"), writable=True, free_bytes=GIB),
    cache=Folder(Path("/cache"), writable=True, free_bytes=GIB),
    built_in_models=("digits",),
    clock_synchronised=True,
)


def environment(**over: Any) -> Facts:
    """``SOUND`` with other facts."""
    return replace(SOUND, **over)
