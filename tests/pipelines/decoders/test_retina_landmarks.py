"""Faces with five points: the families' own decoding, the naive loop, a round trip, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from pydantic import TypeAdapter, ValidationError

from pipelines.decoders.candidates import Candidates
from pipelines.decoders.retina_landmarks import decode
from pipelines.errors import ModelOutputError
from pipelines.specs import Decoder, FaceDistances, FacePriors, PriorLevel, RetinaLandmarks
from pipelines.types import AnyArray
from tests.builders import f32
from tests.pipelines.decoders import naive_anchors

FIXTURES = Path(__file__).parents[2] / "fixtures" / "decoders" / "retina_landmarks"


def retinaface(**over: Any) -> RetinaLandmarks:
    """RetinaFace as published for PyTorch; logits, one output of each kind for all maps."""
    levels = ((8, (16.0, 32.0)), (16, (64.0, 128.0)), (32, (256.0, 512.0)))
    fields: dict[str, Any] = {
        "kind": "retina_landmarks",
        "classes": ("conf",),
        "boxes": ("loc",),
        "landmarks": ("landms",),
        "coding": FacePriors(
            form="priors",
            levels=tuple(PriorLevel(stride=stride, min_sizes=sizes) for stride, sizes in levels),
            variances=(0.1, 0.2),
        ),
        "center_shift": 0.5,
        "class_activation": "softmax",
        "background": "first",
    }
    return RetinaLandmarks(**(fields | over))


def scrfd(**over: Any) -> RetinaLandmarks:
    """SCRFD as insightface publishes it: probabilities, an output of each kind for each map."""
    fields: dict[str, Any] = {
        "classes": ("score_8", "score_16", "score_32"),
        "boxes": ("bbox_8", "bbox_16", "bbox_32"),
        "landmarks": ("kps_8", "kps_16", "kps_32"),
        "coding": FaceDistances(form="distances", strides=(8, 16, 32), anchors_per_cell=2),
        "center_shift": 0.0,
        "class_activation": "none",
        "background": "none",
    }
    return retinaface(**(fields | over))


PUBLISHED = {"retinaface": retinaface(), "scrfd": scrfd()}


@pytest.mark.parametrize("name", PUBLISHED)
def test_faces_are_those_of_the_published_code(name: str) -> None:
    with np.load(FIXTURES / f"{name}.npz") as archive:
        fixture = dict(archive)
    row_hw = (int(fixture["row_hw"][0]), int(fixture["row_hw"][1]))
    found = decode(fixture, PUBLISHED[name], row_hw=row_hw, score_threshold=float(fixture["threshold"]))
    assert len(found) == len(fixture["scores"]) > 15
    assert_allclose(found.scores, fixture["scores"], rtol=2e-6)  # both float32
    # float32 there, RetinaFace's as fractions of 200; priors reach 512.
    assert_allclose(found.boxes, fixture["boxes"], atol=5e-4)
    assert found.keypoints is not None
    assert_allclose(found.keypoints[..., :2], fixture["points"], atol=5e-4)
    assert_array_equal(found.keypoints[..., 2], 1)


# --- the naive loop ---------------------------------------------------------------------------------------------------

PRIORS = FacePriors(
    form="priors",
    levels=(PriorLevel(stride=8, min_sizes=(10.0, 20.0)), PriorLevel(stride=16, min_sizes=(40.0,))),
    variances=(0.1, 0.2),
)
DISTANCES = FaceDistances(form="distances", strides=(8, 16), anchors_per_cell=2)


def counts(spec: RetinaLandmarks, row_hw: tuple[int, int]) -> list[int]:
    per_cell = (2, 1) if isinstance(spec.coding, FacePriors) else (2, 2)
    maps = [-(-row_hw[0] // stride) * -(-row_hw[1] // stride) for stride in (8, 16)]
    return [cells * each for cells, each in zip(maps, per_cell, strict=True)]


@given(
    seed=st.integers(0, 2**32 - 1),
    row_hw=st.tuples(st.integers(1, 60), st.integers(1, 60)),
    threshold=st.sampled_from([0.0, 0.05, 0.3, 0.6, 0.95]),
    coding=st.sampled_from([PRIORS, DISTANCES]),
    split=st.booleans(),
    with_landmarks=st.booleans(),
    center_shift=st.sampled_from([0.0, 0.5]),
    class_activation=st.sampled_from(["softmax", "sigmoid", "none"]),
    background=st.sampled_from(["first", "last", "none"]),
)
def test_random_outputs_decode_as_the_naive_loop(
    seed: int, row_hw: tuple[int, int], threshold: float, split: bool, with_landmarks: bool, **fields: Any
) -> None:
    def names(kind: str) -> tuple[str, ...]:
        return (f"{kind}_8", f"{kind}_16") if split else (kind,)

    landmarks = names("points") if with_landmarks else None
    spec = retinaface(classes=names("score"), boxes=names("box"), landmarks=landmarks, **fields)
    rng, lengths = np.random.default_rng(seed), counts(spec, row_hw)
    outputs: dict[str, AnyArray] = {}
    for at, count in enumerate(lengths if split else [sum(lengths)]):
        columns = 1 if spec.background == "none" else 2
        scores = rng.normal(0, 3, (count, columns))
        outputs[spec.classes[at]] = f32(rng.uniform(0, 1, scores.shape) if spec.class_activation == "none" else scores)
        outputs[spec.boxes[at]] = f32(rng.normal(0, 2, (count, 4)))
        if spec.landmarks:
            outputs[spec.landmarks[at]] = f32(rng.normal(0, 2, (count, 10)))
    found = decode(outputs, spec, row_hw=row_hw, score_threshold=threshold)
    faces, points = naive_anchors.retina_landmarks(outputs, spec, row_hw=row_hw, score_threshold=threshold)
    naive_anchors.agree(found, faces)
    assert found.num_classes == 1
    if spec.landmarks is None:
        assert found.keypoints is None
    else:
        assert found.keypoints is not None
        assert_allclose(found.keypoints[..., :2], np.array(points).reshape(-1, 5, 2), rtol=1e-5, atol=1e-3)  # float32


@given(seed=st.integers(0, 2**32 - 1), coding=st.sampled_from([PRIORS, DISTANCES]))
def test_encoded_faces_come_back(seed: int, coding: FacePriors | FaceDistances) -> None:
    rng, row_hw = np.random.default_rng(seed), (40, 56)
    spec = retinaface(coding=coding, class_activation="sigmoid", background="none")
    sizes = ((8, (10.0, 20.0)), (16, (40.0,))) if coding is PRIORS else ((8, (8.0, 8.0)), (16, (16.0, 16.0)))
    squares = np.array(
        [
            naive_anchors.around(center, side, side)
            for stride, sides in sizes
            for center in naive_anchors.cells(row_hw, stride, "stride", 0.5)
            for side in sides
        ]
    )
    centers, sides = (squares[:, :2] + squares[:, 2:]) / 2, squares[:, 2:3] - squares[:, :1]
    corners = rng.uniform(0, 40, (len(squares), 2))
    boxes = np.concatenate((corners, corners + rng.uniform(1, 30, (len(squares), 2))), axis=1)
    points = rng.uniform(0, 60, (len(squares), 5, 2))
    near = 0.1 if coding is PRIORS else 1.0
    if coding is PRIORS:
        written = naive_anchors.encode_deltas(boxes, squares, (10, 10, 5, 5))
    else:
        written = naive_anchors.encode_distances(boxes, centers) / sides
    outputs = {
        "conf": f32(np.full((len(squares), 1), 3.0)),
        "loc": f32(written),
        "landms": f32(((points - centers[:, None]) / sides[:, None] / near).reshape(len(squares), 10)),
    }
    found = decode(outputs, spec, row_hw=row_hw, score_threshold=0.5)
    assert_allclose(found.boxes, boxes, atol=1e-4)  # float32 outputs of boxes up to 70
    assert found.keypoints is not None
    assert_allclose(found.keypoints[..., :2], points, atol=1e-4)


# --- one fact each ----------------------------------------------------------------------------------------------------


def one_cell(**over: Any) -> RetinaLandmarks:
    """RetinaFace with one map of stride 8 and one prior of 10 pixels."""
    coding = FacePriors(form="priors", levels=(PriorLevel(stride=8, min_sizes=(10.0,)),), variances=(0.1, 0.2))
    return retinaface(**({"coding": coding} | over))


def run(spec: RetinaLandmarks, **over: AnyArray) -> Candidates:
    outputs = {
        "conf": f32([[0.0, np.log(3)]]),
        "loc": f32([[1.0, -1.0, 5 * np.log(2), 0.0]]),
        "landms": f32([[0, 0, 1, 2, -1, -2, 10, 0, 0, 10]]),
    }
    return decode(outputs | over, spec, row_hw=(8, 8), score_threshold=0.5)


def test_a_face_of_retinaface_by_hand() -> None:
    found = run(one_cell())
    # prior: centre 4, 4, side 10. Centre 4 + 0.1 * 10, 4 - 0.1 * 10; sides 10 * exp(0.2 * 5 log 2) = 20 and 10.
    assert_allclose(found.boxes, [[-5, -2, 15, 8]], atol=1e-5)
    assert_allclose(found.scores, [0.75], rtol=1e-6)
    assert found.keypoints is not None
    assert_allclose(found.keypoints[0, :, :2], [[4, 4], [5, 6], [3, 2], [14, 4], [4, 14]], atol=1e-5)


def test_a_face_of_scrfd_by_hand() -> None:
    coding = FaceDistances(form="distances", strides=(8,), anchors_per_cell=1)
    found = run(one_cell(coding=coding, center_shift=0.0), loc=f32([[0.5, 1, 1.5, 2]]))
    assert found.boxes.tolist() == [[-4, -8, 12, 16]]
    assert found.keypoints is not None
    assert found.keypoints[0, :, :2].tolist() == [[0, 0], [8, 16], [-8, -16], [80, 0], [0, 80]]


def test_no_face_is_no_candidate() -> None:
    found = run(one_cell(), conf=f32([[9.0, 0.0]]))
    assert found.keypoints is not None
    assert (found.boxes.shape, found.keypoints.shape, found.num_classes) == ((0, 4), (0, 5, 3), 1)


def test_a_model_without_landmarks_gives_none() -> None:
    assert run(one_cell(landmarks=None)).keypoints is None


@pytest.mark.parametrize(
    ("over", "words"),
    [
        pytest.param(
            {"conf": f32(np.zeros((3, 2)))},
            "output 'conf' must have one line for each of the 1 anchors of a row of 8 x 8, got 3",
            id="lines",
        ),
        pytest.param(
            {"conf": f32(np.zeros((1, 3)))},
            r"output 'conf' must have shape \(any, 2\) a row, got \(1, 3\)",
            id="more than faces",
        ),
        pytest.param(
            {"loc": f32(np.zeros((2, 4)))},
            "output 'loc' must have one line for each of the 1 anchors of a row of 8 x 8, got 2",
            id="lines of boxes",
        ),
        pytest.param(
            {"landms": f32(np.zeros((1, 136)))},
            r"output 'landms' must have shape \(any, 10\) a row, got \(1, 136\)",
            id="more than five points",
        ),
        pytest.param({"landms": f32([[np.nan] * 10])}, "output 'landms' must be finite", id="NaN"),
        pytest.param({"loc": f32([[0, 0, 900, 0]])}, "boxes from output 'loc' must be finite", id="side too large"),
        pytest.param(
            {"landms": f32([[3.4e38] * 10])}, "points from output 'landms' must be finite", id="point too far"
        ),
    ],
)
def test_outputs_that_cannot_be_decoded_are_refused(over: dict[str, AnyArray], words: str) -> None:
    coding = FacePriors(form="priors", levels=(PriorLevel(stride=8, min_sizes=(20.0,)),), variances=(0.1, 0.2))
    with pytest.raises(ModelOutputError, match=words):
        run(one_cell(coding=coding), **over)


def test_a_wrong_map_of_several_is_named() -> None:
    spec = scrfd()
    outputs = {
        f"{kind}_{stride}": np.zeros((2 * (32 // stride) ** 2, columns), np.float32)
        for kind, columns in (("score", 1), ("bbox", 4), ("kps", 10))
        for stride in (8, 16, 32)
    }
    outputs["bbox_16"] = outputs["bbox_8"]
    words = "output 'bbox_16' must have one line for each of the 8 anchors of a row of 32 x 32, got 32"
    with pytest.raises(ModelOutputError, match=words):
        decode(outputs, spec, row_hw=(32, 32), score_threshold=0.5)


@pytest.mark.parametrize(
    ("over", "words"),
    [
        pytest.param({"boxes": ("bbox_8",)}, "boxes must be 3, as many as classes, got 1", id="boxes"),
        pytest.param({"landmarks": ()}, "landmarks must be 3, as many as classes, got 0", id="landmarks"),
        pytest.param(
            {"classes": ("a", "b"), "boxes": ("c", "d"), "landmarks": None},
            "classes must be 1 or 3, one for each feature map, got 2",
            id="maps",
        ),
    ],
)
def test_outputs_are_one_for_all_maps_or_one_for_each(over: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        scrfd(**over)


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_spec_survives_json(name: str) -> None:
    decoder: TypeAdapter[Any] = TypeAdapter(Decoder)
    assert decoder.validate_json(PUBLISHED[name].model_dump_json()) == PUBLISHED[name]


def test_the_outputs_that_it_reads() -> None:
    assert retinaface().output_names == ("conf", "loc", "landms")
    assert retinaface(landmarks=None).output_names == ("conf", "loc")
