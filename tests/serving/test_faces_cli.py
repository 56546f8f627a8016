"""``ocella faces``, without a server and on one: the same answers, exit codes and one-line errors."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import ocella
from tests.builders import embedding_head
from tests.graphs import embedder_graph
from tests.packages import make_package, photo, png
from tests.serving.gallery.conftest import reader
from tests.serving.servers import server_in_thread

NAMES = ("astronaut", "chelsea", "coffee")


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("models")
    return make_package(root / "heads" / "1", graph=embedder_graph(), head=embedding_head(), name="heads")


@pytest.fixture
def photos(tmp_path: Path) -> dict[str, Path]:
    """Two photos of each of three people: of one size, and its neighbour."""
    for name in NAMES:
        folder = tmp_path / "people" / name
        folder.mkdir(parents=True)
        for width in (160, 168):
            (folder / f"{width}.png").write_bytes(png(photo(name, size_wh=(width, 128))))
    return {name: tmp_path / "people" / name / "160.png" for name in NAMES}


def run(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str, str]:
    code = ocella.main(["faces", *map(str, words)])
    done = capsys.readouterr()
    return code, done.out, done.err


def test_the_same_questions_get_the_same_answers_from_a_server_and_without_one(
    capsys: pytest.CaptureFixture[str], package: Path, photos: dict[str, Path], tmp_path: Path
):
    answers = []
    with server_in_thread(package, galleries=tmp_path / "served") as server:
        for where in (
            ["--server", server.grpc_address],
            ["--gallery", tmp_path / "local", "--package", package],
        ):
            for name in NAMES[:2]:
                assert run(capsys, "enroll", name, photos[name], *where)[:2] == (
                    0,
                    f"{name}: 1 added, 1 in the gallery\n",
                )
            answers.append(
                [
                    run(capsys, "identify", *photos.values(), "--threshold", "0.9999", "--json", *where),
                    run(capsys, "verify", photos["coffee"], "--person", "chelsea", "--threshold", "0.9999", *where),
                    run(capsys, "verify", photos["coffee"], "--image", photos["coffee"], "--threshold", "0.9", *where),
                ]
            )
    served, local = answers
    assert served == local
    assert [code for code, _, _ in local] == [0, 1, 0]
    found = [row["faces"][0]["person"] for row in json.loads(local[0][1])]
    assert found == ["astronaut", "chelsea", None]


def test_a_calibration_is_kept_and_shown(
    capsys: pytest.CaptureFixture[str], package: Path, photos: dict[str, Path], tmp_path: Path
):
    gallery = ("--gallery", tmp_path / "g", "--package", package)
    code, out, _ = run(
        capsys,
        "calibrate",
        "--data",
        tmp_path / "people",
        *gallery,
        "--target-fmr",
        0.3,
        "--out",
        tmp_path / "c",
        "--json",
    )
    assert code == 0
    thresholds = json.loads(out)["thresholds"]
    assert {path.name for path in (tmp_path / "c").iterdir()} == {
        "calibration.html",
        "det.svg",
        "evidence.json",
        "histogram.svg",
        "roc.svg",
    }
    run(capsys, "enroll", "ada", photos["astronaut"], *gallery)
    found = json.loads(run(capsys, "verify", photos["astronaut"], "--person", "ada", "--json", *gallery)[1])
    assert found["thresholds"] == thresholds


def test_a_weak_embedder_is_warned_of_and_its_threshold_kept(
    capsys: pytest.CaptureFixture[str], package: Path, photos: dict[str, Path], tmp_path: Path
):
    for name, other in zip(NAMES, NAMES[1:] + NAMES[:1], strict=True):  # every second photo is somebody else's
        (tmp_path / "people" / name / "168.png").write_bytes(png(photo(other, size_wh=(168, 128))))
    gallery = ("--gallery", tmp_path / "g", "--package", package)
    code, _, error = run(capsys, "calibrate", "--data", tmp_path / "people", *gallery, "--target-fmr", 0.3)
    assert code == 0
    assert error.startswith("warning: the embedder is weak on these people: the equal error rate is ")
    assert "warning: 3 people say little of others" in error


def test_a_removal_that_a_reader_keeps_on_the_disk_is_warned_of(
    capsys: pytest.CaptureFixture[str], package: Path, photos: dict[str, Path], tmp_path: Path
):
    gallery = ("--gallery", tmp_path / "g")
    run(capsys, "enroll", "ada", photos["astronaut"], *gallery, "--package", package)
    with reader(tmp_path / "g"):
        code, out, error = run(capsys, "remove", "ada", *gallery)
    assert (code, out) == (0, "ada: 1 samples deleted\n")
    assert error.startswith("warning: a reader keeps them in the log")


def test_too_little_data_is_refused_in_one_line(
    capsys: pytest.CaptureFixture[str], package: Path, photos: dict[str, Path], tmp_path: Path
):
    code, _, error = run(capsys, "calibrate", "--data", tmp_path / "people", "--package", package)
    assert code == 1
    assert "needs at least 2,995 pairs" in error
    assert error.count("\n") == 1


def test_people_are_listed_removed_and_backed_up_without_a_package(
    capsys: pytest.CaptureFixture[str], package: Path, photos: dict[str, Path], tmp_path: Path
):
    gallery = ("--gallery", tmp_path / "g")
    run(capsys, "enroll", "ada", photos["astronaut"], photos["chelsea"], *gallery, "--package", package)
    assert json.loads(run(capsys, "list", "--json", *gallery)[1])[0]["samples"] == 2
    assert run(capsys, "backup", tmp_path / "b", *gallery)[0] == 0
    assert run(capsys, "remove", "ada", *gallery)[1] == "ada: 2 samples deleted\n"
    assert json.loads(run(capsys, "list", "--json", *gallery)[1]) == []
    assert json.loads(run(capsys, "list", "--json", "--gallery", tmp_path / "b")[1])[0]["name"] == "ada"


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["list"], 1, "give --server, or --gallery"),
        (["remove", "ada", "--gallery", "my-nowhere"], 1, "must hold a gallery"),
        (["verify", "a.png", "--gallery", "g"], 2, "one of --image and --person"),
        (["enroll", "ada", "a.png", "--server", "here"], 2, "host:port"),
        (["identify", "a.png", "--server", "127.0.0.1:1", "--gallery", "g"], 1, "not both"),
        (["calibrate", "--data", "my-nowhere", "--package", "my-nowhere"], 1, "must be a package folder"),
    ],
)
def test_a_mistake_is_named(capsys: pytest.CaptureFixture[str], words: list[str], code: int, said: str):
    got, _, error = run(capsys, *words)
    assert got == code
    assert said in " ".join(error.replace("│", " ").split())
    assert "Traceback" not in error
