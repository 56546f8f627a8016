import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.rest.negotiate import choose_coding, choose_media_type

OFFERED = ("application/json", "image/png")


@pytest.mark.parametrize(
    ("accept", "chosen"),
    [
        ("", "application/json"),
        ("*/*", "application/json"),
        ("image/png", "image/png"),
        ("image/*", "image/png"),
        ("IMAGE/PNG", "image/png"),
        ("application/json, image/png", "application/json"),
        ("application/json;q=0.5, image/png", "image/png"),
        ("application/json;q=0.5, image/png;q=0.4", "application/json"),
        ("image/png;q=0.1, */*;q=0.2", "application/json"),
        ("image/png;q=0, image/*", None),  # the more specific range decides
        ("*/*, application/json;q=0", "image/png"),
        ("text/html", None),
        ("text/html, */*;q=0.1", "application/json"),
        ("image/png;q=x", None),
        ("image/png;q=nan", None),
        ("image/png;q=2", None),
        ("image/png;version=1;q=0.3", "image/png"),
        (";;,,;q=1", None),
    ],
)
def test_quality_decides_and_then_our_order(accept: str, chosen: str | None):
    assert choose_media_type(accept, OFFERED) == chosen


@pytest.mark.parametrize(
    ("header", "chosen"),
    [
        ("", None),
        ("gzip", "gzip"),
        ("deflate", "deflate"),
        ("gzip, deflate, br", "gzip"),
        ("gzip;q=0.5, deflate", "deflate"),
        ("gzip;q=0", None),
        ("*", "gzip"),
        ("gzip;q=0, *", "deflate"),
        ("br", None),
        ("identity, gzip;q=0.5", None),
        ("identity;q=0.5, gzip", "gzip"),
    ],
)
def test_a_coding_is_used_where_the_client_likes_it_best(header: str, chosen: str | None):
    assert choose_coding(header, ("gzip", "deflate")) == chosen


@given(st.text(max_size=60))
def test_any_header_is_answered(header: str):
    assert choose_media_type(header, OFFERED) in (None, *OFFERED)
    assert choose_coding(header, ("gzip",)) in (None, "gzip")
