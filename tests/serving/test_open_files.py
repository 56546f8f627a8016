import asyncio
import json
import logging
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from serving.app import listening
from serving.open_files import OWN_FILES, promised_files
from serving.settings import Settings
from tests.serving.servers import settings_for

RAISE = """
import json, resource, sys
from serving.open_files import raise_open_files
resource.setrlimit(resource.RLIMIT_NOFILE, (int(sys.argv[1]), int(sys.argv[2])))
warning = raise_open_files(int(sys.argv[3]))
print(json.dumps([warning, *resource.getrlimit(resource.RLIMIT_NOFILE)]))
"""


def raised(soft: int, hard: int, promised: int) -> list[str | int | None]:
    """The warning and the limits afterwards, in a process of its own: a hard limit never rises again."""
    words = [sys.executable, "-c", RAISE, *map(str, (soft, hard, promised))]
    answer: list[str | int | None] = json.loads(
        subprocess.run(words, check=True, capture_output=True, text=True).stdout
    )
    return answer


def test_connections_of_grpc_and_of_one_address_are_promised():
    assert promised_files(Settings(max_grpc_connections=10, max_connections=5)) == 15 + OWN_FILES


def test_the_soft_limit_rises_to_the_hard_one():
    assert raised(256, 2000, promised=1500) == [None, 2000, 2000]


def test_a_hard_limit_below_what_is_promised_is_warned_of():
    warning, *limits = raised(256, 600, promised=1500)
    assert str(warning).startswith("600 files may be open at once, the limits of connections promise 1500: raise ")
    assert limits == [600, 600]


def test_a_limit_that_suffices_stays():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert raised(soft, soft, promised=soft) == [None, soft, soft]
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == (soft, hard)


def test_a_server_whose_limits_promise_more_than_the_system_warns_at_its_start(
    folders: dict[str, Path], caplog: pytest.LogCaptureFixture
):
    async def start() -> None:
        async with listening(settings_for(folders["classes"].parent, max_grpc_connections=2_000_000_000)):
            pass

    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        asyncio.run(start())
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert any("the limits of connections promise 2000000768" in line for line in warnings)
