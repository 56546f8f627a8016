from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from skimage.transform import SimilarityTransform

from pipelines.errors import ImageTooLargeError
from pipelines.faces import TEMPLATES, align, align_transform, embed_faces, template_points, warp
from pipelines.loader import load_model
from pipelines.similarity import move
from pipelines.tasks import predict
from pipelines.types import Embedding
from tests.builders import embedding_head, image_spec, letterbox
from tests.graphs import embedder_graph
from tests.packages import make_package, photo

PHOTO = np.asarray(photo(size_wh=(300, 200)))
FACE = np.array([(120, 80), (160, 84), (138, 104), (122, 124), (154, 127)], np.float32)
# InsightFace's published points, as anybody finds them: a template that moved would put every face elsewhere.
ARCFACE_112 = [(38.2946, 51.6963), (73.5318, 51.5014), (56.0252, 71.7366), (41.5493, 92.3655), (70.7299, 92.2041)]


def test_templates_are_the_published_points():
    assert template_points("arcface_112", 112) == pytest.approx(np.array(ARCFACE_112))
    # dlib cuts 150 px with a quarter of the face around it: its 0..1 becomes 25..125.
    assert template_points("dlib_150", 150)[2] == pytest.approx([25 + 49.0127, 25 + 51.5625])
    assert template_points("eye_line", 200) == pytest.approx(np.array([(70, 70), (130, 70)]))


@pytest.mark.parametrize("template", TEMPLATES)
def test_an_aligned_faces_landmarks_lie_where_the_template_says(template: str):
    landmarks = template_points(template, 60) * 1.5 + (20, 30)
    crop, matrix = align(PHOTO, landmarks, template=template, size_px=80)
    assert crop.shape == (80, 80, 3)
    assert move(matrix, landmarks) == pytest.approx(template_points(template, 80))


def test_a_crop_is_that_of_insightfaces_recipe():
    """Estimate by scikit-image, warp by OpenCV from the whole image: what its embedders were trained on."""
    estimate = SimilarityTransform.from_estimate(FACE, np.array(ARCFACE_112))
    expected = cv2.warpAffine(PHOTO, estimate.params[:2], (112, 112), borderValue=(0.0, 0.0, 0.0))
    crop, _ = align(PHOTO, FACE, template="arcface_112", size_px=112)
    difference = np.abs(crop.astype(int) - expected)
    # OpenCV rounds coordinates to 1/32 px, and the cut-out part has others: some pixels differ by what that is worth.
    assert (difference > 4).mean() < 0.001


@given(turn=st.floats(-3.1, 3.1), scale=st.floats(0.3, 3), shift=st.floats(-200, 200))
def test_a_face_that_is_turned_scaled_and_moved_is_found_in_one_pose(turn: float, scale: float, shift: float):
    matrix = scale * np.array([(np.cos(turn), -np.sin(turn)), (np.sin(turn), np.cos(turn))])
    moved = FACE @ matrix.T + shift
    placed = move(align_transform(moved, "arcface_112", 112), moved)
    assert placed == pytest.approx(move(align_transform(FACE, "arcface_112", 112), FACE), abs=1e-3)


def test_beyond_the_image_lies_the_pad_value():
    outside = np.subtract(FACE, (1000, 0))
    crop, _ = align(PHOTO, outside, template="arcface_112", size_px=32, pad_value=77)
    assert (crop == 77).all()


@pytest.mark.parametrize("points", [np.full((5, 2), 9.0), np.arange(5)[:, None] * (2.0, 1.0)])
def test_landmarks_of_no_face_are_refused(points: np.ndarray):
    with pytest.raises(ValueError, match="source points must be finite, apart and not on one line"):
        align(PHOTO, points, template="arcface_112", size_px=112)


def test_landmarks_of_another_number_are_refused():
    with pytest.raises(ValueError, match="points must be"):
        align(PHOTO, FACE[:4], template="arcface_112", size_px=112)


def test_a_face_too_large_to_be_sampled_is_refused():
    wide = np.zeros((2, 40_000, 3), np.uint8)
    with pytest.raises(ImageTooLargeError, match="must show less than 32,767 px a side"):
        warp(wide, np.array([(0.001, 0, 0), (0, 0.001, 0)]), size_px=50, pad_value=0)


def test_a_part_of_an_image_too_long_for_opencv_is_sampled():
    wide = np.zeros((40, 40_000, 3), np.uint8)
    wide[:, 39_000:] = 200
    crop = warp(wide, np.array([(1.0, 0, -39_100), (0, 1.0, 0)]), size_px=20, pad_value=0)
    assert (crop == 200).all()


def test_all_faces_of_an_image_are_embedded_as_each_alone(tmp_path: Path):
    folder = make_package(
        tmp_path / "p", graph=embedder_graph(), head=embedding_head(), image=image_spec(fit=letterbox(size_hw=(32, 32)))
    )
    faces = np.stack((FACE, np.add(FACE, (60, 20)), FACE * 0.5))
    with load_model(folder) as loaded:
        vectors = embed_faces(
            loaded.pipeline, loaded.session, PHOTO, faces, template="arcface_112", size_px=112, pad_value=3
        )
        for vector, face in zip(vectors, faces, strict=True):
            crop, _ = align(PHOTO, face, template="arcface_112", size_px=112, pad_value=3)
            (alone,) = predict(loaded.pipeline, loaded.session, [crop])
            assert isinstance(alone, Embedding)
            assert np.array_equal(vector, alone.vector)
        none = embed_faces(loaded.pipeline, loaded.session, PHOTO, faces[:0], template="arcface_112", size_px=112)
    assert none.shape == (0, 0)
