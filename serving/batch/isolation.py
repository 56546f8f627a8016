"""Finding the image at fault when a run fails: halving the images that failed until each is judged alone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Generic, TypeVar

from serving.batch.errors import JobError

T = TypeVar("T")
R = TypeVar("R")


class Gate:
    """Many may be inside together, or one alone; who wants to be alone keeps out who comes later."""

    def __init__(self) -> None:
        self._inside = 0
        self._open, self._empty = asyncio.Event(), asyncio.Event()
        self._open.set()
        self._empty.set()

    @asynccontextmanager
    async def together(self) -> AsyncIterator[None]:
        """Be inside with others."""
        while not self._open.is_set():
            await self._open.wait()
        self._inside += 1
        self._empty.clear()
        try:
            yield
        finally:
            self._inside -= 1
            if not self._inside:
                self._empty.set()

    @asynccontextmanager
    async def alone(self) -> AsyncIterator[None]:
        """Be inside with nobody else; of one at a time."""
        self._open.clear()
        try:
            await self._empty.wait()
            yield
        finally:
            self._open.set()


@dataclass(frozen=True, eq=False)
class _Suspect(Generic[T, R]):
    item: T
    verdict: asyncio.Future[R]


class Isolation(Generic[T, R]):
    """Asks for each item; where asking fails, finds out which of the items that ran together is at fault.

    A batch that fails fails all of its rows with one error. Once nothing else runs, those that failed are asked again
    in halves, and the halves that fail in halves again: with one bad image among n, about 2 log2(n) runs. An item is
    judged only by an error that it causes alone.
    """

    def __init__(self, ask: Callable[[T], Awaitable[R]], *, is_clear: Callable[[Exception], bool]) -> None:
        """``is_clear``: whether an error is surely its item's own, or the whole job's, and needs no second try."""
        self._ask = ask
        self._is_clear = is_clear
        self._gate = Gate()
        self._suspects: list[_Suspect[T, R]] = []

    async def __call__(self, item: T) -> R:
        """The answer for an item; raises the error that it causes alone."""
        try:
            async with self._gate.together():
                return await self._ask(item)
        except Exception as error:
            if self._is_clear(error):
                raise
        suspect = _Suspect[T, R](item, asyncio.get_running_loop().create_future())
        self._suspects.append(suspect)
        if len(self._suspects) == 1:  # the first looks for all that fail until it is alone
            await self._examine()
        return await suspect.verdict

    async def _examine(self) -> None:
        async with self._gate.alone():
            suspects, self._suspects = self._suspects, []
            try:
                await self._halve(suspects)
            except Exception as error:  # the job cannot go on: nobody is to wait for a verdict
                for suspect in suspects:
                    if not suspect.verdict.done():
                        suspect.verdict.set_exception(error)
                        suspect.verdict.exception()  # seen, should its waiter be gone
                raise

    async def _halve(self, suspects: list[_Suspect[T, R]]) -> None:
        middle = max(1, len(suspects) // 2)
        for half in (suspects[:middle], suspects[middle:]):
            answers = await asyncio.gather(*(self._ask(one.item) for one in half), return_exceptions=True)
            failed = []
            for one, answer in zip(half, answers, strict=True):
                if not isinstance(answer, BaseException):
                    one.verdict.set_result(answer)
                elif isinstance(answer, JobError) or not isinstance(answer, Exception):
                    raise answer
                elif len(half) == 1 or self._is_clear(answer):
                    one.verdict.set_exception(answer)
                else:
                    failed.append(one)
            if failed:
                await self._halve(failed)
