"""A Ray cluster of one machine with models on it, and what it takes to hurt it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray

from serving.catalog import ModelStatus
from serving.client import Retry, VisionClient
from serving.ray.cluster import deploy, joined
from serving.ray.plan import plan_models
from serving.settings import Settings
from tests.serving.servers import PATIENCE_S, settings_for

SERVE = "serve"
"""Serve's own namespace of actors."""


@dataclass(frozen=True)
class RunningCluster:
    """Serves the models under ``settings.models``."""

    settings: Settings
    grpc: str
    http: str

    def deploy(self) -> Mapping[str, ModelStatus]:
        """Deploy what lies there now; the newest version of each model, by name."""
        return {status.name: status for status in asyncio.run(deploy(self.settings, plan_models(self.settings)))}

    @property
    def address(self) -> str:
        """Where others join it."""
        return str(ray.get_runtime_context().gcs_address)

    def replicas_of(self, app: str) -> dict[str, Any]:
        """The actors of an application, by name."""
        prefix = f"SERVE_REPLICA::{app}#"
        names = [one["name"] for one in ray.util.list_named_actors(all_namespaces=True) if one["namespace"] == SERVE]
        return {name: ray.get_actor(name, namespace=SERVE) for name in names if name.startswith(prefix)}

    def kill_one_of(self, app: str) -> None:
        """End one of its actors as a machine that burns does."""
        ray.kill(next(iter(self.replicas_of(app).values())), no_restart=True)


@contextmanager
def running_cluster(repository: Path, **over: Any) -> Iterator[RunningCluster]:
    """A cluster that serves a repository, its models tried once."""
    settings = settings_for(repository, **({"grace_s": 20.0} | over))
    with joined(settings, plan_models(settings)) as used:
        cluster = RunningCluster(used, f"{used.host}:{used.port}", f"{used.host}:{used.http_port}")
        cluster.deploy()
        yield cluster


def choose(repository: Path, model: str, replicas: int, *, most: int | None = None) -> None:
    """Give a model so many replicas, and up to ``most`` where more is asked."""
    text = f"[ray]\nmin_replicas = {replicas}\nmax_replicas = {most or replicas}\nnum_cpus = 0.25\n"
    text += "target_ongoing_requests = 0.1\nupscale_delay_s = 0.0\n"
    (repository / model / "deploy.toml").write_text(text)


class Asking:
    """Asks in a loop on a thread of its own while something else happens, and keeps what it was told."""

    def __init__(self, ask: Callable[[VisionClient], Any], server: str, *, retry: Retry | None = None) -> None:
        """``retry``: which failed calls the client makes again; ``None``: none, every failure is seen."""
        self.answers: list[Any] = []
        self.errors: list[Exception] = []
        self._ask, self._server, self._retry = ask, server, retry
        self._stop, self._more = threading.Event(), threading.Condition()

    def __enter__(self) -> Asking:
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        self.wait_for_more(5)
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(PATIENCE_S)

    def wait_for_more(self, count: int) -> None:
        """Return once so many more were answered."""
        with self._more:
            wanted = len(self.answers) + count
            assert self._more.wait_for(lambda: len(self.answers) >= wanted or self.errors, PATIENCE_S), "it hangs"

    def _run(self) -> None:
        with VisionClient(self._server, timeout_s=PATIENCE_S, retry=self._retry) as client:
            while not self._stop.is_set():
                try:
                    answer = self._ask(client)
                except Exception as error:  # noqa: BLE001, the test looks at it
                    self.errors.append(error)
                    answer = None
                with self._more:
                    if answer is not None:
                        self.answers.append(answer)
                    self._more.notify_all()
