"""``ocella serve --ray``: models on a Ray cluster behind the same gRPC services; applications for Serve's files."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pipelines.errors import MissingExtraError
from serving.catalog import ModelStatus
from serving.settings import Settings, StartError, check_exposure, read_settings
from serving.signals import stop_on_signals

if TYPE_CHECKING:
    from ray.serve import Application

_NOT_ON_RAY: Mapping[str, str] = {
    "admin": "models change by deploying them again",
    "allow_shared_memory": "replicas are not on the callers' machine",
    "galleries": "a gallery of faces lives in one server",
    "tls_cert": "Ray's gRPC proxy has no TLS, put a proxy before it that has",
    "tokens": "Ray's gRPC proxy knows no roles, put a proxy before it that does",
    "watch": "models change by deploying them again",
}


def router(args: dict[str, Any]) -> Application:
    """The routers, for a Serve file: ``ocella`` with ``route_prefix: /``; ``args`` are settings by name."""
    _require_ray()
    from serving.ray.application import router_application

    return router_application(_read(args))


def board(_: dict[str, Any]) -> Application:
    """The board of metrics, for a Serve file: ``ocella-board`` with ``route_prefix: null``."""
    _require_ray()
    from serving.ray.application import board_application

    return board_application()


def model(args: dict[str, Any]) -> Application:
    """One model, for a Serve file: ``ocella-model-NAME`` with ``route_prefix: null``.

    Raises StartError unless ``args``, settings by name, have in ``models`` the folder of one model.
    """
    _require_ray()
    from serving.ray.application import model_application
    from serving.ray.plan import plan_models

    plans = plan_models(_read(args))
    if len(plans) != 1:
        raise StartError(f"models must be the folder of one model, got {', '.join(plan.name for plan in plans)}")
    return model_application(plans[0])


async def serve_on_ray(settings: Settings, announce: Callable[[str], None]) -> None:
    """Deploy on a cluster and return once each model was tried; without an address, serve on a cluster of our own.

    That one ends at SIGTERM or SIGINT. Raises StartError where no model can be loaded, MissingExtraError without Ray.
    """
    _require_ray()
    _check(settings)
    from serving.ray.cluster import deploy, joined
    from serving.ray.plan import plan_models

    models = plan_models(settings)
    with joined(settings, models) as used:
        statuses = await deploy(used, models)
        own = settings.ray_address is None  # the ports of another one are those that it was begun with
        where = f"gRPC on {used.host}:{used.port}, HTTP on {used.host}:{used.http_port}"
        announce(where if own else f"deployed on {settings.ray_address}")
        announce(_readiness(statuses))
        if own:
            await stop_on_signals().wait()
            announce("stopping")


def _require_ray() -> None:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing of ours calls home
    try:
        import ray.serve  # noqa: F401, only whether it is there
    except ImportError as error:
        raise MissingExtraError("install 'ocella[ray]' to serve with Ray") from error


def _read(args: dict[str, Any]) -> Settings:
    settings = read_settings(**args)
    _check(settings)
    return settings


def _check(settings: Settings) -> None:
    """Raise StartError for what a cluster does not do."""
    check_exposure(settings)
    for name, why in _NOT_ON_RAY.items():
        if getattr(settings, name):
            raise StartError(f"--{name.replace('_', '-')} must not come with --ray: {why}")
    if settings.processes > 1:
        raise StartError("--processes must not come with --ray: [ray] of deploy.toml says how many replicas there are")


def _readiness(statuses: Sequence[ModelStatus]) -> str:
    ready = ", ".join(f"{status.name} {status.version}" for status in statuses if status.ready)
    failed = [f"not ready: {status.name} {status.version}: {status.reason}" for status in statuses if not status.ready]
    return "\n".join([f"ready: {ready}", *failed])
