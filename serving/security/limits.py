"""What one client may do at once and how often: kept by its token's name, or else by its address."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from ipaddress import IPv6Address, ip_address
from urllib.parse import unquote

from pipelines.errors import OverloadedError

# More clients than this are looked through for those that have not asked for long.
_MANY_CLIENTS = 10_000
MAX_UPLOADS = 256
MAX_UPLOAD_BYTES = 512 * 1024 * 1024
# A stream or an upload ends when it ends: there is no time to name, so come again in a second.
_RETRY_S = 1.0


@lru_cache(maxsize=_MANY_CLIENTS)
def address_of(peer: str) -> str:
    """The address of a connection without its port: ``ipv4:10.0.0.1:5555`` is ``10.0.0.1``.

    Of IPv6 the first 64 bits, which one customer has all of. What is no address stays as it is.
    """
    host = unquote(peer).partition(":")[2].rpartition(":")[0].strip("[]").partition("%")[0]
    try:
        address = ip_address(host)
    except ValueError:
        return peer
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped:
            return str(address.ipv4_mapped)
        return str(IPv6Address(int(address) >> 64 << 64))
    return host


class RateLimit:
    """So many requests a second from each client, with a second's worth at once (a token bucket)."""

    def __init__(self, per_s: float, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_s = per_s
        self._step_s = 1.0 / per_s
        self._burst_s = max(1.0, self._step_s)
        self._clock = clock
        # When each client's bucket is full again; a time that has passed says that it is (GCRA, ATM Forum TM 4.0).
        self._full_at: dict[str, float] = {}

    def __len__(self) -> int:
        """Clients that are remembered."""
        return len(self._full_at)

    def take(self, client: str) -> None:
        """Count one request of a client; raises OverloadedError where it asked too often."""
        now = self._clock()
        full_at = max(now, self._full_at.get(client, now)) + self._step_s
        over_s = full_at - now - self._burst_s
        if over_s > 1e-9:  # rounding alone must refuse nobody
            raise OverloadedError(
                f"a client may ask {self._per_s:g} times a second, this one asked more often",
                retry_after_s=over_s,
                reason="rate",
            )
        self._full_at[client] = full_at
        if len(self._full_at) > _MANY_CLIENTS:
            self._full_at = {name: end for name, end in self._full_at.items() if end > now}


class PerClient:
    """Counts what each client has open; one more than ``most`` is refused."""

    def __init__(self, what: str, most: int) -> None:
        """``what``: the plural noun of the message, such as ``streams``."""
        self._what = what
        self._most = most
        self._open: Counter[str] = Counter()

    def __len__(self) -> int:
        """Clients that have something open."""
        return len(self._open)

    def enter(self, client: str) -> None:
        """Count one more until ``leave``; raises OverloadedError where there is no room."""
        if self._open[client] >= self._most:
            raise OverloadedError(
                f"a client may have {self._most} {self._what} open, this one has",
                retry_after_s=_RETRY_S,
                reason=self._what,
            )
        self._open[client] += 1

    def leave(self, client: str) -> None:
        """One less; a client that has none open is forgotten."""
        self._open[client] -= 1
        if not self._open[client]:
            del self._open[client]


class Uploads:
    """Counts the bodies that are on their way in, and the bytes that have come of them."""

    def __init__(self, *, most: int = MAX_UPLOADS, most_bytes: int = MAX_UPLOAD_BYTES) -> None:
        self._most = most
        self._most_bytes = most_bytes
        self._open = 0
        self._bytes = 0

    @contextmanager
    def open(self) -> Iterator[Upload]:
        """Count a body while it comes; raises OverloadedError where too many are open."""
        if self._open >= self._most:
            raise OverloadedError(
                f"at most {self._most} bodies may be on their way at once, so many are",
                retry_after_s=_RETRY_S,
                reason="uploads",
            )
        self._open += 1
        upload = Upload(self)
        try:
            yield upload
        finally:
            self._open -= 1
            self._bytes -= upload.size

    def add(self, size: int) -> None:
        """Count bytes that came; raises OverloadedError where the bodies on their way hold too many."""
        if self._bytes + size > self._most_bytes:
            raise OverloadedError(
                f"bodies on their way may hold {self._most_bytes:,} bytes, they hold {self._bytes:,}",
                retry_after_s=_RETRY_S,
                reason="upload_bytes",
            )
        self._bytes += size


class Upload:
    """One body on its way; ``size`` is what came of it."""

    def __init__(self, uploads: Uploads) -> None:
        self.size = 0
        self._uploads = uploads

    def grow(self, size: int) -> None:
        """More of it came; raises OverloadedError."""
        self._uploads.add(size)
        self.size += size
