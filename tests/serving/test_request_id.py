import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.request_id import accepted, fresh_id, is_valid


def test_a_fresh_id_is_valid_and_nobodys_else():
    ids = {fresh_id() for _ in range(100)}
    assert len(ids) == 100
    assert all(map(is_valid, ids))


@pytest.mark.parametrize("text", ["7", "order 66", "x" * 128, '~!@#$%^&*()_+{}|:"<>?'])
def test_a_callers_printable_id_is_kept(text: str):
    assert accepted(text) == text


@pytest.mark.parametrize("text", [None, "", " 7", "7 ", "x" * 129, "a\nb", "a\x00", "\x7f", "größe", "a\r\nx: y"])
def test_what_no_log_line_should_hold_is_replaced(text: str | None):
    got = accepted(text)
    assert got != text
    assert is_valid(got)


@given(st.text(max_size=200))
def test_an_accepted_id_is_printable_ascii_of_bounded_length(text: str):
    got = accepted(text)
    assert got.isascii()
    assert got.isprintable()
    assert 1 <= len(got) <= 128
