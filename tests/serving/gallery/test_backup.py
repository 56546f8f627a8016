from pathlib import Path

import numpy as np
import pytest

from pipelines.errors import GalleryError
from serving.gallery.backup import back_up
from serving.gallery.database import GALLERY_FILE
from serving.gallery.store import Store
from tests.serving.gallery.conftest import BINDING, samples
from tests.serving.gallery.test_store import enroller


def test_a_backup_of_a_gallery_in_use_is_a_gallery_of_one_moment(tmp_path: Path):
    with enroller(tmp_path / "g", "p") as process:
        assert process.stdout is not None
        acknowledged = [process.stdout.readline().strip() for _ in range(5)]
        back_up(tmp_path / "g", tmp_path / "copy")
        process.kill()
        process.stdout.read()
    with Store(tmp_path / "copy", BINDING) as copy:
        people = {person.name: person.samples for person in copy.people()}
        assert set(acknowledged) <= set(people)
        assert set(people.values()) == {2}


def test_a_backup_in_the_place_of_a_damaged_gallery_restores_it(tmp_path: Path):
    with Store(tmp_path / "g", BINDING) as store:
        store.enroll("ada", samples(2))
        expected = store.rows()[1].vectors
    back_up(tmp_path / "g", tmp_path / "copy")
    (tmp_path / "g" / GALLERY_FILE).write_bytes(b"broken")
    with pytest.raises(GalleryError, match="backup"):
        Store(tmp_path / "g", BINDING)
    (tmp_path / "g" / GALLERY_FILE).write_bytes((tmp_path / "copy" / GALLERY_FILE).read_bytes())
    with Store(tmp_path / "g", BINDING) as store:
        assert np.array_equal(store.rows()[1].vectors, expected)


def test_a_backup_overwrites_no_gallery(tmp_path: Path):
    for name in ("a", "b"):
        Store(tmp_path / name, BINDING).close()
    with pytest.raises(GalleryError, match="must not hold a gallery yet"):
        back_up(tmp_path / "a", tmp_path / "b")


def test_a_backup_leaves_one_private_file(tmp_path: Path):
    Store(tmp_path / "g", BINDING).close()
    file = back_up(tmp_path / "g", tmp_path / "copy")
    assert list((tmp_path / "copy").iterdir()) == [file]
    assert file.stat().st_mode & 0o777 == 0o600
