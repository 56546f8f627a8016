"""``ocella token``: a new token for a file of tokens."""

from __future__ import annotations

import os
from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer

from serving.security.roles import Role
from serving.security.tokens import Token, make_token, read_tokens

DEFAULT_DAYS = 365
_MODE = 0o600
_HEAD = "# What `ocella serve --tokens` reads. A token is withdrawn by deleting its line.\n# name roles expiry hash\n"


def token(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Tokens of a server; made where there is none.")],
    name: Annotated[str, typer.Option(help="Who will hold it: letters, digits and ._@-, seen in the log.")],
    role: Annotated[list[Role], typer.Option(help="What it allows; may be repeated.")],
    days: Annotated[
        int, typer.Option(min=1, max=36_500, help="Days until it expires; 365 where nothing is said.")
    ] = DEFAULT_DAYS,
    never_expires: Annotated[bool, typer.Option("--never-expires", help="Let it live until its line is deleted.")] = (
        False
    ),
) -> None:
    """Make a token, print it once, and append its hash to FILE; a server that runs takes it within seconds.

    The roles: infer runs models, admin changes the server, metrics reads /metrics, faces keeps galleries of faces.

    Example: ocella token tokens.txt --name camera-1 --role infer --days 90
    """
    expires = None if never_expires else datetime.now(UTC).replace(microsecond=0) + timedelta(days=days)
    text, added = add_token(file, name, role, expires)
    until = f"until {added.expires:%Y-%m-%d}" if added.expires else "until its line is deleted"
    typer.echo(f"{file} now knows the token of {added.name} ({', '.join(sorted(added.roles))}), {until}", err=True)
    print(text)


def add_token(file: Path, name: str, roles: Collection[Role], expires: datetime | None) -> tuple[str, Token]:
    """Append a new token's hash to a file, and make the file where there is none; the token's text is kept nowhere.

    Raises StartError where the file is there and cannot be used, InvalidRequestError for a bad name or no role.
    """
    text, added = make_token(name, roles, expires)
    if file.exists():
        read_tokens(file)
    line = added.to_line() + "\n"
    with os.fdopen(os.open(file, os.O_RDWR | os.O_CREAT | os.O_APPEND, _MODE), "r+", encoding="utf-8") as opened:
        before = opened.read()
        opened.write(line if before.endswith("\n") else f"\n{line}" if before else _HEAD + line)
        opened.flush()
        os.fsync(opened.fileno())
    return text, added
