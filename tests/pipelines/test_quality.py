"""Each reason not to enrol a face, on photos spoilt on purpose."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from pipelines.quality import MEASURED_PX, count_problem, measure_face, measure_whole, problems_of, turn_of
from pipelines.types import ByteArray, FaceQuality
from tests.builders import f32
from tests.packages import photo

FRONTAL = f32([(40, 50), (80, 50), (60, 75), (45, 95), (75, 95)])
GOOD = FaceQuality(100.0, 400.0, 120.0, 0.0)


def crop(name: str = "astronaut") -> ByteArray:
    return np.asarray(photo(name, size_wh=(MEASURED_PX, MEASURED_PX)))


def test_a_good_face_has_no_problem():
    assert problems_of(measure_face(crop(), f32([0, 0, 90, 100]), FRONTAL)) == ()


@pytest.mark.parametrize(
    ("quality", "reason"),
    [
        (FaceQuality(39.4, 400, 120, 0), "too small: 39 px, at least 40"),
        (FaceQuality(100, 24.9, 120, 0), "blurred: sharpness 24.9, at least 25"),
        (FaceQuality(100, 400, 120, 0.36), "turned away: the nose is 0.36 eye distances off the middle"),
        (FaceQuality(100, 400, 39, 0), "too dark: mean level 39"),
        (FaceQuality(100, 400, 226, 0), "too bright: mean level 226"),
    ],
    ids=["small", "blurred", "turned", "dark", "bright"],
)
def test_each_fault_is_named_with_what_must_hold(quality: FaceQuality, reason: str):
    (problem,) = problems_of(quality)
    assert problem.startswith(reason)


def test_every_fault_of_a_face_is_named():
    assert [text.split(":")[0] for text in problems_of(FaceQuality(10, 1, 3, 0.9))] == [
        "too small",
        "blurred",
        "turned away",
        "too dark",
    ]


def test_a_face_whose_turn_is_not_known_is_not_turned_away():
    assert problems_of(FaceQuality(100, 400, 120, None)) == ()


@pytest.mark.parametrize("name", ["astronaut", "chelsea", "coffee"])
def test_blur_lowers_sharpness_and_is_refused(name: str):
    blurred = [cv2.GaussianBlur(crop(name), (0, 0), sigma) for sigma in (0.5, 1, 2, 4)]
    sharpness = [measure_whole(image).sharpness for image in (crop(name), *blurred)]
    assert sharpness == sorted(sharpness, reverse=True)
    assert problems_of(measure_whole(blurred[-1]))[0].startswith("blurred")


def test_a_small_face_enlarged_is_as_blurred_as_it_looks():
    small = cv2.resize(crop(), (16, 16), interpolation=cv2.INTER_AREA)
    assert measure_whole(small).sharpness < measure_whole(crop()).sharpness / 4


def test_brightness_is_the_mean_grey_level():
    assert measure_whole(np.full((50, 60, 3), 77, np.uint8)).brightness == pytest.approx(77, abs=1e-4)  # float32


@pytest.mark.parametrize(("nose_x", "turn"), [(60, 0.0), (70, 0.25), (50, 0.25), (80, 0.5), (90, 0.75)])
def test_turn_is_the_way_of_the_nose_in_eye_distances(nose_x: float, turn: float):
    assert turn_of(f32([(40, 50), (80, 50), (nose_x, 75)])) == pytest.approx(turn)


def test_a_tilted_head_is_not_turned_away():
    angle = np.deg2rad(40)
    rotation = np.array([(np.cos(angle), -np.sin(angle)), (np.sin(angle), np.cos(angle))])
    assert turn_of(FRONTAL @ rotation.T) == pytest.approx(turn_of(FRONTAL), abs=1e-6)  # float32 landmarks


def test_size_is_the_shorter_side_of_the_box():
    assert measure_face(crop(), f32([10, 10, 50, 40]), FRONTAL).size_px == 30


def test_eyes_alone_tell_no_turn():
    assert measure_face(crop(), f32([0, 0, 90, 100]), FRONTAL[:2]).turn is None


@pytest.mark.parametrize(("count", "problem"), [(0, "no face"), (1, None), (3, "several faces: 3, one is needed")])
def test_one_face_is_needed(count: int, problem: str | None):
    assert count_problem(count) == problem
