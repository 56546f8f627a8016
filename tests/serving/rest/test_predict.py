import io
import json
import random
from typing import Any

import cv2
import httpx
import numpy as np
import pytest

from pipelines.draw import draw
from pipelines.image import ImageLimits, decode_image
from pipelines.options import PredictOptions
from pipelines.present import to_json
from serving.app import ListeningServer
from tests.corpus import bad_images
from tests.serving.servers import Offline

MODELS = ("classes", "things", "masks", "vectors")
CORPUS = bad_images()
FUZZED = 150


def post(http: httpx.Client, model: str, image: bytes, **arguments: Any) -> httpx.Response:
    headers = {"content-type": "image/png"} | arguments.pop("headers", {})
    return http.post(f"/v1/models/{model}:predict", content=image, headers=headers, **arguments)


def results_of(response: httpx.Response) -> list[dict[str, Any]]:
    assert response.status_code == 200, response.text
    return [each["result"] for each in response.json()["predictions"]]


@pytest.mark.parametrize("model", MODELS)
def test_an_image_gives_the_offline_result(http: httpx.Client, offline: Offline, photos: list[bytes], model: str):
    for photo in photos[:3]:
        assert results_of(post(http, model, photo)) == [to_json(offline(model, photo))]


def test_model_version_and_size_are_said(http: httpx.Client, photos: list[bytes]):
    answer = post(http, "classes", photos[0]).json()
    assert (answer["model"], answer["version"]) == ("classes", 1)
    assert answer["predictions"][0]["image"] == {"width": 300, "height": 200}


def test_one_version_can_be_asked_for(http: httpx.Client, photos: list[bytes]):
    path = "/v1/models/classes/versions/{}:predict"
    assert http.post(path.format(1), content=photos[0]).json()["version"] == 1
    assert http.post(path.format(9), content=photos[0]).status_code == 404
    assert http.post(path.format("one"), content=photos[0]).status_code == 400


@pytest.mark.parametrize("content_type", ["image/jpeg", "IMAGE/PNG", "application/octet-stream; x=1", None])
def test_any_image_type_is_taken_and_none_too(http: httpx.Client, photos: list[bytes], content_type: str | None):
    headers = {"content-type": content_type} if content_type else {}
    response = http.post("/v1/models/classes:predict", content=photos[0], headers=headers)
    assert response.status_code == 200


def test_options_act_from_the_query(http: httpx.Client, offline: Offline, photos: list[bytes]):
    asked = {"score_threshold": 0.7, "iou_threshold": 0.9, "max_detections": 3}
    expected = to_json(offline("things", photos[0], PredictOptions(**asked)))
    assert results_of(post(http, "things", photos[0], params=asked)) == [expected]


def test_a_form_answers_each_of_its_images(http: httpx.Client, offline: Offline, photos: list[bytes]):
    files = [("image", (f"{i}.png", photo)) for i, photo in enumerate(photos)]
    response = http.post("/v1/models/things:predict", files=files, data={"max_detections": "2"})
    options = PredictOptions(max_detections=2)
    assert results_of(response) == [to_json(offline("things", photo, options)) for photo in photos]


def test_the_image_of_a_form_that_fails_is_named(http: httpx.Client, photos: list[bytes]):
    files = [("image", (name, data)) for name, data in (("a", photos[0]), ("b", b"no"), ("c", photos[1]))]
    response = http.post("/v1/models/classes:predict", files=files)
    assert (response.status_code, response.json()["reason"]) == (400, "ImageDecodeError")
    assert response.json()["message"].startswith("image 1 of 3: ")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"data": {"max_detections": "2"}, "files": []}, "must be image/"),
        ({"files": [("photo", b"x")]}, "parameters must be among"),
        ({"files": [("image", b"x")], "data": {"top_k": "1"}, "params": {"top_k": "1"}}, "given once"),
        ({"files": [("image", b"x")], "data": {"timeout": "1"}}, "must be in the query"),
        ({"files": [("top_k", (None, "1"))]}, "1 to 1024 parts named 'image', got 0"),
    ],
)
def test_a_form_that_asks_badly_is_told_so(http: httpx.Client, arguments: dict[str, Any], said: str):
    response = http.post("/v1/models/classes:predict", **arguments)
    assert response.status_code in (400, 415)
    assert said in response.json()["message"]


def test_a_picture_of_the_result_comes_where_png_is_liked_best(
    http: httpx.Client, offline: Offline, photos: list[bytes]
):
    response = post(http, "things", photos[0], headers={"accept": "application/json;q=0.5, image/png"})
    assert response.headers["content-type"] == "image/png"
    pixels = cv2.cvtColor(cv2.imdecode(np.frombuffer(response.content, np.uint8), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
    image = decode_image(photos[0], exif="apply", alpha="white", limits=ImageLimits())
    assert np.array_equal(pixels, draw(image, offline("things", photos[0])))


def test_a_picture_of_several_images_is_refused(http: httpx.Client, photos: list[bytes]):
    files = [("image", photo) for photo in photos[:2]]
    response = http.post("/v1/models/things:predict", files=files, headers={"accept": "image/png"})
    assert (response.status_code, "must be of one image" in response.text) == (400, True)


def test_an_answer_that_the_client_does_not_accept_is_not_made(http: httpx.Client, photos: list[bytes]):
    response = post(http, "classes", photos[0], headers={"accept": "text/html"})
    assert (response.status_code, response.json()["reason"]) == (406, "NotAcceptableError")


def test_the_answer_says_what_it_was_chosen_by(http: httpx.Client, photos: list[bytes]):
    assert "accept" in post(http, "classes", photos[0]).headers["vary"].split(", ")


@pytest.mark.parametrize(
    ("model", "query", "status", "reason"),
    [
        ("no", "", 404, "UnknownModelError"),
        ("", "", 404, "UnknownPathError"),
        ("classes", "?score_threshold=2", 400, "InvalidRequestError"),
        ("vectors", "?top_k=2", 400, "InvalidRequestError"),
        ("classes", "?speed=2", 400, "InvalidRequestError"),
        ("classes", "?timeout=-1", 400, "InvalidRequestError"),
        ("classes", "?timeout=0.000001", 504, "DeadlineExceededError"),
    ],
)
def test_a_bad_request_has_its_status(
    http: httpx.Client, photos: list[bytes], model: str, query: str, status: int, reason: str
):
    response = http.post(f"/v1/models/{model}:predict{query}", content=photos[0])
    assert (response.status_code, response.json()["reason"]) == (status, reason)


@pytest.mark.parametrize("content_type", ["application/x-www-form-urlencoded", "application/json", "text/plain", ""])
def test_another_media_type_is_told_how_to_send_an_image(http: httpx.Client, photos: list[bytes], content_type: str):
    response = http.post("/v1/models/classes:predict", content=photos[0], headers={"content-type": content_type})
    assert (response.status_code, "--data-binary" in response.json()["message"]) == (415, True)


def test_every_bad_image_is_refused_in_one_line(http: httpx.Client):
    for name, bad in CORPUS.items():
        response = post(http, "classes", bad.data)
        status = 413 if bad.error.__name__ == "ImageTooLargeError" else 400
        assert (response.status_code, response.json()["reason"]) == (status, bad.error.__name__), name
        assert "\n" not in response.json()["message"]


def test_any_damage_to_a_request_is_answered_as_a_request_and_never_as_a_fault(
    http: httpx.Client, shared_server: ListeningServer, photos: list[bytes]
):
    chance = random.Random(5)
    request = http.build_request("POST", "/", files=[("image", photos[1])], data={"top_k": "3"})
    form, content_type = request.read(), request.headers["content-type"]
    statuses = set()
    for _ in range(FUZZED):
        body = bytearray(chance.choice((form, photos[1])))
        for _ in range(chance.randint(1, 3)):
            place = chance.choice((chance.randrange(len(body)), chance.randrange(200)))
            body[place : place + chance.randint(0, 9)] = chance.randbytes(chance.randint(0, 9))
        headers = {
            "content-type": chance.choice((content_type, "multipart/form-data; boundary=x", "image/png")),
            "accept": chance.choice(("*/*", "image/png", "application/json;q=0.1")),
            "content-encoding": chance.choice(("identity", "identity", "identity", "gzip", "deflate")),
        }
        query = chance.choice(("", "", "?top_k=2", "?top_k=%ff", "?&", "?timeout=60"))
        response = http.post(f"/v1/models/classes:predict{query}", content=bytes(body), headers=headers)
        statuses.add(response.status_code)
    assert statuses <= {200, 400, 413}
    assert 400 in statuses
    assert shared_server.catalog.is_serving("classes")


def test_names_in_the_answer_are_utf_8(http: httpx.Client, photos: list[bytes]):
    response = http.post("/v1/models/%C3%A4:predict", content=photos[0])
    assert "'ä'" in json.load(io.TextIOWrapper(io.BytesIO(response.content), encoding="utf-8"))["message"]
