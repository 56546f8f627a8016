"""Real published files: fetched, and diagnosed right."""

from pathlib import Path

import pytest

from export.consult import consult, open_foreign
from export.zoo import RECIPES
from export.zoo.pull import pull
from tests.export.doctor.diagnoses import decoders_of, flags_of

pytestmark = pytest.mark.slow
CACHE = Path("~/.cache/ocella/models").expanduser()

# first, what may stand beside it, and the fields by which it must be right.
EXPECTED = {
    "centerface": ("center_heatmap", set(), {"axis_order": "yx", "size": "538", "offset": "539", "landmarks": "540"}),
    "text-detector": ("probability_map", set(), {"output": "sigmoid_0.tmp_0"}),
    "page-orientation": ("classification", set(), {"activation": "none"}),
    "u2netp": ("segmentation", {"probability_map"}, {"activation": "minmax"}),
}


@pytest.mark.parametrize("name", EXPECTED)
def test_a_published_model_is_diagnosed_right(name: str) -> None:
    package = pull(RECIPES[name], CACHE, report=lambda line: None)
    path = package / "model.onnx"
    sample = min((package / "golden").glob("*.png"))
    diagnosis = consult(open_foreign(path, flags_of(path)), flags_of(path), [sample])
    first, beside, fields = EXPECTED[name]
    found = decoders_of(diagnosis)
    assert found[0] == first
    assert set(found) - {first} <= beside
    head = diagnosis.readings[0].proposal.head
    assert fields.items() <= {**head, **head.get("decoder_field", {})}.items()


def test_centerface_fed_as_it_was_trained_is_without_doubt() -> None:
    package = pull(RECIPES["centerface"], CACHE, report=lambda line: None)
    path = package / "model.onnx"
    flags = flags_of(path, fit="stretch_to_multiple", rounding="ceil", resample="opencv_linear", stats="none")
    diagnosis = consult(open_foreign(path, flags), flags, [package / "golden" / "astronaut.png"])
    assert diagnosis.certain is not None
    assert diagnosis.certain.manifest.head.decoder == RECIPES["centerface"].head.decoder
