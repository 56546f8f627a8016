"""Channels of the blocking clients: each call on the next server, with a deadline, attempts and errors that say why."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Generic, TypeVar

import grpc

from pipelines.errors import OcellaError, ServiceUnavailableError
from serving.client.balance import Rotation
from serving.client.carried import of_call
from serving.client.channel import OF_CLIENT, Timeout
from serving.client.errors import error_of_call
from serving.client.options import ONCE, ConnectionOptions
from serving.client.retry import Attempts, Deadline, Retry

S = TypeVar("S")


class Connection(Generic[S]):
    """One channel for each server; threads may share it."""

    def __init__(self, options: ConnectionOptions, stubs: Callable[[grpc.Channel], S]) -> None:
        """``stubs`` makes of a channel what calls are made with."""
        self.options = options
        self._closed = threading.Event()
        self._rotation = Rotation(len(options.servers))
        credentials = options.tls.credentials() if options.tls else None
        self._channels = [
            grpc.secure_channel(server, credentials, options=options.channel_options)
            if credentials
            else grpc.insecure_channel(server, options=options.channel_options)
            for server in options.servers
        ]
        self._stubs = [stubs(channel) for channel in self._channels]

    def call(
        self, method: Callable[[S], Any], request: Any, *, timeout_s: Timeout = OF_CLIENT, retry: Retry | None = None
    ) -> Any:
        """Make a call that has one answer.

        Args:
            method: takes a method from the stubs.
            request: its message.
            timeout_s: of all attempts together.
            retry: in the place of the connection's own.
        """
        attempts = Attempts(self._rotation, retry or self.options.retry, self.deadline(timeout_s))
        metadata, request_id = of_call(self.options.metadata)
        while True:
            index, left_s = attempts.begin()
            try:
                response = method(self._stubs[index])(request, timeout=left_s, metadata=metadata)
            except (grpc.RpcError, ValueError) as raw:
                if self._closed.wait(attempts.wait_s(index, *self._named(raw, index, request_id))):
                    raise self._was_closed() from raw
            else:
                attempts.answered(index)
                return response

    @contextmanager
    def stream(
        self, method: Callable[[S], Any], requests: Any, *, timeout_s: Timeout = OF_CLIENT
    ) -> Iterator[tuple[Iterator[Any], str]]:
        """A call that has many answers, on the next server, and its id; it is cancelled where the block is left."""
        attempts = Attempts(self._rotation, ONCE, self.deadline(timeout_s))
        index, left_s = attempts.begin()
        with self._opened(method, requests, index, left_s, attempts) as opened:
            yield opened

    @contextmanager
    def watch(
        self, method: Callable[[S], Any], request: Any, index: int, deadline: Deadline
    ) -> Iterator[Iterator[Any]]:
        """A call that has many answers, on one server, which may still be starting."""
        attempts = Attempts(self._rotation, ONCE, deadline)
        options = {"wait_for_ready": True}
        with self._opened(method, request, index, deadline.left_s(), attempts, **options) as (call, _):
            yield call

    @property
    def is_closed(self) -> bool:
        """Whether ``close`` was called."""
        return self._closed.is_set()

    def deadline(self, timeout_s: Timeout) -> Deadline:
        """Of a call that begins now; raises ServiceUnavailableError where the client is closed."""
        if self.is_closed:
            raise ServiceUnavailableError(f"the client of {self.options.name} is closed")
        return self.options.deadline(timeout_s)

    def close(self) -> None:
        """End all calls, and refuse later ones."""
        self._closed.set()
        for channel in self._channels:
            channel.close()

    @contextmanager
    def _opened(
        self,
        method: Callable[[S], Any],
        requests: Any,
        index: int,
        left_s: float | None,
        attempts: Attempts,
        **options: Any,
    ) -> Iterator[tuple[Iterator[Any], str]]:
        call = None
        metadata, request_id = of_call(self.options.metadata)
        try:
            call = method(self._stubs[index])(requests, timeout=left_s, metadata=metadata, **options)
            yield call, request_id
        except (grpc.RpcError, ValueError) as raw:
            attempts.wait_s(index, *self._named(raw, index, request_id))  # raises: there is one attempt
        finally:
            if call is not None:
                call.cancel()

    def _named(self, raw: Exception, index: int, request_id: str) -> tuple[grpc.StatusCode, OcellaError]:
        """What a failed call is called; gRPC answers a call on a closed channel with a ValueError."""
        if self.is_closed:
            raise self._was_closed() from raw
        if not isinstance(raw, grpc.RpcError):
            raise raw
        error = error_of_call(raw, self.options.servers[index])
        error.request_id = request_id
        return raw.code(), error

    def _was_closed(self) -> OcellaError:
        return ServiceUnavailableError(f"the client of {self.options.name} was closed while the call ran")
