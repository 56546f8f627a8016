import asyncio

import pytest

from serving.security.follow import Follower
from tests.serving.servers import PATIENCE_S


class Counted:
    """Counts the looks at it, and fails at the first."""

    def __init__(self) -> None:
        self.looks = 0
        self.third = asyncio.Event()
        self._loop = asyncio.get_running_loop()

    def refresh(self) -> None:
        self.looks += 1
        if self.looks == 1:
            raise RuntimeError("the disk is gone")
        if self.looks == 3:
            self._loop.call_soon_threadsafe(self.third.set)


async def test_what_is_followed_is_looked_at_again_also_after_a_failure(caplog: pytest.LogCaptureFixture):
    counted = Counted()
    async with Follower([counted], interval_s=0.001), asyncio.timeout(PATIENCE_S):
        await counted.third.wait()
    assert "could not be looked at" in caplog.text
    looks = counted.looks
    await asyncio.to_thread(lambda: None)
    assert counted.looks == looks
