from collections.abc import AsyncIterator
from importlib.metadata import version as version_of
from pathlib import Path

import pytest

from pipelines.loader import load_package
from serving.catalog import LOADING, ModelStatus
from serving.deploy import Batching, Deploy, Runtime
from serving.metrics import Metrics
from serving.oip.documents import (
    EXTENSIONS,
    is_ready,
    model_config,
    model_metadata,
    repository_index,
    server_metadata,
)
from serving.served import ServedModel

STATUSES = (
    ModelStatus("cats", 1, "classification", reason=""),
    ModelStatus("cats", 2, "classification"),
    ModelStatus("dogs", 7, reason="the golden replay differs"),
)


@pytest.fixture
async def served(folders: dict[str, Path]) -> AsyncIterator[ServedModel]:
    """The classifier as an operator has set it."""
    deploy = Deploy(batching=Batching(max_size=4, max_delay_ms=1.5), runtime=Runtime(instances=2))
    with ServedModel(load_package(folders["classes"]), deploy, Metrics().model("classes", 1), cores=1) as served:
        yield served


@pytest.mark.parametrize("shared_memory", [False, True])
def test_the_server_names_shared_memory_only_where_it_is_allowed(shared_memory: bool):
    document = server_metadata(shared_memory=shared_memory)
    assert document["name"] == "ocella"
    assert document["version"] == version_of("ocella")
    assert set(document["extensions"]) - set(EXTENSIONS) == ({"system_shared_memory"} if shared_memory else set())
    assert document["extensions"] == sorted(document["extensions"])


def test_the_index_says_why_a_version_does_not_answer():
    rows = [
        (row["name"], row["version"], row["state"], row["reason"])
        for row in repository_index(STATUSES, ready_only=False)
    ]
    assert rows == [
        ("cats", "1", "READY", ""),
        ("cats", "2", "LOADING", LOADING),
        ("dogs", "7", "UNAVAILABLE", "the golden replay differs"),
    ]


def test_the_index_of_what_is_ready_leaves_the_others_out():
    assert [(row["name"], row["version"]) for row in repository_index(STATUSES, ready_only=True)] == [("cats", "1")]


@pytest.mark.parametrize(
    ("name", "version", "ready"),
    [("cats", 0, True), ("cats", 1, True), ("cats", 2, False), ("dogs", 0, False), ("mice", 0, False)],
)
def test_a_version_is_ready_when_it_answers_and_no_version_is_any(name: str, version: int, ready: bool):
    assert is_ready(STATUSES, name, version) is ready


async def test_metadata_lists_the_graphs_tensors_and_the_versions_that_answer(served: ServedModel):
    document = model_metadata(served, [*STATUSES, ModelStatus("classes", 3, reason=""), ModelStatus("classes", 4)])
    assert document["versions"] == ["3"]
    assert document["inputs"] == [{"name": "image", "datatype": "FP32", "shape": [-1, 3, -1, -1]}]
    assert document["outputs"] == [{"name": "logits", "datatype": "FP32", "shape": [-1, 10]}]


async def test_the_config_leaves_the_batch_axis_out_and_says_how_the_model_is_run(served: ServedModel):
    config = model_config(served)
    assert config["input"] == [{"name": "image", "data_type": "TYPE_FP32", "dims": [3, -1, -1]}]
    assert config["output"] == [{"name": "logits", "data_type": "TYPE_FP32", "dims": [10]}]
    assert config["max_batch_size"] == 4
    assert config["dynamic_batching"]["max_queue_delay_microseconds"] == 1500
    assert config["instance_group"] == [{"name": "classes", "count": 2, "kind": "KIND_CPU"}]
    assert config["parameters"]["task"] == {"string_value": "classification"}
