import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.errors import InvalidRequestError
from serving.rest.multipart import MAX_PARTS, Form, read_form


def form_of(*images: bytes, **fields: str) -> tuple[bytes, str]:
    """A body and its content type, as another library writes them."""
    files = [("image", (f"{i}.png", data)) for i, data in enumerate(images)]
    request = httpx.Request("POST", "http://any/", files=files, data=fields)
    return request.read(), request.headers["content-type"]


@given(st.lists(st.binary(max_size=300), min_size=1, max_size=4), st.text("ab =&;\"'", max_size=20))
def test_files_and_fields_come_as_they_were_sent(images: list[bytes], text: str):
    body, content_type = form_of(*images, top_k=text)
    assert read_form(body, content_type, file_name="image") == Form(tuple(images), (("top_k", text),))


def test_a_boundary_inside_an_image_ends_nothing():
    body, content_type = form_of(b"before\r\n--other\r\nafter")
    assert read_form(body, content_type, file_name="image").files == (b"before\r\n--other\r\nafter",)


def test_a_form_without_boundary_is_refused():
    with pytest.raises(InvalidRequestError, match="boundary"):
        read_form(b"", "multipart/form-data", file_name="image")


def test_a_form_that_is_cut_off_is_refused():
    body, content_type = form_of(b"x" * 100)
    for length in (0, 1, len(body) // 2, len(body) - 8):
        with pytest.raises(InvalidRequestError):
            read_form(body[:length], content_type, file_name="image")


def test_a_part_without_name_is_refused():
    with pytest.raises(InvalidRequestError, match="must have a name"):
        read_form(b"--b\r\nx-other: 1\r\n\r\ndata\r\n--b--\r\n", "multipart/form-data; boundary=b", file_name="image")


def test_an_image_under_another_name_is_told_which_name_it_must_have():
    body, content_type = form_of(b"x", photo="y" * 2000)
    with pytest.raises(InvalidRequestError, match="must be parts named 'image'"):
        read_form(body, content_type, file_name="image")


def test_too_many_parts_are_refused():
    body, content_type = form_of(*[b"x"] * (MAX_PARTS + 1))
    with pytest.raises(InvalidRequestError, match=f"at most {MAX_PARTS} parts"):
        read_form(body, content_type, file_name="image")


@given(st.binary(max_size=300), st.text(st.characters(max_codepoint=255), max_size=40))  # headers are Latin-1
def test_any_bytes_are_a_form_or_refused(body: bytes, parameters: str):
    try:
        form = read_form(b"--b\r\n" + body, f"multipart/form-data; boundary=b; {parameters}", file_name="image")
    except InvalidRequestError:
        form = Form((), ())
    assert sum(map(len, form.files)) <= len(body)
