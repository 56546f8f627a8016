import asyncio

import uvloop

from serving import event_loop


def test_a_server_runs_on_uvloop():
    async def kind() -> type[asyncio.AbstractEventLoop]:
        return type(asyncio.get_running_loop())

    assert event_loop.run(kind()) is uvloop.Loop
