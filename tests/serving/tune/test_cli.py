from pathlib import Path

import pytest

import ocella
from serving.deploy import read_deploy
from tests.packages import make_package


@pytest.fixture
def package(tmp_path: Path) -> Path:
    return make_package(tmp_path / "tiny" / "1", name="tiny")


def test_the_first_trial_alone_is_enough_for_a_file(
    package: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("serving.tune.cli.LOAD_S", 0.05)
    monkeypatch.setattr("serving.tune.search.CONCURRENCIES", (1, 2))
    words = ["tune", "--model", str(package), "--latency-ms", "60000", "--minutes", "0.1", "--tensor"]
    monkeypatch.setattr("serving.tune.search.splits", lambda cores: [(1, 1)])
    monkeypatch.setattr("serving.tune.search.DELAYS_MS", (0.0,))
    monkeypatch.setattr("serving.tune.search.SIZES", (8,))
    assert ocella.main(words) == 0
    written = read_deploy(package.parent)
    assert (written.runtime.instances, written.batching.max_size) == (1, 8)
    assert "+[batching]" in capsys.readouterr().out


def test_a_package_outside_a_repository_needs_a_place(tmp_path: Path):
    alone = make_package(tmp_path / "somewhere", name="tiny")
    assert ocella.main(["tune", "--model", str(alone), "--latency-ms", "10"]) == 2


def test_a_folder_without_a_package_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert ocella.main(["tune", "--model", str(tmp_path), "--latency-ms", "10"]) == 1
    assert capsys.readouterr().err.count("\n") == 1
