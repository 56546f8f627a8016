import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from pipelines.arrays_file import read_arrays
from pipelines.errors import PackageError


@pytest.fixture
def hasty():
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("hasty")
def test_files_are_read_from_several_threads_at_once(tmp_path: Path):
    path = tmp_path / "arrays.npz"
    np.savez(path, **{f"array {i}": np.full((2, 3), i) for i in range(40)})
    with ThreadPoolExecutor(4) as threads:
        for arrays in threads.map(lambda _: read_arrays(path, what="arrays"), range(40)):
            assert [int(values[0, 0]) for values in arrays.values()] == list(range(40))


def test_a_file_that_is_none_is_named_with_what_it_should_be(tmp_path: Path):
    path = tmp_path / "arrays.npz"
    path.write_bytes(b"no")
    with pytest.raises(PackageError, match=r"arrays\.npz is not a record of cats"):
        read_arrays(path, what="a record of cats")
