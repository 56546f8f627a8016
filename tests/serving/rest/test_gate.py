import httpx
import pytest

PATHS = ("/metrics", "/v2/health/live", "/openapi.json", "/no/such/path")


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example:8000", ""])
def test_a_foreign_host_is_refused(http: httpx.Client, path: str, host: str):
    response = http.get(path, headers={"host": host})
    assert (response.status_code, response.json()["reason"]) == (400, "UnknownHostError")


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://127.0.0.1:1", ""])
def test_a_page_of_another_site_is_refused(http: httpx.Client, path: str, origin: str):
    response = http.get(path, headers={"origin": origin})
    assert (response.status_code, response.json()["reason"]) == (403, "ForeignOriginError")


def test_a_form_of_another_site_runs_nothing(http: httpx.Client, photos: list[bytes]):
    files, headers = [("image", photos[0])], {"origin": "https://evil.example"}
    assert http.post("/v1/models/classes:predict", files=files, headers=headers).status_code == 403


def test_a_page_of_ours_is_answered(http: httpx.Client):
    origin = str(http.base_url).rstrip("/")
    assert http.get("/v2/health/live", headers={"origin": origin}).status_code == 200


@pytest.mark.parametrize("host", ["LOCALHOST:9", "[::1]", "[::1]:8000", "127.0.0.1"])
def test_our_own_names_are_served_at_any_port(http: httpx.Client, host: str):
    assert http.get("/v2/health/live", headers={"host": host}).status_code == 200
