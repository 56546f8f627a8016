import platform
import subprocess
import sys
from pathlib import Path

import pytest

from serving.malloc import MOST_ARENAS, keep_large_blocks

# Each thread asks the allocator while all others are there, so that each would have a heap of its own.
MANY_THREADS = """
import ctypes, sys, threading
from serving.malloc import keep_large_blocks
if sys.argv[2] == "few":
    keep_large_blocks()
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.fopen.restype = ctypes.c_void_p, ctypes.c_void_p
together = threading.Barrier(6)
def work():
    together.wait()
    libc.malloc(ctypes.c_size_t(100_000))
    together.wait()
threads = [threading.Thread(target=work) for _ in range(6)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
file = ctypes.c_void_p(libc.fopen(sys.argv[1].encode(), b"w"))
libc.malloc_info(0, file)
libc.fclose(file)
"""


def heaps(folder: Path, *, kept: str) -> int:
    """How many heaps a process of six threads has."""
    subprocess.run([sys.executable, "-c", MANY_THREADS, str(folder / kept), kept], check=True, timeout=60)
    return (folder / kept).read_text().count("<heap nr=")


def test_glibc_takes_the_settings_and_no_other_library_is_asked():
    assert keep_large_blocks() is (platform.libc_ver()[0] == "glibc")


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc")
def test_many_threads_share_few_heaps(tmp_path: Path):
    assert heaps(tmp_path, kept="few") <= MOST_ARENAS < heaps(tmp_path, kept="all")
