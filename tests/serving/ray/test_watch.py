"""What a router makes of what Ray's controller says; the controller is played by a value."""

from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("ray.serve", reason="Ray is not installed: pip install 'ocella[ray]'")

from ray import serve

from serving.catalog import LOADING, ModelStatus
from serving.ray.names import BOARD, ROUTER, app_of
from serving.ray.overview import Overview
from serving.ray.standing import Standing, State
from serving.ray.watch import Watch

ANSWERS = State(2, settled=True, reason="")


def deployed(status: str, message: str = "", **replica_states: int) -> Any:
    main = SimpleNamespace(status=status, message=message, replica_states=replica_states)
    return SimpleNamespace(status="RUNNING", deployments={"main": main})


@pytest.fixture
def applications(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What runs on the cluster, by name; to be changed by the test."""
    found: dict[str, Any] = {ROUTER: deployed("HEALTHY", RUNNING=2), BOARD: deployed("HEALTHY", RUNNING=1)}
    monkeypatch.setattr(serve, "status", lambda: SimpleNamespace(applications=found))
    monkeypatch.setattr(serve, "get_deployment_handle", lambda deployment, app: (deployment, app))
    return found


async def test_each_model_of_ours_is_known_with_its_replicas(applications: dict[str, Any]):
    applications[app_of("cats")] = deployed("HEALTHY", RUNNING=2, STOPPING=1)
    applications[app_of("dogs")] = deployed("DEPLOY_FAILED", "ocella.SomeError: recipe changed", STARTING=1)
    applications["of-somebody-else"] = deployed("HEALTHY", RUNNING=1)
    standing = Standing()
    watch = Watch(standing)
    await watch.look()
    assert standing.all() == {"cats": ANSWERS, "dogs": State(0, settled=True, reason="recipe changed")}
    assert watch.handles == {model: ("main", app_of(model)) for model in ("cats", "dogs")}


async def test_a_model_comes_and_goes_with_its_application(applications: dict[str, Any]):
    standing = Standing()
    watch = Watch(standing)
    applications[app_of("cats")] = SimpleNamespace(status="DEPLOYING", deployments={})
    await watch.look()
    assert standing.all() == {"cats": State(0, settled=False, reason=LOADING)}
    applications[app_of("cats")] = deployed("HEALTHY", RUNNING=2)
    await watch.look()
    assert standing.all() == {"cats": ANSWERS}
    applications[app_of("cats")].status = "DELETING"
    await watch.look()
    assert standing.all() == {}
    assert watch.handles == {}


class Told:
    """A handle whose replicas tell of their versions, or raise."""

    def __init__(self, *answers: Any) -> None:
        self._answers = list(answers)
        self.statuses = self

    def remote(self) -> "Told":
        return self

    def __await__(self) -> Any:
        async def answer() -> Any:
            told = self._answers.pop(0)
            if isinstance(told, Exception):
                raise told
            return told

        return answer().__await__()

    def cancel(self) -> None:
        pass


async def test_versions_are_those_that_a_replica_told_last():
    ready = ModelStatus("cats", 3, "classification", "")
    standing = Standing()
    overview = Overview({"cats": Told((ready,), RuntimeError("lost"))}, standing)
    standing.put({"cats": State()})
    assert await overview.statuses() == (ModelStatus("cats", 0, "", LOADING),)
    standing.put({"cats": ANSWERS})
    assert await overview.statuses() == (ready,)
    assert await overview.statuses() == (ModelStatus("cats", 3, "classification", "its replicas do not say"),)
    standing.put({"cats": State(0, settled=True, reason="recipe changed")})
    assert await overview.statuses() == (ModelStatus("cats", 3, "classification", "recipe changed"),)
