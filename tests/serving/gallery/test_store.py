"""A gallery's file: durable, shared, bound to one embedder, refused where it is damaged, forgetting for good."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from pipelines.decisions import Removed
from pipelines.errors import GalleryError, InvalidRequestError, UnknownPersonError
from serving.gallery import store as store_module
from serving.gallery.binding import Binding
from serving.gallery.database import GALLERY_FILE
from serving.gallery.gallery import Gallery
from serving.gallery.store import Sample, Store
from tests.serving.gallery.conftest import BINDING, directions, reader, samples

ROOT = Path(__file__).parents[3]


def enroller(folder: Path, prefix: str, *count: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.serving.gallery.enroller", str(folder), prefix, *count]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)


def names(folder: Path) -> set[str]:
    with Store(folder, BINDING) as store:
        return {person.name for person in store.people()}


def bytes_on_disk(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in sorted(folder.iterdir()))


@pytest.mark.parametrize("acknowledged", [1, 7, 20])
def test_what_was_acknowledged_outlives_kill_9(tmp_path: Path, acknowledged: int):
    with enroller(tmp_path, "p") as process:
        assert process.stdout is not None
        told = [process.stdout.readline().strip() for _ in range(acknowledged)]
        os.kill(process.pid, signal.SIGKILL)
        told += process.stdout.read().split("\n")[:-1]  # the last line may be cut
    with Store(tmp_path, BINDING) as store:
        people = {person.name: person.samples for person in store.people()}
        assert set(told) <= set(people)
        assert set(people.values()) == {2}, "a person is enrolled whole or not at all"
        assert len(store.rows()[1].ids) == 2 * len(people)


def test_two_processes_write_one_gallery_and_lose_nothing(tmp_path: Path):
    with enroller(tmp_path, "a", "25") as first, enroller(tmp_path, "b", "25") as second:
        assert first.wait(60) == second.wait(60) == 0
    assert names(tmp_path) == {f"{prefix}-{number}" for prefix in "ab" for number in range(25)}


def test_samples_come_back_as_they_were_added(tmp_path: Path):
    with Store(tmp_path, BINDING) as store:
        assert store.enroll("ada", samples(2)) == 2
        assert store.enroll("bob", samples(1, seed=1)) == 1
        assert store.enroll("ada", samples(1, seed=2)) == 3
    with Store(tmp_path, BINDING) as store:
        _, rows = store.rows()
        assert [rows.names[owner] for owner in rows.owners.tolist()] == ["ada", "ada", "bob", "ada"]
        expected = np.concatenate((directions(2), directions(1, seed=1), directions(1, seed=2)))
        assert np.array_equal(rows.vectors, expected)


def test_nobody_but_the_owner_may_read_the_files(tmp_path: Path):
    folder = tmp_path / "gallery"
    with Store(folder, BINDING) as store:
        store.enroll("ada", samples(1))
        modes = {path.name: path.stat().st_mode & 0o777 for path in folder.iterdir()}
    assert set(modes.values()) == {0o600}
    assert folder.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize(
    "other",
    [
        Binding("c" * 64, BINDING.recipe_seal, BINDING.crop, BINDING.dim),
        Binding(BINDING.embedder_sha256, "c" * 64, BINDING.crop, BINDING.dim),
        Binding(BINDING.embedder_sha256, BINDING.recipe_seal, "{}", BINDING.dim),
    ],
    ids=["graph", "recipe", "crop"],
)
def test_another_embedder_is_refused_with_what_to_do(tmp_path: Path, other: Binding):
    Store(tmp_path, BINDING).close()
    with pytest.raises(GalleryError, match=r"another embedder.*ocella faces reindex"):
        Store(tmp_path, other)


def test_a_writer_whose_gallery_was_embedded_anew_meanwhile_is_refused(tmp_path: Path):
    other = Binding("c" * 64, BINDING.recipe_seal, BINDING.crop, BINDING.dim)
    with Store(tmp_path, BINDING) as store:
        store.enroll("ada", samples(1))
        with Store(tmp_path, None) as newer:
            newer.rewrite(other, {1: directions(1, seed=5)[0]})
        with pytest.raises(GalleryError, match="another embedder"):
            store.enroll("bob", samples(1))


@pytest.mark.parametrize(
    "name", ["", " ada", "ada\n", "x" * 129, "a\x00b"], ids=["empty", "space", "line", "long", "zero"]
)
def test_a_name_that_cannot_be_shown_is_refused(tmp_path: Path, name: str):
    with Store(tmp_path, BINDING) as store:
        with pytest.raises(InvalidRequestError, match="a person's name"):
            store.enroll(name, samples(1))
        assert store.people() == ()


def test_a_vector_of_another_length_is_refused_and_nothing_of_the_person_is_kept(tmp_path: Path):
    with Store(tmp_path, BINDING) as store:
        with pytest.raises(InvalidRequestError, match="16 finite float32"):
            store.enroll("ada", [*samples(1), Sample(np.zeros(15, np.float32))])
        assert store.people() == ()


# --- damage ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def filled(tmp_path: Path) -> Path:
    with Store(tmp_path, BINDING) as store:
        for number in range(40):
            store.enroll(f"p{number}", samples(1, seed=number, crop=bytes(range(256)) * 8))
    return tmp_path


@pytest.mark.parametrize(
    "spoil",
    [
        lambda data: b"no database at all" * 100,
        lambda data: data[: len(data) // 2],
        lambda data: b"\0" * 100 + data[100:],
    ],
    ids=["other bytes", "cut in half", "no header"],
)
def test_a_damaged_gallery_is_refused_with_how_to_restore(filled: Path, spoil):
    file = filled / GALLERY_FILE
    file.write_bytes(spoil(file.read_bytes()))
    with pytest.raises(GalleryError, match=r"damaged.*backup"):
        Store(filled, BINDING).rows()


def test_one_flipped_bit_of_an_embedding_is_found(filled: Path):
    file = filled / GALLERY_FILE
    data = bytearray(file.read_bytes())
    data[data.index(directions(1, seed=17).tobytes()) + 5] ^= 1
    file.write_bytes(data)
    with Store(filled, BINDING) as store, pytest.raises(GalleryError, match=r"sample 18 is not what was written"):
        store.rows()


def test_a_database_of_something_else_is_refused(tmp_path: Path):
    with sqlite3.connect(tmp_path / GALLERY_FILE) as connection:
        connection.execute("CREATE TABLE cats (name TEXT)")
    connection.close()
    with pytest.raises(GalleryError, match="must be a gallery"):
        Store(tmp_path, BINDING)


def test_a_folder_without_a_gallery_is_refused_where_none_may_be_made(tmp_path: Path):
    with pytest.raises(GalleryError, match=r"there is no gallery\.db"):
        Store(tmp_path, None)
    assert list(tmp_path.iterdir()) == []


# --- forgetting ------------------------------------------------------------------------------------------------------


def test_a_removed_person_leaves_no_byte_of_embedding_or_crop_behind(tmp_path: Path):
    crop = bytes(reversed(range(256))) * 30  # larger than a page
    kept, gone = samples(3, seed=1, crop=crop[::-1]), samples(3, seed=2, crop=crop)
    with Store(tmp_path, BINDING) as store:
        store.enroll("kept", kept)
        store.enroll("gone", gone)
        assert store.remove("gone") == Removed(3, erased=True)
        left = bytes_on_disk(tmp_path)
        assert [sample.vector.tobytes() in left for sample in gone] == [False] * 3
        assert crop[:600] not in left
        assert all(sample.vector.tobytes() in left for sample in kept)


def test_a_removal_is_audited_without_anything_biometric(tmp_path: Path):
    with Store(tmp_path, BINDING) as store:
        store.enroll("ada", samples(2))
        store.remove("ada")
        assert [(each.action, each.person, each.samples) for each in store.audit()] == [
            ("enroll", "ada", 2),
            ("remove", "ada", 2),
            ("erase", "", 0),
        ]


def test_a_removal_that_a_reader_keeps_in_the_log_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(store_module, "ERASE_WAIT_S", 0.01)
    gone = samples(3)
    with Store(tmp_path, BINDING) as store:
        store.enroll("ada", gone)
        with reader(tmp_path):
            assert store.remove("ada") == Removed(3, erased=False)
            assert gone[0].vector.tobytes() in bytes_on_disk(tmp_path)
            assert store.erase() is False
        assert [each.action for each in store.audit()] == ["enroll", "remove"]


@pytest.mark.parametrize("use", [Store.erase, lambda store: store.enroll("bob", samples(1, seed=9))])
def test_what_a_reader_kept_is_erased_when_it_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, use: Callable[[Store], object]
):
    monkeypatch.setattr(store_module, "ERASE_WAIT_S", 0.01)
    gone = samples(3)
    with Store(tmp_path, BINDING) as store:
        store.enroll("ada", gone)
        with reader(tmp_path):
            store.remove("ada")
        use(store)
        assert [sample.vector.tobytes() in bytes_on_disk(tmp_path) for sample in gone] == [False] * 3
        assert "erase" in [each.action for each in store.audit()]


def test_opening_a_gallery_erases_what_a_process_that_died_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(store_module, "ERASE_WAIT_S", 0.01)
    gone = samples(3)
    with Store(tmp_path, BINDING) as left, reader(tmp_path):
        left.enroll("ada", gone)
        left.remove("ada")
        copy = tmp_path / "copy"
        copy.mkdir()
        for path in tmp_path.glob(f"{GALLERY_FILE}*"):  # as it lies there after a kill -9
            (copy / path.name).write_bytes(path.read_bytes())
    assert gone[0].vector.tobytes() in bytes_on_disk(copy)
    with Store(copy, BINDING) as store:
        assert gone[0].vector.tobytes() not in bytes_on_disk(copy)
        assert store.audit()[-1].action == "erase"


def test_a_gallery_in_use_erases_at_its_next_question(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(store_module, "ERASE_WAIT_S", 0.01)
    (gone,) = samples(1)
    with Gallery(tmp_path, BINDING) as gallery:
        gallery.enroll("ada", [gone])
        with reader(tmp_path):
            assert not gallery.remove("ada").erased
        assert gallery.people().people == ()
        assert gone.vector.tobytes() not in bytes_on_disk(tmp_path)


def test_nobody_is_removed_twice(tmp_path: Path):
    with Store(tmp_path, BINDING) as store:
        store.enroll("ada", samples(1))
        store.remove("ada")
        with pytest.raises(UnknownPersonError, match="'ada'"):
            store.remove("ada")
