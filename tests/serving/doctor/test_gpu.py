import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from serving.doctor.facts import Gpu, Gpus
from serving.doctor.gpu import parse_smi, read_gpus

MIB = 1024 * 1024
SAID = """
| NVIDIA-SMI 580.65.06              Driver Version: 580.65.06      CUDA Version: 13.0     |
"""


class NvmlError(Exception):
    pass


def nvml(*, starts: bool = True) -> SimpleNamespace:
    """A stand-in for the driver's module on a machine of one GPU."""

    def init() -> None:
        if not starts:
            raise NvmlError("Driver/library version mismatch")

    return SimpleNamespace(
        NVMLError=NvmlError,
        nvmlInit=init,
        nvmlShutdown=lambda: None,
        nvmlDeviceGetCount=lambda: 1,
        nvmlDeviceGetHandleByIndex=lambda index: index,
        nvmlDeviceGetName=lambda handle: b"NVIDIA H100",
        nvmlDeviceGetMemoryInfo=lambda handle: SimpleNamespace(total=81_559 * MIB),
        nvmlSystemGetCudaDriverVersion=lambda: 13_010,
        nvmlSystemGetDriverVersion=lambda: "580.65.06",
    )


def test_nvml_tells_of_driver_cuda_and_devices(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setitem(sys.modules, "pynvml", nvml())
    expected = Gpus(driver="580.65.06", cuda=(13, 1), devices=(Gpu("NVIDIA H100", 81_559 * MIB),))
    assert read_gpus(tmp_path / "none") == expected


def test_a_driver_that_does_not_answer_is_told_in_its_words(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setitem(sys.modules, "pynvml", nvml(starts=False))
    assert read_gpus(tmp_path) == Gpus(kernel=True, problem="Driver/library version mismatch")


def test_without_module_and_program_there_is_no_gpu(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setitem(sys.modules, "pynvml", None)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert read_gpus(tmp_path / "none") == Gpus()


def test_nvidia_smi_is_asked_where_the_module_is_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    program = tmp_path / "nvidia-smi"
    program.write_text(f"#!/bin/sh\n[ $# -gt 0 ] && echo 'NVIDIA L4, 23034' || echo '{SAID.strip()}'\n")
    program.chmod(0o755)
    monkeypatch.setitem(sys.modules, "pynvml", None)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    found = read_gpus(tmp_path / "none")
    assert found == Gpus(driver="580.65.06", cuda=(13, 0), devices=(Gpu("NVIDIA L4", 23_034 * MIB),))


def test_a_failing_nvidia_smi_is_told_by_its_first_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\necho 'No devices were found'\nexit 6\n")
    program.chmod(0o755)
    monkeypatch.setitem(sys.modules, "pynvml", None)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert read_gpus(tmp_path / "none").problem == "No devices were found"


@pytest.mark.parametrize("header", ["CUDA Version: 13.0", "CUDA UMD Version: 13.0", "CUDA Driver Version: 13.0"])
def test_cuda_is_found_however_nvidia_smi_names_it(header: str):
    assert parse_smi(f"Driver Version: 1.2  {header}", "", kernel=False).cuda == (13, 0)
