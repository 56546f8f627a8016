from collections.abc import Callable
from pathlib import Path

import pytest

from serving.ray.names import app_of, model_of
from serving.ray.plan import plan_models, router_digest
from serving.settings import Settings
from tests.packages import edit_manifest, make_package
from tests.serving.servers import settings_for


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in ("cats", "dogs"):
        make_package(tmp_path / name / "1", name=name)
    return tmp_path


def digests(settings: Settings) -> dict[str, str]:
    return {model.name: model.digest for model in plan_models(settings)}


def test_what_did_not_change_keeps_its_digest(root: Path):
    assert digests(settings_for(root)) == digests(settings_for(root))


@pytest.mark.parametrize(
    "change",
    [
        lambda root: make_package(root / "cats" / "2", name="cats", version=2),
        lambda root: (root / "cats" / "deploy.toml").write_text("[batching]\nmax_size = 2\n"),
        lambda root: (root / "cats" / "deploy.toml").write_text("[ray]\nmin_replicas = 2\n"),
        lambda root: edit_manifest(root / "cats" / "1", lambda raw: raw.update(description="new"), reseal=False),
    ],
)
def test_a_change_of_one_model_is_a_new_digest_of_that_model_alone(root: Path, change: Callable[[Path], object]):
    before = digests(settings_for(root))
    change(root)
    after = digests(settings_for(root))
    assert after["cats"] != before["cats"]
    assert after["dogs"] == before["dogs"]


def test_a_replica_serves_its_model_alone_and_all_of_its_versions(root: Path):
    cats, _ = plan_models(settings_for(root))
    assert Settings.model_validate(cats.settings).models == (root / "cats",)


def test_a_package_that_is_named_is_served_alone(root: Path):
    make_package(root / "cats" / "2", name="cats", version=2)
    (cats,) = plan_models(settings_for(root / "cats" / "1"))
    assert Settings.model_validate(cats.settings).models == (root / "cats" / "1",)


def test_routers_start_anew_where_their_settings_change(root: Path):
    settings = settings_for(root)
    assert router_digest(settings) == router_digest(settings_for(root))
    assert router_digest(settings) != router_digest(settings_for(root, stream_window=3))


def test_the_application_of_a_model_has_its_name_and_others_have_none():
    assert model_of(app_of("cats")) == "cats"
    assert model_of("ocella") is None
