import pytest

from serving.settings import StartError, read_settings
from serving.tracing.environment import standard_endpoint

ALL, TRACES = "OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"


@pytest.mark.parametrize(
    ("environment", "endpoint"),
    [
        ({}, None),
        ({ALL: "http://a:1"}, "http://a:1"),
        ({ALL: "http://a:1", TRACES: "http://b:2"}, "http://b:2"),
        ({ALL: ""}, None),
        ({ALL: "http://a:1", "OTEL_SDK_DISABLED": "TRUE"}, None),
        ({ALL: "http://a:1", "OTEL_TRACES_EXPORTER": "none"}, None),
    ],
)
def test_opentelemetrys_variables_name_the_receiver(environment: dict[str, str], endpoint: str | None):
    assert standard_endpoint(environment) == endpoint


def test_the_option_goes_before_our_variable_and_that_before_the_standard_one(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv(ALL, "http://standard:1")
    assert read_settings().otlp_endpoint == "http://standard:1"
    monkeypatch.setenv("OCELLA_OTLP_ENDPOINT", "http://ours:2")
    assert read_settings().otlp_endpoint == "http://ours:2"
    assert read_settings(otlp_endpoint="https://given:3").otlp_endpoint == "https://given:3"


@pytest.mark.parametrize("endpoint", ["localhost:4317", "ftp://a", "http://"])
def test_an_endpoint_that_is_no_url_is_one_clear_error(endpoint: str):
    with pytest.raises(StartError, match="OTLP_ENDPOINT"):
        read_settings(otlp_endpoint=endpoint)
