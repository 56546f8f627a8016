"""A body of ``multipart/form-data`` (RFC 7578) as files and fields, wholly in memory."""

from __future__ import annotations

from dataclasses import dataclass, field

from python_multipart.exceptions import MultipartParseError
from python_multipart.multipart import MultipartParser, parse_options_header

from pipelines.errors import InvalidRequestError

MAX_PARTS = 1100
_MAX_FIELD = 1024


@dataclass(frozen=True)
class Form:
    """What a form holds.

    Attributes:
        files: contents of the parts named as images, in their order.
        fields: name and text of each other part.
    """

    files: tuple[bytes, ...]
    fields: tuple[tuple[str, str], ...]


@dataclass
class _Part:
    header: bytes = b""
    headers: dict[bytes, bytes] = field(default_factory=dict)
    value: bytes = b""
    data: list[bytes] = field(default_factory=list)


class _Reader:
    """Collects parts; its methods are the parser's callbacks."""

    def __init__(self) -> None:
        self.parts: list[_Part] = []
        self.is_whole = False

    def on_part_begin(self) -> None:
        if len(self.parts) == MAX_PARTS:
            raise InvalidRequestError(f"a form must have at most {MAX_PARTS} parts, it has more")
        self.parts.append(_Part())

    def on_header_field(self, data: bytes, start: int, end: int) -> None:
        self.parts[-1].header += data[start:end]

    def on_header_value(self, data: bytes, start: int, end: int) -> None:
        self.parts[-1].value += data[start:end]

    def on_header_end(self) -> None:
        part = self.parts[-1]
        part.headers[part.header.lower()] = part.value
        part.header, part.value = b"", b""

    def on_part_data(self, data: bytes, start: int, end: int) -> None:
        self.parts[-1].data.append(data[start:end])

    def on_end(self) -> None:
        self.is_whole = True


def read_form(body: bytes, content_type: str, *, file_name: str) -> Form:
    """Read a form: parts named ``file_name`` are files, all others fields of text.

    Raises InvalidRequestError where it is damaged, cut off, or a part has no name.
    """
    _, options = parse_options_header(content_type)
    boundary = options.get(b"boundary", b"")
    if not boundary:
        raise InvalidRequestError("content-type of a form must name its boundary, it does not")
    reader = _Reader()
    callbacks = {name: getattr(reader, name) for name in dir(reader) if name.startswith("on_")}
    try:
        parser = MultipartParser(boundary, callbacks)  # type: ignore[arg-type]  # a TypedDict of the same names
        parser.write(body)
        parser.finalize()
    except MultipartParseError as error:
        raise InvalidRequestError(f"the body must be a form as its content-type says: {error}") from error
    if not reader.is_whole:
        raise InvalidRequestError("a form must end with its boundary, this one is cut off")
    return _sort(reader.parts, file_name)


def _sort(parts: list[_Part], file_name: str) -> Form:
    files: list[bytes] = []
    fields: list[tuple[str, str]] = []
    for part in parts:
        _, options = parse_options_header(part.headers.get(b"content-disposition", b""))
        name = options.get(b"name", b"").decode(errors="replace")
        data = b"".join(part.data)
        if not name:
            raise InvalidRequestError("each part of a form must have a name in its content-disposition, one has none")
        if name == file_name:
            files.append(data)
        elif len(data) > _MAX_FIELD:
            raise InvalidRequestError(
                f"images must be parts named {file_name!r}, any other part at most {_MAX_FIELD} bytes: "
                f"{name[:64]!r} has {len(data)}"
            )
        else:
            fields.append((name, data.decode(errors="replace")))
    return Form(tuple(files), tuple(fields))
