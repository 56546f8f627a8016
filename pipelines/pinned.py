"""Page-locked host memory, from which a GPU copies several times as fast as from ordinary memory."""

from __future__ import annotations

import ctypes
import math
import threading
import weakref
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np

from pipelines.types import AnyArray, ByteArray

# Of CUDA 13, for which onnxruntime-gpu 1.31 is built; loaded by the first CUDA session, found again by its name.
_RUNTIME = "libcudart.so.13"
_PORTABLE = 1  # cudaHostAllocPortable: locked for every device


def locked_bytes(count: int, *, device: int) -> ByteArray | None:
    """``(count,)`` uint8, page-locked until nobody holds it; ``None`` where CUDA is missing or refuses."""
    runtime = _runtime()
    if runtime is None:
        return None
    address = ctypes.c_void_p()
    wanted = ctypes.byref(address), ctypes.c_size_t(count), ctypes.c_uint(_PORTABLE)
    if runtime.cudaSetDevice(device) != 0 or runtime.cudaHostAlloc(*wanted) != 0:
        runtime.cudaGetLastError()  # said: the next call of whoever must not fail for it
        return None
    if address.value is None:  # for no bytes at all
        return None
    block = (ctypes.c_ubyte * count).from_address(address.value)
    freed = weakref.finalize(block, runtime.cudaFreeHost, ctypes.c_void_p(address.value))
    freed.atexit = False  # by then the driver may be gone
    return np.ctypeslib.as_array(block)


class Staging(threading.local):
    """Where the calling thread puts its batches together: each of its runs writes over the one before."""

    def __init__(self, *, device: int) -> None:
        """``device``: the GPU that copies from here; without one the memory is ordinary."""
        self._device = device
        self._blocks: dict[str, ByteArray] = {}

    def batch(self, name: str, shape: Sequence[int], dtype: np.dtype[Any]) -> AnyArray:
        """An array for the input ``name``, the same memory at each call of a thread: zeros, or what was there."""
        needed = math.prod(shape) * dtype.itemsize
        block = self._blocks.get(name)
        if block is None or block.nbytes < needed:
            self._blocks.pop(name, None)  # freed before the larger one is asked for
            block = locked_bytes(needed, device=self._device)
            if block is None:
                block = np.zeros(needed, np.uint8)
            else:
                block.fill(0)  # else padding could hold what is no value of an input, such as an index out of range
            self._blocks[name] = block
        return block[:needed].view(dtype).reshape(shape)


@cache
def _runtime() -> Any:
    try:
        return ctypes.CDLL(_RUNTIME)
    except OSError:
        return None
