"""The project's Kubernetes manifests as values."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
K8S, KSERVE = ROOT / "deploy" / "k8s", ROOT / "deploy" / "kserve"


def documents(path: Path) -> list[dict[str, Any]]:
    """The documents of one file."""
    return list(yaml.safe_load_all(path.read_text()))


def manifest(name: str) -> dict[str, Any]:
    """The only document of a file in ``deploy/k8s``."""
    (document,) = documents(K8S / name)
    return document


def pod() -> dict[str, Any]:
    """The Deployment's pod."""
    return dict(manifest("deployment.yaml")["spec"]["template"]["spec"])


def container() -> dict[str, Any]:
    """The pod's only container."""
    (found,) = pod()["containers"]
    return dict(found)


def options(arguments: list[str]) -> dict[str, str]:
    """The options of a container's command by name; a flag has an empty value."""
    pairs = (word.partition("=") for word in arguments if word.startswith("--"))
    return {name: value for name, _, value in pairs}
