"""KServe's own gRPC client, in its own environment and process, against a server of ours."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from serving.app import ListeningServer
from tests.clients.environments import KSERVE, run_script
from tests.serving.servers import Offline

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def report(server: ListeningServer, pictures: list[Path]) -> dict[str, Any]:
    return run_script(KSERVE, "kserve_grpc.py", server.grpc_address, *map(str, pictures))


def test_health_says_what_is_ready(report: dict[str, Any]):
    assert [report["live"], report["ready"], report["model_ready"]] == [True, True, True]


def test_raw_and_typed_contents_give_the_same_numbers(report: dict[str, Any]):
    assert report["raw"] == report["typed"]
    assert report["raw"]["logits"]["shape"] == [1, 10]


def test_encoded_images_give_the_numbers_of_the_offline_pipeline(
    report: dict[str, Any], offline: Offline, pictures: list[Path]
):
    expected = [offline("vectors", path.read_bytes()).vector for path in pictures]
    assert np.array_equal(np.float32(report["images"]["embedding"]["values"]), expected)


def test_refusals_have_their_codes(report: dict[str, Any]):
    assert (report["unknown"], report["wrong"]) == ("NOT_FOUND", "INVALID_ARGUMENT")
