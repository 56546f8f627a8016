import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.distances import cosine_similarity
from pipelines.matching import identify, verify
from tests.builders import f32

ANNA, BERT = f32([1, 0]), f32([0, 1])


def test_one_person_is_verified_and_two_are_not():
    assert verify(ANNA, ANNA * 3, threshold=0.5) == (True, 1.0)
    assert verify(ANNA, BERT, threshold=0.5) == (False, 0.0)


def test_the_threshold_itself_counts_as_the_same():
    assert verify(ANNA, f32([1, 1]), threshold=verify(ANNA, f32([1, 1]), threshold=0)[1])[0]


def test_a_stranger_is_nobody():
    (found,) = identify(f32([[-1, -1]]), np.stack((ANNA, BERT)), ["anna", "bert"], threshold=0.5, top_k=2)
    assert found.person is None
    assert [match.person for match in found.candidates] == ["anna", "bert"]  # a tie: as in the gallery


def test_an_empty_gallery_knows_nobody():
    (found,) = identify(ANNA[None], np.empty((0, 2)), [], threshold=0.5, top_k=3)
    assert (found.person, found.candidates) == (None, ())


def test_no_probe_finds_nothing():
    assert identify(np.empty((0, 2)), ANNA[None], ["anna"], threshold=0.5, top_k=1) == []


def test_a_person_counts_by_the_best_of_their_photos():
    gallery = np.stack((BERT, f32([1, 0.2]), ANNA))
    (found,) = identify(ANNA[None], gallery, ["anna", "bert", "anna"], threshold=0.9, top_k=5)
    assert [(match.person, round(match.score, 3)) for match in found.candidates] == [("anna", 1.0), ("bert", 0.981)]
    assert found.person == "anna"


@given(seed=st.integers(0, 2**32 - 1), top_k=st.integers(1, 6))
def test_a_search_is_the_naive_one(seed: int, top_k: int):
    random = np.random.default_rng(seed)
    gallery, probes = random.normal(size=(9, 4)), random.normal(size=(3, 4))
    people = [f"p{i}" for i in random.integers(0, 5, 9)]
    for probe, found in zip(probes, identify(probes, gallery, people, threshold=0.3, top_k=top_k), strict=True):
        scores: dict[str, float] = {}
        for row, person in zip(gallery, people, strict=True):
            scores[person] = max(scores.get(person, -1.0), float(cosine_similarity(probe[None], row[None])[0, 0]))
        expected = sorted(scores.items(), key=lambda item: -item[1])[:top_k]
        assert [match.person for match in found.candidates] == [person for person, _ in expected]
        assert [match.score for match in found.candidates] == pytest.approx([score for _, score in expected])
        assert found.person == (expected[0][0] if expected[0][1] >= 0.3 else None)


@pytest.mark.parametrize(
    ("over", "said"),
    [
        ({"threshold": 1.5}, "threshold must be a cosine, -1 to 1, got 1.5"),
        ({"threshold": float("nan")}, "threshold must be a cosine"),
        ({"top_k": 0}, "top_k must be 1 or more, got 0"),
        ({"people": ["anna"]}, "people must be 2, one a row of the gallery, got 1"),
    ],
)
def test_what_cannot_be_searched_is_refused(over: dict[str, object], said: str):
    fields = {"people": ["anna", "bert"], "threshold": 0.5, "top_k": 1} | over
    with pytest.raises(ValueError, match=said):
        identify(ANNA[None], np.stack((ANNA, BERT)), **fields)  # type: ignore[arg-type]
