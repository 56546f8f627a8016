"""KServe's own REST client, in its own environment and process, against the HTTP of a server of ours."""

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
    return run_script(KSERVE, "kserve_http.py", f"http://{server.http_address}", *map(str, pictures))


def test_health_says_what_is_ready(report: dict[str, Any]):
    assert [report["live"], report["ready"], report["model_ready"]] == [True, True, True]


def test_binary_data_and_json_give_the_same_numbers(report: dict[str, Any]):
    assert report["raw"] == report["json"]
    assert report["raw"]["logits"]["shape"] == [1, 10]


def test_encoded_images_give_the_numbers_of_the_offline_pipeline(
    report: dict[str, Any], offline: Offline, pictures: list[Path]
):
    expected = [offline("vectors", path.read_bytes()).vector for path in pictures]
    assert np.array_equal(np.float32(report["images"]["embedding"]["values"]), expected)


@pytest.mark.parametrize(("asked", "status", "said"), [("unknown", 404, "'no'"), ("wrong", 400, "FP32")])
def test_a_refusal_has_its_status_and_its_text(report: dict[str, Any], asked: str, status: int, said: str):
    code, text = report[asked]
    assert code == status
    assert said in text
