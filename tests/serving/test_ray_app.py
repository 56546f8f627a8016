"""What ``ocella serve --ray`` refuses before any cluster is there."""

import sys
from pathlib import Path
from typing import Any

import pytest

from ocella import main
from pipelines.errors import MissingExtraError
from serving.ray_app import serve_on_ray
from serving.settings import StartError
from tests.serving.servers import settings_for


async def refused(*folders: Path, **over: Any) -> None:
    await serve_on_ray(settings_for(*folders, **over), print)


@pytest.mark.parametrize(
    ("over", "said"),
    [
        ({"admin": True}, "--admin must not come with --ray: models change by deploying them again"),
        ({"watch": True}, "--watch must not come with --ray"),
        ({"allow_shared_memory": True}, "--allow-shared-memory must not come with --ray"),
        ({"galleries": Path("galleries")}, "--galleries must not come with --ray: a gallery of faces lives in one"),
        ({"processes": 2}, r"--processes must not come with --ray: \[ray\] of deploy.toml says how many"),
        ({"host": "0.0.0.0"}, "host must be a loopback address"),
    ],
)
async def test_what_a_cluster_does_not_do_is_refused(repository: Path, over: dict[str, Any], said: str):
    pytest.importorskip("ray.serve", reason="Ray is not installed: pip install 'ocella[ray]'")
    with pytest.raises(StartError, match=said):
        await refused(repository, **over)


async def test_a_folder_without_models_is_refused_before_a_cluster_is_begun(tmp_path: Path):
    pytest.importorskip("ray.serve", reason="Ray is not installed: pip install 'ocella[ray]'")
    with pytest.raises(StartError, match="holds no package"):
        await refused(tmp_path)


async def test_without_the_extra_one_sentence_says_what_to_install(repository: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "ray.serve", None)
    with pytest.raises(MissingExtraError, match=r"install 'ocella\[ray\]' to serve with Ray"):
        await refused(repository)


def test_an_address_without_ray_is_a_mistake_of_usage(capsys: pytest.CaptureFixture[str]):
    assert main(["serve", "--address", "auto"]) == 2
    assert "--address" in capsys.readouterr().err
