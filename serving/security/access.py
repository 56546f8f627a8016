"""Who is calling, and whether it may: the one check of tokens, for every transport."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Sequence
from pathlib import Path

from pipelines.errors import NotAllowedError, UnauthenticatedError
from serving.security.roles import Door, Role
from serving.security.signature import signature_of
from serving.security.tokens import Token, TokenTable, read_tokens
from serving.settings import StartError

_BEARER = re.compile(r"bearer +([A-Za-z0-9._~+/-]+=*) *", re.IGNORECASE)  # RFC 6750, 2.1; RFC 7235: any case
_MAX_HEADER = 4096
_log = logging.getLogger(__name__)


class Access:
    """The tokens of a file, read anew where it changes; a file that cannot be read any more changes nothing."""

    def __init__(self, path: Path) -> None:
        """Raises StartError where the file cannot be used."""
        self._path = path
        self._signature = signature_of(path)
        self._problem = ""
        self._table = TokenTable(read_tokens(path))
        if not self._table:
            _log.warning("%s holds no token: nobody may ask for more than health, `ocella token` adds one", path)

    def require(self, headers: Sequence[str], role: Role | Door) -> str:
        """The name of who calls, empty where anybody may.

        Args:
            headers: every ``authorization`` of the request.
            role: what is asked for.

        Raises:
            UnauthenticatedError: no token, one that is not known, or one that has expired.
            NotAllowedError: its token does not hold the role.
        """
        if role is Door.OPEN:
            return ""
        token = self._authenticate(headers)
        if role is not Door.ANY_TOKEN and role not in token.roles:
            raise NotAllowedError(
                f"this needs a token with the role {role}, the one of {token.name} has {', '.join(sorted(token.roles))}"
            )
        return token.name

    def refresh(self) -> None:
        """Read the file anew where it changed; where it cannot be used, what was read before goes on to count.

        Such a file is read again at each look, for what mends it may leave it as it is: ``chmod``, a free descriptor.
        """
        signature = signature_of(self._path)
        if signature == self._signature:
            self._problem = ""
            return
        try:
            table = TokenTable(read_tokens(self._path))
        except StartError as error:
            if self._problem != str(error):
                _log.error("the tokens from before go on to count: %s", error)
            self._problem = str(error)
            return
        self._signature, self._table, self._problem = signature, table, ""
        _log.info("%s changed, it now holds %d tokens", self._path, len(table))

    def _authenticate(self, headers: Sequence[str]) -> Token:
        """The token that a request presents; no message repeats what came."""
        if not headers:
            raise UnauthenticatedError("a token is needed: send it as authorization: Bearer TOKEN")
        if len(headers) > 1:
            raise UnauthenticatedError(f"authorization must come once, it came {len(headers)} times")
        match = _BEARER.fullmatch(headers[0]) if len(headers[0]) <= _MAX_HEADER else None
        if match is None:
            raise UnauthenticatedError("authorization must be Bearer TOKEN, it has another form")
        token = self._table.find(match[1])
        if token is None:
            raise UnauthenticatedError("the token must be one of this server's, it is not")
        if token.expires is not None and time.time() >= token.expires.timestamp():
            raise UnauthenticatedError(f"the token of {token.name} expired on {token.expires:%Y-%m-%d %H:%M} UTC")
        return token
