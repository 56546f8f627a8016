"""The applications of Ray Serve: routers, the board of metrics, and each model in one of its own."""

from __future__ import annotations

from typing import Any

from ray import serve

from serving.ray.board import Board
from serving.ray.ingress import Ingress
from serving.ray.names import DEPLOYMENT
from serving.ray.plan import ModelPlan
from serving.ray.replica import Replica
from serving.settings import Settings

# Far above what any router has inside at once: streams and watches stay for hours, and cost next to nothing.
_ROUTER_REQUESTS = 10_000
_HEALTH_PERIOD_S = 2.0
_STOP_LOOP_S = 0.5
# A package that does not load once does not load at the third time either; a machine out of memory may.
_LOAD_ATTEMPTS = 2
# Old replicas go once as many new ones answer.
_SURGE_PERCENT = 100

# Of Serve's own lines; what our classes log goes to the standard error of their process, as everywhere.
QUIET = {"enable_access_log": False, "log_level": "CRITICAL"}


def router_application(settings: Settings) -> serve.Application:
    """What the proxies call, for gRPC and HTTP."""
    options = {"num_replicas": settings.ray_routers, "max_ongoing_requests": _ROUTER_REQUESTS}
    return _deployment(Ingress, settings.grace_s, **options).bind(settings.model_dump(mode="json"))


def board_application() -> serve.Application:
    """Where all tell of their metrics."""
    return _deployment(Board, 0.0, num_replicas=1, max_ongoing_requests=_ROUTER_REQUESTS).bind()


def model_application(model: ModelPlan) -> serve.Application:
    """One model in its replicas."""
    choices = model.choices
    deployment = _deployment(
        Replica,
        model.settings["grace_s"],
        num_cpus=choices.num_cpus,
        num_gpus=choices.num_gpus,
        max_ongoing_requests=choices.max_ongoing_requests,
        max_queued_requests=choices.max_queued_requests,
        max_constructor_retry_count=_LOAD_ATTEMPTS,
        autoscaling_config={
            "min_replicas": choices.min_replicas,
            "max_replicas": choices.max_replicas,
            "target_ongoing_requests": choices.target_ongoing_requests,
            "upscale_delay_s": choices.upscale_delay_s,
            "downscale_delay_s": choices.downscale_delay_s,
        },
    )
    return deployment.bind(model.settings, choices.cores, model.digest)


def _deployment(
    kind: Any, grace_s: float, *, num_cpus: float = 0, num_gpus: float = 0, **options: Any
) -> serve.Deployment:
    deployment: serve.Deployment = serve.deployment(
        kind,
        name=DEPLOYMENT,
        ray_actor_options={"num_cpus": num_cpus, "num_gpus": num_gpus},
        health_check_period_s=_HEALTH_PERIOD_S,
        graceful_shutdown_timeout_s=grace_s,
        graceful_shutdown_wait_loop_s=_STOP_LOOP_S,
        max_surge_percent=_SURGE_PERCENT,
        logging_config=QUIET,
        **options,
    )
    return deployment
