import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.errors import InvalidRequestError, OcellaError
from serving.app import ListeningServer
from serving.client import AsyncVisionClient, VisionClient, carrying
from serving.request_id import is_valid
from tests.serving.client.plain_servers import Scripted, serving

PARENT = f"00-{'a1' * 16}-{'b2' * 8}-01"


def test_each_call_carries_an_id_of_its_own():
    servicer, seen = Scripted(), set()
    with serving(servicer) as address, VisionClient(address) as client:
        for _ in range(3):
            client.predict("cats", b"")
            seen.add(servicer.metadata["x-request-id"])
    assert len(seen) == 3
    assert all(map(is_valid, seen))


def test_calls_carry_the_callers_id_and_trace():
    servicer = Scripted()
    with serving(servicer) as address, VisionClient(address) as client:
        with carrying(request_id="order 66", traceparent=PARENT, tracestate="shop=1"):
            client.predict("cats", b"")
        carried = servicer.metadata
        client.predict("cats", b"")
    assert (carried["x-request-id"], carried["traceparent"], carried["tracestate"]) == ("order 66", PARENT, "shop=1")
    assert "traceparent" not in servicer.metadata


def test_calls_on_the_threads_of_many_carry_them_too():
    servicer = Scripted()
    with serving(servicer) as address, VisionClient(address) as client, carrying(request_id="all of them"):
        assert len(list(client.predict_many("cats", [b""] * 3, concurrency=2))) == 3
    assert servicer.metadata["x-request-id"] == "all of them"


def test_another_trace_takes_the_place_of_all_of_the_one_before():
    servicer = Scripted()
    other = PARENT.replace("a1", "c3")
    with (
        serving(servicer) as address,
        VisionClient(address) as client,
        carrying(request_id="7", traceparent=PARENT, tracestate="shop=1"),
        carrying(traceparent=other),
    ):
        client.predict("cats", b"")
    assert (servicer.metadata["x-request-id"], servicer.metadata["traceparent"]) == ("7", other)
    assert "tracestate" not in servicer.metadata


def test_an_error_names_the_id_that_the_server_was_told():
    servicer = Scripted(refusals=[grpc.StatusCode.INVALID_ARGUMENT])
    with serving(servicer) as address, VisionClient(address) as client, pytest.raises(OcellaError) as caught:
        client.predict("cats", b"")
    assert caught.value.request_id == servicer.metadata["x-request-id"]


async def test_an_error_of_the_asyncio_client_names_its_id(server: ListeningServer):
    async with AsyncVisionClient(server.grpc_address, timeout_s=60) as client:
        with carrying(request_id="order 66"), pytest.raises(OcellaError) as caught:
            await client.predict("no such model", b"")
    assert caught.value.request_id == "order 66"


async def test_errors_in_band_of_a_stream_name_the_streams_id(server: ListeningServer):
    async with AsyncVisionClient(server.grpc_address, timeout_s=60) as client:
        with carrying(request_id="order 66"):
            errors = [error async for error in client.predict_stream("classes", [b"bad", b"worse"])]
    assert [getattr(error, "request_id", None) for error in errors] == ["order 66"] * 2


def test_errors_in_band_of_a_blocking_clients_stream_name_its_id(blocking_client: VisionClient):
    with carrying(request_id="order 66"):
        (error,) = blocking_client.predict_stream("classes", [b"bad"])
    assert isinstance(error, OcellaError)
    assert error.request_id == "order 66"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"request_id": ""}, "request-id must match"),
        ({"request_id": "a\nb"}, "request-id must match"),
        ({"request_id": "é"}, "request-id must match"),
        ({"request_id": "x" * 129}, "request-id must match"),
        ({"traceparent": "00-1-2-3"}, "traceparent must match"),
        ({"traceparent": PARENT, "tracestate": "\n"}, "tracestate must match"),
        ({"tracestate": "shop=1"}, "tracestate must come with traceparent"),
    ],
)
def test_what_no_server_would_take_is_refused_before_any_call(given: dict[str, str], said: str):
    with pytest.raises(InvalidRequestError, match=said), carrying(**given):
        pass


@given(st.text(st.characters(max_codepoint=0x17F), min_size=1, max_size=140))
def test_client_and_server_agree_on_what_an_id_is(text: str):
    try:
        with carrying(request_id=text):
            taken = True
    except InvalidRequestError:
        taken = False
    assert taken == is_valid(text)
