import numpy as np
import pytest
import sklearn.metrics as oracle

from export.metrics.classification import classification_report, rank

NUM_CLASSES = 7


@pytest.fixture(params=[0, 1, 2])
def answers(request: pytest.FixtureRequest) -> tuple[np.ndarray, np.ndarray]:
    """True classes, two of which never occur in the second draw, and probabilities that lean towards them."""
    generator = np.random.default_rng(request.param)
    truth = generator.integers(0, NUM_CLASSES - request.param, 200)
    logits = generator.normal(size=(200, NUM_CLASSES))
    logits[np.arange(200), truth] += 1.5
    powers = np.exp(logits)
    return truth, powers / powers.sum(axis=1, keepdims=True)


def report_of(truth: np.ndarray, probabilities: np.ndarray):
    ranked, scores = rank(probabilities)
    return classification_report(truth, ranked, scores, NUM_CLASSES)


def test_top_1_and_top_5_are_scikit_learns(answers):
    truth, probabilities = answers
    report = report_of(truth, probabilities)
    labels = np.arange(NUM_CLASSES)
    for k, found in ((1, report.top1), (5, report.top5)):
        assert found == pytest.approx(oracle.top_k_accuracy_score(truth, probabilities, k=k, labels=labels))


def test_confusion_precision_recall_and_f1_are_scikit_learns(answers):
    truth, probabilities = answers
    report = report_of(truth, probabilities)
    labels, best = np.arange(NUM_CLASSES), probabilities.argmax(axis=1)
    np.testing.assert_array_equal(report.confusion[:, :-1], oracle.confusion_matrix(truth, best, labels=labels))
    assert not report.confusion[:, -1].any()
    wanted = oracle.precision_recall_fscore_support(truth, best, labels=labels, zero_division=0)
    for found, want in zip((report.precision, report.recall, report.f1), wanted, strict=False):
        np.testing.assert_allclose(found, want, rtol=1e-12)
    macro = oracle.precision_recall_fscore_support(truth, best, average="macro", zero_division=0)
    names = ("precision_macro", "recall_macro", "f1_macro")
    np.testing.assert_allclose([report.headline()[name] for name in names], macro[:3], rtol=1e-12)
    assert report.micro == pytest.approx((report.top1,) * 3)


def test_an_answer_that_is_none_of_the_classes_is_wrong_and_has_a_column():
    report = classification_report(np.array([0, 1]), np.array([[0, 1], [-1, 1]]), np.full((2, 2), 0.5), 2)
    np.testing.assert_array_equal(report.confusion, [[1, 0, 0], [0, 0, 1]])
    assert (report.top1, report.top5) == (0.5, 1.0)
    assert report.micro == pytest.approx((1.0, 0.5, 2 / 3))


def test_a_class_that_neither_occurs_nor_is_answered_is_in_no_mean():
    report = classification_report(np.array([0, 1]), np.array([[0], [1]]), np.ones((2, 1)), 3)
    assert {report.headline()[name] for name in ("precision_macro", "recall_macro", "f1_macro")} == {1.0}


def test_scores_that_are_no_probabilities_have_no_calibration():
    report = classification_report(np.array([0]), np.array([[0]]), np.array([[3.7]]), 2)
    assert report.reliability is None
    assert "ece" not in report.headline()


def test_no_image_is_refused():
    with pytest.raises(ValueError, match="N > 0 images"):
        classification_report(np.array([], int), np.zeros((0, 1), int), np.zeros((0, 1)), 2)


def test_ties_are_ranked_by_the_lower_class():
    ranked, scores = rank(np.array([[0.2, 0.4, 0.4]]), top_k=2)
    assert ranked.tolist() == [[1, 2]]
    assert scores.tolist() == [[0.4, 0.4]]
