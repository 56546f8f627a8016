from collections.abc import Iterator
from pathlib import Path

import pytest

from export.doctor.choose import DoubtError, choose
from export.doctor.diagnose import Diagnosis
from tests.export.doctor.diagnoses import at_size, diagnosis_of
from tests.export.foreign.test_ultralytics import DETECT, with_metadata
from tests.export.models import parse
from tests.graphs import classifier_graph, dfl_graph


@pytest.fixture
def certain(tmp_path: Path) -> Diagnosis:
    return diagnosis_of(with_metadata(at_size(dfl_graph(form="decoded")), **DETECT), tmp_path)


@pytest.fixture
def unsure(tmp_path: Path) -> Diagnosis:
    return diagnosis_of(at_size(classifier_graph()), tmp_path)


@pytest.mark.parametrize("yes", [True, False])
def test_what_is_without_doubt_needs_nobody(certain: Diagnosis, yes: bool) -> None:
    assert choose(certain, ask=None, show=lambda text: None, yes=yes) is certain.readings[0]


def test_yes_never_takes_what_is_in_doubt(unsure: Diagnosis) -> None:
    with pytest.raises(DoubtError, match="in doubt between classification, logits; embedding"):
        choose(unsure, ask=lambda question: "1", show=lambda text: None, yes=True)


def test_one_reading_that_rests_on_an_assumption_is_in_doubt(tmp_path: Path) -> None:
    diagnosis = diagnosis_of(at_size(classifier_graph()), tmp_path, label=[f"name {i}" for i in range(10)])
    with pytest.raises(DoubtError, match="likely classification, logits, but not certain: logits do not show"):
        choose(diagnosis, ask=None, show=lambda text: None, yes=True)


def test_the_candidates_are_shown_with_their_flags_where_nobody_is_asked(unsure: Diagnosis) -> None:
    shown: list[str] = []
    with pytest.raises(DoubtError):
        choose(unsure, ask=None, show=shown.append, yes=False)
    assert "--task classification --output logits --activation softmax" in shown[0]
    assert "--task embedding --output logits --embedding-dim 10" in shown[0]


def test_a_number_chooses(unsure: Diagnosis) -> None:
    assert choose(unsure, ask=lambda question: "2", show=lambda text: None, yes=False) is unsure.readings[1]


def test_a_bad_answer_is_asked_again(unsure: Diagnosis) -> None:
    answers: Iterator[str] = iter(["", "0", "99", "first", "1"])
    assert choose(unsure, ask=lambda question: next(answers), show=lambda text: None, yes=False) is unsure.readings[0]
    assert list(answers) == []


def test_an_empty_answer_takes_what_is_without_doubt(certain: Diagnosis) -> None:
    assert choose(certain, ask=lambda question: "", show=lambda text: None, yes=False) is certain.readings[0]


def test_no_is_an_answer(certain: Diagnosis) -> None:
    with pytest.raises(DoubtError, match="no reading was chosen"):
        choose(certain, ask=lambda question: "n", show=lambda text: None, yes=False)


def test_nothing_fits_is_said(tmp_path: Path) -> None:
    graph = parse("m (float[N,3,96,128] x) => (float[N,3,96,128,1] y) <int64[1] last = {4}> { y = Unsqueeze(x, last) }")
    diagnosis = diagnosis_of(graph, tmp_path)
    with pytest.raises(DoubtError, match="no reading fits"):
        choose(diagnosis, ask=lambda question: "1", show=lambda text: None, yes=False)
