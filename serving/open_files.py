"""The limit of open files, raised to what the server's limits of connections promise."""

from __future__ import annotations

import resource

from serving.settings import Settings

# Models, sockets, logs, galleries: a server of the four built-in models holds some 60 files without a connection.
OWN_FILES = 256
# Connections of HTTP are bounded by address only, so where the system allows more than was promised, take it.
ENOUGH_FILES = 65_536


def promised_files(settings: Settings) -> int:
    """Files that are open once gRPC and one address over HTTP have all the connections that they may have."""
    return settings.max_grpc_connections + settings.max_connections + OWN_FILES


def raise_open_files(promised: int) -> str | None:
    """Raise this process's soft limit as far as its hard one allows; what to warn of where that is below ``promised``.

    A shell's or systemd's soft limit is 1,024 for the sake of ``select``, which nothing here calls.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return None
    wanted = max(promised, ENOUGH_FILES)
    within = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if within > soft:
        resource.setrlimit(resource.RLIMIT_NOFILE, (within, hard))
        soft = within
    if soft >= promised:
        return None
    return (
        f"{soft} files may be open at once, the limits of connections promise {promised}: raise the hard limit "
        "(ulimit -Hn, LimitNOFILE), or lower OCELLA_MAX_GRPC_CONNECTIONS or OCELLA_MAX_CONNECTIONS"
    )
