"""Clients of HTTP over a server that tests share."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from serving.app import ListeningServer
from tests.serving.servers import PATIENCE_S


@pytest.fixture
def http(shared_server: ListeningServer) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=f"http://{shared_server.http_address}", trust_env=False, timeout=PATIENCE_S) as http:
        yield http
