import numpy as np
import pytest

from export.doctor.prove import prove
from pipelines.specs import TensorSpec
from tests.builders import center_heatmap, detection_head, image_spec, manifest
from tests.packages import photo

IMAGE = np.asarray(photo())


class BrightestSpot:
    """A detector without weights: one object 32 px wide at the brightest cell of 4 px; ``turned``: x and y swapped."""

    inputs = (TensorSpec(name="image", dtype="float32", shape=("batch", 3, "height", "width")),)
    outputs: tuple[TensorSpec, ...] = ()
    provider = "CPUExecutionProvider"

    def __init__(self, *, side: float = np.log(8), still: bool = False) -> None:
        self._side, self._still = side, still

    def run(self, feeds):
        batch = feeds["image"]
        count, _, height, width = batch.shape
        cells = batch.mean(axis=1).reshape(count, height // 4, 4, width // 4, 4).mean(axis=(2, 4))
        cells[:, :8], cells[:, :, :8], cells[:, -8:], cells[:, :, -8:] = -9, -9, -9, -9
        if self._still:
            cells[...] = np.linspace(0, 1, cells[0].size).reshape(cells.shape[1:])
        heat = (cells == cells.max(axis=(1, 2), keepdims=True)).astype(np.float32)[:, None] * 0.9
        zeros = np.zeros((count, 2, height // 4, width // 4), np.float32)
        return {"heatmap": heat, "size": zeros + np.float32(self._side), "offset": zeros}

    def close(self):
        pass


@pytest.fixture
def recipe():
    head = detection_head(decoder=center_heatmap(landmarks=None))
    return manifest(head=head, image=image_spec(), labels=("spot",))


def dotted(at_xy=(90, 90)):
    image = np.full((200, 300, 3), 60, np.uint8)
    image[at_xy[1] - 14 : at_xy[1] + 14, at_xy[0] - 14 : at_xy[0] + 14] = 120
    image[at_xy[1] - 6 : at_xy[1] + 6, at_xy[0] - 6 : at_xy[0] + 6] = 255
    return image


def test_what_moves_with_the_image_agrees(recipe):
    proof = prove(recipe, BrightestSpot(), dotted())
    assert proof.plausible == 1
    assert proof.flip is not None
    assert proof.flip > 0.7
    assert proof.points > 3


def test_what_stays_where_it_is_does_not_agree(recipe):
    proof = prove(recipe, BrightestSpot(still=True), dotted())
    assert proof.flip == 0
    assert not proof.convinces


def test_boxes_of_no_size_are_implausible(recipe):
    proof = prove(recipe, BrightestSpot(side=-9), dotted())
    assert proof.plausible == 0
    assert proof.points < 0


def test_the_words_name_what_was_found(recipe):
    assert str(prove(recipe, BrightestSpot(), dotted())).startswith("1 spot (best score 0.90), 100% of the candidates")
