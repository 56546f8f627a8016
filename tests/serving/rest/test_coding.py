import gzip
import tracemalloc
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.errors import InvalidRequestError
from serving.rest.coding import CODINGS, pack, unpack
from serving.rest.errors import RequestTooLargeError

MIB = 1 << 20


@given(st.lists(st.binary(max_size=2000), max_size=5), st.sampled_from(sorted(CODINGS)))
def test_what_is_packed_is_unpacked(parts: list[bytes], coding: str):
    whole = b"".join(parts)
    assert unpack(pack(parts, coding), coding, limit=len(whole)) == whole


@pytest.mark.parametrize("coding", CODINGS)
def test_one_byte_beyond_the_limit_is_refused(coding: str):
    packed = pack([b"x" * 5000], coding)
    assert len(unpack(packed, coding, limit=5000)) == 5000
    with pytest.raises(RequestTooLargeError, match="at most 4,999 bytes"):
        unpack(packed, coding, limit=4999)


@pytest.mark.parametrize("coding", CODINGS)
def test_a_bomb_is_never_unpacked_beyond_its_limit(coding: str):
    bomb = pack([bytes(MIB)] * 200, coding)
    assert len(bomb) < MIB
    tracemalloc.start()
    with pytest.raises(RequestTooLargeError):
        unpack(bomb, coding, limit=4 * MIB)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 * MIB  # the limit, one step of 1 MiB beyond it, and zlib's own windows


def test_gzip_files_in_a_row_are_one_body():
    assert unpack(gzip.compress(b"one") + gzip.compress(b"two"), "gzip", limit=6) == b"onetwo"


def test_many_gzip_files_in_a_row_share_one_limit():
    with pytest.raises(RequestTooLargeError):
        unpack(gzip.compress(b"x" * 100) * 11, "gzip", limit=1000)


@pytest.mark.parametrize(
    ("data", "coding", "said"),
    [
        (b"plain", "gzip", "must be gzip"),
        (b"plain", "deflate", "must be deflate"),
        (gzip.compress(b"x" * 100)[:-9], "gzip", "ends before its end"),
        (zlib.compress(b"x" * 100)[:-5], "deflate", "ends before its end"),
        (zlib.compress(b"x") + b"more", "deflate", "4 bytes follow"),
        (gzip.compress(b"x") + b"more", "gzip", "must be gzip"),
        (zlib.compress(b"x"), "gzip", "must be gzip"),
    ],
)
def test_damaged_bodies_are_refused(data: bytes, coding: str, said: str):
    with pytest.raises(InvalidRequestError, match=said):
        unpack(data, coding, limit=1000)


@given(st.binary(max_size=200), st.sampled_from(sorted(CODINGS)))
def test_any_bytes_are_unpacked_or_refused(data: bytes, coding: str):
    try:
        unpacked = unpack(data, coding, limit=100)
    except (InvalidRequestError, RequestTooLargeError):
        unpacked = b""
    assert len(unpacked) <= 100
