"""Bearer tokens: made at random, kept as hashes with roles and an expiry, found in constant time."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from pipelines.errors import InvalidRequestError
from serving.security.roles import Role
from serving.settings import StartError

# A token has 256 random bits, so nobody guesses one, and a hash that is slow on purpose (scrypt) would only slow
# requests down: it protects passwords, which people choose from few.
TOKEN_BYTES = 32
PREFIX = "ocella_"
NEVER = "never"
MAX_FILE_BYTES = 4 * 1024 * 1024
_HASH = "sha256:"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")
_DIGEST = re.compile(r"[0-9a-f]{64}")
_KEY_BYTES = 8
_FORM = "NAME ROLE[,ROLE...] EXPIRY|never sha256:HEX"


@dataclass(frozen=True, kw_only=True)
class Token:
    """What is known of a token; not the token itself.

    Attributes:
        name: of who holds it; two tokens may have one name, as where one follows another.
        roles: what it allows.
        expires: from when on it is refused, in UTC; ``None``: never.
        digest: SHA-256 of its text, 32 bytes.
    """

    name: str
    roles: frozenset[Role]
    expires: datetime | None
    digest: bytes = field(repr=False)

    def to_line(self) -> str:
        """The line of the file that ``read_tokens`` reads back."""
        roles = ",".join(sorted(self.roles))
        return f"{self.name} {roles} {_written(self.expires)} {_HASH}{self.digest.hex()}"


class TokenTable:
    """The tokens of a file, found by the text that a caller presents."""

    def __init__(self, tokens: Iterable[Token]) -> None:
        self._by_key: dict[bytes, list[Token]] = {}
        for token in tokens:
            self._by_key.setdefault(token.digest[:_KEY_BYTES], []).append(token)

    def __len__(self) -> int:
        return sum(map(len, self._by_key.values()))

    def find(self, text: str) -> Token | None:
        """The token of a text, expired or not; ``None`` where there is none.

        Candidates are found by the first bytes of the text's hash, which nobody can steer, and compared in constant
        time: how long the answer takes tells nothing of a token.
        """
        digest = digest_of(text)
        for token in self._by_key.get(digest[:_KEY_BYTES], ()):
            if hmac.compare_digest(token.digest, digest):
                return token
        return None


def digest_of(text: str) -> bytes:
    """SHA-256 of a token's text."""
    return hashlib.sha256(text.encode()).digest()


def make_token(name: str, roles: Iterable[Role], expires: datetime | None) -> tuple[str, Token]:
    """A new token: its text, which is kept nowhere, and what a file holds of it.

    Raises InvalidRequestError for a name that no file can hold, or no role.
    """
    chosen = frozenset(roles)
    if not _NAME.fullmatch(name):
        raise InvalidRequestError(f"name must match {_NAME.pattern}, got {name[:80]!r}")
    if not chosen:
        raise InvalidRequestError(f"roles must be one or more of {', '.join(Role)}, got none")
    text = PREFIX + secrets.token_urlsafe(TOKEN_BYTES)
    return text, Token(name=name, roles=chosen, expires=expires, digest=digest_of(text))


def read_tokens(path: Path) -> tuple[Token, ...]:
    """The tokens of a file: a line each, in four words; empty lines and lines that begin with ``#`` say nothing.

    Raises StartError, which names the line, never its hash.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
        mode = path.stat().st_mode
    except OSError as error:
        raise StartError(f"{path} must be a file of tokens that can be read: {error.strerror}") from error
    if mode & 0o002:
        raise StartError(f"{path} must not be writable by everybody, its mode is {mode & 0o777:o}: chmod o-w {path}")
    if len(data) > MAX_FILE_BYTES:
        raise StartError(f"{path} must have at most {MAX_FILE_BYTES:,} bytes, it has more")
    lines = data.decode("utf-8", errors="replace").splitlines()
    tokens = [
        _read_line(line.split(), f"{path}, line {number}")
        for number, line in enumerate(lines, start=1)
        if line.strip() and not line.lstrip().startswith("#")
    ]
    seen: set[bytes] = set()
    for token in tokens:
        if token.digest in seen:
            raise StartError(f"{path} must hold each token once, one of {token.name} is there twice")
        seen.add(token.digest)
    return tuple(tokens)


def _read_line(words: list[str], where: str) -> Token:
    if len(words) != 4:
        raise StartError(f"{where} must be {_FORM}, it has {len(words)} words")
    name, roles, expiry, digest = words
    if not _NAME.fullmatch(name):
        raise StartError(f"{where}: a name must match {_NAME.pattern}, got {name[:80]!r}")
    unknown = sorted(set(roles.split(",")) - set(Role))
    if unknown:
        raise StartError(f"{where}: roles must be among {', '.join(Role)}, got {unknown[0][:40]!r}")
    if not digest.startswith(_HASH) or not _DIGEST.fullmatch(digest[len(_HASH) :]):
        raise StartError(f"{where}: the last word must be {_HASH} and 64 hexadecimal digits, as `ocella token` writes")
    return Token(
        name=name,
        roles=frozenset(map(Role, roles.split(","))),
        expires=_read_expiry(expiry, where),
        digest=bytes.fromhex(digest[len(_HASH) :]),
    )


def _read_expiry(text: str, where: str) -> datetime | None:
    if text == NEVER:
        return None
    try:
        expires = datetime.fromisoformat(text)
        return expires.astimezone(UTC) if expires.tzinfo else expires.replace(tzinfo=UTC)
    except (ValueError, OverflowError) as error:  # the latter: within a day of the first or the last year's end
        raise StartError(
            f"{where}: an expiry must be {NEVER} or such as 2027-01-31T12:00:00Z, got {text[:40]!r}"
        ) from error


def _written(expires: datetime | None) -> str:
    return NEVER if expires is None else expires.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
