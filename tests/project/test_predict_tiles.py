"""``ocella predict --tiles``: the same answer from a package and from a server."""

import json
from pathlib import Path

import pytest

import ocella
from pipelines.image import ImageLimits
from pipelines.loader import load_model
from pipelines.present import to_json
from pipelines.tile_options import TileOptions
from pipelines.tiles import predict_tiles
from tests.builders import detection_head
from tests.graphs import classifier_graph, heatmap_graph
from tests.packages import make_package, photo, png
from tests.serving.servers import server_in_thread


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("models")
    make_package(root / "things" / "1", graph=heatmap_graph(), head=detection_head(), name="things")
    make_package(root / "kinds" / "1", graph=classifier_graph(), name="kinds")
    (root / "coffee.png").write_bytes(png(photo("coffee", size_wh=(300, 200))))
    return root


def results(capsys: pytest.CaptureFixture[str], *words: str) -> object:
    assert ocella.main(["predict", *words, "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    return row["result"]


def test_package_and_server_answer_in_tiles_as_the_definition_says(root: Path, capsys: pytest.CaptureFixture[str]):
    image = root / "coffee.png"
    with load_model(root / "things" / "1") as loaded:
        pixels = loaded.pipeline.decode(image.read_bytes(), ImageLimits())
        tiles = TileOptions(size=96, overlap=0.25)
        expected = json.loads(json.dumps(to_json(predict_tiles(loaded.pipeline, loaded.session, pixels, tiles).merged)))
    assert results(capsys, str(root / "things"), str(image), "--tiles", "96:0.25") == expected
    with server_in_thread(root / "things") as server:
        there = results(capsys, "things", str(image), "--server", server.grpc_address, "--tiles", "96:0.25")
    assert there == expected
    assert results(capsys, str(root / "things"), str(image)) != expected


def test_a_size_alone_has_the_usual_overlap():
    assert ocella.tile_options("512") == TileOptions(size=512)
    assert ocella.tile_options("512:.5") == TileOptions(size=512, overlap=0.5)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a", "must be SIZE or SIZE:OVERLAP"),
        ("640:", "must be SIZE or SIZE:OVERLAP"),
        ("-640", "must be SIZE or SIZE:OVERLAP"),
        ("8", "tile size must be between 32"),
        ("640:0.95", "tile overlap must be between 0 and 0.9"),
    ],
)
def test_tiles_that_cannot_be_are_a_usage_error(root: Path, capsys: pytest.CaptureFixture[str], text: str, words: str):
    assert ocella.main(["predict", str(root / "things"), str(root / "coffee.png"), f"--tiles={text}"]) == 2
    assert words in " ".join(capsys.readouterr().err.split())


def test_a_model_that_cannot_answer_in_tiles_says_so_before_any_image(root: Path, capsys: pytest.CaptureFixture[str]):
    assert ocella.main(["predict", str(root / "kinds"), "no-such.png", "--tiles", "96"]) == 1
    assert capsys.readouterr().err == "error: tiles apply to detection and segmentation, not to classification\n"
