"""Computes a content: whatever it causes stays with it; one on which a process died gets a process of its own."""

from __future__ import annotations

from serving.batch.content import Content, Finisher, lasts
from serving.batch.engine import Engine, is_clear
from serving.batch.errors import JobError
from serving.batch.isolation import Isolation
from serving.batch.outcome import Outcome, failure_of
from serving.batch.sandbox import Sandbox


class Computer:
    """Makes outcomes of contents; many at once, see ``Isolation`` for those whose run fails."""

    def __init__(self, engine: Engine, finisher: Finisher, sandbox: Sandbox | None = None) -> None:
        """``sandbox``: where suspects are computed; ``None``: with the others."""
        self._engine = engine
        self._finisher = finisher
        self._sandbox = sandbox
        self._ask = Isolation(self._run, is_clear=is_clear)

    async def __call__(self, content: Content, *, suspect: bool = False) -> Outcome:
        """The outcome of a content, a failure where it fails; raises JobError where the job cannot go on.

        ``suspect``: whether a process ended while it worked on the content.
        """
        try:
            if suspect and self._sandbox:
                return await self._sandbox.compute(content)
            return await self._ask(content)
        except JobError:
            raise
        except Exception as error:  # noqa: BLE001, whatever an image causes stays with it
            return Outcome(sha256=content.sha256, failure=failure_of(error, lasting=lasts(error)))

    async def _run(self, content: Content) -> Outcome:
        def finish(*answer: object) -> Outcome:
            return self._finisher.finish(content, *answer)  # type: ignore[arg-type]

        return await self._engine.answer(content.data, finish)
