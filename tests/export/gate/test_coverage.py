import numpy as np
import pytest

from export.gate.coverage import coverage_of, least_share
from pipelines.types import Detections, SegmentationMap


def masks(*counts: int) -> SegmentationMap:
    """A map of one row of pixels with ``counts`` of each class."""
    return SegmentationMap(np.repeat(np.arange(len(counts), dtype=np.uint8), counts)[None])


def boxes(*class_ids: int) -> Detections:
    count = len(class_ids)
    return Detections(
        boxes=np.zeros((count, 4), np.float32),
        scores=np.ones(count, np.float32),
        class_ids=np.array(class_ids, np.int64),
        labels=(),
    )


@pytest.mark.parametrize(
    ("num_classes", "share"),
    [(1, 0.05), (2, 0.05), (15, 0.05), (21, 0.75 / 21)],
    ids=["a foreground", "two", "the most that 5 % is asked of", "Pascal VOC"],
)
def test_each_mask_class_is_asked_for_5_percent_or_three_quarters_of_an_even_share(num_classes, share):
    assert least_share(num_classes) == pytest.approx(share)


def test_a_mask_class_below_its_share_is_named_with_both_figures():
    few, enough = coverage_of([masks(48, 48, 4)], num_classes=3), coverage_of([masks(47, 47, 6)], num_classes=3)
    text = "each mask class must cover 5.00% of the pixels, the rarest covers 4.00%"
    assert few.lack("segmentation", num_classes=3) == text
    assert enough.lack("segmentation", num_classes=3) is None


def test_a_mask_class_that_never_appears_has_no_share():
    assert coverage_of([masks(50, 50)], num_classes=3).least_class_share == 0


def test_detections_and_their_classes_are_counted_over_all_images():
    found = coverage_of([boxes(*[0] * 10), boxes(*[2] * 9)], num_classes=3)
    assert (found.detections, found.classes) == (19, 2)
    assert found.lack("detection", num_classes=3) == "at least 20 detections must appear, there are 19"
    more = coverage_of([boxes(*[0] * 20)], num_classes=3)
    assert more.lack("detection", num_classes=3) == "at least 2 classes must appear, there are 1"
