"""A real Prometheus that scrapes a real server, as ``deploy/prometheus`` tells it to."""

from __future__ import annotations

import json
import re
import shutil
import socket
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from math import isfinite
from pathlib import Path
from typing import Any

import yaml

from tests.deploy.watched import PROMETHEUS
from tests.serving.servers import PATIENCE_S

OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def tool(name: str) -> str | None:
    """Where a tool of the Debian package ``prometheus`` lies; ``None``: it is not installed."""
    return shutil.which(name)


class Prometheus:
    """One that runs, at ``url``."""

    def __init__(self, url: str) -> None:
        self.url = url

    def ask(self, path: str, **query: str) -> Any:
        """``data`` of what its API answers; an error of the query is an error of the test."""
        with OPENER.open(f"{self.url}/api/v1/{path}?{urllib.parse.urlencode(query)}", timeout=PATIENCE_S) as answer:
            document = json.load(answer)
        assert document["status"] == "success", document
        return document["data"]

    def values(self, expression: str) -> list[float]:
        """What an expression gives now, without NaN and infinities, which no panel can draw."""
        result = self.ask("query", query=expression)["result"]
        return [value for value in (float(sample["value"][1]) for sample in result) if isfinite(value)]


@contextmanager
def scraping(http_address: str, folder: Path) -> Iterator[Prometheus]:
    """Prometheus with our configuration, but for the address and the interval; ``folder`` is its own."""
    text = (PROMETHEUS / "prometheus.yml").read_text()
    config = yaml.safe_load(text.replace("ocella:8000", http_address).replace("15s", "1s"))
    config["scrape_configs"] = [one for one in config["scrape_configs"] if one["job_name"] == "ocella"]
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
    shutil.copy(PROMETHEUS / "alerts.yml", folder)
    port = free_port()
    command = [
        str(tool("prometheus")),
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr is not None
            for line in process.stderr:
                if re.search("ready to receive web requests", line):
                    break
            else:
                raise AssertionError("Prometheus ended before it was ready")
            yield Prometheus(f"http://127.0.0.1:{port}")
        finally:
            process.terminate()
            process.communicate(timeout=PATIENCE_S)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def post(url: str, data: bytes, *, content_type: str = "application/octet-stream") -> int:
    """The status that a POST is answered with."""
    request = urllib.request.Request(url, data, {"content-type": content_type}, method="POST")
    try:
        with OPENER.open(request, timeout=PATIENCE_S) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return int(error.code)


def get(url: str) -> str:
    with OPENER.open(url, timeout=PATIENCE_S) as answer:
        return str(answer.read().decode())
