"""One way to ask through each API, and the code that comes back."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import grpc
import httpx

from protos.ocella.v1 import vision_pb2, vision_pb2_grpc
from protos.oip import infer_pb2, metadata_pb2, service_pb2_grpc
from serving.app import ListeningServer
from tests.serving.client.certificates import Signed
from tests.serving.servers import PATIENCE_S

HOST = "vision.example"
NO_CONNECTION = "no connection"
MODEL = "classes"


@dataclass(frozen=True, kw_only=True)
class Caller:
    """Who asks.

    Attributes:
        server: that is asked.
        authorization: header values.
        trusts: authority of the server's certificate; ``None``: nothing is encrypted.
        shows: its own certificate.
        expects: the name that the server's certificate must hold.
    """

    server: ListeningServer
    authorization: tuple[str, ...] = ()
    trusts: Path | None = None
    shows: Signed | None = None
    expects: str = HOST

    def bearing(self, *tokens: str) -> Caller:
        """With a token in the header."""
        return replace(self, authorization=tuple(f"Bearer {token}" for token in tokens))

    @property
    def metadata(self) -> Sequence[tuple[str, str]]:
        return [("authorization", value) for value in self.authorization]

    @contextmanager
    def channel(self) -> Any:
        """A gRPC channel of its own connection."""
        options = [("grpc.use_local_subchannel_pool", 1), ("grpc.enable_retries", 0)]
        if self.trusts is None:
            made = grpc.insecure_channel(self.server.grpc_address, options)
        else:
            credentials = grpc.ssl_channel_credentials(
                self.trusts.read_bytes(),
                self.shows.key.read_bytes() if self.shows else None,
                self.shows.certificate.read_bytes() if self.shows else None,
            )
            options += [("grpc.ssl_target_name_override", self.expects)]
            made = grpc.secure_channel(self.server.grpc_address, credentials, options)
        with made as channel:
            yield channel

    def code(self, ask: Callable[[grpc.Channel, Any], Any]) -> str:
        """The code that a call over gRPC ends with; ``ask`` is given a channel and the arguments of a call."""
        error = self._error(ask)
        return str(error.code().name) if error else "OK"

    def words(self, ask: Callable[[grpc.Channel, Any], Any]) -> str:
        """The message that a call over gRPC ends with; empty where it is answered."""
        error = self._error(ask)
        return str(error.details()) if error else ""

    def _error(self, ask: Callable[[grpc.Channel, Any], Any]) -> Any:
        with self.channel() as channel:
            try:
                ask(channel, {"metadata": self.metadata, "timeout": PATIENCE_S})
            except grpc.RpcError as error:
                return error
        return None

    def http(self) -> httpx.Client:
        """A client with connections of its own."""
        headers = [(name.encode(), value.encode()) for name, value in self.metadata]
        address = self.server.http_address
        if self.trusts is None:
            return httpx.Client(base_url=f"http://{address}", headers=headers, trust_env=False, timeout=PATIENCE_S)
        context = ssl.create_default_context(cafile=self.trusts)
        if self.shows:
            context.load_cert_chain(self.shows.certificate, self.shows.key)
        return httpx.Client(
            base_url=f"https://{address}",
            headers=headers,
            verify=context,
            trust_env=False,
            timeout=PATIENCE_S,
            # The address is an IP, the certificate is a host's.
            transport=_Named(verify=context, name=self.expects),
        )

    def status(self, ask: Callable[[httpx.Client], httpx.Response]) -> str:
        """The status that HTTP answers with."""
        with self.http() as client:
            try:
                return str(ask(client).status_code)
            except httpx.TransportError:
                return NO_CONNECTION


class _Named(httpx.HTTPTransport):
    """Asks for the certificate of a name, whatever the address."""

    def __init__(self, *, verify: ssl.SSLContext, name: str) -> None:
        super().__init__(verify=verify, trust_env=False)
        self._name = name

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        request.extensions["sni_hostname"] = self._name
        return super().handle_request(request)


def list_models(channel: grpc.Channel, call: Any) -> Any:
    return vision_pb2_grpc.VisionStub(channel).ListModels(vision_pb2.ListModelsRequest(), **call)


def predict(image: bytes) -> Callable[[grpc.Channel, Any], Any]:
    request = vision_pb2.PredictRequest(model=MODEL, image=image)
    return lambda channel, call: vision_pb2_grpc.VisionStub(channel).Predict(request, **call)


def server_metadata(channel: grpc.Channel, call: Any) -> Any:
    return service_pb2_grpc.GRPCInferenceServiceStub(channel).ServerMetadata(
        metadata_pb2.ServerMetadataRequest(), **call
    )


def infer(request: infer_pb2.ModelInferRequest) -> Callable[[grpc.Channel, Any], Any]:
    return lambda channel, call: service_pb2_grpc.GRPCInferenceServiceStub(channel).ModelInfer(request, **call)


def infer_images(*images: bytes) -> Callable[[grpc.Channel, Any], Any]:
    request = infer_pb2.ModelInferRequest(model_name=MODEL)
    tensor = request.inputs.add(name="image", datatype="BYTES", shape=[len(images)])
    tensor.contents.bytes_contents.extend(images)
    return infer(request)


def get_models(client: httpx.Client) -> httpx.Response:
    return client.get("/v1/models")


def post_image(image: bytes) -> Callable[[httpx.Client], httpx.Response]:
    return lambda client: client.post(f"/v1/models/{MODEL}:predict", content=image)
