from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest

from export.doctor.families import FAMILIES
from export.doctor.proposal import Proposal
from export.doctor.sighting import Sighting
from tests.export.doctor.diagnoses import at_size, decoders_of, diagnosis_of, said, sighting_of
from tests.graphs import (
    classifier_graph,
    dfl_graph,
    embedder_graph,
    heatmap_graph,
    probability_map_graph,
    segmenter_graph,
    yolo_graph,
)
from tests.listed_graphs import (
    box_delta_graph,
    end_to_end_graph,
    faces_graph,
    fcos_graph,
    queries_graph,
    yolox_graph,
)

NAMES = [f"name {i}" for i in range(10)]
TEN = {"label": NAMES}
ONE = {"label": ["face"]}

# graph, flags that are given, what must be in question, what else may be.
CASES: dict[str, tuple[Callable[[], onnx.ModelProto], dict[str, object], str, set[str]]] = {
    "classifier": (classifier_graph, {}, "classification", {"embedding"}),
    "classifier with names": (classifier_graph, TEN, "classification", set()),
    "embedder": (embedder_graph, {}, "embedding", {"classification"}),
    "one mask": (segmenter_graph, {}, "segmentation", set()),
    "four masks": (lambda: segmenter_graph(num_classes=4), {}, "segmentation", set()),
    "centre heatmap": (heatmap_graph, {}, "center_heatmap", set()),
    "anchor grids": (yolo_graph, TEN, "yolo_grid", {"yolo_v5"}),
    "anchor grids, channels last": (lambda: yolo_graph(channel_order="hwc"), TEN, "yolo_grid", set()),
    "distributions as maps": (dfl_graph, TEN, "yolo_dfl", set()),
    "distributions as columns": (lambda: dfl_graph(form="columns"), TEN, "yolo_dfl", set()),
    "decoded columns": (lambda: dfl_graph(form="decoded"), TEN, "yolo_dfl", set()),
    "decoded columns that turn": (lambda: dfl_graph(form="decoded", extras=1), TEN, "yolo_dfl", set()),
    "decoded columns with masks": (
        lambda: dfl_graph(form="decoded", extras=4, prototypes=4),
        TEN,
        "yolo_dfl",
        set(),
    ),
    "text map": (probability_map_graph, {}, "probability_map", {"segmentation"}),
    "rows of YOLOX": (yolox_graph, TEN, "yolox", set()),
    "final detections": (end_to_end_graph, {}, "end_to_end", set()),
    "anchors": (lambda: box_delta_graph(per_cell=9, columns=10), TEN, "box_delta", set()),
    "points of a grid": (fcos_graph, TEN, "fcos", set()),
    "queries": (queries_graph, TEN, "set_prediction", set()),
    "queries without names": (queries_graph, {}, "set_prediction", set()),
    "faces, two columns": (lambda: faces_graph(per_cell=2, columns=2), ONE, "retina_landmarks", set()),
    "faces, one column": (lambda: faces_graph(per_cell=2, columns=1), ONE, "retina_landmarks", set()),
}


@pytest.mark.parametrize("case", CASES)
def test_the_family_is_named_alone_or_in_doubt_with_others_that_are_named(tmp_path: Path, case: str) -> None:
    build, given, first, beside = CASES[case]
    found = decoders_of(diagnosis_of(at_size(build()), tmp_path, **given))
    assert first in found
    assert set(found) - {first} <= beside


def test_every_decoder_family_has_a_case() -> None:
    from pipelines.decoders import DECODERS

    covered = {first for _, _, first, _ in CASES.values()} | {"yolo_v5"}  # below, by its arrays
    assert set(DECODERS) <= covered


def propose(sighting: Sighting) -> list[Proposal]:
    found = [one for family in FAMILIES.values() for one in family(sighting)]
    return sorted(found, key=lambda one: -one.points)


def grid_boxes(strides: tuple[int, ...], per_cell: int, hw: tuple[int, int]) -> np.ndarray:
    """Centres and sides ``(N, 4)`` of boxes at their cells, as a trained model decodes them."""
    from export.doctor.cells import CellLayout

    centers = CellLayout(strides, per_cell, hw).centers()
    jitter = np.random.default_rng(0).uniform(-3, 3, centers.shape)
    return np.concatenate((centers + jitter, np.full_like(centers, 30.0)), axis=1)


def test_yolo_v5_rows_are_told_by_three_lines_a_cell() -> None:
    boxes = grid_boxes((8, 16, 32), 3, (640, 640))
    assert len(boxes) == 25_200
    rows = np.concatenate((boxes, np.random.default_rng(1).uniform(0, 0.2, (len(boxes), 6))), axis=1)
    best = propose(sighting_of({"output0": rows}, row_hw=(640, 640)))[0]
    assert best.head["decoder"] == "yolo_v5"
    assert best.num_classes == 5
    assert any("25200 = 3 x (80x80 + 40x40 + 20x20)" in one.text for one in best.evidence)


def test_yolo_v8_columns_are_told_by_one_column_a_cell() -> None:
    boxes = grid_boxes((8, 16, 32), 1, (640, 640)).T
    assert boxes.shape[1] == 8_400
    columns = np.concatenate((boxes, np.random.default_rng(1).uniform(0, 0.2, (80, 8_400))))
    best, *others = propose(sighting_of({"output0": columns}, row_hw=(640, 640)))
    assert best.head["decoder_field"]["layout"] == {"form": "decoded", "output": "output0", "box_format": "cxcywh"}
    assert all(one.points < best.points - 3 for one in others)


def test_corners_are_told_from_centres_and_sides() -> None:
    boxes = grid_boxes((8, 16, 32), 1, (640, 640)).T
    corners = np.concatenate((boxes[:2] - 15, boxes[:2] + 15))
    columns = np.concatenate((corners, np.random.default_rng(1).uniform(0, 0.2, (80, 8_400))))
    best = propose(sighting_of({"output0": columns}, row_hw=(640, 640)))[0]
    assert best.head["decoder_field"]["layout"]["box_format"] == "xyxy"


def test_keypoints_are_told_by_rows_that_are_no_probabilities() -> None:
    boxes = grid_boxes((8, 16, 32), 1, (640, 640)).T
    points = np.tile(np.stack((boxes[0], boxes[1], np.full(8_400, 0.5))), (17, 1))
    columns = np.concatenate((boxes, np.full((1, 8_400), 0.1), points))
    best = propose(sighting_of({"output0": columns}, row_hw=(640, 640)))[0]
    assert best.head["decoder_field"]["extra"] == {"extra": "keypoints", "num": 17, "scored": True}
    assert best.num_classes == 1


def test_keypoints_that_the_file_states_are_believed() -> None:
    columns = np.concatenate((grid_boxes((8, 16, 32), 1, (640, 640)).T, np.full((1 + 8, 8_400), 0.1)))
    sighting = sighting_of({"output0": columns}, row_hw=(640, 640), said=said(keypoints=(4, False)))
    assert propose(sighting)[0].head["decoder_field"]["extra"] == {"extra": "keypoints", "num": 4, "scored": False}


@pytest.mark.parametrize(("lines", "side", "title"), [(8732, 300, "SSD300 (VGG)"), (3234, 320, "SSDlite320")])
def test_default_boxes_are_told_by_their_number(lines: int, side: int, title: str) -> None:
    random = np.random.default_rng(0)
    outputs = {"classes": random.normal(0, 3, (lines, 91)), "boxes": random.normal(0, 1, (lines, 4))}
    best = propose(sighting_of(outputs, row_hw=(side, side)))[0]
    assert title in best.title
    assert best.head["decoder"] == "box_delta"
    assert best.num_classes == 90


def test_retinanet_is_told_by_nine_anchors_at_five_strides() -> None:
    random = np.random.default_rng(0)
    lines = 9 * (80**2 + 40**2 + 20**2 + 10**2 + 5**2)
    outputs = {"cls_logits": random.normal(-4, 1, (lines, 91)), "bbox_regression": random.normal(0, 1, (lines, 4))}
    best = propose(sighting_of(outputs, row_hw=(640, 640)))[0]
    assert best.title == "box offsets: RetinaNet"
    anchors = best.head["decoder_field"]["anchors"]
    assert anchors["levels"][0]["sizes"] == [32.0, 40.0, 50.0]  # torchvision's
    assert anchors["levels"][0]["aspect_ratios"] == [0.5, 1.0, 2.0]


def test_a_second_stage_is_told_by_its_proposals() -> None:
    random = np.random.default_rng(0)
    corner = random.uniform(0, 60, (50, 2))
    outputs = {
        "classes": random.normal(0, 3, (50, 91)),
        "boxes": random.normal(0, 1, (50, 364)),
        "proposals": np.concatenate((corner, corner + 20), axis=1),
    }
    best = propose(sighting_of(outputs))[0]
    assert best.head["decoder_field"]["proposals"] == "proposals"
    assert best.head["decoder_field"]["deltas"] == "boxes"


def test_scrfd_is_told_by_nine_outputs_of_three_strides() -> None:
    random = np.random.default_rng(0)
    outputs = {}
    for columns in (1, 4, 10):
        for stride in (8, 16, 32):
            lines = 2 * (640 // stride) ** 2
            values = random.normal(0, 2, (lines, columns)) if columns == 10 else random.uniform(0, 1, (lines, columns))
            outputs[f"{columns}_{stride}"] = values
    best = propose(sighting_of(outputs, row_hw=(640, 640)))[0]
    assert best.head["decoder_field"]["classes"] == ["1_8", "1_16", "1_32"]
    assert best.head["decoder_field"]["coding"] == {
        "form": "distances",
        "strides": [8, 16, 32],
        "anchors_per_cell": 2,
    }


def test_retinaface_is_told_by_signed_boxes_and_a_softmax() -> None:
    random = np.random.default_rng(0)
    lines = 16_800
    face = random.uniform(0, 1, (lines, 1))
    outputs = {
        "boxes": random.normal(0, 1, (lines, 4)),
        "classes": np.concatenate((1 - face, face), axis=1),
        "points": random.normal(0, 1, (lines, 10)),
    }
    fields = propose(sighting_of(outputs, row_hw=(640, 640)))[0].head["decoder_field"]
    assert fields["coding"]["levels"][0] == {"stride": 8, "min_sizes": [16.0, 32.0]}
    assert fields["coding"]["levels"][2] == {"stride": 32, "min_sizes": [256.0, 512.0]}
    assert (fields["class_activation"], fields["background"]) == ("none", "first")


def test_detr_is_told_by_queries_that_choose_no_object() -> None:
    random = np.random.default_rng(0)
    logits = random.normal(0, 1, (100, 92))
    logits[:, -1] += 8
    best = propose(sighting_of({"pred_logits": logits, "pred_boxes": random.uniform(0.2, 0.8, (100, 4))}))[0]
    assert best.head["decoder_field"]["background"] == "last"


def test_deeplabs_out_is_read_and_aux_is_not() -> None:
    random = np.random.default_rng(0)
    maps = {name: random.normal(0, 3, (21, 96, 128)) for name in ("out", "aux")}
    found = [one for one in propose(sighting_of(maps)) if one.head["task"] == "segmentation"]
    assert [one.head["output"] for one in found] == ["out"]
    assert found[0].points == propose(sighting_of(maps))[0].points


def test_seven_probability_maps_are_u2_net() -> None:
    maps = {str(i): np.random.default_rng(i).uniform(0, 1, (1, 96, 128)) for i in range(7)}
    best = propose(sighting_of(maps))[0]
    assert (best.head["output"], best.head["activation"]) == ("0", "minmax")


@pytest.mark.parametrize(
    ("vector", "activation"),
    [
        (np.full(10, 0.1), "none"),
        (np.log(np.full(10, 0.1)), "log_softmax"),
        (np.linspace(0.1, 0.9, 10), "none"),
        (np.linspace(-3, 4, 10), "softmax"),
    ],
    ids=["softmax applied", "log-softmax applied", "many labels", "logits"],
)
def test_a_classifiers_activation_is_told_by_its_sums(vector: np.ndarray, activation: str) -> None:
    best = propose(sighting_of({"y": vector}, num_labels=10))[0]
    assert (best.head["task"], best.head["activation"]) == ("classification", activation)


def test_a_thousand_logits_are_the_classes_of_imagenet() -> None:
    best = propose(sighting_of({"y": np.random.default_rng(0).normal(0, 2, 1000)}))[0]
    assert best.head["task"] == "classification"
    assert best.feed["fit"] == "center_crop"


def test_a_vector_of_length_one_is_an_embedding() -> None:
    vector = np.random.default_rng(0).normal(0, 1, 512)
    best = propose(sighting_of({"y": vector / np.linalg.norm(vector)}))[0]
    assert best.head["task"] == "embedding"
    assert best.head["embedding_dim"] == 512
