"""What is deployed: each model with its folder, its choices and a digest that changes whenever it must start anew."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version as version_of
from pathlib import Path
from typing import Any

from serving.core import embedded
from serving.ray.choices import RayChoices
from serving.repository import ModelFolder, survey
from serving.settings import Settings
from serving.signature import signature_of


@dataclass(frozen=True)
class ModelPlan:
    """One model to deploy.

    Attributes:
        name: of the model.
        choices: of its replicas.
        settings: of a server of this model alone, as JSON's values.
        digest: of all that its replicas are made of; a deployment of the same digest is left alone.
    """

    name: str
    choices: RayChoices
    settings: Mapping[str, Any]
    digest: str


def plan_models(settings: Settings) -> tuple[ModelPlan, ...]:
    """The models under the folders of ``settings``; raises StartError as ``survey``."""
    folders = tuple(folder.resolve() for folder in settings.models or (embedded(),))
    return tuple(_plan(model, folders, settings) for model in survey(folders))


def router_digest(settings: Settings) -> str:
    """Changes whenever the routers must start anew."""
    return _digest("router", settings.ray_routers, sorted(_of_cluster(settings, models=()).items()))


def _digest(*parts: object) -> str:
    return hashlib.sha256(repr((version_of("ocella"), parts)).encode()).hexdigest()[:16]


def _plan(model: ModelFolder, folders: Sequence[Path], settings: Settings) -> ModelPlan:
    first = model.chosen[0]
    # A package that the operator named is served alone; of a model's folder the replica itself chooses versions.
    folder = first.folder if first.folder in folders else first.folder.parent
    told = _of_cluster(settings, models=(folder,))
    chosen = [(one.folder, one.deploy, one.problem, signature_of(one.folder)) for one in model.chosen]
    return ModelPlan(
        name=first.name,
        choices=first.deploy.ray,
        settings=told,
        digest=_digest(sorted(told.items()), chosen),
    )


def _of_cluster(settings: Settings, *, models: tuple[Path, ...]) -> Mapping[str, Any]:
    """The settings that act inside a replica, as JSON's values: who deploys from where is not among them."""
    elsewhere = {"models": models, "port": 0, "http_port": 0, "ray_address": None, "ray_routers": 1}
    return settings.model_copy(update=elsewhere).model_dump(mode="json")
