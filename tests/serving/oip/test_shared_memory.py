import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipelines.errors import InvalidRequestError
from serving.oip.requests import Placement
from serving.oip.shared_memory import MAX_REGIONS, Region, SharedMemory


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """In the place of /dev/shm, with one object of 16 bytes."""
    (tmp_path / "objects").mkdir()
    (tmp_path / "objects" / "pixels").write_bytes(bytes(range(16)))
    (tmp_path / "secret").write_bytes(b"nobody's")
    return tmp_path / "objects"


@pytest.fixture
def memory(folder: Path) -> Iterator[SharedMemory]:
    memory = SharedMemory(folder=folder)
    yield memory
    memory.unregister_all()


def test_a_part_of_a_region_is_read(memory: SharedMemory):
    memory.register(Region("r", "/pixels", 4, 8))
    assert memory.read(Placement("r", 2, 3)) == bytes([6, 7, 8])


def test_contents_are_written_where_they_belong(memory: SharedMemory, folder: Path):
    memory.register(Region("r", "pixels", 4, 8))
    memory.write(Placement("r", 1, 3), b"abc")
    assert (folder / "pixels").read_bytes() == bytes(range(5)) + b"abc" + bytes(range(8, 16))


@pytest.mark.parametrize(
    "key",
    ["", "/", ".", "..", "/..", "../secret", "a/b", "//pixels", "pixels\0", "/dev/shm/pixels", "x" * 300, "missing"],
)
def test_a_key_that_is_no_object_is_refused(memory: SharedMemory, key: str):
    with pytest.raises(InvalidRequestError, match="shared object"):
        memory.register(Region("r", key, 0, 1))


def test_a_link_is_not_followed(memory: SharedMemory, folder: Path):
    (folder / "link").symlink_to("../secret")
    with pytest.raises(InvalidRequestError, match="cannot be opened"):
        memory.register(Region("r", "link", 0, 1))


def test_a_pipe_is_no_object(memory: SharedMemory, folder: Path):
    os.mkfifo(folder / "pipe")
    with pytest.raises(InvalidRequestError, match="another kind of file"):
        memory.register(Region("r", "pipe", 0, 1))


@pytest.mark.parametrize(("offset", "size"), [(0, 17), (16, 1), (2**63, 1), (0, 2**64 - 1)])
def test_a_region_ends_within_its_object(memory: SharedMemory, offset: int, size: int):
    with pytest.raises(InvalidRequestError, match="must end within the 16 bytes"):
        memory.register(Region("r", "pixels", offset, size))


@pytest.mark.parametrize(("offset", "size"), [(0, 9), (8, 1), (2**62, 1)])
def test_a_tensor_ends_within_its_region(memory: SharedMemory, offset: int, size: int):
    memory.register(Region("r", "pixels", 4, 8))
    with pytest.raises(InvalidRequestError, match="must end within the 8 bytes"):
        memory.read(Placement("r", offset, size))


def test_an_output_that_is_too_large_is_refused(memory: SharedMemory):
    memory.register(Region("r", "pixels", 0, 16))
    with pytest.raises(InvalidRequestError, match="4 bytes must fit into the 3"):
        memory.write(Placement("r", 0, 3), b"abcd")


def test_an_owner_that_shrinks_its_object_is_an_error_and_no_signal(memory: SharedMemory, folder: Path):
    memory.register(Region("r", "pixels", 0, 16))
    os.truncate(folder / "pixels", 4)
    with pytest.raises(InvalidRequestError, match="has become too small"):
        memory.read(Placement("r", 0, 16))
    with pytest.raises(InvalidRequestError, match="has become too small"):
        memory.write(Placement("r", 0, 16), bytes(16))
    assert (folder / "pixels").stat().st_size == 4


def test_a_name_is_registered_once(memory: SharedMemory):
    memory.register(Region("r", "pixels", 0, 1))
    with pytest.raises(InvalidRequestError, match="registered once"):
        memory.register(Region("r", "pixels", 0, 1))


def test_a_region_that_was_unregistered_is_not_known(memory: SharedMemory):
    memory.register(Region("r", "pixels", 0, 1))
    memory.unregister("r")
    memory.unregister("r")
    assert memory.regions() == {}
    with pytest.raises(InvalidRequestError, match="must be registered before"):
        memory.read(Placement("r", 0, 1))


def test_there_are_only_so_many_regions(memory: SharedMemory):
    for i in range(MAX_REGIONS):
        memory.register(Region(str(i), "pixels", 0, 1))
    with pytest.raises(InvalidRequestError, match="at most 256 regions"):
        memory.register(Region("more", "pixels", 0, 1))


def test_nothing_stays_open_after_a_refusal(memory: SharedMemory):
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(5):
        with pytest.raises(InvalidRequestError):
            memory.register(Region("r", "pixels", 0, 99))
    assert len(list(Path("/proc/self/fd").iterdir())) == before
