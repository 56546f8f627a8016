"""What guards a server, built from its settings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from serving.security.access import Access
from serving.security.follow import Followed
from serving.security.limits import PerClient, Uploads
from serving.security.tls import Tls, TlsFiles
from serving.settings import Settings


@dataclass(frozen=True)
class SecurityParts:
    """The parts.

    Attributes:
        access: who may call what; ``None`` where everybody may.
        tls: the certificate; ``None`` where nothing is encrypted.
        streams: open ones of each client.
        connections: open ones of HTTP, of each address.
        uploads: HTTP bodies on their way in.
    """

    access: Access | None
    tls: Tls | None
    streams: PerClient
    connections: PerClient
    uploads: Uploads

    @property
    def followed(self) -> Sequence[Followed]:
        """What reads files that may change."""
        return [part for part in (self.access, self.tls) if part is not None]


def security_parts(settings: Settings) -> SecurityParts:
    """Build the parts; raises StartError where a file of certificates or tokens cannot be used."""
    tls = None
    if settings.tls_cert and settings.tls_key:
        tls = Tls(TlsFiles(settings.tls_cert, settings.tls_key, settings.tls_client_ca))
    return SecurityParts(
        access=Access(settings.tokens) if settings.tokens else None,
        tls=tls,
        streams=PerClient("streams", settings.max_streams),
        connections=PerClient("connections", settings.max_connections),
        uploads=Uploads(most=settings.max_uploads, most_bytes=settings.max_upload_bytes),
    )
