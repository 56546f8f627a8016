"""``ocella serve --ray`` on a cluster of one machine: the same answers and codes, whatever becomes of its replicas."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

pytest.importorskip("ray.serve", reason="Ray is not installed: pip install 'ocella[ray]'")

from pipelines.errors import (
    ImageDecodeError,
    InvalidRequestError,
    ModelNotReadyError,
    NotOfferedError,
    OcellaError,
    UnknownModelError,
)
from pipelines.types import identical
from protos.ocella.v1 import vision_pb2
from protos.ocella.v1.vision_pb2_grpc import VisionStub
from protos.oip import infer_pb2, metadata_pb2
from protos.oip.service_pb2_grpc import GRPCInferenceServiceStub
from serving.client import Prediction, Retry, VisionClient
from serving.ray.names import ROUTER, app_of
from serving.ray.proxy import SERVICES
from serving.wire import STATUS_DETAILS_KEY
from tests.builders import classification_head
from tests.corpus import encode
from tests.graphs import classifier_graph
from tests.packages import edit_manifest, make_package
from tests.serving.ray.clusters import Asking, RunningCluster, choose, running_cluster
from tests.serving.ray.slow import slow_graph
from tests.serving.servers import PATIENCE_S, Offline

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("default"),  # what Ray does with sockets, threads and files is Ray's
]
MODELS = ("classes", "things", "masks", "vectors")
DEADLINE_S = 3.0
OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@pytest.fixture(scope="module")
def own_repository(tmp_path_factory: pytest.TempPathFactory, repository: Path) -> Path:
    """Six models that load, one of them twice, and one that does not."""
    root = tmp_path_factory.mktemp("ray") / "repository"
    shutil.copytree(repository, root)
    for model in MODELS:
        choose(root, model, 2 if model == "classes" else 1)
    make_package(root / "lonely" / "1", graph=classifier_graph(), head=classification_head(), name="lonely")
    choose(root, "lonely", 1, most=2)
    make_package(root / "slow" / "1", graph=slow_graph(), head=classification_head(), name="slow")
    choose(root, "slow", 1)
    folder = make_package(root / "broken" / "1", name="broken")
    edit_manifest(folder, lambda raw: raw["labels"].reverse(), reseal=False)
    choose(root, "broken", 1)
    return root


@pytest.fixture(scope="module")
def cluster(own_repository: Path) -> Iterator[RunningCluster]:
    with running_cluster(own_repository) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def client(cluster: RunningCluster) -> Iterator[VisionClient]:
    with VisionClient(cluster.grpc, timeout_s=PATIENCE_S) as client:
        yield client


def get(cluster: RunningCluster, path: str, body: bytes | None = None) -> Any:
    request = urllib.request.Request(f"http://{cluster.http}{path}", body, {"content-type": "image/png"})
    with OPENER.open(request, timeout=PATIENCE_S) as answer:
        return answer.read().decode()


def counted(cluster: RunningCluster, line: str) -> float:
    """What a scrape says of a counter, in sum over the replicas."""
    return sum(float(one.split()[-1]) for one in get(cluster, "/metrics").splitlines() if one.startswith(line))


def wait_for_count(cluster: RunningCluster, line: str, least: float) -> float:
    """What a counter has come to once it is at ``least``; replicas tell of themselves each second."""
    end = time.monotonic() + PATIENCE_S
    while (now := counted(cluster, line)) < least and time.monotonic() < end:
        pass
    return now


@pytest.mark.parametrize("model", MODELS)
def test_answers_equal_the_offline_results_to_the_bit(
    client: VisionClient, offline: Offline, photos: list[bytes], model: str
):
    for image in photos[:4]:
        assert identical(client.predict(model, image).result, offline(model, image))


@pytest.mark.parametrize(
    ("model", "arguments", "error", "said"),
    [
        ("cats", {}, UnknownModelError, "no model is called 'cats'"),
        ("things", {"version": 7}, UnknownModelError, r"version of things must be among \[1\] or 0, got 7"),
        ("classes", {"iou_threshold": 0.5}, InvalidRequestError, "iou_threshold does not apply to classification"),
        ("broken", {}, ModelNotReadyError, "recipe changed"),
    ],
)
def test_errors_keep_their_kind_and_words(
    client: VisionClient,
    photos: list[bytes],
    model: str,
    arguments: dict[str, Any],
    error: type[OcellaError],
    said: str,
):
    with pytest.raises(error, match=said):
        client.predict(model, photos[0], **arguments)


def test_what_is_no_image_is_refused_with_code_and_details(cluster: RunningCluster, client: VisionClient):
    with pytest.raises(ImageDecodeError):
        client.predict("classes", b"nothing")
    with grpc.insecure_channel(cluster.grpc) as channel, pytest.raises(grpc.RpcError) as caught:
        channel.unary_unary("/ocella.v1.Vision/Predict")(b"\x0a\x07classes", timeout=PATIENCE_S)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert STATUS_DETAILS_KEY in dict(caught.value.trailing_metadata())


def test_a_stream_is_answered_in_order_with_a_bad_image_in_band(
    client: VisionClient, offline: Offline, photos: list[bytes]
):
    images = [*photos[:3], b"nothing", photos[3]]
    answers = list(client.predict_stream("classes", images))
    assert [type(answer) for answer in answers] == [Prediction, Prediction, Prediction, ImageDecodeError, Prediction]
    for image, answer in zip(images, answers, strict=True):
        assert isinstance(answer, ImageDecodeError) or identical(answer.result, offline("classes", image))


def test_tiles_come_one_by_one_and_the_merged_result_last(client: VisionClient, photos: list[bytes]):
    tiles = list(client.predict_tiles("things", photos[4]))
    assert [tile.merged for tile in tiles] == [False] * (len(tiles) - 1) + [True]


def test_the_open_inference_protocol_answers_the_same(cluster: RunningCluster, offline: Offline, photos: list[bytes]):
    with grpc.insecure_channel(cluster.grpc) as channel:
        stub = GRPCInferenceServiceStub(channel)
        request = infer_pb2.ModelInferRequest(model_name="vectors")
        request.inputs.add(name="image", datatype="BYTES", shape=[1])
        request.raw_input_contents.append(len(photos[0]).to_bytes(4, "little") + photos[0])
        answer = stub.ModelInfer(request, timeout=PATIENCE_S)
        names = [output.name for output in answer.outputs]
        assert answer.model_name == "vectors"
        assert answer.raw_output_contents[names.index("embedding")] == offline("vectors", photos[0]).vector.tobytes()
        assert next(iter(stub.ModelStreamInfer(iter([request])))).infer_response.model_name == "vectors"
        assert stub.ServerReady(metadata_pb2.ServerReadyRequest(), timeout=PATIENCE_S).ready
        assert not stub.ModelReady(metadata_pb2.ModelReadyRequest(name="broken"), timeout=PATIENCE_S).ready
        assert stub.ModelMetadata(metadata_pb2.ModelMetadataRequest(name="things"), timeout=PATIENCE_S).inputs


def test_health_knows_which_models_answer(client: VisionClient):
    client.wait_ready()
    client.wait_ready("classes")
    assert not client.is_ready("broken")
    with pytest.raises(UnknownModelError):
        client.is_ready("cats")


def test_models_are_listed_with_why_one_does_not_answer(client: VisionClient):
    known = {status.name: status for status in client.list_models()}
    assert {name for name, status in known.items() if status.ready} == {*MODELS, "lonely", "slow"}
    assert "recipe changed" in known["broken"].reason


def test_reflection_names_the_services(cluster: RunningCluster):
    with grpc.insecure_channel(cluster.grpc) as channel:
        named = set(ProtoReflectionDescriptorDatabase(channel).get_services())
    assert {service.full_name for service in SERVICES} <= named


def test_galleries_of_faces_are_refused_in_one_sentence(client: VisionClient):
    with pytest.raises(NotOfferedError, match="galleries of faces live in one server"):
        client.list_people(model="vectors")


def test_http_has_probes_models_and_predictions(cluster: RunningCluster, photos: list[bytes]):
    assert get(cluster, "/healthz") == "ok\n"
    assert json.loads(get(cluster, "/readyz")) == {"ready": True, "models_ready": 6, "models_not_ready": 1}
    assert len(json.loads(get(cluster, "/v1/models"))["models"]) == 7
    predicted = json.loads(get(cluster, "/v1/models/classes:predict", photos[0]))
    assert predicted["predictions"][0]["result"]["task"] == "classification"


def test_one_scrape_has_the_metrics_of_all_replicas(cluster: RunningCluster, client: VisionClient, photos: list[bytes]):
    line = 'ocella_requests_total{code="OK",method="Predict",model="classes",version="1"}'
    before = counted(cluster, line)
    for _ in range(20):
        client.predict("classes", photos[0])
    assert wait_for_count(cluster, line, before + 20) == before + 20


def test_a_deadline_that_passes_during_the_run_is_told_and_ends_the_run(cluster: RunningCluster, photos: list[bytes]):
    request = vision_pb2.PredictRequest(model="slow", image=encode(np.full((96, 128, 3), 255, np.uint8), "PNG"))
    with grpc.insecure_channel(cluster.grpc) as channel, pytest.raises(grpc.RpcError) as caught:
        VisionStub(channel).Predict(request, timeout=DEADLINE_S)
    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    with VisionClient(cluster.grpc, timeout_s=PATIENCE_S) as client:  # the run would hold the one slot for minutes
        assert client.predict("slow", photos[0]).version == 1
    ended = 'ocella_terminated_runs_total{model="slow",version="1"}'
    assert wait_for_count(cluster, ended, 1) == 1


def test_a_stream_whose_deadline_passes_ends_with_it_and_so_does_its_run(cluster: RunningCluster, photos: list[bytes]):
    slow = vision_pb2.PredictRequest(model="slow", image=encode(np.full((96, 128, 3), 254, np.uint8), "PNG"))
    with grpc.insecure_channel(cluster.grpc) as channel, pytest.raises(grpc.RpcError) as caught:
        list(VisionStub(channel).PredictStream(iter([slow]), timeout=DEADLINE_S))
    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    with VisionClient(cluster.grpc, timeout_s=PATIENCE_S) as client:
        assert client.predict("slow", photos[0]).version == 1


def test_a_replica_that_dies_costs_no_request(cluster: RunningCluster, photos: list[bytes]):
    with Asking(lambda client: client.predict("classes", photos[0]), cluster.grpc) as asking:
        assert len(cluster.replicas_of(app_of("classes"))) == 2
        cluster.kill_one_of(app_of("classes"))
        asking.wait_for_more(30)
    assert asking.errors == []


def test_a_router_that_dies_costs_a_client_that_tries_again_no_request(cluster: RunningCluster, photos: list[bytes]):
    with Asking(lambda client: client.predict("classes", photos[0]), cluster.grpc, retry=Retry()) as asking:
        cluster.kill_one_of(ROUTER)
        asking.wait_for_more(30)
    assert asking.errors == []


def test_replicas_grow_beyond_the_fewest_where_more_is_asked(cluster: RunningCluster, photos: list[bytes]):
    asking = [Asking(lambda client: client.predict("lonely", photos[0]), cluster.grpc) for _ in range(4)]
    end = time.monotonic() + 2 * PATIENCE_S  # Ray looks back on half a minute
    with asking[0], asking[1], asking[2], asking[3]:
        while (count := len(cluster.replicas_of(app_of("lonely")))) < 2 and time.monotonic() < end:
            asking[0].wait_for_more(1)
    assert count == 2
    assert [one.errors for one in asking] == [[]] * 4


def test_the_command_deploys_on_a_cluster_that_is_there_and_leaves_alone_what_did_not_change(
    cluster: RunningCluster, own_repository: Path
):
    before = cluster.replicas_of(app_of("things")).keys()
    command = [sys.executable, "-m", "ocella", "serve", "--ray", "--address", cluster.address]
    done = subprocess.run(
        [*command, "--models", str(own_repository)],
        env={**os.environ, "OCELLA_GRACE_S": str(cluster.settings.grace_s)},
        capture_output=True,
        text=True,
        timeout=3 * PATIENCE_S,
        check=False,
    )
    assert (done.returncode, "Traceback" in done.stderr) == (0, False), done.stderr
    assert re.search(r"^ready: classes 1, lonely 1, masks 1, slow 1, things 1, vectors 1$", done.stdout, re.MULTILINE)
    assert re.search(r"^not ready: broken .*recipe changed", done.stdout, re.MULTILINE)
    assert cluster.replicas_of(app_of("things")).keys() == before


def test_a_new_version_takes_over_without_a_failed_request_and_leaves_the_other_models_alone(
    cluster: RunningCluster, own_repository: Path, photos: list[bytes]
):
    others = cluster.replicas_of(app_of("things")).keys()
    make_package(
        own_repository / "classes" / "2",
        graph=classifier_graph(seed=7),
        head=classification_head(),
        name="classes",
        version=2,
    )
    with Asking(lambda client: client.predict("classes", photos[0]).version, cluster.grpc) as asking:
        status = cluster.deploy()["classes"]
        asking.wait_for_more(5)
    assert asking.errors == []
    assert (status.version, status.ready) == (2, True)
    assert asking.answers[0] == 1
    assert asking.answers[-1] == 2
    assert cluster.replicas_of(app_of("things")).keys() == others


def test_a_model_whose_folder_is_gone_is_not_served_any_more(
    cluster: RunningCluster, client: VisionClient, own_repository: Path, photos: list[bytes]
):
    shutil.rmtree(own_repository / "masks")
    assert "masks" not in cluster.deploy()
    with pytest.raises(UnknownModelError):
        client.predict("masks", photos[0])
