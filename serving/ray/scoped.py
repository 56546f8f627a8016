"""How what Ray builds logs, and how it ends in order: Ray awaits what ``__del__`` returns, once nothing is inside."""

from __future__ import annotations

import logging
from collections.abc import Awaitable
from contextlib import AsyncExitStack

from serving.settings import Settings


class Scoped:
    """Holds what must be ended; a subclass puts it into ``_scope`` once all of it has begun."""

    _scope: AsyncExitStack | None = None

    async def close(self) -> None:
        """End it, once."""
        scope, self._scope = self._scope, None
        if scope is not None:
            await scope.aclose()

    def __del__(self) -> Awaitable[None] | None:
        return self.close() if self._scope is not None else None


def log_to_stderr(settings: Settings) -> None:
    """Write lines for people: Ray gives them the name of their process, and hands them to whoever began the cluster."""
    logging.basicConfig(format="%(levelname)s %(name)s: %(message)s", level=settings.log_level.upper())
