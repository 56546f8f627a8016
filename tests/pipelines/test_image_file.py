"""Files of any size, and without end, are read no further than it takes to refuse them."""

from __future__ import annotations

import os
import threading
import tracemalloc
from pathlib import Path

import pytest

from pipelines.errors import ImageTooLargeError
from pipelines.image_file import read_image_file


@pytest.mark.parametrize("size", [0, 1, 99, 100])
def test_a_file_of_the_limit_or_less_is_read_whole(tmp_path: Path, size: int):
    data = os.urandom(size)
    (tmp_path / "a").write_bytes(data)
    assert read_image_file(tmp_path / "a", limit=100) == data
    assert read_image_file(bytes(tmp_path / "a"), limit=100) == data


def test_a_larger_file_is_refused(tmp_path: Path):
    (tmp_path / "a").write_bytes(bytes(101))
    with pytest.raises(ImageTooLargeError, match="image has more than 100 bytes, the limit"):
        read_image_file(tmp_path / "a", limit=100)


def test_a_device_without_end_is_refused():
    with pytest.raises(ImageTooLargeError):
        read_image_file(Path("/dev/zero"), limit=1000)


def test_a_pipe_which_has_no_size_is_read_whole(tmp_path: Path):
    os.mkfifo(tmp_path / "pipe")
    writer = threading.Thread(target=(tmp_path / "pipe").write_bytes, args=(b"abc" * 30,))
    writer.start()
    assert read_image_file(tmp_path / "pipe", limit=100) == b"abc" * 30
    writer.join()


def test_a_small_file_takes_little_memory_whatever_the_limit(tmp_path: Path):
    (tmp_path / "a").write_bytes(bytes(1000))
    tracemalloc.start()
    read_image_file(tmp_path / "a", limit=2**28)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**20
