import os
from pathlib import Path
from typing import Any

import pytest

from serving.settings import Settings, StartError, check_exposure, exposure_warnings, is_loopback, read_settings


def test_arguments_beat_the_environment_and_the_environment_beats_the_defaults(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("OCELLA_PORT", "7001")
    monkeypatch.setenv("OCELLA_GRACE_S", "2.5")
    settings = Settings(port=9001)
    assert (settings.port, settings.grace_s, settings.http_port) == (9001, 2.5, 8000)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost"])
def test_a_loopback_host_needs_no_permission(host: str):
    check_exposure(Settings(host=host))


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "", "192.0.2.1"])
def test_a_host_that_others_reach_needs_insecure(host: str):
    with pytest.raises(StartError, match="--insecure"):
        check_exposure(Settings(host=host))
    check_exposure(Settings(host=host, insecure=True))


TLS = {"tls_cert": Path("tls.crt"), "tls_key": Path("tls.key")}
TOKENS = {"tokens": Path("tokens.txt")}


@pytest.mark.parametrize("given", [TLS, TOKENS, {**TLS, **TOKENS}])
def test_a_host_that_others_reach_may_have_tls_or_tokens_instead_of_insecure(given: dict[str, Path]):
    check_exposure(Settings(host="0.0.0.0", **given))


@pytest.mark.parametrize(
    ("given", "warnings"),
    [
        ({"insecure": True}, ("images and answers travel unencrypted", "anybody who reaches 0.0.0.0 can use")),
        (TOKENS, ("tokens, images and answers travel unencrypted to and from 0.0.0.0",)),
        (TLS, ("anybody who reaches 0.0.0.0 can use the server: --tokens or --tls-client-ca",)),
        ({**TLS, **TOKENS}, ()),
        ({**TLS, "tls_client_ca": Path("clients.pem")}, ()),
    ],
)
def test_what_others_could_do_is_said(given: dict[str, Any], warnings: tuple[str, ...]):
    said = exposure_warnings(Settings(host="0.0.0.0", **given))
    assert [line.startswith(start) for line, start in zip(said, warnings, strict=True)] == [True] * len(warnings)
    assert exposure_warnings(Settings(**given)) == ()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"tls_cert": Path("tls.crt")}, "--tls-cert and --tls-key must come together"),
        ({"tls_key": Path("tls.key")}, "--tls-cert and --tls-key must come together"),
        ({"tls_client_ca": Path("clients.pem")}, "--tls-client-ca must come with --tls-cert"),
        ({"admin": True, **TOKENS}, "--admin must not come with --tokens"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(given: dict[str, Any], message: str):
    with pytest.raises(StartError, match=message):
        check_exposure(Settings(insecure=True, **given))


def test_a_host_without_an_address_is_refused():
    with pytest.raises(StartError, match=r"host 'no such host' has no address"):
        is_loopback("no such host")


def test_settings_cannot_change_after_they_are_read():
    with pytest.raises(ValueError, match="frozen"):
        Settings().models = (Path("elsewhere"),)


def test_an_argument_that_was_not_given_leaves_the_word_to_the_environment(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("OCELLA_PORT", "7001")
    monkeypatch.setenv("OCELLA_HTTP_PORT", "7002")
    settings = read_settings(port=None, http_port=9002, host=None)
    assert (settings.port, settings.http_port, settings.host) == (7001, 9002, "127.0.0.1")


def test_folders_of_the_environment_are_joined_as_in_path(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("OCELLA_MODELS", f"/models{os.pathsep}{os.pathsep}more/faces")
    assert read_settings().models == (Path("/models"), Path("more/faces"))


@pytest.mark.parametrize(
    ("variable", "value"),
    [("OCELLA_GRACE_S", "abc"), ("OCELLA_PORT", "70000"), ("OCELLA_INSECURE", "perhaps"), ("OCELLA_STREAM_WINDOW", "")],
)
def test_a_bad_variable_is_one_error_that_names_it(monkeypatch: pytest.MonkeyPatch, variable: str, value: str):
    monkeypatch.setenv(variable, value)
    with pytest.raises(StartError, match=rf"^{variable}: .*\(got {value!r}\)$"):
        read_settings()
