"""What our applications are called on a Ray cluster; one of Serve is deployed, replaced and deleted as a whole."""

from __future__ import annotations

ROUTER = "ocella"
BOARD = "ocella-board"
DEPLOYMENT = "main"
"""The one deployment of each application."""
_MODEL = "ocella-model-"


def app_of(model: str) -> str:
    """The application of a model."""
    return f"{_MODEL}{model}"


def model_of(app: str) -> str | None:
    """The model of an application; ``None`` where it is none of a model of ours."""
    return app.removeprefix(_MODEL) if app.startswith(_MODEL) else None


def is_ours(app: str) -> bool:
    """Whether an application is one of Ocella; others may share the cluster."""
    return app in (ROUTER, BOARD) or model_of(app) is not None
