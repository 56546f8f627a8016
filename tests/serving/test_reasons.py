from pathlib import Path

import pytest

from serving.reasons import public_reason

FOLDER = Path("/srv/secret/models/faces/2")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("/srv/secret/models/faces/2: model.onnx is missing", "faces/2: model.onnx is missing"),
        ("/srv/secret/models/faces/2/manifest.json is not JSON", "faces/2/manifest.json is not JSON"),
        ("/srv/secret/models/faces/deploy.toml: versions", "faces/deploy.toml: versions"),
        ("Load from '/var/lib/other/x.onnx' failed", "Load from 'x.onnx' failed"),
        ("cannot open /opt/cuda/lib/libcudart.so: no such file", "cannot open libcudart.so: no such file"),
        ("differ by 3/4 on image/png, allowed is 1/2", "differ by 3/4 on image/png, allowed is 1/2"),
        ("two\nlines  of text", "two lines of text"),
        ("no operator \x1b[31mred", r"no operator \x1b[31mred"),
    ],
)
def test_names_stay_and_places_go(text: str, shown: str):
    assert public_reason(text, folder=FOLDER) == shown


def test_the_place_that_a_link_leads_to_is_hidden_too(tmp_path: Path):
    place = tmp_path / "hidden place" / "faces" / "2"
    place.mkdir(parents=True)
    (tmp_path / "models").symlink_to(tmp_path / "hidden place")
    text = f"{place}: model.onnx is missing"
    assert public_reason(text, folder=tmp_path / "models" / "faces" / "2") == "faces/2: model.onnx is missing"
