"""Many calls at once, answers in order."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from typing import Any, TypeVar

from pipelines.errors import InvalidRequestError

Q = TypeVar("Q")
A = TypeVar("A")
DEFAULT_CONCURRENCY = 8
MAX_CONCURRENCY = 256


def check_concurrency(concurrency: int) -> int:
    """The number as it came; raises InvalidRequestError."""
    if not isinstance(concurrency, int) or not 1 <= concurrency <= MAX_CONCURRENCY:
        raise InvalidRequestError(f"concurrency must be from 1 to {MAX_CONCURRENCY}, got {concurrency!r}")
    return concurrency


def in_order(work: Callable[[Q], A], items: Iterable[Q], *, concurrency: int) -> Iterator[A]:
    """``map(work, items)`` on threads, at most ``concurrency`` at once and as many ahead of what was taken.

    Items are taken on the caller's own thread, when it asks for an answer. What taking one raises is raised after the
    answers to the items before it; what ``work`` raises is raised in the answer's place and ends the iteration.
    """
    source, raised, ended = iter(items), None, False
    waiting: deque[Future[A]] = deque()
    threads = ThreadPoolExecutor(check_concurrency(concurrency), thread_name_prefix="ocella-client")
    try:
        while True:
            # An answer that is there is handed out before a slow source is asked again.
            while not ended and len(waiting) < concurrency and not (waiting and waiting[0].done()):
                try:
                    item = next(source)
                except StopIteration:
                    ended = True
                except Exception as error:  # noqa: BLE001, raised again once the answers are through
                    ended, raised = True, error
                else:
                    waiting.append(threads.submit(copy_context().run, work, item))
            if not waiting:
                break
            yield waiting.popleft().result()
    finally:
        threads.shutdown(wait=False, cancel_futures=True)  # calls under way end by their own deadlines
    if raised:
        raise raised


async def in_order_async(
    work: Callable[[Q], Awaitable[A]], items: AsyncIterable[Q], *, concurrency: int
) -> AsyncIterator[A]:
    """``in_order`` on the event loop; calls under way are cancelled where the iteration is left."""
    check_concurrency(concurrency)
    source, raised = aiter(items), None
    waiting: deque[asyncio.Future[A]] = deque()
    taking: asyncio.Future[Q] | None = asyncio.ensure_future(anext(source))
    try:
        while waiting or taking:
            room = taking is not None and len(waiting) < concurrency
            pending = [each for each in (waiting[0] if waiting else None, taking if room else None) if each]
            await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
            if waiting and waiting[0].done():
                yield waiting.popleft().result()
            elif taking is not None:
                try:
                    waiting.append(asyncio.ensure_future(work(taking.result())))
                except StopAsyncIteration:
                    taking = None
                except Exception as error:  # noqa: BLE001, raised again once the answers are through
                    taking, raised = None, error
                else:
                    taking = asyncio.ensure_future(anext(source))
    finally:
        left: list[asyncio.Future[Any]] = [*waiting, *([taking] if taking else [])]
        for each in left:
            each.cancel()
        await asyncio.gather(*left, return_exceptions=True)
    if raised:
        raise raised
