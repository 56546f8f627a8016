import numpy as np
import pytest
import sklearn.metrics as oracle

from export.metrics.segmentation import pixel_confusion, segmentation_report


def masks(seed: int, *, num_classes: int = 4, ignored: bool = True) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    truth = generator.integers(0, num_classes, (20, 31)).astype(np.uint8)
    answer = np.where(generator.uniform(size=truth.shape) < 0.7, truth, (truth + 1) % num_classes).astype(np.uint8)
    if ignored:
        truth[:3] = 255
    return truth, answer


@pytest.mark.parametrize("seed", range(3))
def test_iou_dice_and_accuracy_are_scikit_learns(seed):
    pairs = [masks(seed), masks(seed + 10)]
    report = segmentation_report([pixel_confusion(truth, answer, 4) for truth, answer in pairs])
    truth, answer = (np.concatenate([pair[i].ravel() for pair in pairs]) for i in (0, 1))
    truth, answer = truth[truth != 255], answer[truth != 255]
    np.testing.assert_allclose(report.iou, oracle.jaccard_score(truth, answer, average=None), rtol=1e-12)
    np.testing.assert_allclose(report.dice, oracle.f1_score(truth, answer, average=None), rtol=1e-12)
    headline = report.headline()
    assert headline["miou"] == pytest.approx(oracle.jaccard_score(truth, answer, average="macro"))
    assert headline["pixel_accuracy"] == pytest.approx(oracle.accuracy_score(truth, answer))
    assert headline["foreground_iou"] == pytest.approx(np.mean(report.iou[1:]))


def test_the_iou_of_an_image_is_of_that_image_alone():
    pairs = [masks(1), masks(2)]
    report = segmentation_report([pixel_confusion(truth, answer, 4) for truth, answer in pairs])
    for row, (truth, answer) in zip(report.image_iou, pairs, strict=True):
        counted = truth != 255
        np.testing.assert_allclose(row, oracle.jaccard_score(truth[counted], answer[counted], average=None))


def test_a_class_that_occurs_nowhere_does_not_count():
    zeros = np.zeros((4, 5), np.uint8)
    report = segmentation_report([pixel_confusion(zeros, zeros, 3)])
    assert report.iou[0] == 1
    assert np.isnan(report.iou[1:]).all()
    assert report.headline() == {"miou": 1.0, "dice": 1.0, "pixel_accuracy": 1.0}


def test_where_no_pixel_counts_nothing_is_measured():
    ignored = np.full((4, 5), 255, np.uint8)
    assert segmentation_report([pixel_confusion(ignored, np.zeros_like(ignored), 2)]).headline() == {}


def test_other_shapes_and_classes_are_refused():
    with pytest.raises(ValueError, match="one shape"):
        pixel_confusion(np.zeros((2, 3), np.uint8), np.zeros((3, 2), np.uint8), 2)
    with pytest.raises(ValueError, match="true class ids must be below 2, got 0 to 2"):
        pixel_confusion(np.array([[0, 2]], np.uint8), np.zeros((1, 2), np.uint8), 2)
    with pytest.raises(ValueError, match="at least one image"):
        segmentation_report([])


def test_an_answer_that_is_none_of_the_classes_is_wrong():
    truth, answer = np.array([[0, 0, 1, 1]], np.uint8), np.array([[0, 7, 1, 9]], np.uint8)
    report = segmentation_report([pixel_confusion(truth, answer, 2)])
    np.testing.assert_array_equal(report.confusion, [[1, 0, 1], [0, 1, 1]])
    np.testing.assert_allclose(report.iou, [0.5, 0.5])
    assert report.pixel_accuracy == 0.5
