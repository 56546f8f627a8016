"""Several server processes behind one pair of ports: started, restarted, stopped, and told of as if they were one."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import sys
import tempfile
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path

from serving.logs.entry import event
from serving.member import ALL, ask, socket_of
from serving.ports import bind, hold
from serving.settings import Settings, StartError, check_exposure
from serving.signals import stop_on_signals
from serving.snapshot import Snapshot, join, join_metrics

_ASK_S = 2.0
# How long a process that ends waits for its next start; twice as long each time that it ends before it was ready.
_RESTART_S, _LONGEST_RESTART_S = 0.5, 30.0
# What the supervisor itself counts, in the form in which its processes tell it of theirs.
_ONE_RESTART = "# TYPE ocella_process_restarts_total counter\nocella_process_restarts_total 1.0\n"
_KILL_S = 20.0  # beyond the grace: for a process that does not even stop; one that stops needs up to 19 s
_log = logging.getLogger(__name__)


async def serve_with_processes(settings: Settings, announce: Callable[[str], None]) -> None:
    """Serve with ``settings.processes`` processes until SIGTERM or SIGINT; raises StartError.

    Connections are spread over the processes by the system (SO_REUSEPORT): each lives in one.
    """
    check_exposure(settings)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ocella-")))
        grpc_port = _hold(stack, settings.host, settings.port, "gRPC")
        http_port = _hold(stack, settings.host, settings.http_port, "HTTP")
        given = {"port": grpc_port, "http_port": http_port, "processes": settings.processes, "member_of": folder}
        if settings.health_port is not None:
            given["health_port"] = _hold(stack, settings.host, settings.health_port, "health")
        supervisor = Supervisor(settings.model_copy(update=given), folder, announce)
        await supervisor.run(stop_on_signals())
    announce("stopped")


def _hold(stack: ExitStack, host: str, port: int, protocol: str) -> int:
    """Keep a port for the processes; nobody listens on it here."""
    bind(host, port, protocol=protocol).close()  # alone: with SO_REUSEPORT two servers would share it unasked
    held: socket.socket = stack.enter_context(hold(host, port, protocol=protocol))
    return int(held.getsockname()[1])


class Supervisor:
    """Owns the processes."""

    def __init__(self, settings: Settings, folder: Path, announce: Callable[[str], None]) -> None:
        self._settings = settings
        self._folder = folder
        self._announce = announce
        self._running: dict[int, asyncio.subprocess.Process] = {}
        self._ready: set[int] = set()
        self._were_all_ready = False
        self._latest: dict[int, str] = {}
        self._gone = ""
        self._stopping = asyncio.Event()

    async def run(self, stop: asyncio.Event) -> None:
        """Run until ``stop``; raises StartError where a process ends before all were ready once."""
        members = range(self._settings.processes)
        async with await asyncio.start_unix_server(self._tell, self._folder / ALL):
            keepers = [asyncio.create_task(self._keep(member)) for member in members]
            stopped = asyncio.create_task(stop.wait())
            try:
                done, _ = await asyncio.wait([stopped, *keepers], return_when=asyncio.FIRST_COMPLETED)
            finally:
                stopped.cancel()
                await self._stop(keepers)
        for task in done - {stopped}:
            task.result()

    async def _keep(self, member: int) -> None:
        """Start one process again and again."""
        wait_s = _RESTART_S
        while True:
            process = await self._start(member)
            was_ready = await self._listen(member, process)
            code = await process.wait()
            self._running.pop(member, None)
            self._ready.discard(member)
            self._gone = join_metrics([], gone=[self._gone, self._latest.pop(member, "")])
            if self._stopping.is_set():
                return
            how = f"by {signal.Signals(-code).name}" if code < 0 else f"with code {code}"
            if not self._were_all_ready:
                raise StartError(f"process {member} of {self._settings.processes} ended {how} before it was ready")
            what = event("process_restarted", process=member)
            _log.error("process %s (pid %s) ended %s, it is started again", member, process.pid, how, extra=what)
            self._gone = join_metrics([], gone=[self._gone, _ONE_RESTART])
            wait_s = _RESTART_S if was_ready else min(2 * wait_s, _LONGEST_RESTART_S)
            if await self._stops_within(wait_s):
                return

    async def _stops_within(self, seconds: float) -> bool:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stopping.wait()
        return self._stopping.is_set()

    async def _start(self, member: int) -> asyncio.subprocess.Process:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "serving.member",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            start_new_session=True,  # Ctrl-C reaches the supervisor alone, which stops them in order
        )
        assert process.stdin
        settings = self._settings.model_copy(update={"member": member})
        process.stdin.write(settings.model_dump_json().encode() + b"\n")
        self._running[member] = process
        if self._stopping.is_set():  # since it was asked for
            process.terminate()
        return process

    async def _listen(self, member: int, process: asyncio.subprocess.Process) -> bool:
        """Hear what a process announces until it ends; whether it was ready."""
        assert process.stdout
        was_ready = False
        async for line in process.stdout:
            text = line.decode(errors="replace").rstrip("\n")
            if text.startswith("gRPC on "):
                self._announce(f"process {member} (pid {process.pid}): {text}")
            elif text.startswith(("ready: ", "not ready: ")):
                was_ready = True
                self._ready.add(member)
                self._announce(f"process {member}: {text}")
                if len(self._ready) == self._settings.processes:
                    self._were_all_ready = True
        return was_ready

    async def _tell(self, _: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write((await self._joined()).to_json())
        await writer.drain()
        writer.close()

    async def _joined(self) -> Snapshot:
        """All processes as one; one that does not say counts as not ready, and what it had counted before stays."""
        asked = dict(self._running)
        told = dict(zip(asked, await asyncio.gather(*(self._ask(*one) for one in asked.items())), strict=True))
        # What one that ended meanwhile has counted is among the gone.
        snapshots = {member: one for member, one in told.items() if one and self._running.get(member) is asked[member]}
        silent = [metrics for member, metrics in self._latest.items() if member not in snapshots]
        return join(list(snapshots.values()), processes=self._settings.processes, gone=[self._gone, *silent])

    async def _ask(self, member: int, process: asyncio.subprocess.Process) -> Snapshot | None:
        try:
            told = await ask(socket_of(self._folder, member), timeout_s=_ASK_S)
        except (OSError, ValueError):
            return None
        if self._running.get(member) is process:
            self._latest[member] = told.metrics
        return told

    async def _stop(self, keepers: list[asyncio.Task[None]]) -> None:
        """Let every process finish what is inside; end those that do not stop."""
        self._stopping.set()
        for process in self._running.values():
            with suppress(ProcessLookupError):  # it has ended, and its keeper has not heard yet
                os.kill(process.pid, signal.SIGTERM)
        _, late = await asyncio.wait(keepers, timeout=self._settings.grace_s + _KILL_S)
        for process in list(self._running.values()):
            with suppress(ProcessLookupError):
                process.kill()
        for task in late:
            task.cancel()
        if late:
            await asyncio.wait(late)
