"""The dashboard against the types that Grafana generates from its own schema."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard

from tests.deploy.watched import dashboard, panels


def unknown(ours: Any, theirs: Any, path: str = "") -> Iterator[str]:
    """Where what Grafana makes of our document differs from it; what says nothing may be left out."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        for key, value in ours.items():
            if value not in (None, {}, [], ""):
                yield from unknown(value, theirs.get(key), f"{path}.{key}")
    elif isinstance(ours, list) and isinstance(theirs, list) and len(ours) == len(theirs):
        for i, (one, other) in enumerate(zip(ours, theirs, strict=True)):
            yield from unknown(one, other, f"{path}[{i}]")
    elif ours != theirs:
        yield f"{path}: {ours!r} became {theirs!r}"


def read_and_written(document: dict[str, Any]) -> Any:
    register_default_plugins()
    return json.loads(json.dumps(Dashboard.from_json(document), cls=JSONEncoder))


def test_grafana_knows_every_field_of_the_dashboard():
    assert list(unknown(dashboard(), read_and_written(dashboard()))) == []


def test_a_field_that_grafana_does_not_know_is_seen():
    document = dashboard()
    document["panels"][1]["options"]["colour"] = "red"
    assert list(unknown(document, read_and_written(document))) == [".panels[1].options.colour: 'red' became None"]


@pytest.mark.parametrize("kind", ["stat", "timeseries", "heatmap", "table", "state-timeline"])
def test_panels_of_a_kind_ask_in_the_format_that_it_draws(kind: str):
    formats = {
        target.get("format", "time_series")
        for panel in panels()
        if panel["type"] == kind
        for target in panel["targets"]
    }
    assert formats == {{"heatmap": "heatmap", "table": "table"}.get(kind, "time_series")}


def test_latency_is_repeated_for_each_stage():
    (repeated,) = (panel for panel in panels() if panel.get("repeat"))
    assert repeated["repeat"] == "stage"
    (variable,) = (one for one in dashboard()["templating"]["list"] if one["name"] == "stage")
    assert [option["value"] for option in variable["options"]] == ["$__all", *variable["query"].split(",")]
