import json
from pathlib import Path

import pytest

import ocella
from serving.app import ListeningServer

SHORT = ("--duration", "0.2", "--concurrency", "2", "--json")


def test_a_package_is_measured_beside_its_floor(
    folders: dict[str, Path], capsys: pytest.CaptureFixture[str], tmp_path: Path, photos: list[bytes]
):
    (tmp_path / "photo.png").write_bytes(photos[0])
    assert ocella.main(["bench", str(folders["classes"]), "--images", str(tmp_path), *SHORT]) == 0
    found = json.loads(capsys.readouterr().out)
    (load,) = found["loads"]
    assert (found["model"], load["load"], set(load["codes"])) == ("classes", "2 concurrent", {"OK"})
    assert load["server_cpu_s"] >= 0
    assert found["floor"]["rate"] > 0


@pytest.mark.parametrize("flags", [(), ("--tensor",), ("--rate", "20")])
def test_a_model_on_a_server_is_measured(
    shared_server: ListeningServer, capsys: pytest.CaptureFixture[str], flags: tuple[str, ...]
):
    words = ["--server", shared_server.grpc_address, "--metrics", shared_server.http_address]
    assert ocella.main(["bench", *words, "--model", "classes", *flags, *SHORT]) == 0
    found = json.loads(capsys.readouterr().out)
    assert set(found["loads"][0]["codes"]) == {"OK"}
    assert found["floor"] is None


def test_a_table_is_shown(shared_server: ListeningServer, capsys: pytest.CaptureFixture[str]):
    words = ["--server", shared_server.grpc_address, "--model", "classes", *SHORT[:-1]]
    assert ocella.main(["bench", *words]) == 0
    head, row = capsys.readouterr().out.splitlines()
    assert head.startswith("load ")
    assert row.startswith("2 concurrent")


def test_a_model_that_is_not_there_is_a_failure(shared_server: ListeningServer, capsys: pytest.CaptureFixture[str]):
    assert ocella.main(["bench", "--server", shared_server.grpc_address, "--model", "nobody", *SHORT]) == 1
    assert "error: no request was answered with a result: NOT_FOUND" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["--server", "127.0.0.1:1"],
        ["--server", "127.0.0.1:99999", "--model", "m"],
        ["somewhere", "--server", "127.0.0.1:1", "--model", "m"],
        ["somewhere", "--concurrency", "1,x"],
        ["somewhere", "--concurrency", "0"],
        ["somewhere", "--tensor", "--image", __file__],
    ],
)
def test_a_wrong_call_is_a_matter_of_usage(words: list[str], capsys: pytest.CaptureFixture[str]):
    assert ocella.main(["bench", *words]) == 2


def test_no_package_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert ocella.main(["bench", str(tmp_path)]) == 1
    assert capsys.readouterr().err.count("\n") == 1


def test_a_folder_without_images_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert ocella.main(["bench", str(tmp_path), "--images", str(tmp_path)]) == 1
    assert "must hold an image file, it holds none" in capsys.readouterr().err
