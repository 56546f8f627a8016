"""One image through every way in: the same numbers, to the bit."""

import base64
import json

import grpc
import httpx
import pytest

from pipelines.present import to_json
from protos.oip import infer_pb2 as pb
from protos.oip.service_pb2_grpc import GRPCInferenceServiceStub
from serving.app import ListeningServer
from serving.client import VisionClient
from tests.serving.servers import PATIENCE_S, Offline


@pytest.mark.parametrize("model", ["classes", "things", "masks", "vectors"])
def test_an_image_gives_the_same_numbers_through_every_transport_and_offline(
    http: httpx.Client,
    blocking_client: VisionClient,
    shared_server: ListeningServer,
    offline: Offline,
    photos: list[bytes],
    model: str,
):
    with grpc.insecure_channel(shared_server.grpc_address) as channel:
        stub = GRPCInferenceServiceStub(channel)
        for photo in photos:
            expected = to_json(offline(model, photo))
            assert to_json(blocking_client.predict(model, photo).result) == expected
            asked = pb.ModelInferRequest(model_name=model, outputs=[{"name": "result"}])
            asked.inputs.add(name="image", datatype="BYTES", shape=[1]).contents.bytes_contents.append(photo)
            answer = stub.ModelInfer(asked, timeout=PATIENCE_S)
            assert json.loads(answer.raw_output_contents[0][4:]) == expected
            given = {"name": "image", "datatype": "BYTES", "shape": [1], "data": [base64.b64encode(photo).decode()]}
            rest = http.post(
                f"/v2/models/{model}/infer", json={"inputs": [given], "outputs": [{"name": "result"}]}
            ).json()
            assert json.loads(rest["outputs"][0]["data"][0]) == expected
            (prediction,) = http.post(f"/v1/models/{model}:predict", content=photo).json()["predictions"]
            assert prediction["result"] == expected
