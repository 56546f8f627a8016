"""glibc's allocator, told to keep the large blocks that every message needs."""

from __future__ import annotations

import ctypes
import platform

_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3
# 32 MiB is the most that glibc takes for the mmap threshold (DEFAULT_MMAP_THRESHOLD_MAX on 64 bits).
MMAP_THRESHOLD_BYTES = 32 * 1024 * 1024
TRIM_THRESHOLD_BYTES = 256 * 1024 * 1024


def keep_large_blocks() -> bool:
    """Serve blocks up to 32 MiB from the heap and give memory back later; whether the allocator took it.

    By default each block above 128 KiB (an image, a row, a mask) is mapped, cleared by page faults and unmapped again.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    taken = [mallopt(_M_MMAP_THRESHOLD, MMAP_THRESHOLD_BYTES), mallopt(_M_TRIM_THRESHOLD, TRIM_THRESHOLD_BYTES)]
    return all(taken)
