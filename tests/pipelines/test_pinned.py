"""Memory that a GPU copies from: reused by a thread, its own in each, ordinary where there is no CUDA."""

import ctypes
import threading
from typing import Any

import numpy as np
import pytest

from pipelines import pinned
from pipelines.pinned import Staging, locked_bytes

FLOAT = np.dtype(np.float32)


@pytest.fixture
def without_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pinned, "_runtime", lambda: None)


@pytest.mark.usefixtures("without_cuda")
def test_without_cuda_nothing_is_locked_and_batches_lie_in_ordinary_memory():
    assert locked_bytes(64, device=0) is None
    assert Staging(device=0).batch("image", (2, 3), FLOAT).shape == (2, 3)


@pytest.mark.usefixtures("without_cuda")
def test_a_thread_gets_the_same_memory_again_as_long_as_it_is_large_enough():
    staging = Staging(device=0)
    large = staging.batch("image", (4, 8), FLOAT)
    assert staging.batch("image", (2, 8), FLOAT).ctypes.data == large.ctypes.data
    assert staging.batch("image", (16,), np.dtype(np.uint8)).ctypes.data == large.ctypes.data
    larger = staging.batch("image", (64, 8), FLOAT)
    larger[:] = 1
    assert staging.batch("image", (4, 8), FLOAT).ctypes.data == larger.ctypes.data


@pytest.mark.usefixtures("without_cuda")
def test_inputs_and_threads_do_not_share_memory():
    staging = Staging(device=0)
    mine = staging.batch("image", (4,), FLOAT)
    mine[:] = 1
    staging.batch("mask", (4,), FLOAT)[:] = 2
    other = threading.Thread(target=lambda: staging.batch("image", (4,), FLOAT).fill(3))
    other.start()
    other.join()
    assert mine.tolist() == [1, 1, 1, 1]


class Locking:
    """A CUDA runtime whose memory holds what others left."""

    def __init__(self) -> None:
        self.held: dict[int, ctypes.Array[ctypes.c_ubyte]] = {}

    def cudaSetDevice(self, _: int) -> int:  # noqa: N802, CUDA's own name
        return 0

    def cudaHostAlloc(self, address: Any, count: ctypes.c_size_t, _: object) -> int:  # noqa: N802
        if count.value:
            block = (ctypes.c_ubyte * count.value)(*[255] * count.value)
            address._obj.value = ctypes.addressof(block)
            self.held[ctypes.addressof(block)] = block
        return 0

    def cudaFreeHost(self, address: ctypes.c_void_p) -> int:  # noqa: N802
        assert address.value is not None
        del self.held[address.value]
        return 0


@pytest.fixture
def locking(monkeypatch: pytest.MonkeyPatch) -> Locking:
    runtime = Locking()
    monkeypatch.setattr(pinned, "_runtime", lambda: runtime)
    return runtime


def test_locked_batches_begin_with_zeros(locking: Locking):
    assert not Staging(device=0).batch("image", (4,), FLOAT).any()
    assert not locking.held, "freed with the staging"


def test_a_block_stays_locked_as_long_as_a_view_of_it_is_read(locking: Locking):
    staging = Staging(device=0)
    view = staging.batch("image", (4,), FLOAT)[:1]
    staging.batch("image", (8,), FLOAT)
    assert len(locking.held) == 2
    del view
    assert len(locking.held) == 1


@pytest.mark.usefixtures("locking")
def test_a_batch_without_values_is_one():
    assert Staging(device=0).batch("image", (0, 3), FLOAT).shape == (0, 3)


class Refusing:
    """A CUDA runtime without memory."""

    def cudaSetDevice(self, _: int) -> int:  # noqa: N802, CUDA's own name
        return 0

    def cudaHostAlloc(self, *_: object) -> int:  # noqa: N802
        return 2  # cudaErrorMemoryAllocation

    def cudaGetLastError(self) -> int:  # noqa: N802
        return 2


def test_memory_that_cuda_refuses_is_ordinary(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(pinned, "_runtime", Refusing)
    assert locked_bytes(64, device=0) is None
    assert Staging(device=0).batch("image", (3,), FLOAT).shape == (3,)
