"""Registered regions of POSIX shared memory, read and written with bounds that hold whatever their owner does."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pipelines.errors import InvalidRequestError
from serving.oip.requests import Placement

FOLDER = Path("/dev/shm")
MAX_REGIONS = 256
MAX_NAME = 255
# What shm_open takes for portable programs: one name, at most one slash, in front.
_KEY = re.compile(r"/?[A-Za-z0-9._-]{1,255}")


@dataclass(frozen=True)
class Region:
    """A part of one shared object.

    Attributes:
        name: what requests call it.
        key: of the object.
        offset: bytes into the object.
        byte_size: of the region.
    """

    name: str
    key: str
    offset: int
    byte_size: int


class SharedMemory:
    """The regions that clients registered; whoever made it ends with ``unregister_all``.

    Contents are copied through the object's descriptor, never mapped: an owner that shrinks a mapped object ends with
    SIGBUS every process that touches it.
    """

    def __init__(self, *, folder: Path = FOLDER) -> None:
        """``folder`` is where the system keeps its shared objects."""
        self._folder = folder
        self._open: dict[str, tuple[Region, int]] = {}

    def register(self, region: Region) -> None:
        """Know a region from now on; raises InvalidRequestError where it is not a part of a shared object."""
        if not 1 <= len(region.name) <= MAX_NAME:
            raise InvalidRequestError(f"a region's name must have 1 to {MAX_NAME} characters, got {len(region.name)}")
        if region.name in self._open:
            raise InvalidRequestError(f"region {region.name!r} must be registered once, it is")
        if len(self._open) >= MAX_REGIONS:
            raise InvalidRequestError(f"at most {MAX_REGIONS} regions may be registered, so many are")
        if not region.byte_size:
            raise InvalidRequestError(f"region {region.name!r} must have one byte or more, got 0")
        descriptor = self._open_object(region.key)
        size = os.fstat(descriptor).st_size
        if region.offset + region.byte_size > size:
            os.close(descriptor)
            raise InvalidRequestError(
                f"region {region.name!r} must end within the {size} bytes of its object, "
                f"got {region.offset} + {region.byte_size}"
            )
        self._open[region.name] = (region, descriptor)

    def unregister(self, name: str) -> None:
        """Forget a region; one that is not known is forgotten already."""
        known = self._open.pop(name, None)
        if known:
            os.close(known[1])

    def unregister_all(self) -> None:
        """Forget every region."""
        for name in tuple(self._open):
            self.unregister(name)

    def regions(self) -> Mapping[str, Region]:
        """The registered regions by name."""
        return {name: region for name, (region, _) in self._open.items()}

    def read(self, placement: Placement) -> bytes:
        """Copy a part of a region; raises InvalidRequestError where it is not inside."""
        start, descriptor = self._locate(placement)
        data = b""
        while len(data) < placement.byte_size:
            more = os.pread(descriptor, placement.byte_size - len(data), start + len(data))
            if not more:
                raise InvalidRequestError(f"the object of region {placement.region!r} has become too small")
            data += more
        return data

    def write(self, placement: Placement, data: bytes | memoryview) -> None:
        """Copy contents into a region; raises InvalidRequestError where they do not fit inside."""
        start, descriptor = self._locate(placement)
        if len(data) > placement.byte_size:
            raise InvalidRequestError(
                f"an output of {len(data)} bytes must fit into the {placement.byte_size} of region "
                f"{placement.region!r} that the request names"
            )
        if os.fstat(descriptor).st_size < start + len(data):  # a write would make the object larger
            raise InvalidRequestError(f"the object of region {placement.region!r} has become too small")
        view = memoryview(data)
        while view:
            written = os.pwrite(descriptor, view, start)
            view, start = view[written:], start + written

    def _locate(self, placement: Placement) -> tuple[int, int]:
        """Where in which open object a part of a region begins."""
        if placement.region not in self._open:
            raise InvalidRequestError(f"region {placement.region[:64]!r} must be registered before it is used")
        region, descriptor = self._open[placement.region]
        if placement.offset + placement.byte_size > region.byte_size:
            raise InvalidRequestError(
                f"a tensor must end within the {region.byte_size} bytes of region {region.name!r}, "
                f"got {placement.offset} + {placement.byte_size}"
            )
        return region.offset + placement.offset, descriptor

    def _open_object(self, key: str) -> int:
        """A descriptor of an existing shared object."""
        name = key.removeprefix("/")
        if not _KEY.fullmatch(key) or name in (".", ".."):
            raise InvalidRequestError(
                "a shared object's key must be one name of letters, digits, '.', '_' and '-', '/' only in front, "
                f"got {key[:64]!r}"
            )
        try:
            descriptor = os.open(self._folder / name, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError as error:
            raise InvalidRequestError(f"shared object {key!r} cannot be opened: {error.strerror}") from error
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise InvalidRequestError(f"{key!r} must be a shared object, it is another kind of file")
        return descriptor
