import re
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

import ocella
from deploy.image.dockerfile import image_of, read_stages
from serving.families import Families
from serving.settings import Settings
from tests.clients.environments import KSERVE as KSERVE_SDK
from tests.clients.environments import run_script
from tests.deploy.manifests import K8S, KSERVE, ROOT, container, documents, manifest, options, pod
from tests.deploy.stopping import BEYOND_GRACE_S

OLDEST_KUBERNETES, NEWEST_KUBERNETES = "1.30.0", "1.37.0"  # 1.30: preStop with sleep is on by default
CUSTOM = {"Kustomization", "PrometheusRule", "ServiceMonitor"}
FILES = sorted(path.name for path in K8S.glob("*.yaml") if path.name != "prometheus-adapter-values.yaml")
PROMETHEUS_OPERATOR = ("cloudcoil-models-prometheus-operator==0.80.1.0",)
RUNTIME = KSERVE / "runtime.yaml"


@pytest.mark.parametrize("release", [OLDEST_KUBERNETES, NEWEST_KUBERNETES])
@pytest.mark.parametrize("name", FILES)
def test_manifests_hold_to_kubernetes_own_schemas(name: str, release: str):
    for document in documents(K8S / name):
        if document["kind"] not in CUSTOM:
            kubernetes_validate.validate(document, release, strict=True)


def test_the_schema_check_refuses_a_key_that_kubernetes_does_not_know():
    wrong = manifest("deployment.yaml")
    wrong["spec"]["template"]["spec"]["containers"][0]["readOnlyRootFileSystem"] = True
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, NEWEST_KUBERNETES, strict=True)


def test_every_manifest_is_applied():
    listed = manifest("kustomization.yaml")["resources"]
    assert sorted([*listed, "kustomization.yaml"]) == FILES


def test_the_containers_options_are_those_of_the_command(capsys: pytest.CaptureFixture[str]):
    command, *_ = container()["args"]
    assert ocella.main([command, "--help"]) == 0
    shown = capsys.readouterr().out
    assert [name for name in options(container()["args"]) if f"{name} " not in shown] == []


@pytest.mark.parametrize("arguments", [container()["args"], documents(RUNTIME)[0]["spec"]["containers"][0]["args"]])
def test_the_containers_options_are_read_as_settings(arguments: list[str]):
    given = {name[2:].replace("-", "_"): value or True for name, value in options(arguments).items()}
    settings = Settings(**{name: [value] if name == "models" else value for name, value in given.items()})
    assert settings.host == "0.0.0.0"
    assert set(given) <= set(Settings.model_fields)


def test_the_deployment_asks_who_calls_and_encrypts_instead_of_being_insecure():
    given = options(container()["args"])
    assert {"--tls-cert", "--tls-key", "--tokens"} <= given.keys()
    assert "--insecure" not in given


def test_the_environment_holds_settings_only():
    names = [variable["name"] for variable in container()["env"]]
    assert [name for name in names if name.removeprefix("OCELLA_").lower() not in Settings.model_fields] == []


def test_ports_are_those_of_the_options():
    ports = {port["name"]: str(port["containerPort"]) for port in container()["ports"]}
    given = options(container()["args"])
    assert ports == {"grpc": given["--port"], "http": given["--http-port"], "health": given["--health-port"]}


@pytest.mark.parametrize(
    ("probe", "path"), [("startupProbe", "/readyz"), ("livenessProbe", "/healthz"), ("readinessProbe", "/readyz")]
)
def test_probes_ask_the_port_that_is_not_encrypted(probe: str, path: str):
    assert container()[probe]["httpGet"] == {"path": path, "port": "health"}


def test_starting_may_take_as_long_as_one_load():
    probe = container()["startupProbe"]
    assert probe["periodSeconds"] * probe["failureThreshold"] >= Settings().load_timeout_s


def test_kubernetes_waits_longer_for_the_end_than_the_server_takes():
    (grace,) = [float(v["value"]) for v in container()["env"] if v["name"] == "OCELLA_GRACE_S"]
    pause = container()["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert pod()["terminationGracePeriodSeconds"] > pause + grace + BEYOND_GRACE_S


def test_the_pod_may_nothing_that_it_does_not_need():
    security = container()["securityContext"]
    assert security["readOnlyRootFilesystem"] is True
    assert security["allowPrivilegeEscalation"] is False
    assert security["capabilities"] == {"drop": ["ALL"]}
    assert pod()["securityContext"]["runAsNonRoot"] is True
    assert pod()["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod()["automountServiceAccountToken"] is False


def test_kubernetes_sets_no_variables_that_the_server_would_take_for_settings():
    assert pod()["enableServiceLinks"] is False


def test_the_pods_user_is_that_of_the_image():
    image = image_of(read_stages((ROOT / "Dockerfile").read_text())[-1])
    security = pod()["securityContext"]
    assert f"{security['runAsUser']}:{security['runAsGroup']}" == image.user
    assert security["fsGroup"] == security["runAsGroup"]  # else the server could not read its key


def test_every_folder_that_the_server_is_told_of_is_mounted():
    mounted = [mount["mountPath"] for mount in container()["volumeMounts"]]
    told = [value for value in options(container()["args"]).values() if value.startswith("/")]
    assert [path for path in told if not any(Path(path).is_relative_to(mount) for mount in mounted)] == []
    assert {mount["name"] for mount in container()["volumeMounts"]} == {volume["name"] for volume in pod()["volumes"]}


def test_nothing_but_tmp_is_writable():
    assert [mount["mountPath"] for mount in container()["volumeMounts"] if not mount.get("readOnly")] == ["/tmp"]


def test_selectors_find_the_pods():
    labels = manifest("deployment.yaml")["spec"]["template"]["metadata"]["labels"]
    selectors = [
        manifest("deployment.yaml")["spec"]["selector"]["matchLabels"],
        manifest("service.yaml")["spec"]["selector"],
        manifest("disruption.yaml")["spec"]["selector"]["matchLabels"],
        manifest("network.yaml")["spec"]["podSelector"]["matchLabels"],
        manifest("monitor.yaml")["spec"]["selector"]["matchLabels"],
    ]
    assert [selector for selector in selectors if not selector.items() <= labels.items()] == []
    assert (
        manifest("autoscaler.yaml")["spec"]["scaleTargetRef"]["name"] == manifest("deployment.yaml")["metadata"]["name"]
    )


def test_the_services_ports_are_the_pods():
    names = {port["name"] for port in container()["ports"]}
    assert {port["targetPort"] for port in manifest("service.yaml")["spec"]["ports"]} <= names


def test_the_network_lets_no_one_out_and_clients_in_to_both_ports():
    spec = manifest("network.yaml")["spec"]
    numbers = {port["name"]: port["containerPort"] for port in container()["ports"]}
    assert (spec["policyTypes"], spec["egress"]) == (["Ingress", "Egress"], [])
    assert {port["port"] for rule in spec["ingress"] for port in rule["ports"]} == {numbers["grpc"], numbers["http"]}


def test_a_rule_of_the_adapter_makes_the_autoscalers_metric_from_one_of_ours():
    (rule,) = yaml.safe_load((K8S / "prometheus-adapter-values.yaml").read_text())["rules"]["custom"]
    asked = [metric["pods"]["metric"]["name"] for metric in manifest("autoscaler.yaml")["spec"]["metrics"][:1]]
    ours = {family.name for family in Families().registry.collect()}
    assert [rule["name"]["as"]] == asked
    assert set(re.findall(r"ocella_\w+", rule["seriesQuery"])) <= ours


def test_the_monitor_scrapes_metrics_with_a_token_over_the_services_http_port():
    (endpoint,) = manifest("monitor.yaml")["spec"]["endpoints"]
    assert endpoint["port"] in {port["name"] for port in manifest("service.yaml")["spec"]["ports"]}
    assert (endpoint["path"], endpoint["scheme"], endpoint["authorization"]["type"]) == ("/metrics", "https", "Bearer")


def test_the_operator_is_given_the_alerts_that_are_tried():
    assert manifest("alerts.yaml")["spec"] == yaml.safe_load(
        (ROOT / "deploy" / "prometheus" / "alerts.yml").read_text()
    )


def test_the_operator_calls_the_server_as_the_alerts_do():
    asked = set(re.findall(r'job="(\w+)"', (K8S / "alerts.yaml").read_text()))
    assert asked == {manifest("service.yaml")["metadata"]["name"]}  # a ServiceMonitor without jobLabel takes it


def test_the_runtime_and_the_service_name_one_format():
    (runtime,), (service,) = documents(RUNTIME), documents(KSERVE / "service.yaml")
    model = service["spec"]["predictor"]["model"]
    formats = [(known["name"], known["version"]) for known in runtime["spec"]["supportedModelFormats"]]
    assert model["runtime"] == runtime["metadata"]["name"]
    assert (model["modelFormat"]["name"], model["modelFormat"]["version"]) in formats
    assert model["protocolVersion"] in runtime["spec"]["protocolVersions"]


def test_the_runtimes_container_holds_to_kubernetes_own_schema():
    spec: dict[str, Any] = documents(RUNTIME)[0]["spec"]
    as_pod = {"containers": spec["containers"], "volumes": spec["volumes"]}
    document = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "runtime"}, "spec": as_pod}
    kubernetes_validate.validate(document, NEWEST_KUBERNETES, strict=True)


@pytest.mark.slow
def test_kserves_own_models_know_all_that_the_runtime_and_the_service_say():
    script = str(ROOT / "tests" / "deploy" / "kserve_models.py")
    report = run_script(KSERVE_SDK, script, str(RUNTIME), str(KSERVE / "service.yaml"))
    assert report == {"checked": ["ServingRuntime", "InferenceService"], "problems": []}


@pytest.mark.slow
def test_kserves_models_would_refuse_what_they_do_not_know(tmp_path: Path):
    wrong = RUNTIME.read_text().replace("supportedModelFormats", "supportedFormats").replace("autoSelect: true", "")
    (tmp_path / "wrong.yaml").write_text(wrong)
    script = str(ROOT / "tests" / "deploy" / "kserve_models.py")
    problems = run_script(KSERVE_SDK, script, str(tmp_path / "wrong.yaml"))["problems"]
    assert problems == ["ServingRuntime.spec.supportedFormats is unknown to V1alpha1ServingRuntimeSpec"]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["alerts.yaml", "monitor.yaml"])
def test_the_operators_models_read_all_that_a_manifest_says(name: str):
    script = str(ROOT / "tests" / "deploy" / "prometheus_models.py")
    report = run_script(PROMETHEUS_OPERATOR, script, str(K8S / name))
    assert report["problems"] == []
    assert report["read"] == report["written"]
