"""What can be wrong with an HTTP request before it is one that any transport could bring."""

from __future__ import annotations

from pipelines.errors import OcellaError


class RequestTooLargeError(OcellaError):
    """The body, packed or unpacked, has more bytes than the limit allows."""


class MediaTypeError(OcellaError):
    """The body comes as a media type, or in a content coding, that the path does not take."""


class NotAcceptableError(OcellaError):
    """None of the media types that the client accepts is one that the path gives."""


class StalledRequestError(OcellaError):
    """The body stopped coming before its end."""
