"""Measures one choice: a server of its own with that ``deploy.toml``, under rising loads."""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

from serving.bench.load import generator
from serving.bench.messages import Messages
from serving.bench.outcome import OK, Outcome
from serving.bench.rounds import WARM_UP_S
from serving.bench.server_process import own_server
from serving.deploy import DEPLOY_FILE, Deploy
from serving.tune.deploy_file import toml_of, with_choice
from serving.tune.search import Choice, Point


class ServerMeasure:
    """See ``serving.tune.search.Measure``; each call has a server of its own."""

    def __init__(self, package: Path, messages: Messages, deploy: Deploy, *, name: str, version: int, load_s: float):
        """``deploy``: what the operator chose so far; ``load_s``: seconds of one load."""
        self._package = package.resolve()
        self._messages = messages
        self._deploy = deploy
        self._name, self._version = name, version
        self._load_s = load_s

    def __call__(self, choice: Choice, concurrencies: Sequence[int], /) -> Iterator[Point]:
        """Measure; raises StartError where the choice does not load."""
        with tempfile.TemporaryDirectory(prefix="ocella-tune-") as root:
            folder = Path(root) / self._name
            folder.mkdir()
            shutil.copytree(self._package, folder / str(self._version), copy_function=_link_or_copy)
            text = "\n".join(toml_of(with_choice(self._deploy, choice)))
            (folder / DEPLOY_FILE).write_text(text, encoding="utf-8")
            with own_server(Path(root)) as server, closing(asyncio.new_event_loop()) as loop:
                loop.run_until_complete(self._load(server.grpc, 2, WARM_UP_S))
                for concurrency in concurrencies:
                    outcome = loop.run_until_complete(self._load(server.grpc, concurrency, self._load_s))
                    yield point_of(concurrency, outcome)

    async def _load(self, server: str, concurrency: int, seconds: float) -> Outcome:
        async with generator(server) as sending:
            return await sending.closed(self._messages, concurrency=concurrency, duration_s=seconds)


def point_of(concurrency: int, outcome: Outcome) -> Point:
    """An outcome as a point of the search."""
    return Point(
        concurrency=concurrency,
        rate=outcome.rate,
        p99_s=outcome.percentile_s(99),
        failed=outcome.sent - outcome.codes.get(OK, 0),
    )


def _link_or_copy(source: str, target: str) -> None:
    """A second name for a file, or a copy of it where it lies on another disk; links are not served."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
