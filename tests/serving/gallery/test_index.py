"""Search finds exactly what comparing every vector finds, and HNSW is used only where its loss was measured."""

from __future__ import annotations

import numpy as np
import pytest

from pipelines.matching import identify
from serving.gallery.coarse import CoarseCopies
from serving.gallery.index import Index, SearchPolicy
from tests.serving.gallery.conftest import directions


def expected(probes, gallery, owners, top_k):
    names = [str(owner) for owner in owners]
    return [
        [(int(match.person), match.score) for match in each.candidates]
        for each in identify(probes, gallery, names, threshold=0.0, top_k=top_k)
    ]


def found(index, probes, top_k):
    return [[(hit.owner, hit.score) for hit in hits] for hits in index.search(probes, top_k)]


@pytest.mark.parametrize("top_k", [1, 5, 100])
@pytest.mark.parametrize(("count", "people"), [(1, 1), (70, 3), (3000, 3000), (3000, 40)])
@pytest.mark.parametrize("dim", [24, 128])
def test_search_equals_comparing_every_vector(count: int, people: int, top_k: int, dim: int):
    gallery = directions(count, dim=dim)
    owners = np.random.default_rng(1).integers(0, people, count)
    probes = np.concatenate((gallery[:3], directions(4, seed=9, dim=dim)))
    index = Index(gallery, owners)
    for got, want in zip(found(index, probes, top_k), expected(probes, gallery, owners, top_k), strict=True):
        assert [owner for owner, _ in got] == [owner for owner, _ in want]
        # float64 sums in another order
        np.testing.assert_allclose([s for _, s in got], [s for _, s in want], atol=1e-12)


def test_near_copies_that_a_quarter_of_the_bits_cannot_tell_apart_are_told_apart():
    one = directions(1, dim=64)
    gallery = (one + directions(500, seed=3, dim=64) * 1e-4).astype(np.float32)
    owners = np.arange(500)
    got = found(Index(gallery, owners), one, 10)[0]
    assert [owner for owner, _ in got] == [owner for owner, _ in expected(one, gallery, owners, 10)[0]]


def test_vectors_added_later_are_found_as_those_of_the_start():
    gallery, owners = directions(300), np.arange(300)
    index = Index(gallery[:1], owners[:1])
    for i in range(1, 300, 23):
        index.add(gallery[i : i + 23], owners[i : i + 23])
    assert found(index, gallery[250:260], 3) == found(Index(gallery, owners), gallery[250:260], 3)


def test_many_probes_are_answered_as_one_by_one():
    index, probes = Index(directions(2000), np.arange(2000)), directions(10, seed=4)
    assert index.search(probes, 5) == [index.search(probe[None], 5)[0] for probe in probes]


def test_an_empty_gallery_answers_nobody():
    assert Index(directions(0), np.empty(0, np.int64)).search(directions(2, seed=1), 3) == [[], []]


@pytest.mark.parametrize("dim", [2, 24, 32, 64, 128, 512])  # faiss takes another way where 64 divides it
@pytest.mark.parametrize("peaked", [False, True])
def test_the_bound_holds_for_every_vector_that_was_left_out(dim: int, peaked: bool):
    gallery, probes = directions(5000, dim=dim), directions(20, seed=2, dim=dim)
    if peaked:  # coordinates beyond what a copy holds
        gallery[::7, 0] += 3
        gallery /= np.linalg.norm(gallery, axis=1, keepdims=True)
    coarse = CoarseCopies(dim, parts=3)
    coarse.add(gallery)
    for probe, near in zip(probes, coarse.search(probes, 10), strict=True):
        scores = gallery.astype(np.float64) @ probe
        assert np.delete(scores, near.rows).max() <= near.bound


def test_a_large_gallery_is_searched_by_hnsw_with_its_recall_told():
    gallery, owners = directions(3000, dim=32), np.arange(3000)
    index = Index(gallery, owners, SearchPolicy(hnsw_above=2000, least_recall=0.9))
    assert index.recall is not None
    assert index.recall >= 0.9
    assert index.searched_by == f"hnsw, recall {index.recall:.4f}"
    assert [hits[0].owner for hits in index.search(gallery[:50], 1)] == list(range(50))


def test_hnsw_that_loses_too_much_is_not_used():
    index = Index(directions(3000, dim=32), np.arange(3000), SearchPolicy(hnsw_above=2000, least_recall=1.1))
    assert (index.recall, index.searched_by) == (None, "exact")
