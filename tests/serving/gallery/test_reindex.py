from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pipelines.errors import GalleryError
from pipelines.types import FloatArray
from serving.gallery.reindex import reindex
from serving.gallery.store import Sample, Store
from tests.serving.gallery.conftest import BINDING, DIM, directions, samples

NEWER = replace(BINDING, embedder_sha256="c" * 64, dim=DIM // 2)


def embed(crops: Sequence[bytes]) -> FloatArray:
    """Embeddings by the crops' numbers."""
    return np.stack([directions(1, seed=int(crop), dim=NEWER.dim)[0] for crop in crops])


def fill(folder: Path, count: int) -> None:
    with Store(folder, BINDING) as store:
        for number, vector in enumerate(directions(count)):
            store.enroll(f"p{number % 7}", [Sample(vector, str(number).encode())])
        store.put_evidence("{}")


def test_every_sample_is_embedded_anew_and_keeps_its_person(tmp_path: Path):
    fill(tmp_path, 70)
    assert reindex(tmp_path, NEWER, embed) == 70
    with Store(tmp_path, NEWER) as store:
        _, rows = store.rows()
        assert np.array_equal(rows.vectors, embed([str(number).encode() for number in range(70)]))
        assert [rows.names[owner] for owner in rows.owners.tolist()] == [f"p{number % 7}" for number in range(70)]


def test_thresholds_of_the_old_embedder_go(tmp_path: Path):
    fill(tmp_path, 3)
    reindex(tmp_path, NEWER, embed)
    with Store(tmp_path, NEWER) as store:
        assert store.evidence() is None


def test_no_byte_of_the_old_embeddings_stays(tmp_path: Path):
    fill(tmp_path, 5)
    reindex(tmp_path, NEWER, embed)
    left = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert [vector.tobytes() in left for vector in directions(5)] == [False] * 5


def test_samples_without_crops_are_refused_and_nothing_changes(tmp_path: Path):
    fill(tmp_path, 3)
    with Store(tmp_path, BINDING) as store:
        store.enroll("late", samples(2, seed=9))
    with pytest.raises(GalleryError, match=r"2 of 5 samples .* keep no crop.*--keep-crops"):
        reindex(tmp_path, NEWER, embed)
    with Store(tmp_path, BINDING) as store:
        assert store.evidence() == "{}"


def test_crops_that_are_cut_otherwise_are_refused(tmp_path: Path):
    fill(tmp_path, 3)
    with pytest.raises(GalleryError, match="are cut out as whole image, the new model wants"):
        reindex(tmp_path, replace(NEWER, crop='{"size_px": 112}'), embed)


def test_the_same_embedder_has_nothing_to_do(tmp_path: Path):
    fill(tmp_path, 3)
    with pytest.raises(GalleryError, match="already"):
        reindex(tmp_path, BINDING, embed)


def test_a_gallery_that_changed_meanwhile_is_left_as_it_is(tmp_path: Path):
    fill(tmp_path, 3)

    def embed_while_others_write(crops: Sequence[bytes]) -> FloatArray:
        with Store(tmp_path, BINDING) as store:
            store.enroll("late", samples(1, seed=9, crop=b"99"))
        return embed(crops)

    with pytest.raises(GalleryError, match="nothing was written, try again"):
        reindex(tmp_path, NEWER, embed_while_others_write)
    with Store(tmp_path, BINDING) as store:
        assert len(store.rows()[1].ids) == 4
