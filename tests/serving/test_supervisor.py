"""What ``--processes`` tells of its processes, and when it starts them; stand-ins take the place of real servers."""

import asyncio
import os
import re
import signal
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from serving.member import ALL, ask
from serving.processes import Supervisor
from serving.snapshot import Snapshot
from tests.serving import stand_in
from tests.serving.servers import PATIENCE_S, settings_for

PID = re.compile(r"process (\d+) \(pid (\d+)\)")


@dataclass(frozen=True)
class Supervised:
    """Stand-ins under a supervisor.

    Attributes:
        folder: where they tell of themselves.
        said: lines that the supervisor announced.
        stop: ends it.
        task: runs it.
    """

    folder: Path
    said: "asyncio.Queue[str]"
    stop: asyncio.Event
    task: "asyncio.Task[None]"

    def count(self, member: int, requests: str) -> None:
        """Let a member tell of so many requests, or pause."""
        target = self.folder / "counts" / str(member)
        target.with_suffix(".new").write_text(requests)
        target.with_suffix(".new").rename(target)

    async def heard(self, words: str) -> str:
        """The next line that holds these words."""
        async with asyncio.timeout(PATIENCE_S):
            while words not in (line := await self.said.get()):
                pass
        return line

    async def told(self) -> tuple[Snapshot, dict[str, float]]:
        """All processes as one, and their metrics by name."""
        told = await ask(self.folder / ALL, timeout_s=PATIENCE_S)
        lines = [line for line in told.metrics.splitlines() if not line.startswith("#")]
        return told, {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}

    @property
    def starts(self) -> int:
        return len((self.folder / "started").read_text().splitlines())


@pytest.fixture
def stand_ins(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Let supervisors start stand-ins."""
    program = tmp_path / "python"
    program.write_text(
        f"#!{sys.executable}\nimport runpy\nrunpy.run_path({stand_in.__file__!r}, run_name='__main__')\n"
    )
    program.chmod(0o700)
    monkeypatch.setattr("serving.processes.sys.executable", str(program))


@asynccontextmanager
async def supervised(processes: int) -> AsyncIterator[tuple[Supervised, list[int]]]:
    """A supervisor whose stand-ins are all ready, and their process ids by member."""
    said: asyncio.Queue[str] = asyncio.Queue()
    stop = asyncio.Event()
    with tempfile.TemporaryDirectory() as name:  # short: the path of a socket has 108 characters at most
        folder = Path(name)
        (folder / "counts").mkdir()
        settings = settings_for(folder, processes=processes, member_of=folder)
        task = asyncio.create_task(Supervisor(settings, folder, said.put_nowait).run(stop))
        running = Supervised(folder, said, stop, task)
        for member in range(processes):
            running.count(member, "1")
        try:
            lines = [await running.heard("process ") for _ in range(2 * processes)]
            pids = dict(sorted(match.groups() for line in lines if (match := PID.match(line))))
            assert [line.partition(": ")[2] for line in lines].count("ready: nothing") == processes
            yield running, [int(pid) for pid in pids.values()]
        finally:
            stop.set()
            await asyncio.wait_for(task, PATIENCE_S)


@pytest.mark.usefixtures("stand_ins")
async def test_what_a_silent_process_had_counted_stays_in_the_sums(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("serving.processes._ASK_S", 0.5)
    async with supervised(2) as (running, _):
        running.count(0, "5")
        running.count(1, "7")
        all_told, metrics = await running.told()
        assert all_told.ready
        assert (metrics["ocella_requests_total"], metrics["ocella_processes"]) == (12, 2)
        running.count(1, stand_in.PAUSED)
        running.count(0, "6")
        one_told, metrics = await running.told()
        assert not one_told.ready
        assert (metrics["ocella_requests_total"], metrics["ocella_processes"]) == (13, 1)
        running.count(1, "8")
        _, metrics = await running.told()
        assert metrics["ocella_requests_total"] == 14


@pytest.mark.usefixtures("stand_ins")
async def test_starts_of_a_process_that_ends_again_and_again_are_counted_and_its_counts_are_kept_once():
    async with supervised(2) as (running, pids):
        running.count(0, "5")
        running.count(1, "7")
        await running.told()
        pid = pids[1]
        for _ in range(2):
            os.kill(pid, signal.SIGKILL)
            match = PID.match(await running.heard("process 1 (pid "))
            assert match
            pid = int(match[2])
        running.count(1, "1")
        _, metrics = await running.told()
        assert metrics["ocella_process_restarts_total"] == 2
        assert metrics["ocella_requests_total"] == 5 + 7 + 1
        assert running.starts == 4


@pytest.mark.usefixtures("stand_ins")
async def test_a_stop_while_a_process_waits_for_its_next_start_starts_none(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    monkeypatch.setattr("serving.processes._RESTART_S", PATIENCE_S)
    async with supervised(2) as (running, pids):
        os.kill(pids[1], signal.SIGKILL)
        async with asyncio.timeout(PATIENCE_S):
            while "it is started again" not in caplog.text:
                await asyncio.sleep(0)
        running.stop.set()
        async with asyncio.timeout(PATIENCE_S / 2):  # it does not wait for the pause to end
            await running.task
        assert running.starts == 2
