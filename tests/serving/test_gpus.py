"""GPU gauges against a stand-in with the functions, units and errors of nvidia-ml-py's module ``pynvml``."""

# ruff: noqa: N802, the names are those of nvidia-ml-py

import sys
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

import pytest
from prometheus_client import CollectorRegistry

from serving.gpus import GAUGES, INFO, watching_gpus
from tests.serving.servers import running_server


class NVMLError(Exception):
    pass


@dataclass
class Gpu:
    """What one GPU tells; ``None``: it does not."""

    percent: int = 40
    used: int = 3_000
    total: int = 8_000
    celsius: int = 61
    milliwatts: int | None = 72_500
    processes: dict[int, int | None] = field(default_factory=dict)  # bytes by process
    kind: str = "GPU"


class FakeNvml:
    """The part of the module that is asked, as its documentation has it."""

    NVMLError = NVMLError
    NVML_TEMPERATURE_GPU = 0

    def __init__(self, *gpus: Gpu, has_driver: bool = True) -> None:
        self.gpus, self.has_driver = gpus, has_driver
        self.open = 0

    def nvmlInit(self) -> None:
        if not self.has_driver:
            raise NVMLError("Driver Not Loaded")
        self.open += 1

    def nvmlShutdown(self) -> None:
        self.open -= 1

    def nvmlDeviceGetCount(self) -> int:
        if not self.has_driver:
            raise NVMLError("GPU is lost")
        return len(self.gpus)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> Gpu:
        return self.gpus[index]

    def nvmlDeviceGetHandleByUUID(self, name: str) -> Gpu:
        for index, gpu in enumerate(self.gpus):
            if name == f"{gpu.kind}-{index}":
                return gpu
        raise NVMLError("Not Found")

    def nvmlDeviceGetComputeRunningProcesses(self, gpu: Gpu) -> list[SimpleNamespace]:
        return [SimpleNamespace(pid=pid, usedGpuMemory=used) for pid, used in gpu.processes.items()]

    def nvmlDeviceGetName(self, gpu: Gpu) -> str:
        return "NVIDIA H100"

    def nvmlDeviceGetUUID(self, gpu: Gpu) -> str:
        return f"GPU-{self.gpus.index(gpu)}"

    def nvmlDeviceGetUtilizationRates(self, gpu: Gpu) -> SimpleNamespace:
        return SimpleNamespace(gpu=gpu.percent, memory=10)

    def nvmlDeviceGetMemoryInfo(self, gpu: Gpu) -> SimpleNamespace:
        return SimpleNamespace(total=gpu.total, free=gpu.total - gpu.used, used=gpu.used)

    def nvmlDeviceGetTemperature(self, gpu: Gpu, sensor: int) -> int:
        assert sensor == self.NVML_TEMPERATURE_GPU
        return gpu.celsius

    def nvmlDeviceGetPowerUsage(self, gpu: Gpu) -> int:
        if gpu.milliwatts is None:
            raise NVMLError("Not Supported")
        return gpu.milliwatts


def install(monkeypatch: pytest.MonkeyPatch, nvml: FakeNvml | None) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", nvml)  # None: importing it raises ImportError


def figures(registry: CollectorRegistry) -> dict[tuple[str, str], float]:
    return {
        (sample.name.removeprefix("ocella_gpu_"), sample.labels["gpu"]): sample.value
        for family in registry.collect()
        for sample in family.samples
        if sample.name.startswith("ocella_gpu_")
    }


def test_each_gpu_is_told_of_in_base_units(monkeypatch: pytest.MonkeyPatch):
    install(monkeypatch, FakeNvml(Gpu(), Gpu(percent=100, used=8_000)))
    registry = CollectorRegistry()
    with watching_gpus(registry):
        assert figures(registry) == {
            ("utilization_ratio", "0"): 0.4,
            ("utilization_ratio", "1"): 1.0,
            ("memory_used_bytes", "0"): 3_000,
            ("memory_used_bytes", "1"): 8_000,
            ("memory_total_bytes", "0"): 8_000,
            ("memory_total_bytes", "1"): 8_000,
            ("temperature_celsius", "0"): 61,
            ("temperature_celsius", "1"): 61,
            ("power_watts", "0"): 72.5,
            ("power_watts", "1"): 72.5,
            ("info", "0"): 1,
            ("info", "1"): 1,
        }


def test_a_figure_that_one_gpu_does_not_tell_is_left_out(monkeypatch: pytest.MonkeyPatch):
    install(monkeypatch, FakeNvml(Gpu(milliwatts=None), Gpu()))
    registry = CollectorRegistry()
    with watching_gpus(registry):
        told = figures(registry)
    assert ("power_watts", "0") not in told
    assert told["power_watts", "1"] == 72.5
    assert told["temperature_celsius", "0"] == 61


def test_figures_are_read_when_they_are_scraped(monkeypatch: pytest.MonkeyPatch):
    gpu = Gpu()
    install(monkeypatch, FakeNvml(gpu))
    registry = CollectorRegistry()
    with watching_gpus(registry):
        gpu.used = 5_000
        assert figures(registry)["memory_used_bytes", "0"] == 5_000


@pytest.mark.parametrize("nvml", [None, FakeNvml(Gpu(), has_driver=False)], ids=["no module", "no driver"])
def test_without_nvml_there_is_nothing_to_see(monkeypatch: pytest.MonkeyPatch, nvml: FakeNvml | None):
    install(monkeypatch, nvml)
    registry = CollectorRegistry()
    with watching_gpus(registry):
        assert not list(registry.collect())


def test_a_driver_that_went_away_does_not_break_a_scrape(monkeypatch: pytest.MonkeyPatch):
    nvml = FakeNvml(Gpu())
    install(monkeypatch, nvml)
    registry = CollectorRegistry()
    with watching_gpus(registry):
        nvml.has_driver = False
        assert figures(registry) == {}


def test_nvml_is_shut_down_and_its_gauges_are_gone_at_the_end(monkeypatch: pytest.MonkeyPatch):
    nvml = FakeNvml(Gpu())
    install(monkeypatch, nvml)
    registry = CollectorRegistry()
    with watching_gpus(registry):
        assert nvml.open == 1
    assert nvml.open == 0
    assert not list(registry.collect())


async def test_a_server_tells_of_the_gpus_beside_its_models(monkeypatch: pytest.MonkeyPatch, repository: Path):
    nvml = FakeNvml(Gpu())
    install(monkeypatch, nvml)
    async with running_server(repository) as server:
        assert set(figures(server.metrics.registry)) == {
            *((gauge.name.removeprefix("ocella_gpu_"), "0") for gauge in GAUGES),
            (INFO.removeprefix("ocella_gpu_"), "0"),
        }
    assert nvml.open == 0
