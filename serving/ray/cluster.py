"""Brings a Ray cluster to where it serves what a plan says, and leaves alone what is as it should be."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from typing import Any

import ray
from ray import serve
from ray.exceptions import RayError
from ray.serve.exceptions import RayServeException

from serving.catalog import ModelStatus
from serving.ports import bind
from serving.ray.application import QUIET, board_application, model_application, router_application
from serving.ray.names import BOARD, DEPLOYMENT, ROUTER, app_of, is_ours, model_of
from serving.ray.plan import ModelPlan, router_digest
from serving.settings import Settings, StartError, is_loopback

SERVICES = "serving.ray.proxy:add_services"
LOCAL_SERVICES = "serving.ray.proxy:add_services_locally"
# Between two looks at how the deployments come along.
_LOOK_S = 0.5
_ASK_S = 30.0
# What such a deployment's replicas say is not what it is to become; one that only lost a replica heals by itself.
_IN_BETWEEN = frozenset({"UPDATING", "DEPLOY_FAILED"})


@contextmanager
def joined(settings: Settings, models: Sequence[ModelPlan]) -> Iterator[Settings]:
    """Join the cluster at ``settings.ray_address``, or begin one that ends with the block; Serve runs on it.

    Yields the settings with the ports that are used. Raises StartError where no cluster answers or a port is busy.
    """
    own = settings.ray_address is None
    logging.getLogger("ray.serve").setLevel(logging.ERROR)
    if own:
        settings = settings.model_copy(
            update={
                "port": _free_port(settings.host, settings.port, "gRPC"),
                "http_port": _free_port(settings.host, settings.http_port, "HTTP"),
            }
        )
        # As many processors as the fewest replicas claim, were there none: they share what the machine has.
        claimed = sum(model.choices.min_replicas * model.choices.num_cpus for model in models)
        cpus = max(os.cpu_count() or 1, 2 * int(claimed) + 1)  # a rolling update holds both versions for a while
        address: dict[str, Any] = {
            "address": "local",
            "num_cpus": cpus,
            "include_dashboard": False,
            "_node_ip_address": "127.0.0.1",
        }
    else:
        address = {"address": settings.ray_address}
    try:
        ray.init(**address, logging_level=logging.ERROR, log_to_driver=own)
    except Exception as error:  # Ray raises a bare Exception where its processes take too long to start
        what = "Ray did not start" if own else f"no Ray cluster answers at {settings.ray_address}"
        raise StartError(f"{what}: {_first_line(error)}") from error
    try:
        serve.start(
            proxy_location="EveryNode",
            http_options={"host": settings.host, "port": settings.http_port},
            grpc_options={
                "port": settings.port,
                "grpc_servicer_functions": [LOCAL_SERVICES if is_loopback(settings.host) else SERVICES],
            },
            logging_config=QUIET,
        )
        yield settings
    finally:
        with redirect_stdout(sys.stderr):  # where Ray prints what it says of its own processes that end
            if own:
                serve.shutdown()
            ray.shutdown()


async def deploy(settings: Settings, models: Sequence[ModelPlan]) -> Sequence[ModelStatus]:
    """Deploy what changed, delete what is not planned any more, and wait until each model was tried.

    A model that is replaced answers with its old version until the new one does. Raises StartError where none answers.
    """
    targets = [_target(BOARD, board_application())] if await _digest_of(BOARD) is None else []
    for model in models:
        if await _digest_of(app_of(model.name)) != model.digest:
            targets.append(_target(app_of(model.name), model_application(model)))
    if await _digest_of(ROUTER) != router_digest(settings):
        targets.append(_target(ROUTER, router_application(settings), route_prefix="/"))
    if targets:
        serve.run_many(targets, wait_for_applications_running=False)
    planned = {model.name for model in models}
    for app in serve.status().applications:
        name = model_of(app)
        if name is not None and name not in planned:
            serve.delete(app, _blocking=False)
    while any(_is_under_way(told) for app, told in serve.status().applications.items() if is_ours(app)):
        await asyncio.sleep(_LOOK_S)
    statuses: Sequence[ModelStatus] = await _ask(ROUTER, "statuses")
    if not any(status.ready for status in statuses):
        failed = "; ".join(f"{status.name}: {status.reason}" for status in statuses)
        raise StartError(f"no model could be loaded: {failed}")
    return statuses


def _target(name: str, application: Any, *, route_prefix: str | None = None) -> Any:
    return serve.RunTarget(application, name=name, route_prefix=route_prefix)


async def _digest_of(app: str) -> str | None:
    """Of what an application was made; ``None`` where none of it answers, or where it is just being replaced."""
    told = serve.status().applications.get(app)
    main = told.deployments.get(DEPLOYMENT) if told else None
    if main is None or main.status in _IN_BETWEEN or "RUNNING" not in set(main.replica_states):
        return None
    try:
        return str(await _ask(app, "digest"))
    except (RayError, RayServeException, TimeoutError):
        return None


async def _ask(app: str, method: str) -> Any:
    handle = serve.get_deployment_handle(DEPLOYMENT, app)
    async with asyncio.timeout(_ASK_S):
        return await getattr(handle, method).remote()


def _is_under_way(told: Any) -> bool:
    """Whether an application has a deployment that was not tried yet, or is being replaced."""
    main = told.deployments.get(DEPLOYMENT)
    return told.status == "DELETING" or main is None or main.status == "UPDATING"


def _free_port(host: str, port: int, protocol: str) -> int:
    """A port that is free now: Ray binds it itself, and takes no 0."""
    with bind(host, port, protocol=protocol) as listener:
        return int(listener.getsockname()[1])


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]
