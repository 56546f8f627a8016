"""What the dashboard and the alerts ask of Prometheus."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parent.parent.parent
DEPLOY = ROOT / "deploy"
PROMETHEUS = DEPLOY / "prometheus"
DASHBOARD = DEPLOY / "grafana" / "dashboards" / "ocella.json"
PAGE = ROOT / "docs" / "metrics.md"
# A series selector: a name and perhaps its labels.
SELECTOR = re.compile(r"\b(?:ocella|process|python)_\w+(?:\{[^}]*\})?|\bup(?:\{[^}]*\})?")
# What Grafana puts in the place of a variable where all of its values are chosen.
VARIABLES = {"$model": ".*", "$stage": ".*", "$__rate_interval": "15s"}


def dashboard() -> dict[str, Any]:
    """The dashboard as Grafana is given it."""
    return json.loads(DASHBOARD.read_text())


def panels() -> list[dict[str, Any]]:
    """Its panels, without the rows that order them."""
    return [panel for panel in dashboard()["panels"] if panel["type"] != "row"]


def queries() -> Iterator[tuple[str, str]]:
    """Title and expression of each query of each panel, its variables filled in."""
    for panel in panels():
        for target in panel["targets"]:
            yield panel["title"], filled(target["expr"])


def filled(expression: str) -> str:
    """An expression with the variables of the dashboard filled in; ``$stage`` stands in an equality."""
    expression = expression.replace('stage="$stage"', 'stage=~"$stage"')
    for variable, value in VARIABLES.items():
        expression = expression.replace(variable, value)
    return expression


def alerts() -> list[dict[str, Any]]:
    """The alert rules."""
    groups = yaml.safe_load((PROMETHEUS / "alerts.yml").read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]
