"""The server's certificate, proven before it is used and renewed while the server runs."""

from __future__ import annotations

import logging
import ssl
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc

from serving.security.signature import Signature, signature_of
from serving.settings import StartError

# A handshake of TLS takes two moves of each side.
_MOST_MOVES = 10
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TlsFiles:
    """PEM files.

    Attributes:
        certificate: the server's own, those that signed it behind it.
        key: of the certificate, not encrypted.
        client_ca: whose signature on a client's certificate is trusted; with it a client must have one (mutual TLS).
    """

    certificate: Path
    key: Path
    client_ca: Path | None = None

    @property
    def all(self) -> tuple[Path, ...]:
        """Every file."""
        return (self.certificate, self.key, *((self.client_ca,) if self.client_ca else ()))


@dataclass(frozen=True)
class Identity:
    """A certificate that was proven.

    Attributes:
        context: serves it over HTTP.
        pair: PEM of key and certificate.
        client_ca: PEM; ``None`` where clients need no certificate.
        valid_until: as OpenSSL writes it.
    """

    context: ssl.SSLContext
    pair: tuple[bytes, bytes] = field(repr=False)
    client_ca: bytes | None
    valid_until: str


def load_identity(files: TlsFiles) -> Identity:
    """Read the files, and prove by a handshake that a client would take them.

    Raises StartError where a file cannot be read or is not PEM, where the key is another certificate's or encrypted,
    and where the certificate is expired, not valid yet, or not for servers.
    """
    certificate, key = _read(files.certificate), _read(files.key)
    client_ca = _read(files.client_ca) if files.client_ca else None
    valid_until = _prove(_context(files, with_clients=False), certificate, files)
    return Identity(_context(files, with_clients=True), (key, certificate), client_ca, valid_until)


class Tls:
    """The certificate that new connections are shown; those that are open keep theirs."""

    def __init__(self, files: TlsFiles) -> None:
        """Raises StartError as ``load_identity``."""
        self._files = files
        self._seen = self._signatures()
        self._problem = ""
        self._identity = self._given_to_grpc = load_identity(files)
        _log.info("%s is valid until %s", files.certificate, self._identity.valid_until)

    @property
    def current(self) -> Identity:
        """What new connections are shown."""
        return self._identity

    def grpc_credentials(self) -> grpc.ServerCredentials:
        """Credentials of a gRPC port, which ask here at each handshake."""
        return grpc.dynamic_ssl_server_credentials(
            _for_grpc(self._identity), self._renewed_for_grpc, self._files.client_ca is not None
        )

    def http_context(self) -> ssl.SSLContext:
        """A context of an HTTP port, which hands each handshake to the newest one."""
        front = _context(self._files, with_clients=True)

        def choose(connection: ssl.SSLObject, _: str | None, __: ssl.SSLContext) -> None:
            connection.context = self._identity.context

        front.sni_callback = choose
        return front

    def refresh(self) -> None:
        """Take files that changed; where they cannot be used, the certificate from before goes on to be shown.

        Such files are tried again at each look: a certificate that is not valid yet becomes so without a change, and
        what mends a mode leaves the file as it is.
        """
        seen = self._signatures()
        if seen == self._seen:
            self._problem = ""
            return
        try:
            self._identity = load_identity(self._files)
        except StartError as error:
            if self._problem != str(error):
                _log.error("the certificate valid until %s stays: %s", self._identity.valid_until, error)
            self._problem = str(error)
            return
        self._seen, self._problem = seen, ""
        _log.info("%s was renewed, it is valid until %s", self._files.certificate, self._identity.valid_until)

    def _signatures(self) -> tuple[Signature, ...]:
        return tuple(map(signature_of, self._files.all))

    def _renewed_for_grpc(self) -> Any:
        """What gRPC should show from now on; ``None``: what it has. Called on gRPC's own threads."""
        identity = self._identity
        if identity is self._given_to_grpc:
            return None
        self._given_to_grpc = identity
        return _for_grpc(identity)


def _for_grpc(identity: Identity) -> Any:
    return grpc.ssl_server_certificate_configuration([identity.pair], root_certificates=identity.client_ca)


def _read(path: Path) -> bytes:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise StartError(f"{path} must be a PEM file that can be read: {error.strerror}") from error
    if b"-----BEGIN " not in data:
        raise StartError(f"{path} must be PEM, it is something else")
    return data


def _context(files: TlsFiles, *, with_clients: bool) -> ssl.SSLContext:
    """TLS 1.2 and later, as Python's defaults are; 1.3 alone where clients need certificates. Raises StartError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_alpn_protocols(["http/1.1"])
    try:
        context.load_cert_chain(files.certificate, files.key, password=_no_password)
    except (ssl.SSLError, OSError, ValueError) as error:
        raise StartError(f"{files.key} must be the unencrypted key of {files.certificate}: {_reason(error)}") from error
    if with_clients and files.client_ca:
        try:
            context.load_verify_locations(files.client_ca)
        except (ssl.SSLError, OSError) as error:
            raise StartError(f"{files.client_ca} must be PEM certificates: {_reason(error)}") from error
        context.verify_mode = ssl.CERT_REQUIRED
        # A resumed session is not checked against authorities that have gone meanwhile, and of 1.2 neither its tickets
        # nor its cache of sessions could be ended: ssl lets us do so for 1.3 only.
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.num_tickets = 0
    return context


def _no_password() -> str:
    """Keep OpenSSL from asking a terminal."""
    raise ValueError("it is encrypted")


def _prove(server: ssl.SSLContext, certificate: bytes, files: TlsFiles) -> str:
    """Shake hands in memory with a client that trusts the certificate itself; until when it is valid."""
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname = False  # of which host it is, is for its clients to say
    client.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    try:
        client.load_verify_locations(cadata=certificate.decode("ascii", errors="replace"))
        ours = client.wrap_bio(to_client, to_server)
        theirs = server.wrap_bio(to_server, to_client, server_side=True)
        _shake_hands(ours, theirs)
    except ssl.SSLError as error:
        raise StartError(f"{files.certificate} cannot be shown to clients: {_reason(error)}") from error
    found = ours.getpeercert() or {}
    return str(found["notAfter"])


def _shake_hands(client: ssl.SSLObject, server: ssl.SSLObject) -> None:
    """Let both sides move in turn until both are done; raises SSLError, also where they never are."""
    waiting = [client, server]
    for _ in range(_MOST_MOVES):
        for side in tuple(waiting):
            with suppress(ssl.SSLWantReadError):
                side.do_handshake()
                waiting.remove(side)
        if not waiting:
            return
    raise ssl.SSLError("the handshake does not end")


def _reason(error: Exception) -> str:
    """OpenSSL's words, without its source lines."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return error.verify_message
    if isinstance(error, ssl.SSLError):
        return (error.reason or "it holds no such PEM").lower().replace("_", " ")
    return error.strerror or str(error) if isinstance(error, OSError) else str(error)
