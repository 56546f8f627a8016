"""Certificates, tokens, and a repository of one small model."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from serving.security.cli import add_token
from serving.security.roles import Role
from tests.packages import photo, png
from tests.serving.client.certificates import Authority, Signed
from tests.serving.security.apis import HOST


@dataclass(frozen=True)
class Certificates:
    """Whom a server and its clients may be.

    Attributes:
        ours: authority of the server, and of clients.
        other: authority that nobody trusts.
        server: of ``HOST``.
        client: signed by ours.
        expired: a client's, signed by ours.
        stranger: a client's, signed by the other.
    """

    ours: Authority
    other: Authority
    server: Signed
    client: Signed
    expired: Signed
    stranger: Signed


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    folder = tmp_path_factory.mktemp("certificates")
    ours, other = Authority(folder, "ours"), Authority(folder, "other")
    return Certificates(
        ours,
        other,
        ours.sign("server", f"DNS:{HOST}"),
        ours.sign("client", "DNS:camera.example"),
        ours.sign("expired", "DNS:camera.example", days=-1),
        other.sign("stranger", "DNS:camera.example"),
    )


@dataclass(frozen=True)
class Tokens:
    """A file of tokens, and their texts by what they are good for."""

    file: Path
    texts: dict[str, str]


@pytest.fixture(scope="session")
def tokens(tmp_path_factory: pytest.TempPathFactory) -> Tokens:
    file = tmp_path_factory.mktemp("tokens") / "tokens.txt"
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    texts = {str(role): add_token(file, f"{role}-1", [role], tomorrow)[0] for role in Role}
    texts["expired"] = add_token(file, "late", list(Role), datetime.now(UTC) - timedelta(seconds=2))[0]
    return Tokens(file, texts)


@pytest.fixture(scope="session")
def model(folders: dict[str, Path]) -> Path:
    """The folder of one small model."""
    return folders["classes"].parent


@pytest.fixture(scope="session")
def image() -> bytes:
    return png(photo("astronaut", size_wh=(64, 80)))
