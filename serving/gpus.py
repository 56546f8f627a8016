"""Gauges of the machine's NVIDIA GPUs, read through NVML at each scrape."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector, CollectorRegistry


@dataclass(frozen=True)
class _Gauge:
    """One figure of a GPU; ``read(nvml, handle)`` raises NVMLError where the GPU does not tell it."""

    name: str
    documentation: str
    read: Callable[[Any, Any], float]


GAUGES = (
    _Gauge(
        "ocella_gpu_utilization_ratio",
        "Part of the last sample period in which a kernel ran.",
        lambda nvml, gpu: nvml.nvmlDeviceGetUtilizationRates(gpu).gpu / 100,  # percent
    ),
    _Gauge(
        "ocella_gpu_memory_used_bytes",
        "Memory of the GPU that is in use, by any process.",
        lambda nvml, gpu: nvml.nvmlDeviceGetMemoryInfo(gpu).used,
    ),
    _Gauge(
        "ocella_gpu_memory_total_bytes",
        "Memory of the GPU.",
        lambda nvml, gpu: nvml.nvmlDeviceGetMemoryInfo(gpu).total,
    ),
    _Gauge(
        "ocella_gpu_temperature_celsius",
        "Temperature of the GPU's core.",
        lambda nvml, gpu: nvml.nvmlDeviceGetTemperature(gpu, nvml.NVML_TEMPERATURE_GPU),
    ),
    _Gauge(
        "ocella_gpu_power_watts",
        "Power that the GPU draws.",
        lambda nvml, gpu: nvml.nvmlDeviceGetPowerUsage(gpu) / 1000,  # milliwatts
    ),
)
INFO = "ocella_gpu_info"


@contextmanager
def watching_gpus(registry: CollectorRegistry) -> Iterator[None]:
    """Show the machine's GPUs in ``registry``; nothing where there is no NVML (extra ``gpu``) or no driver."""
    with open_nvml() as nvml:
        if nvml is None:
            yield
            return
        collector = GpuCollector(nvml)
        registry.register(collector)
        try:
            yield
        finally:
            registry.unregister(collector)


@contextmanager
def open_nvml() -> Iterator[Any]:
    """NVML's module while it may be asked; ``None`` where it is not installed or finds no driver."""
    nvml = _initialised()
    try:
        yield nvml
    finally:
        if nvml is not None:
            nvml.nvmlShutdown()


class GpuCollector(Collector):
    """Reads all GPUs that NVML sees, whether or not a model runs on them; labels are their indices in NVML's order."""

    def __init__(self, nvml: Any) -> None:
        """``nvml``: the module ``pynvml``, initialised."""
        self._nvml = nvml

    def describe(self) -> Iterable[Metric]:
        """The families without GPUs, so that registering reads none."""
        yield from (_family(gauge) for gauge in GAUGES)
        yield _info()

    def collect(self) -> Iterable[Metric]:
        """The figures now; one that a GPU does not tell is left out."""
        nvml = self._nvml
        try:
            gpus = [nvml.nvmlDeviceGetHandleByIndex(index) for index in range(nvml.nvmlDeviceGetCount())]
        except nvml.NVMLError:  # the driver went away
            return
        for gauge in GAUGES:
            family = _family(gauge)
            for index, gpu in enumerate(gpus):
                try:
                    family.add_metric([str(index)], gauge.read(nvml, gpu))
                except nvml.NVMLError:
                    continue
            yield family
        info = _info()
        for index, gpu in enumerate(gpus):
            try:
                info.add_metric([str(index), nvml.nvmlDeviceGetName(gpu), nvml.nvmlDeviceGetUUID(gpu)], 1)
            except nvml.NVMLError:
                continue
        yield info


def _initialised() -> Any:
    try:
        import pynvml
    except ImportError:
        return None
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return None
    return pynvml


def _family(gauge: _Gauge) -> GaugeMetricFamily:
    return GaugeMetricFamily(gauge.name, gauge.documentation, labels=("gpu",))


def _info() -> GaugeMetricFamily:
    return GaugeMetricFamily(INFO, "1 for each GPU, with what it is.", labels=("gpu", "name", "uuid"))
