"""Faces behind a real server: enrolled, verified, identified, removed, by the clients and by the offline way alike."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from pipelines.decisions import Decision, Removed
from pipelines.errors import (
    FaceRefusedError,
    GalleryError,
    InvalidRequestError,
    NotOfferedError,
    UnknownModelError,
    UnknownPersonError,
)
from pipelines.types import CascadeResult, Embedding
from serving.app import ListeningServer
from serving.client import AsyncVisionClient
from serving.faces_local import FaceModel, LocalFaces
from serving.gallery.gallery import Gallery
from serving.gallery.store import Store
from tests.builders import embedding_head
from tests.cascades import align_crop, make_cascade
from tests.graphs import embedder_graph
from tests.packages import make_package, photo, png
from tests.serving.servers import running_server

ADA, BOB, EVE = (png(photo(name, size_wh=(160, 128))) for name in ("astronaut", "chelsea", "coffee"))


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``heads``: an embedder alone; ``crowd``: every face of a photo; ``single``: the best face alone."""
    root = tmp_path_factory.mktemp("faces")
    make_package(root / "heads" / "1", graph=embedder_graph(), head=embedding_head(), name="heads")
    make_cascade(root / "crowd" / "1", second="embedding", crop=align_crop(), name="crowd")
    make_cascade(root / "single" / "1", second="embedding", crop=align_crop(), name="single", max_objects=1)
    return root


@pytest.fixture
async def server(models: Path, tmp_path: Path) -> AsyncIterator[ListeningServer]:
    async with running_server(models, galleries=tmp_path / "galleries", keep_crops=True) as server:
        yield server


@pytest.fixture
async def client(server: ListeningServer) -> AsyncIterator[AsyncVisionClient]:
    async with AsyncVisionClient(server.grpc_address, timeout_s=60) as client:
        yield client


@pytest.fixture
def lenient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Enrol what a random detector calls a face."""
    monkeypatch.setattr("serving.faces_images.problems_of", lambda *_: ())


async def test_a_cascade_of_faces_answers_with_faces_and_with_embeddings_on_request(server: ListeningServer) -> None:
    import grpc.aio

    from protos.ocella.v1 import vision_pb2 as pb
    from protos.ocella.v1.vision_pb2_grpc import VisionStub

    async with grpc.aio.insecure_channel(server.grpc_address) as channel:
        stub = VisionStub(channel)
        plain = await stub.Predict(pb.PredictRequest(model="crowd", image=ADA))
        asked = await stub.Predict(
            pb.PredictRequest(model="crowd", image=ADA, options=pb.PredictOptions(embeddings=True))
        )
    count = len(plain.faces.detections.scores)
    assert count > 1
    assert len(plain.faces.qualities) == len(asked.faces.embeddings) == count
    assert len(plain.faces.detections.keypoints.values) == 15 * count
    assert len(plain.faces.embeddings) == 0


async def test_one_photo_is_enough_to_be_found(client: AsyncVisionClient) -> None:
    await client.enroll("ada", [ADA], model="heads")
    await client.enroll("bob", [BOB], model="heads")
    found = await client.identify(BOB, model="heads", threshold=0.9999)
    (face,) = found.faces
    assert (face.person, face.decision, found.searched) == ("bob", Decision.same, 2)
    assert face.candidates[0].score == pytest.approx(1.0, abs=1e-6)  # the same bits but for the length's rounding
    assert [candidate.person for candidate in face.candidates] == ["bob", "ada"]


async def test_nobody_is_an_answer(client: AsyncVisionClient) -> None:
    await client.enroll("ada", [ADA], model="heads")
    (face,) = (await client.identify(EVE, model="heads", threshold=1.0)).faces
    assert (face.person, face.decision) == (None, Decision.different)
    assert face.candidates[0].person == "ada"


async def test_an_empty_gallery_answers_nobody(client: AsyncVisionClient) -> None:
    found = await client.identify(ADA, model="heads", threshold=0.5)
    assert (found.faces[0].person, found.faces[0].candidates, found.searched) == (None, (), 0)


async def test_every_face_of_a_photo_is_searched_for(client: AsyncVisionClient, lenient: None) -> None:
    await client.enroll("ada", [ADA], model="single")
    found = await client.identify(ADA, model="crowd", threshold=0.5)
    predicted = (await client.predict("crowd", ADA)).result
    assert isinstance(predicted, CascadeResult)
    assert predicted.qualities is not None
    assert [face.score for face in found.faces] == predicted.detections.scores.tolist()
    assert [face.quality for face in found.faces] == list(predicted.qualities)


async def test_verification_is_the_cosine_of_what_predict_answers(client: AsyncVisionClient) -> None:
    await client.enroll("ada", [ADA], model="heads")
    a, b = [(await client.predict("heads", data)).result for data in (ADA, BOB)]
    assert isinstance(a, Embedding)
    assert isinstance(b, Embedding)
    wide = a.vector.astype(np.float64), b.vector.astype(np.float64)
    cosine = wide[0] @ wide[1] / np.linalg.norm(wide[0]) / np.linalg.norm(wide[1])
    for reference in ({"image": ADA}, {"person": "ada"}):
        verified = await client.verify(BOB, model="heads", threshold=0.5, **reference)
        assert verified.score == pytest.approx(cosine, abs=1e-12)  # float64 throughout


async def test_several_samples_of_a_person_count_by_the_best(client: AsyncVisionClient) -> None:
    enrolled = await client.enroll("both", [ADA, BOB], model="heads")
    assert (len(enrolled.qualities), enrolled.samples) == (2, 2)
    assert (await client.enroll("both", [EVE], model="heads")).samples == 3
    for data in (ADA, BOB, EVE):
        assert (await client.verify(data, person="both", model="heads", threshold=0.5)).score > 0.99999


async def test_without_calibration_and_threshold_nothing_is_decided(client: AsyncVisionClient) -> None:
    await client.enroll("ada", [ADA], model="heads")
    with pytest.raises(GalleryError, match="must be calibrated"):
        await client.identify(ADA, model="heads")


async def test_several_faces_are_refused_where_one_is_needed(client: AsyncVisionClient) -> None:
    with pytest.raises(FaceRefusedError, match=r"several faces: [0-9]+, one is needed"):
        await client.enroll("ada", [ADA], model="crowd")
    with pytest.raises(FaceRefusedError, match="several faces"):
        await client.verify(ADA, image=BOB, model="crowd", threshold=0.5)


async def test_all_images_are_taken_or_none_and_every_reason_is_told(client: AsyncVisionClient) -> None:
    black = png(photo(size_wh=(160, 128)).point(lambda level: level // 20))
    small = png(photo(size_wh=(30, 28)))
    with pytest.raises(FaceRefusedError, match=r"image 2: .*too dark.*image 3: too small: 28 px, at least 40"):
        await client.enroll("ada", [ADA, black, small], model="heads")
    assert (await client.list_people(model="heads")).people == ()


async def test_a_removed_person_is_never_found_again(client: AsyncVisionClient, tmp_path: Path) -> None:
    await client.enroll("ada", [ADA], model="heads")
    await client.enroll("bob", [BOB], model="heads")
    assert await client.remove_person("ada", model="heads") == Removed(1, erased=True)
    found = await client.identify(ADA, model="heads", threshold=0.0)
    assert [candidate.person for candidate in found.faces[0].candidates] == ["bob"]
    with pytest.raises(UnknownPersonError):
        await client.verify(ADA, person="ada", model="heads", threshold=0.5)
    assert [person.name for person in (await client.list_people(model="heads")).people] == ["bob"]


async def test_what_another_process_wrote_is_seen(client: AsyncVisionClient, models: Path, tmp_path: Path) -> None:
    await client.enroll("ada", [ADA], model="heads")
    with (
        FaceModel(models / "heads") as model,
        Gallery(tmp_path / "galleries" / "heads", model.binding) as gallery,
    ):
        local = LocalFaces(model, gallery)
        local.enroll("bob", [BOB])
        assert (await client.identify(BOB, model="heads", threshold=0.999)).faces[0].person == "bob"
        local.remove_person("ada")
    found = await client.identify(ADA, model="heads", threshold=0.0)
    assert [candidate.person for candidate in found.faces[0].candidates] == ["bob"]


async def test_the_offline_way_answers_as_the_server_does(
    client: AsyncVisionClient, models: Path, tmp_path: Path, lenient: None
) -> None:
    for data, name in ((ADA, "ada"), (BOB, "bob")):
        await client.enroll(name, [data], model="single")
    with (
        FaceModel(models / "single") as model,
        Gallery(tmp_path / "offline", model.binding) as gallery,
    ):
        local = LocalFaces(model, gallery)
        for data, name in ((ADA, "ada"), (BOB, "bob")):
            local.enroll(name, [data])
        assert local.identify(EVE, threshold=0.5) == await client.identify(EVE, model="single", threshold=0.5)
        assert local.verify(EVE, image=BOB, threshold=0.5) == await client.verify(
            EVE, image=BOB, model="single", threshold=0.5
        )


async def test_concurrent_questions_are_answered_as_one_by_one(client: AsyncVisionClient) -> None:
    await client.enroll("ada", [ADA], model="heads")
    together = await asyncio.gather(*(client.identify(each, model="heads", threshold=0.5) for each in [ADA, BOB] * 4))
    alone = [await client.identify(each, model="heads", threshold=0.5) for each in [ADA, BOB]]
    assert together == alone * 4


async def test_the_model_must_be_named_where_several_embed_faces(client: AsyncVisionClient) -> None:
    with pytest.raises(InvalidRequestError, match=r"there are 3 \(crowd, heads, single\)"):
        await client.list_people()


async def test_the_only_model_that_embeds_faces_need_not_be_named(models: Path, tmp_path: Path) -> None:
    async with (
        running_server(models / "heads", galleries=tmp_path) as server,
        AsyncVisionClient(server.grpc_address, timeout_s=60) as client,
    ):
        await client.enroll("ada", [ADA])
        assert [person.name for person in (await client.list_people()).people] == ["ada"]


async def test_a_server_without_galleries_says_so(models: Path) -> None:
    async with (
        running_server(models / "heads") as server,
        AsyncVisionClient(server.grpc_address, timeout_s=60) as client,
    ):
        with pytest.raises(NotOfferedError, match="--galleries"):
            await client.enroll("ada", [ADA])


async def test_a_gallery_of_another_embedder_is_refused(models: Path, tmp_path: Path) -> None:
    with FaceModel(models / "heads") as model:
        Store(tmp_path / "heads", replace(model.binding, embedder_sha256="0" * 64)).close()
    async with (
        running_server(models / "heads", galleries=tmp_path) as server,
        AsyncVisionClient(server.grpc_address, timeout_s=60) as client,
    ):
        with pytest.raises(GalleryError, match=r"another embedder.*reindex"):
            await client.identify(ADA, threshold=0.5)


@pytest.mark.parametrize(
    ("ask", "error", "said"),
    [
        (lambda c: c.identify(ADA, model="nothing", threshold=0.5), UnknownModelError, "nothing"),
        (lambda c: c.identify(ADA, model="heads", top_k=101, threshold=0.5), InvalidRequestError, "between 1 and 100"),
        (lambda c: c.identify(ADA, model="heads", threshold=1.5), InvalidRequestError, "must be a cosine"),
        (lambda c: c.identify(ADA, model="heads", threshold=float("nan")), InvalidRequestError, "must be a cosine"),
        (lambda c: c.verify(ADA, model="heads"), InvalidRequestError, "one of both"),
        (lambda c: c.enroll("", [ADA], model="heads"), InvalidRequestError, "a person's name"),
        (lambda c: c.enroll("ada", [], model="heads"), FaceRefusedError, "1 to 64 images"),
        (lambda c: c.remove_person("ada", model="heads"), UnknownPersonError, "ada"),
    ],
)
async def test_what_cannot_be_answered_is_said(client: AsyncVisionClient, ask: Any, error: Any, said: str) -> None:
    with pytest.raises(error, match=said):
        await ask(client)


async def test_nothing_biometric_and_no_name_is_in_logs_or_metrics(
    server: ListeningServer, client: AsyncVisionClient, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        await client.enroll("zebulon", [ADA], model="heads")
        await client.identify(ADA, model="heads", threshold=0.5)
        with pytest.raises(UnknownPersonError):
            await client.verify(ADA, person="zebulon-2", model="heads", threshold=0.5)
        await client.remove_person("zebulon", model="heads")
        async with httpx.AsyncClient() as http:
            metrics = (await http.get(f"http://{server.http_address}/metrics")).text
    assert "zebulon" not in caplog.text + metrics
    for method in ("Enroll", "Identify", "Verify", "RemovePerson"):
        assert f'method="{method}",model="heads"' in metrics
