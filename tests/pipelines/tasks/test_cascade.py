"""A cascade answers what its two members answer, one after the other."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipelines.crops import crop_transforms, cut
from pipelines.errors import InvalidRequestError, ManifestError, ModelOutputError
from pipelines.loader import LoadedCascade, load_package
from pipelines.options import PredictOptions
from pipelines.specs import CascadeHead, DecodeSpec
from pipelines.tasks import CascadePipeline, CascadeSessions, predict
from pipelines.types import AnyArray, CascadeResult, Classification, Detections, Embedding, SegmentationMap, identical
from tests.cascades import SECONDS, align_crop, box_crop, make_cascade
from tests.packages import photo

KINDS = {"classification": Classification, "embedding": Embedding, "segmentation": SegmentationMap}
PHOTOS = [
    np.asarray(photo(name, size_wh=size))
    for name, size in (("chelsea", (300, 200)), ("coffee", (161, 97)), ("astronaut", (64, 80)))
]
GREY = np.full((90, 120, 3), 90, np.uint8)  # nothing stands out


@pytest.fixture(scope="module")
def cascade(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., LoadedCascade]:
    """A loaded cascade of each kind, made once."""
    made: dict[str, LoadedCascade] = {}

    def get(second: str = "classification", crop: str = "box") -> LoadedCascade:
        key = f"{second}-{crop}"
        if key not in made:
            folder = tmp_path_factory.mktemp(key) / "1"
            loaded = load_package(
                make_cascade(folder, second=second, crop=align_crop() if crop == "align" else box_crop())
            )
            assert isinstance(loaded, LoadedCascade)
            made[key] = loaded
        return made[key]

    return get


def changed(loaded: LoadedCascade, **head: Any) -> CascadePipeline:
    """The cascade's pipeline with another head."""
    fields = loaded.manifest.head.model_dump() | head
    manifest = loaded.manifest.model_copy(update={"head": CascadeHead(**fields)})
    return CascadePipeline(manifest, loaded.detector.pipeline, loaded.second.pipeline)


class Counting:
    """A session that notes the rows of each run."""

    def __init__(self, session: Any) -> None:
        self.inputs, self.outputs, self.provider = session.inputs, session.outputs, session.provider
        self.runs: list[int] = []
        self._session = session

    def run(self, feeds: dict[str, AnyArray]) -> dict[str, AnyArray]:
        self.runs.append(len(next(iter(feeds.values()))))
        return self._session.run(feeds)

    def close(self) -> None:
        self._session.close()


@pytest.mark.parametrize("crop", ["box", "align"])
@pytest.mark.parametrize("second", SECONDS)
def test_a_cascade_answers_as_its_members_do_one_object_after_the_other(
    cascade: Callable[..., LoadedCascade], second: str, crop: str
) -> None:
    loaded = cascade(second, crop)
    for image, result in zip(PHOTOS, predict(loaded.pipeline, loaded.session, PHOTOS), strict=True):
        (detections,) = predict(loaded.detector.pipeline, loaded.detector.session, [image])
        assert isinstance(detections, Detections)
        assert identical(result.detections, detections)
        how = loaded.manifest.head.crop
        for i, transform in enumerate(crop_transforms(detections, how)):
            alone = cut(image, detections.boxes[i], transform, how)
            (expected,) = predict(loaded.second.pipeline, loaded.second.session, [alone])
            assert isinstance(result.objects[i], KINDS[second])
            assert identical(result.objects[i], expected)


@pytest.mark.parametrize("second", SECONDS)
def test_a_batch_of_images_equals_each_image_alone_to_the_bit(
    cascade: Callable[..., LoadedCascade], second: str
) -> None:
    loaded = cascade(second)
    together = predict(loaded.pipeline, loaded.session, PHOTOS)
    assert sum(map(len, together)) > len(PHOTOS)
    for image, result in zip(PHOTOS, together, strict=True):
        assert identical(result, predict(loaded.pipeline, loaded.session, [image])[0])


def test_the_objects_of_all_images_go_through_the_second_model_in_one_run(
    cascade: Callable[..., LoadedCascade],
) -> None:
    loaded = cascade()
    second = Counting(loaded.second.session)
    results = predict(loaded.pipeline, CascadeSessions(loaded.detector.session, second), [*PHOTOS, GREY])
    assert second.runs == [sum(map(len, results))]


def test_a_second_graph_of_fixed_batch_runs_one_object_at_a_time(cascade: Callable[..., LoadedCascade]) -> None:
    loaded = cascade()
    second = Counting(loaded.second.session)
    fixed = loaded.second.session.inputs[0].model_copy(update={"shape": (1, 3, "height", "width")})
    second.inputs = (fixed,)
    (result,) = predict(loaded.pipeline, CascadeSessions(loaded.detector.session, second), PHOTOS[:1])
    assert second.runs == [1] * len(result)


def test_an_image_without_objects_answers_nothing_and_runs_no_second_model(
    cascade: Callable[..., LoadedCascade],
) -> None:
    loaded = cascade()
    second = Counting(loaded.second.session)
    nothing = PredictOptions(score_threshold=1.0)
    for pipeline in (loaded.pipeline, cascade("segmentation", "align").pipeline):
        (result,) = predict(pipeline, CascadeSessions(loaded.detector.session, second), PHOTOS[:1], nothing)
        assert (len(result), result.objects, result.transforms.shape) == (0, (), (0, 2, 3))
    assert second.runs == []


def test_only_wanted_objects_go_on(cascade: Callable[..., LoadedCascade]) -> None:
    loaded = cascade()
    (every,) = predict(loaded.pipeline, loaded.session, PHOTOS[:1])
    sides = (every.detections.boxes[:, 2:] - every.detections.boxes[:, :2]).min(axis=1)
    limit = float(np.sort(sides)[len(sides) // 2])
    (large,) = predict(changed(loaded, min_size_px=limit), loaded.session, PHOTOS[:1])
    assert 0 < len(large) < len(every)
    assert identical(large.detections, every.detections[sides >= limit])
    (few,) = predict(changed(loaded, max_objects=2), loaded.session, PHOTOS[:1])
    assert identical(few.detections, every.detections[:2])
    (none,) = predict(
        changed(loaded, classes=(0,), max_objects=3), loaded.session, PHOTOS[:1], PredictOptions(max_detections=1)
    )
    assert identical(none.detections, every.detections[:1])


def test_classes_that_are_not_named_stay_behind(cascade: Callable[..., LoadedCascade]) -> None:
    loaded = cascade()
    (every,) = predict(loaded.pipeline, loaded.session, PHOTOS[:1])
    mixed = replace(every.detections, class_ids=np.arange(len(every)) % 3, labels=())
    pipeline = changed(loaded, classes=(0,))
    assert pipeline.choose(mixed).class_ids.tolist() == [0] * len(range(0, len(every), 3))


def test_an_object_whose_landmarks_are_no_face_stays_behind(cascade: Callable[..., LoadedCascade]) -> None:
    loaded = cascade("classification", "align")
    (every,) = predict(loaded.pipeline, loaded.session, PHOTOS[:1])
    keypoints = np.array(every.detections.keypoints)
    keypoints[0, :, :2] = 7
    keypoints[2, :, :2] = np.arange(5)[:, None] * (3.0, 2.0)
    broken = replace(every.detections, keypoints=keypoints)
    assert identical(loaded.pipeline.choose(broken), broken[np.flatnonzero(~np.isin(np.arange(len(broken)), (0, 2)))])


def test_a_transform_moves_the_boxs_corner_into_its_crop(cascade: Callable[..., LoadedCascade]) -> None:
    loaded = cascade("segmentation")
    (result,) = predict(loaded.pipeline, loaded.session, PHOTOS[:1])
    for i, each in enumerate(result.objects):
        assert isinstance(each, SegmentationMap)
        low, high = (result.transforms[i] @ (*corner, 1) for corner in result.detections.boxes[i].reshape(2, 2))
        height, width = each.class_map.shape
        assert (low >= 0).all()
        assert (high <= (width, height)).all()


def test_options_go_to_the_model_that_they_act_on(cascade: Callable[..., LoadedCascade]) -> None:
    loaded = cascade()
    options = PredictOptions(score_threshold=0.6, max_detections=3, top_k=1)
    (result,) = predict(loaded.pipeline, loaded.session, PHOTOS[:1], options)
    assert 0 < len(result) <= 3
    assert result.detections.scores.min() >= 0.6
    assert {len(each) for each in result.objects if isinstance(each, Classification)} == {1}


@pytest.mark.parametrize(
    ("second", "option", "said"),
    [
        ("embedding", {"top_k": 3}, "top_k does not apply to embedding"),
        ("segmentation", {"top_k": 3}, "top_k does not apply to segmentation"),
        ("classification", {"score_threshold": 2.0}, "score_threshold must be between"),
    ],
)
def test_an_option_that_acts_on_neither_is_refused(
    cascade: Callable[..., LoadedCascade], second: str, option: dict[str, Any], said: str
) -> None:
    loaded = cascade(second)
    with pytest.raises(InvalidRequestError, match=said):
        predict(loaded.pipeline, loaded.session, PHOTOS[:1], PredictOptions(**option))


def test_landmarks_that_the_detector_lacks_are_an_error_of_the_model(cascade: Callable[..., LoadedCascade]) -> None:
    loaded = cascade("classification", "align")
    crop = align_crop(landmarks=(0, 1, 2, 3, 5)).model_dump()
    with pytest.raises(ModelOutputError, match=r"crop\.landmarks names keypoint 5, the detector answers 5"):
        predict(changed(loaded, crop=crop), loaded.session, PHOTOS[:1])


def test_members_that_cannot_be_joined_are_refused(cascade: Callable[..., LoadedCascade]) -> None:
    loaded = cascade()
    detector, second = loaded.detector.pipeline, loaded.second.pipeline
    other_image = loaded.manifest.model_copy(update={"image": DecodeSpec(exif="ignore", alpha="white")})
    with pytest.raises(ManifestError, match="the detector's task must be detection, it is classification"):
        CascadePipeline(loaded.manifest, second, second)
    with pytest.raises(ManifestError, match="classification, embedding or segmentation, it is detection"):
        CascadePipeline(loaded.manifest, detector, detector)
    with pytest.raises(ManifestError, match="image must be the detector's, exif apply and alpha white, it is ignore"):
        CascadePipeline(other_image, detector, second)
    with pytest.raises(ManifestError, match=r"head\.classes names class 1, there are 1"):
        changed(loaded, classes=(1,))


def test_a_cascade_with_one_session_is_a_mistake_of_the_caller(cascade: Callable[..., LoadedCascade]) -> None:
    loaded = cascade()
    with pytest.raises(TypeError, match="a cascade needs both its sessions"):
        predict(loaded.pipeline, loaded.second.session, PHOTOS[:1])


def test_results_of_two_kinds_are_no_cascade_result(cascade: Callable[..., LoadedCascade], tmp_path: Path) -> None:
    loaded = cascade()
    (result,) = predict(loaded.pipeline, loaded.session, PHOTOS[:1])
    mixed = (Embedding(np.zeros(3, np.float32)), *result.objects[1:])
    with pytest.raises(ValueError, match="objects must be of one type"):
        CascadeResult(result.detections, mixed, result.transforms)
    with pytest.raises(ValueError, match=f"objects must be {len(result)}, one a detection, got 0"):
        CascadeResult(result.detections, (), result.transforms)
