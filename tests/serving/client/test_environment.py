import pytest

from pipelines.errors import InvalidRequestError
from serving.client import Tls
from serving.client.environment import credentials_from_environment


def test_an_empty_environment_is_nobody():
    assert credentials_from_environment({}) == {"tls": None, "token": None}


def test_a_token_alone_does_not_encrypt():
    assert credentials_from_environment({"OCELLA_CLIENT_TOKEN": "abc"}) == {"tls": None, "token": "abc"}


def test_an_authority_encrypts():
    given = {"OCELLA_CLIENT_CA": "ca.pem", "OCELLA_CLIENT_SERVER_NAME": "vision.example", "OCELLA_CLIENT_CERT": ""}
    tls = Tls(root_certificates="ca.pem", server_name="vision.example")
    assert credentials_from_environment(given) == {"tls": tls, "token": None}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"OCELLA_CLIENT_SERVER_NAME": "a"}, "OCELLA_CLIENT_CA must name .* where OCELLA_CLIENT_SERVER_NAME is set"),
        ({"OCELLA_CLIENT_CA": "a", "OCELLA_CLIENT_CERT": "b"}, "must come together, got the certificate alone"),
    ],
)
def test_half_of_what_is_needed_is_refused(given: dict[str, str], message: str):
    with pytest.raises(InvalidRequestError, match=message):
        credentials_from_environment(given)
