"""The blocking client against a server in another thread."""

import threading
from pathlib import Path

import cv2
import numpy as np
import pytest

from pipelines.errors import (
    DeadlineExceededError,
    ImageDecodeError,
    InvalidRequestError,
    ServiceUnavailableError,
    UnknownModelError,
)
from pipelines.types import identical
from serving.app import ListeningServer
from serving.client import Prediction, VisionClient
from tests.serving.servers import PATIENCE_S, Offline

UNUSED = "127.0.0.1:1"


def rgb(image: bytes) -> np.ndarray:
    return cv2.imdecode(np.frombuffer(image, np.uint8), cv2.IMREAD_COLOR_RGB)


def test_bytes_a_path_and_an_array_give_the_offline_result(
    blocking_client: VisionClient, offline: Offline, photos: list[bytes], tmp_path: Path
):
    (tmp_path / "photo.png").write_bytes(photos[0])
    for image in (photos[0], tmp_path / "photo.png", str(tmp_path / "photo.png"), rgb(photos[0])):
        prediction = blocking_client.predict("things", image)
        assert identical(prediction.result, offline("things", photos[0]))
        assert (prediction.model, prediction.version, prediction.image_hw) == ("things", 1, (200, 300))


def test_a_prediction_carries_the_id_of_its_request(blocking_client: VisionClient, photos: list[bytes]):
    assert blocking_client.predict("classes", photos[0], id="frame 7").id == "frame 7"


def test_a_stream_answers_in_order_with_errors_in_band(
    blocking_client: VisionClient, offline: Offline, photos: list[bytes]
):
    answers = list(blocking_client.predict_stream("classes", [photos[0], b"bad", photos[1]], window=2))
    assert [type(answer) for answer in answers] == [Prediction, ImageDecodeError, Prediction]
    assert identical(answers[2].result, offline("classes", photos[1]))


def test_what_the_source_raises_comes_after_the_answers_before_it(blocking_client: VisionClient, photos: list[bytes]):
    def source():
        yield photos[0]
        raise RuntimeError("the camera was unplugged")

    stream = blocking_client.predict_stream("classes", source())
    assert isinstance(next(stream), Prediction)
    with pytest.raises(RuntimeError, match="the camera was unplugged"):
        next(stream)


def test_a_stream_that_is_left_lets_its_source_go(blocking_client: VisionClient, photos: list[bytes]):
    stream = blocking_client.predict_stream("classes", (photos[0] for _ in range(10_000)))
    assert isinstance(next(stream), Prediction)
    stream.close()
    assert isinstance(blocking_client.predict("classes", photos[0]), Prediction)


def test_models_are_listed_and_described(blocking_client: VisionClient):
    rows = {row.name: row for row in blocking_client.list_models()}
    assert sorted(rows) == ["classes", "masks", "things", "vectors"]
    assert {row.ready for row in rows.values()} == {True}
    assert '"task":"detection"' in blocking_client.describe_model("things").manifest_json


def test_readiness_is_asked_and_awaited(blocking_client: VisionClient):
    blocking_client.wait_ready()
    blocking_client.wait_ready("things")
    assert blocking_client.is_ready()
    assert blocking_client.is_ready("things")
    for call in (blocking_client.is_ready, blocking_client.wait_ready):
        with pytest.raises(UnknownModelError):
            call("cats")


@pytest.mark.parametrize(
    ("model", "image", "arguments", "error"),
    [
        ("cats", b"", {}, UnknownModelError),
        ("things", b"", {}, ImageDecodeError),
        ("things", b"", {"score_threshold": 7.0}, InvalidRequestError),
    ],
)
def test_a_refusal_is_the_servers_own_error(
    blocking_client: VisionClient, model: str, image: bytes, arguments: dict[str, object], error: type[Exception]
):
    with pytest.raises(error):
        blocking_client.predict(model, image, **arguments)


def test_a_deadline_is_kept(blocking_client: VisionClient, photos: list[bytes]):
    with pytest.raises(DeadlineExceededError):
        blocking_client.predict("things", photos[0], timeout_s=0.0001)


def test_no_server_is_said_with_its_address():
    with VisionClient(UNUSED) as client:
        for call in (client.list_models, client.is_ready, lambda: client.predict("m", b"")):
            with pytest.raises(ServiceUnavailableError, match=UNUSED):
                call()


def test_waiting_for_a_server_that_never_comes_ends_at_the_deadline():
    with VisionClient(UNUSED) as client, pytest.raises(DeadlineExceededError, match=UNUSED):
        client.wait_ready(timeout_s=0.2)


def test_threads_may_share_a_client(blocking_client: VisionClient, offline: Offline, photos: list[bytes]):
    results: dict[int, Prediction] = {}

    def work(index: int) -> None:
        results[index] = blocking_client.predict("vectors", photos[index])

    threads = [threading.Thread(target=work, args=(index,)) for index in range(len(photos))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(identical(results[i].result, offline("vectors", image)) for i, image in enumerate(photos))


def test_a_port_that_speaks_no_grpc_is_unavailable(shared_server: ListeningServer):
    with (
        VisionClient(shared_server.http_address, timeout_s=PATIENCE_S) as client,
        pytest.raises(ServiceUnavailableError, match=shared_server.http_address),
    ):
        client.list_models()
