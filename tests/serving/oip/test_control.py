import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipelines.errors import InvalidRequestError, NotAllowedError, NotOfferedError
from serving.catalog import ModelStatus
from serving.oip.control import Control
from serving.oip.shared_memory import Region, SharedMemory


class Recorder:
    """Stands for the lifecycle of models: remembers what it was asked to do."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []

    def index(self) -> tuple[ModelStatus, ...]:
        return (ModelStatus("cats", 1, "classification", reason=""), ModelStatus("dogs", 1))

    async def load(self, name: str) -> None:
        self.asked.append(("load", name))

    async def unload(self, name: str) -> None:
        self.asked.append(("unload", name))


@pytest.fixture
def lifecycle() -> Recorder:
    return Recorder()


@pytest.fixture
def admin(lifecycle: Any) -> Control:
    return Control(lifecycle, None, admin=True)


@pytest.fixture
def guest(lifecycle: Any) -> Control:
    return Control(lifecycle, None, admin=False)


@pytest.fixture
def log_level() -> Iterator[logging.Logger]:
    """Our log at INFO, put back as it was afterwards."""
    logger = logging.getLogger("serving")
    before = logger.level
    logger.setLevel(logging.INFO)
    yield logger
    logger.setLevel(before)


async def test_an_admin_loads_and_unloads_by_name(admin: Control, lifecycle: Recorder):
    await admin.load("", "cats", ())
    await admin.unload("", "cats", ("unload_dependents",))
    assert lifecycle.asked == [("load", "cats"), ("unload", "cats")]


async def test_anybody_else_is_told_the_option_that_would_allow_it(guest: Control, lifecycle: Recorder):
    for change in (guest.load, guest.unload):
        with pytest.raises(NotAllowedError, match="--admin"):
            await change("", "cats", ())
    assert lifecycle.asked == []


@pytest.mark.parametrize("parameter", ["config", "file:1/model.onnx"])
async def test_a_model_that_the_request_would_bring_is_not_offered(admin: Control, lifecycle: Recorder, parameter: str):
    with pytest.raises(NotOfferedError, match="models and their settings come from --models only"):
        await admin.load("", "cats", (parameter,))
    assert lifecycle.asked == []


async def test_a_parameter_that_nobody_knows_is_refused_by_name(admin: Control, lifecycle: Recorder):
    for change in (admin.load, admin.unload):
        with pytest.raises(InvalidRequestError, match="'surprise'"):
            await change("", "cats", ("surprise",))
    assert lifecycle.asked == []


async def test_there_is_one_repository(admin: Control):
    for change in (admin.load, admin.unload):
        with pytest.raises(InvalidRequestError, match="repository_name must be empty"):
            await change("other", "cats", ())
    with pytest.raises(InvalidRequestError, match="repository_name must be empty"):
        admin.index("other", ready_only=False)


def test_the_index_may_be_of_what_is_ready(guest: Control):
    assert [row["name"] for row in guest.index("", ready_only=False)] == ["cats", "dogs"]
    assert [row["name"] for row in guest.index("", ready_only=True)] == ["cats"]


def test_shared_memory_that_is_not_allowed_is_refused_in_every_way(admin: Control):
    for use in (
        lambda: admin.register(Region("r", "/pixels", 0, 8)),
        lambda: admin.unregister("r"),
        lambda: admin.unregister(""),
        lambda: admin.regions(""),
    ):
        with pytest.raises(NotAllowedError, match="--allow-shared-memory"):
            use()


def test_regions_are_registered_told_and_forgotten(lifecycle: Any, tmp_path: Path):
    (tmp_path / "pixels").write_bytes(os.urandom(16))
    control = Control(lifecycle, SharedMemory(folder=tmp_path), admin=False)
    for name in ("a", "b"):
        control.register(Region(name, "/pixels", 0, 8))
    assert sorted(control.regions("")) == ["a", "b"]
    assert control.regions("a") == {"a": Region("a", "/pixels", 0, 8)}
    control.unregister("a")
    with pytest.raises(InvalidRequestError, match="region 'a' must be registered"):
        control.regions("a")
    control.unregister("")
    assert control.regions("") == {}


def test_anybody_may_ask_about_traces_and_an_admin_may_turn_them_off(admin: Control, guest: Control):
    assert guest.set_traces({}) == {"trace_level": ("OFF",)}
    assert admin.set_traces({"trace_level": ("OFF",)}) == {"trace_level": ("OFF",)}
    with pytest.raises(NotAllowedError, match="--admin"):
        guest.set_traces({"trace_level": ("OFF",)})
    for settings in ({"trace_level": ("TIMESTAMPS",)}, {"trace_rate": ("100",)}):
        with pytest.raises(NotOfferedError, match="traces"):
            admin.set_traces(settings)


def test_an_admin_changes_how_much_is_logged(admin: Control, log_level: logging.Logger):
    assert admin.set_logs({}) == {"log_error": True, "log_warning": True, "log_info": True, "log_verbose_level": 0}
    admin.set_logs({"log_verbose_level": 1})
    assert log_level.level == logging.DEBUG
    told = admin.set_logs({"log_verbose_level": 0, "log_info": False})
    assert (log_level.level, told["log_info"], told["log_warning"]) == (logging.WARNING, False, True)
    admin.set_logs({"log_error": False, "log_warning": False})
    assert not log_level.isEnabledFor(logging.CRITICAL)


@pytest.mark.parametrize(
    ("settings", "error"),
    [
        ({"log_file": "/etc/passwd"}, NotOfferedError),
        ({"log_verbose_level": 2}, InvalidRequestError),
        ({"log_info": "yes"}, InvalidRequestError),
        ({"log_warning": False}, InvalidRequestError),  # while log_info is on
    ],
)
def test_a_setting_that_cannot_act_changes_nothing(
    admin: Control, log_level: logging.Logger, settings: dict[str, Any], error: type[Exception]
):
    with pytest.raises(error):
        admin.set_logs(settings)
    assert log_level.level == logging.INFO


def test_only_an_admin_changes_the_log(guest: Control, log_level: logging.Logger):
    with pytest.raises(NotAllowedError, match="--admin"):
        guest.set_logs({"log_info": False})
    assert log_level.level == logging.INFO
