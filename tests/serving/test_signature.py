import json
import os
import shutil
from pathlib import Path

import pytest

from pipelines.manifest import GRAPH_FILE, MANIFEST_FILE
from serving.signature import is_whole, signature_of


@pytest.fixture
def package(folders: dict[str, Path], tmp_path: Path) -> Path:
    return Path(shutil.copytree(folders["classes"], tmp_path / "1"))


def append(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"\0")


def replace(path: Path) -> None:
    """The same bytes and times in another file."""
    seen = path.stat()
    shutil.copy(path, path.with_suffix(".new"))
    os.utime(path.with_suffix(".new"), ns=(seen.st_atime_ns, seen.st_mtime_ns))
    path.with_suffix(".new").rename(path)


def touch(path: Path) -> None:
    os.utime(path, ns=(1, 1))


def test_what_nobody_touched_looks_the_same(package: Path):
    assert signature_of(package) == signature_of(package)


@pytest.mark.parametrize("change", [append, replace, touch, Path.unlink], ids=lambda change: change.__name__)
@pytest.mark.parametrize("name", [GRAPH_FILE, MANIFEST_FILE, "golden/sample-0.png"])
def test_every_change_of_a_file_is_seen(package: Path, change: object, name: str):
    before = signature_of(package)
    change(package / name)
    assert signature_of(package) != before


def test_a_new_file_is_seen(package: Path):
    before = signature_of(package)
    (package / "golden" / "more.png").touch()
    assert signature_of(package) != before


def test_a_folder_that_is_not_there_has_no_files(tmp_path: Path):
    assert signature_of(tmp_path / "none") == ()


def test_a_folder_that_vanishes_while_it_is_walked_is_left_out(package: Path, monkeypatch: pytest.MonkeyPatch):
    scan = os.scandir

    def lose(folder: str | int) -> object:
        if isinstance(folder, str) and Path(folder).name == "golden":  # what removes it looks by file descriptors
            shutil.rmtree(folder)
        return scan(folder)

    with monkeypatch.context() as losing:
        losing.setattr("os.scandir", lose)
        seen = signature_of(package)
    assert seen == signature_of(package)
    assert {name for name, *_ in seen} == {GRAPH_FILE, MANIFEST_FILE}


def test_a_package_is_whole(package: Path):
    assert is_whole(package)


@pytest.mark.parametrize("name", [GRAPH_FILE, MANIFEST_FILE, "golden/sample-0.png", "golden/sample-0.npz"])
def test_a_package_without_one_of_its_files_is_not_whole(package: Path, name: str):
    (package / name).unlink()
    assert not is_whole(package)


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"files": 3}', '{"files": [1]}', "\xff"])
def test_a_folder_whose_manifest_cannot_be_read_is_not_whole(package: Path, text: str):
    (package / MANIFEST_FILE).write_text(text, encoding="latin-1")
    assert not is_whole(package)


def test_a_manifest_of_deep_nesting_is_not_whole(package: Path):
    (package / MANIFEST_FILE).write_text("[" * 100_000)
    assert not is_whole(package)


def test_a_cascade_that_is_a_member_of_itself_is_not_whole(package: Path):
    members = {name: {"folder": "."} for name in ("detector", "second")}
    manifest = {"head": {"task": "cascade", **members}, "files": {}}
    (package / MANIFEST_FILE).write_text(json.dumps(manifest))
    assert not is_whole(package)


def test_a_pipe_in_the_place_of_a_manifest_is_not_waited_for(package: Path):
    (package / MANIFEST_FILE).unlink()
    os.mkfifo(package / MANIFEST_FILE)
    assert not is_whole(package)
