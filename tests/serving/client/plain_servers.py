"""Servers of ``ocella.v1.Vision`` that answer as a test scripts them, blocking, on free loopback ports."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import grpc

from protos.ocella.v1 import vision_pb2 as pb
from protos.ocella.v1.vision_pb2_grpc import VisionServicer, add_VisionServicer_to_server
from serving.status import failure_of
from serving.wire import STATUS_DETAILS_KEY, write_status_details


class Scripted(VisionServicer):
    """Refuses with each of ``refusals`` once, by turns, then answers with its own name as the model's.

    Attributes:
        calls: how many came.
        metadata: of the last one.
        entered: set when a call has come.
        gate: what each call waits for.
    """

    def __init__(self, name: str = "server", refusals: Sequence[BaseException | grpc.StatusCode] = ()) -> None:
        self.name, self.calls = name, 0
        self.metadata: dict[str, Any] = {}
        self.entered, self.gate = threading.Event(), threading.Event()
        self.gate.set()
        self._refusals = list(refusals)

    def refuse_next(self, why: BaseException | grpc.StatusCode) -> None:
        """Refuse one more call, after those that are to be refused already."""
        self._refusals.append(why)

    def Predict(self, request: pb.PredictRequest, context: grpc.ServicerContext) -> pb.PredictResponse:  # noqa: N802
        self.calls += 1
        self.metadata = dict(context.invocation_metadata())
        self.entered.set()
        self.gate.wait(60)
        if self._refusals:
            refuse(context, self._refusals.pop(0))
        return pb.PredictResponse(model=self.name, id=request.id, classification=pb.Classification())


def refuse(context: grpc.ServicerContext, why: BaseException | grpc.StatusCode) -> None:
    """End a call as our server does, or as gRPC itself where there is only a code."""
    if isinstance(why, grpc.StatusCode):
        context.abort(why, "said the test")
    failure = failure_of(why, request_id="7")
    context.set_trailing_metadata(((STATUS_DETAILS_KEY, write_status_details(failure)),))
    context.abort(failure.status.grpc, failure.message)


@contextmanager
def serving(servicer: Scripted, credentials: grpc.ServerCredentials | None = None) -> Iterator[str]:
    """The address of a server that runs ``servicer``."""
    server = grpc.server(ThreadPoolExecutor(16))
    add_VisionServicer_to_server(servicer, server)
    address = "127.0.0.1:0"
    port = server.add_secure_port(address, credentials) if credentials else server.add_insecure_port(address)
    server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        servicer.gate.set()
        server.stop(None).wait()
