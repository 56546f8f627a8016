"""The compose file: hardened services whose files exist, published on loopback alone."""

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from serving.cli import serve
from serving.settings import Settings
from tests.deploy.stopping import BEYOND_GRACE_S
from tests.deploy.watched import DASHBOARD, DEPLOY, dashboard
from tests.serving.servers import PATIENCE_S

COMPOSE: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
GRAFANA = DEPLOY / "grafana" / "provisioning"


def mounts(service: str) -> dict[str, str]:
    """What lies where in the container: paths of ours, or names of volumes."""
    pairs = (
        entry.rsplit(":", 2) if entry.endswith(":ro") else entry.split(":") for entry in SERVICES[service]["volumes"]
    )
    return {pair[1]: pair[0] for pair in pairs}


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_is_read_only_without_privileges_and_not_root(name: str):
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert int(service["user"].partition(":")[0]) > 0


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_is_published_on_loopback_alone_and_checked(name: str):
    service = SERVICES[name]
    assert all(port.startswith("127.0.0.1:") for port in service["ports"])
    assert service["healthcheck"]["test"][0] == "CMD"
    assert service["image"].rpartition(":")[2] not in ("", "latest")


@pytest.mark.parametrize("name", SERVICES)
def test_what_a_service_mounts_is_there_or_a_volume(name: str):
    for source in mounts(name).values():
        path = source.partition(":-")[2].rstrip("}") or source
        assert path in COMPOSE["volumes"] or (DEPLOY / path).exists(), source


def test_the_servers_command_is_one_that_it_takes():
    words = SERVICES["ocella"]["command"]
    options = {word for word in words if word.startswith("--")}
    assert words[0] == "serve"
    assert options <= {f"--{name.replace('_', '-')}" for name in serve.__annotations__}
    assert mounts("ocella")[words[words.index("--models") + 1]] == "${MODELS:-../models}"


def test_a_stop_waits_longer_than_the_server_takes():
    assert float(SERVICES["ocella"]["stop_grace_period"].removesuffix("s")) > Settings().grace_s + BEYOND_GRACE_S


def test_prometheus_reads_the_configuration_that_is_mounted():
    assert "--config.file=/etc/prometheus/prometheus.yml" in SERVICES["prometheus"]["command"]
    assert mounts("prometheus")["/etc/prometheus"] == "./prometheus"
    config = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text())
    targets = {job["job_name"]: job["static_configs"][0]["targets"] for job in config["scrape_configs"]}
    assert targets["ocella"] == ["ocella:8000"]  # the service's name and its HTTP port


def test_grafana_finds_its_source_and_its_dashboard():
    (source,) = yaml.safe_load((GRAFANA / "datasources" / "prometheus.yml").read_text())["datasources"]
    assert source["type"] == "prometheus"
    assert source["url"] == "http://prometheus:9090"
    (provider,) = yaml.safe_load((GRAFANA / "dashboards" / "ocella.yml").read_text())["providers"]
    folder = mounts("grafana")[provider["options"]["path"]]
    assert (DEPLOY / folder).resolve() == DASHBOARD.parent
    home = SERVICES["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert Path(home) == Path(provider["options"]["path"]) / DASHBOARD.name


def test_the_dashboard_asks_the_source_that_is_chosen_and_no_other():
    variable = dashboard()["templating"]["list"][0]
    assert (variable["type"], variable["name"], variable["query"]) == ("datasource", "datasource", "prometheus")


@pytest.mark.slow
@pytest.mark.skipif(
    shutil.which("docker-compose") is None, reason="needs docker-compose: apt-get install docker-compose"
)
def test_docker_compose_reads_the_file_and_asks_for_the_password():
    command = ["docker-compose", "--file", str(DEPLOY / "compose.yaml"), "config"]

    def config(**environment: str) -> subprocess.CompletedProcess[str]:
        variables = {name: value for name, value in os.environ.items() if name != "GRAFANA_PASSWORD"} | environment
        return subprocess.run(command, env=variables, capture_output=True, text=True, timeout=PATIENCE_S, check=False)

    given = config(GRAFANA_PASSWORD="x")
    assert given.returncode == 0, given.stderr
    assert set(yaml.safe_load(given.stdout)["services"]) == {"ocella", "prometheus", "grafana"}
    missing = config()
    assert missing.returncode == 1
    assert "the password of Grafana's admin" in missing.stderr
