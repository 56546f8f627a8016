import io
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile

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


def head_of(shape: tuple[int, ...]) -> bytes:
    """The head of an array of int64, without its values."""
    head = io.BytesIO()
    np.lib.format.write_array_header_1_0(head, {"descr": "<i8", "fortran_order": False, "shape": shape})
    return head.getvalue()


def write_entry(path: Path, name: str, data: bytes) -> None:
    with ZipFile(path, "w", ZIP_DEFLATED) as archive:
        archive.writestr(name, data)


@pytest.mark.parametrize(
    "write",
    [
        lambda path: path.write_bytes(b"no"),
        lambda path: path.write_bytes(head_of((1,)) + bytes(8)),
        lambda path: write_entry(path, "a.npy", head_of((10**15,))),
        lambda path: write_entry(path, "a.npy", head_of((3,))),
        lambda path: write_entry(path, "a", b"bytes"),
        lambda path: np.savez(path, a=np.array([{}], dtype=object)),
    ],
    ids=["no zip", "one array", "promises a petabyte", "cut", "bytes", "objects"],
)
def test_what_holds_no_arrays_is_refused_in_a_line(tmp_path: Path, write: Callable[[Path], object]):
    path = tmp_path / "arrays.npz"
    write(path)
    with pytest.raises(PackageError, match=r"arrays\.npz is not a record of cats: "):
        read_arrays(path, what="a record of cats")


def test_arrays_that_would_fill_memory_are_not_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "arrays.npz"
    np.savez_compressed(path, a=np.zeros(10_000))
    monkeypatch.setattr("pipelines.arrays_file.MAX_BYTES", 80_000)
    with pytest.raises(PackageError, match=r"must hold at most 80,000 bytes of arrays, it holds 80,128"):
        read_arrays(path, what="a record of cats")
