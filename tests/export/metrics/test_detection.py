import numpy as np
import pytest
import torch
from torchmetrics.detection import MeanAveragePrecision

from export.data.dataset import BoxesTarget
from export.metrics.detection import FoundBoxes, detection_report
from tests.builders import f32
from tests.export.metrics.naive import average_precision

NUM_CLASSES = 3


def target(boxes: np.ndarray, class_ids: np.ndarray, *, crowd: np.ndarray | None = None) -> BoxesTarget:
    boxes = f32(boxes).reshape(-1, 4)
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    crowd = np.zeros(len(boxes), bool) if crowd is None else crowd
    return BoxesTarget(boxes, np.asarray(class_ids, np.int64), crowd, areas)


def scene(seed: int, *, images: int = 6) -> tuple[list[BoxesTarget], list[FoundBoxes]]:
    """Images with objects of all sizes, and a detector that misses, jitters, confuses and invents."""
    generator = np.random.default_rng(seed)
    truths, found = [], []
    for _ in range(images):
        count = int(generator.integers(0, 8))
        corner = generator.uniform(0, 300, (count, 2))
        boxes = np.concatenate((corner, corner + generator.uniform(8, 150, (count, 2))), axis=1)
        class_ids = generator.integers(0, NUM_CLASSES, count)
        truths.append(target(boxes, class_ids))
        kept = generator.uniform(size=count) < 0.8
        near = boxes[kept] + generator.uniform(-4, 4, (int(kept.sum()), 4))
        extra_corner = generator.uniform(0, 300, (3, 2))
        extra = np.concatenate((extra_corner, extra_corner + generator.uniform(8, 150, (3, 2))), axis=1)
        every = f32(np.concatenate((near, extra)))
        scores = f32(generator.uniform(0.01, 1, len(every)))
        ids = np.concatenate((class_ids[kept], generator.integers(0, NUM_CLASSES, 3)))
        found.append(FoundBoxes(every, scores, ids.astype(np.int64)))
    return truths, found


@pytest.mark.parametrize("seed", range(3))
def test_ap_of_each_class_is_that_of_a_loop(seed):
    truths, found = scene(seed)
    report = detection_report(truths, found, NUM_CLASSES)
    for class_id in range(NUM_CLASSES):
        rows = [(truth.boxes[truth.class_ids == class_id].tolist()) for truth in truths]
        answers = [
            [(box, score) for box, score, k in zip(one.boxes, one.scores, one.class_ids, strict=True) if k == class_id]
            for one in found
        ]
        loop = [average_precision(rows, answers, iou_threshold=0.5 + 0.05 * i) for i in range(10)]
        assert report.class_ap50[class_id] == pytest.approx(loop[0], abs=1e-6)
        assert report.class_ap[class_id] == pytest.approx(np.mean(loop), abs=1e-6)
    assert report.ap["all"] == pytest.approx(report.class_ap.mean())


def test_the_means_are_torchmetrics():
    truths, found = scene(7, images=12)
    grid = np.linspace(0, 1, 101).tolist()  # its own is float32, where seven objects of ten reach recall 0.7
    judge = MeanAveragePrecision(backend="pycocotools", rec_thresholds=grid)
    judge.update(
        [
            {
                "boxes": torch.tensor(one.boxes),
                "scores": torch.tensor(one.scores),
                "labels": torch.tensor(one.class_ids),
            }
            for one in found
        ],
        [{"boxes": torch.tensor(one.boxes), "labels": torch.tensor(one.class_ids)} for one in truths],
    )
    wanted, report = judge.compute(), detection_report(truths, found, NUM_CLASSES)
    pairs = {
        "map": report.ap["all"],
        "map_50": report.ap50,
        "map_75": report.ap75,
        "map_small": report.ap["small"],
        "map_medium": report.ap["medium"],
        "map_large": report.ap["large"],
        "mar_100": report.recall,
    }
    for name, value in pairs.items():
        assert value == pytest.approx(float(wanted[name]), abs=1e-6), name  # it answers in float32


def test_a_perfect_detector_has_1_everywhere():
    truths, _ = scene(1)
    found = [FoundBoxes(truth.boxes, np.ones(len(truth), np.float32), truth.class_ids) for truth in truths]
    report = detection_report(truths, found, NUM_CLASSES)
    assert (report.ap["all"], report.ap50, report.ap75, report.recall) == pytest.approx((1, 1, 1, 1))
    f1, thresholds = report.best_f1()
    np.testing.assert_allclose(f1, 1)
    np.testing.assert_allclose(thresholds, 1)


def test_a_detector_that_finds_nothing_has_0():
    truths, _ = scene(1)
    nothing = FoundBoxes(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int64))
    report = detection_report(truths, [nothing] * len(truths), NUM_CLASSES)
    assert (report.ap["all"], report.ap50, report.recall) == (0, 0, 0)


def test_a_class_without_objects_has_no_ap_and_changes_no_mean():
    truths, found = scene(2)
    report = detection_report(truths, found, NUM_CLASSES + 1)
    assert np.isnan(report.class_ap[NUM_CLASSES])
    assert report.ap50 == detection_report(truths, found, NUM_CLASSES).ap50
    assert report.num_boxes[NUM_CLASSES] == 0


def test_what_is_found_in_a_crowd_is_neither_right_nor_wrong():
    object_box, crowd_box = [10, 10, 50, 50], [100, 100, 300, 300]
    truth = target([object_box, crowd_box], [0, 0], crowd=np.array([False, True]))
    inside = [[120, 120, 150, 160], [200, 200, 240, 260]]
    found = FoundBoxes(f32([object_box, *inside]), f32([0.5, 0.9, 0.8]), np.zeros(3, np.int64))
    report = detection_report([truth], [found], 1)
    assert report.ap50 == pytest.approx(1)
    assert report.num_boxes.tolist() == [1]
    assert detection_report([target([object_box], [0])], [found], 1).ap50 == pytest.approx(1 / 3)


def test_only_the_best_detections_count():
    truth = target([[10, 10, 50, 50]], [0])
    found = FoundBoxes(
        f32([[200, 200, 250, 250], [100, 100, 150, 150], [10, 10, 50, 50]]), f32([0.9, 0.8, 0.7]), np.zeros(3, np.int64)
    )
    assert detection_report([truth], [found], 1, max_detections=2).recall == 0
    assert detection_report([truth], [found], 1, max_detections=3).recall == 1


def test_the_threshold_of_the_best_f1_gives_that_f1():
    truths, found = scene(3, images=20)
    report = detection_report(truths, found, NUM_CLASSES)
    f1, thresholds = report.best_f1()
    for class_id in range(NUM_CLASSES):
        kept = [
            FoundBoxes(one.boxes[mask], one.scores[mask], one.class_ids[mask])
            for one in found
            for mask in [(one.class_ids == class_id) & (one.scores >= thresholds[class_id])]
        ]
        above = detection_report(truths, kept, NUM_CLASSES)
        assert above.precision[class_id].max() == pytest.approx(report.precision[class_id].max())
        assert np.nanmax(above.best_f1()[0][class_id]) == pytest.approx(f1[class_id])


def test_it_prints_nothing(capsys):
    detection_report(*scene(0), NUM_CLASSES)
    assert capsys.readouterr().out == ""


def test_one_result_an_image_is_needed():
    with pytest.raises(ValueError, match="one result an image, got 0 for 1"):
        detection_report([target([], [])], [], 1)
