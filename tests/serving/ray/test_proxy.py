"""Our handlers as Ray's proxy treats them: it swaps their behaviours for its own through ``_replace``."""

from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest

from serving.ray.messages import Question
from serving.ray.proxy import OTHER_MACHINES, SERVICES, add_services, add_services_locally, is_local
from serving.wire import STATUS_DETAILS_KEY

PREDICT = "/ocella.v1.Vision/Predict"
LOCAL, AFAR = "ipv4:127.0.0.1:50100", "ipv4:192.0.2.7:50100"


class Context:
    """The part of gRPC's context that a proxy and we use."""

    def __init__(self, peer: str = LOCAL) -> None:
        self._peer, self._code, self.trailing = peer, 0, ()

    def peer(self) -> str:
        return self._peer

    def time_remaining(self) -> float:
        return 2.5

    def invocation_metadata(self) -> tuple[tuple[str, str], ...]:
        return (("key", "value"),)

    def trailing_metadata(self) -> tuple[tuple[str, bytes], ...]:
        return self.trailing

    def code(self) -> Any:
        return self._code

    def set_code(self, code: grpc.StatusCode) -> None:
        self._code = code

    async def abort(self, code: grpc.StatusCode, details: str) -> None:
        self._code = code
        raise RuntimeError(details)


class Proxy:
    """Swaps behaviours as Ray does, and keeps what it was given to take to a replica."""

    def __init__(self) -> None:
        self.handlers: dict[str, Any] = {}
        self.taken: list[Any] = []
        self.answers: list[bytes] = [b"answer"]
        self.code: grpc.StatusCode | None = None

    def add_generic_rpc_handlers(self, handlers: Any) -> None:
        assert len(handlers) == 1

    def add_registered_method_handlers(self, service: str, handlers: dict[str, Any]) -> None:
        for name, handler in handlers.items():
            self.handlers[f"/{service}/{name}"] = handler._replace(
                response_serializer=None,
                unary_unary=self._one,
                unary_stream=self._many,
                stream_unary=None,
                stream_stream=self._both,
            )

    async def _one(self, request: Any, context: Context) -> bytes:
        self.taken.append(request)
        if self.code:
            context.set_code(self.code)
        return self.answers[0]

    async def _many(self, request: Any, context: Context) -> AsyncIterator[bytes]:
        self.taken.append(request)
        for answer in self.answers:
            yield answer
        if self.code:
            context.set_code(self.code)

    async def _both(self, requests: AsyncIterator[Any], _: Context) -> AsyncIterator[bytes]:
        async for request in requests:
            self.taken.append(request)
            yield self.answers[0]


@pytest.fixture
def proxy() -> Proxy:
    proxy = Proxy()
    add_services(None, proxy)
    return proxy


def test_every_method_of_our_services_is_there(proxy: Proxy):
    wanted = {f"/{service.full_name}/{method.name}" for service in SERVICES for method in service.methods}
    assert set(proxy.handlers) == wanted


def test_names_of_methods_are_unlike_each_other_since_ray_looks_for_no_more_than_them():
    names = [method.name for service in SERVICES for method in service.methods]
    assert len(names) == len(set(names))


async def test_a_request_travels_as_bytes_with_the_time_that_is_left(proxy: Proxy):
    answer = await proxy.handlers[PREDICT].unary_unary(b"message", Context())
    assert answer == b"answer"
    assert proxy.taken == [Question(b"message", 2.5, LOCAL, [("key", "value")])]


async def test_requests_of_a_stream_travel_so_too(proxy: Proxy):
    async def requests() -> AsyncIterator[bytes]:
        yield b"one"
        yield b"two"

    handler = proxy.handlers["/ocella.v1.Vision/PredictStream"]
    assert [answer async for answer in handler.stream_stream(requests(), Context())] == [b"answer", b"answer"]
    assert [question.data for question in proxy.taken] == [b"one", b"two"]


async def test_the_empty_answer_beside_a_failure_is_no_answer_of_a_stream(proxy: Proxy):
    proxy.answers = [b"tile", b""]
    handler = proxy.handlers["/ocella.v1.Vision/PredictTiles"]
    assert [answer async for answer in handler.unary_stream(b"message", Context())] == [b"tile"]


async def test_what_ray_calls_internal_may_be_tried_again(proxy: Proxy):
    proxy.code, context = grpc.StatusCode.INTERNAL, Context()
    await proxy.handlers[PREDICT].unary_unary(b"", context)
    assert context.code() is grpc.StatusCode.UNAVAILABLE


async def test_what_our_own_fault_is_stays_internal(proxy: Proxy):
    proxy.code, context = grpc.StatusCode.INTERNAL, Context()
    context.trailing = ((STATUS_DETAILS_KEY, b"details"),)
    await proxy.handlers[PREDICT].unary_unary(b"", context)
    assert context.code() is grpc.StatusCode.INTERNAL


async def test_callers_of_other_machines_are_refused_where_the_server_is_for_this_one():
    proxy, context = Proxy(), Context(AFAR)
    add_services_locally(None, proxy)
    with pytest.raises(RuntimeError, match=OTHER_MACHINES):
        await proxy.handlers[PREDICT].unary_unary(b"", context)
    assert context.code() is grpc.StatusCode.PERMISSION_DENIED
    assert proxy.taken == []
    assert await proxy.handlers[PREDICT].unary_unary(b"", Context(LOCAL)) == b"answer"


@pytest.mark.parametrize(
    ("peer", "local"),
    [
        (LOCAL, True),
        ("ipv4:127.1.2.3:1", True),
        ("ipv6:%5B::1%5D:50100", True),
        ("ipv6:[::1]:50100", True),
        ("ipv6:%5B::ffff:127.0.0.1%5D:50100", True),
        ("unix:/tmp/socket", True),
        (AFAR, False),
        ("ipv6:%5Bfe80::1%25eth0%5D:50100", False),
        ("ipv6:%5B::ffff:192.0.2.7%5D:50100", False),
        ("vsock:3:50100", False),
    ],
)
def test_who_is_on_this_machine(peer: str, local: bool):
    assert is_local(peer) is local
