"""Who a command is to a server: from the environment, since a command line is seen by everybody on the machine."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TypedDict

from pipelines.errors import InvalidRequestError
from serving.client.tls import Tls

TOKEN, AUTHORITY, CERTIFICATE, KEY, SERVER_NAME = (
    f"OCELLA_CLIENT_{name}" for name in ("TOKEN", "CA", "CERT", "KEY", "SERVER_NAME")
)


class Credentials(TypedDict):
    """Arguments of a client."""

    tls: Tls | None
    token: str | None


def credentials_from_environment(environment: Mapping[str, str] | None = None) -> Credentials:
    """The arguments that ``OCELLA_CLIENT_TOKEN``, ``_CA``, ``_CERT``, ``_KEY`` and ``_SERVER_NAME`` stand for.

    The connection is encrypted where ``_CA`` is set. Raises InvalidRequestError where one of the others is set without
    what it needs.
    """
    given = os.environ if environment is None else environment
    values = {name: given[name] for name in (TOKEN, AUTHORITY, CERTIFICATE, KEY, SERVER_NAME) if given.get(name)}
    token = values.pop(TOKEN, None)
    if not values:
        return {"tls": None, "token": token}
    if AUTHORITY not in values:
        raise InvalidRequestError(f"{AUTHORITY} must name the authority's PEM where {min(values)} is set")
    tls = Tls(
        root_certificates=values[AUTHORITY],
        certificate=values.get(CERTIFICATE),
        key=values.get(KEY),
        server_name=values.get(SERVER_NAME),
    )
    return {"tls": tls, "token": token}
