"""What an NVIDIA card holds and has left: the card that CUDA knows by a number, as NVML sees it."""

from __future__ import annotations

import ctypes
import os
import uuid
from dataclasses import dataclass
from typing import Any

from serving.gpus import open_nvml
from serving.memory import MIB, MemoryShortageError

_UUID_BYTES = 16


@dataclass(frozen=True)
class Card:
    """One card at one moment.

    Attributes:
        device: its number, as CUDA counts.
        name: of the product.
        total: bytes of its memory.
        free: bytes that nobody holds.
        own: bytes that this process holds; ``None`` where NVML does not list it, as in most containers.
    """

    device: int
    name: str
    total: int
    free: int
    own: int | None


def card_now(device: int) -> Card | None:
    """The card of a CUDA device; ``None`` where NVML (extra ``gpu``), the driver or the device is missing."""
    name = cuda_uuid(device)
    if name is None:
        return None
    with open_nvml() as nvml:
        return None if nvml is None else _card(nvml, device, name)


def grown(before: Card, after: Card, *, shared: bool) -> int | None:
    """Bytes that a load took of a card.

    Args:
        before: the card, before the load.
        after: the same card, after it.
        shared: other processes of the server load beside this one; what all of a card holds then tells nothing.

    Returns:
        What the process holds more, where NVML lists it; else what the card does; ``None`` where neither tells.
    """
    if after.own is not None:
        return max(0, after.own - (before.own or 0))
    return None if shared else max(0, before.free - after.free)


def check_card(needed: int, card: Card) -> None:
    """Raise MemoryShortageError unless ``needed`` bytes are free."""
    if needed > card.free:
        raise MemoryShortageError(
            f"loading needs about {needed // MIB} MiB of memory on GPU {card.device} ({card.name}), "
            f"{card.free // MIB} of {card.total // MIB} MiB are free"
        )


def cuda_uuid(device: int) -> str | None:
    """What NVML knows a CUDA device by; ``None`` where the driver is missing or has no such device.

    NVML counts all cards by their place on the bus. CUDA counts those of CUDA_VISIBLE_DEVICES, by default the fastest
    first: the driver alone knows which is which.
    """
    try:
        driver: Any = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return None
    number, found = ctypes.c_int(), ctypes.create_string_buffer(_UUID_BYTES)
    done = driver.cuInit(0) == driver.cuDeviceGet(ctypes.byref(number), device) == 0
    if not done or driver.cuDeviceGetUuid_v2(found, number) != 0:
        return None
    return str(uuid.UUID(bytes=found.raw))


def _card(nvml: Any, device: int, name: str) -> Card | None:
    handle = None
    for kind in ("GPU", "MIG"):  # a slice of a card has a name of its own
        try:
            handle = nvml.nvmlDeviceGetHandleByUUID(f"{kind}-{name}")
            break
        except nvml.NVMLError:
            continue
    if handle is None:
        return None
    try:
        memory = nvml.nvmlDeviceGetMemoryInfo(handle)
        return Card(device, nvml.nvmlDeviceGetName(handle), memory.total, memory.free, _own(nvml, handle))
    except nvml.NVMLError:
        return None


def _own(nvml: Any, handle: Any) -> int | None:
    """Bytes of this process; NVML lists it once it holds any, and by its number outside of a container."""
    try:
        running = nvml.nvmlDeviceGetComputeRunningProcesses(handle)
    except nvml.NVMLError:
        return None
    return next((process.usedGpuMemory for process in running if process.pid == os.getpid()), None)
