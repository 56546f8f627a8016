"""What the NVIDIA driver says, through NVML or, without its Python module, through nvidia-smi."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from serving.doctor.facts import Gpu, Gpus

KERNEL_DRIVER = Path("/proc/driver/nvidia/version")
_MIB = 1024 * 1024
_PATIENCE_S = 20.0  # the first call after a boot initialises the devices


def read_gpus(kernel_driver: Path = KERNEL_DRIVER) -> Gpus:
    """The devices that this process may use, and the newest CUDA that their driver runs."""
    kernel = kernel_driver.exists()
    try:
        import pynvml
    except ImportError:
        return _by_smi(kernel=kernel)
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        return Gpus(kernel=kernel, problem=str(error))
    try:
        handles = [pynvml.nvmlDeviceGetHandleByIndex(i) for i in range(pynvml.nvmlDeviceGetCount())]
        devices = tuple(
            Gpu(_text(pynvml.nvmlDeviceGetName(h)), pynvml.nvmlDeviceGetMemoryInfo(h).total) for h in handles
        )
        cuda = pynvml.nvmlSystemGetCudaDriverVersion()  # 13010 is 13.1
        driver = _text(pynvml.nvmlSystemGetDriverVersion())
        return Gpus(driver=driver, cuda=(cuda // 1000, cuda % 1000 // 10), devices=devices, kernel=kernel)
    except pynvml.NVMLError as error:
        return Gpus(kernel=kernel, problem=str(error))
    finally:
        pynvml.nvmlShutdown()


def _by_smi(*, kernel: bool) -> Gpus:
    try:
        said = _run("nvidia-smi")
        listed = _run("nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader,nounits")
    except FileNotFoundError:
        return Gpus(kernel=kernel)
    except (OSError, subprocess.SubprocessError) as error:
        return Gpus(kernel=kernel, problem=_first_line(error))
    return parse_smi(said, listed, kernel=kernel)


def parse_smi(said: str, listed: str, *, kernel: bool) -> Gpus:
    """Read nvidia-smi's ordinary output, and its list of ``name, MiB`` lines."""
    driver = re.search(r"Driver Version:\s*([0-9.]+)", said)
    cuda = re.search(r"CUDA[A-Za-z ]*Version:\s*([0-9]+)\.([0-9]+)", said)
    rows = [line.rsplit(",", 1) for line in listed.splitlines() if "," in line]
    return Gpus(
        driver=driver[1] if driver else "",
        cuda=(int(cuda[1]), int(cuda[2])) if cuda else None,
        devices=tuple(Gpu(name.strip(), int(mebibytes) * _MIB) for name, mebibytes in rows),
        kernel=kernel,
    )


def _run(*words: str) -> str:
    return subprocess.run(words, capture_output=True, text=True, check=True, timeout=_PATIENCE_S).stdout


def _first_line(error: Exception) -> str:
    said = error.stdout if isinstance(error, subprocess.CalledProcessError) else None
    return (str(said or error).strip().splitlines() or [""])[0]


def _text(value: str | bytes) -> str:
    """Older releases of the module answer bytes."""
    return value.decode() if isinstance(value, bytes) else value
