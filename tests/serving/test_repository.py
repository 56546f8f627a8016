import errno
import logging
import shutil
from pathlib import Path

import pytest

from pipelines.errors import ManifestError, UnknownModelError
from serving.deploy import Batching
from serving.repository import Candidate, check_identity, embedded_repository, scan
from serving.settings import StartError
from tests.packages import edit_manifest
from tests.serving.servers import running_server


def place(package: Path, root: Path, model: str = "classes", version: str = "1") -> Path:
    """Copy a package to ``root/model/version``."""
    return Path(shutil.copytree(package, root / model / version))


def found(*folders: Path) -> list[tuple[str, int]]:
    return [(candidate.name, candidate.version) for candidate in scan(folders)]


def test_a_repository_gives_the_newest_version_of_each_model(folders: dict[str, Path], tmp_path: Path):
    for version in ("2", "10", "1"):
        place(folders["classes"], tmp_path, version=version)
    place(folders["masks"], tmp_path, model="masks")
    assert found(tmp_path) == [("classes", 10), ("masks", 1)]


def test_deploy_toml_chooses_versions_and_travels_with_each(folders: dict[str, Path], tmp_path: Path):
    for version in ("1", "2", "3"):
        place(folders["classes"], tmp_path, version=version)
    (tmp_path / "classes" / "deploy.toml").write_text("versions = [1, 3]\n[batching]\nmax_size = 2\n")
    candidates = scan([tmp_path])
    assert [candidate.version for candidate in candidates] == [1, 3]
    assert {candidate.deploy.batching for candidate in candidates} == {Batching(max_size=2)}


def test_a_package_folder_is_served_by_itself(folders: dict[str, Path], tmp_path: Path):
    package = Path(shutil.copytree(folders["classes"], tmp_path / "anywhere"))
    assert found(package) == [("classes", 1)]


def test_a_package_folder_inside_a_repository_keeps_its_deploy_toml(folders: dict[str, Path], tmp_path: Path):
    package = place(folders["classes"], tmp_path)
    (tmp_path / "classes" / "deploy.toml").write_text("[batching]\nmax_size = 2\n")
    assert scan([package])[0].deploy.batching.max_size == 2


def test_a_folder_of_one_models_versions_is_served_as_in_its_repository(folders: dict[str, Path], tmp_path: Path):
    for version in ("1", "2", "3"):
        place(folders["classes"], tmp_path, version=version)
    assert found(tmp_path / "classes") == [("classes", 3)]
    (tmp_path / "classes" / "deploy.toml").write_text("versions = [1, 2]\n")
    assert scan([tmp_path / "classes"]) == scan([tmp_path])


def test_a_folder_of_versions_is_called_by_its_own_name_however_it_is_reached(
    folders: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(place(folders["classes"], tmp_path).parent)
    assert found(Path()) == [("classes", 1)]


def test_a_repository_may_hold_a_model_whose_name_is_a_number(folders: dict[str, Path], tmp_path: Path):
    place(folders["classes"], tmp_path, model="7")
    assert found(tmp_path) == [("7", 1)]


def test_a_bad_deploy_toml_marks_its_model_and_no_other(folders: dict[str, Path], tmp_path: Path):
    place(folders["classes"], tmp_path)
    place(folders["masks"], tmp_path, model="masks")
    (tmp_path / "classes" / "deploy.toml").write_text("[batching]\nmax_size = 0\n")
    classes, masks = scan([tmp_path])
    assert "batching.max_size" in str(classes.problem)
    assert masks.problem is None


@pytest.mark.parametrize("name", ["v1", "0", "01", "1.tmp", ".1", "latest"])
def test_a_folder_that_is_no_version_number_is_no_version(folders: dict[str, Path], tmp_path: Path, name: str):
    place(folders["classes"], tmp_path, version="3")
    place(folders["classes"], tmp_path, version=name)
    assert found(tmp_path) == [("classes", 3)]


@pytest.mark.parametrize(
    ("model", "version"), [("classes", "."), ("Bad Name", "1"), ("classes", "v1")], ids=["unnested", "name", "version"]
)
def test_what_is_ignored_is_said(
    folders: dict[str, Path], tmp_path: Path, caplog: pytest.LogCaptureFixture, model: str, version: str
):
    place(folders["masks"], tmp_path, model="masks")
    shutil.copytree(folders["classes"], tmp_path / model / version)
    with caplog.at_level(logging.WARNING):
        assert found(tmp_path) == [("masks", 1)]
    assert f"{tmp_path / model} is ignored" in caplog.text


def test_hidden_folders_and_files_are_passed_over_in_silence(
    folders: dict[str, Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    place(folders["classes"], tmp_path)
    (tmp_path / ".cache").mkdir()
    (tmp_path / "README.md").touch()
    assert found(tmp_path) == [("classes", 1)]
    assert not caplog.records


def test_a_folder_that_may_not_be_read_stops_no_other_model(
    folders: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    """The user of these tests may be root, whom no mode stops; so the system's refusal is played."""
    for model in ("classes", "masks"):
        place(folders[model], tmp_path, model=model)
    is_file = Path.is_file

    def refuse(path: Path) -> bool:
        if path.parent == tmp_path / "classes":
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return is_file(path)

    monkeypatch.setattr(Path, "is_file", refuse)
    assert found(tmp_path) == [("masks", 1)]
    assert f"{tmp_path / 'classes'} is not served: it cannot be read: Permission denied" in caplog.text


def test_a_missing_folder_is_refused(tmp_path: Path):
    with pytest.raises(StartError, match="must be a folder of models, it is missing"):
        scan([tmp_path / "none"])


def test_a_file_in_place_of_a_folder_is_refused(tmp_path: Path):
    (tmp_path / "models").touch()
    with pytest.raises(StartError, match="must be a folder of models, it is a file"):
        scan([tmp_path / "models"])


@pytest.mark.parametrize("of_model", [False, True], ids=["repository", "model"])
def test_a_folder_that_may_not_be_read_is_one_error(
    folders: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, of_model: bool
):
    place(folders["classes"], tmp_path)
    folder = tmp_path / "classes" if of_model else tmp_path

    def refuse(path: Path) -> object:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(Path, "iterdir", refuse)
    with pytest.raises(StartError, match=f"{folder} cannot be read: Permission denied"):
        scan([folder])


def test_an_empty_repository_is_refused_with_the_layout(tmp_path: Path):
    with pytest.raises(StartError, match=r"holds no package.*<model>/<version>/manifest\.json"):
        scan([tmp_path])


def test_one_model_in_two_folders_is_refused(folders: dict[str, Path], tmp_path: Path):
    place(folders["classes"], tmp_path)
    with pytest.raises(StartError, match="model classes must be in one folder, it is in"):
        scan([tmp_path, folders["classes"]])


def test_a_broken_package_folder_is_refused_by_name(tmp_path: Path):
    (tmp_path / "manifest.json").write_text("{")
    with pytest.raises(StartError, match=r"manifest\.json is not JSON"):
        scan([tmp_path])


def test_a_broken_deploy_toml_beside_a_package_folder_is_refused(folders: dict[str, Path], tmp_path: Path):
    package = place(folders["classes"], tmp_path)
    (tmp_path / "classes" / "deploy.toml").write_text("versions = 0\n")
    with pytest.raises(StartError, match=r"deploy\.toml: versions"):
        scan([package])


@pytest.mark.parametrize(("name", "version"), [("other", 1), ("classes", 2)])
def test_a_manifest_must_agree_with_its_folders(folders: dict[str, Path], tmp_path: Path, name: str, version: int):
    package = place(folders["classes"], tmp_path, model=name, version=str(version))
    edit_manifest(package, lambda raw: raw, reseal=True)
    (candidate,) = scan([tmp_path])
    with pytest.raises(ManifestError, match=f"must hold {name} version {version}, its manifest says classes version 1"):
        check_identity(candidate)


def test_an_agreeing_manifest_is_read(folders: dict[str, Path]):
    (candidate,) = scan([folders["classes"]])
    assert isinstance(candidate, Candidate)
    assert check_identity(candidate).head.task == "classification"


def test_the_embedded_repository_is_the_packed_one_or_the_source_trees(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("serving.repository.__file__", str(tmp_path / "serving" / "repository.py"))
    assert embedded_repository() == tmp_path / "models"
    (tmp_path / "serving" / "_models").mkdir(parents=True)
    assert embedded_repository() == tmp_path / "serving" / "_models"


@pytest.mark.parametrize("what", ["model", "version"])
def test_a_link_out_of_the_repository_is_not_served(
    folders: dict[str, Path], tmp_path: Path, caplog: pytest.LogCaptureFixture, what: str
):
    place(folders["masks"], tmp_path / "root", model="masks")
    away = place(folders["classes"], tmp_path / "away")
    if what == "model":
        (tmp_path / "root" / "classes").symlink_to(away.parent)
    else:
        (tmp_path / "root" / "classes").mkdir()
        (tmp_path / "root" / "classes" / "1").symlink_to(away)
    assert found(tmp_path / "root") == [("masks", 1)]
    assert "classes is ignored" in caplog.text


def test_a_link_within_the_repository_is_served(folders: dict[str, Path], tmp_path: Path):
    place(folders["classes"], tmp_path, model=".store")
    (tmp_path / "classes").mkdir()
    (tmp_path / "classes" / "1").symlink_to(tmp_path / ".store" / "1")
    assert found(tmp_path) == [("classes", 1)]


def test_a_repository_may_be_reached_by_a_link(folders: dict[str, Path], tmp_path: Path):
    place(folders["classes"], tmp_path / "root")
    (tmp_path / "link").symlink_to(tmp_path / "root")
    assert found(tmp_path / "link") == [("classes", 1)]


async def test_no_name_of_a_request_leaves_the_repository(folders: dict[str, Path], tmp_path: Path):
    place(folders["classes"], tmp_path / "root")
    place(folders["masks"], tmp_path / "away", model="away")
    async with running_server(tmp_path / "root", admin=True) as server:
        for name in ("..", "../away", "/etc", "classes/../../away", ".hidden", "a\\b", ""):
            with pytest.raises(UnknownModelError):
                await server.lifecycle.load(name)
