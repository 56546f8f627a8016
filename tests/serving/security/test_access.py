import logging
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pipelines.errors import NotAllowedError, UnauthenticatedError
from serving.security.access import Access
from serving.security.cli import add_token
from serving.security.roles import Door, Role
from serving.settings import StartError


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "tokens.txt"


def bearer(text: str) -> list[str]:
    return [f"Bearer {text}"]


def test_a_token_is_known_by_its_name(file: Path):
    text, _ = add_token(file, "camera-1", [Role.INFER], None)
    assert Access(file).require(bearer(text), Role.INFER) == "camera-1"


@pytest.mark.parametrize("form", ["Bearer {}", "bearer {}", "BEARER   {} "])
def test_the_scheme_is_read_in_any_case(file: Path, form: str):
    text, _ = add_token(file, "a", [Role.INFER], None)
    assert Access(file).require([form.format(text)], Role.INFER) == "a"


@pytest.mark.parametrize(
    "header", ["", "{}", "Bearer", "Bearer {} {}", "Basic {}", "Bearer {}\n", "Bearer " + "a" * 9000]
)
def test_a_header_of_another_form_is_refused_without_being_repeated(file: Path, header: str):
    text, _ = add_token(file, "a", [Role.INFER], None)
    with pytest.raises(UnauthenticatedError, match=r"must be Bearer TOKEN, it has another form$"):
        Access(file).require([header.format(text, text)], Role.INFER)


def test_an_open_door_needs_no_header(file: Path):
    add_token(file, "a", [Role.INFER], None)
    assert Access(file).require([], Door.OPEN) == ""


def test_any_token_opens_what_asks_for_any(file: Path):
    text, _ = add_token(file, "a", [Role.METRICS], None)
    assert Access(file).require(bearer(text), Door.ANY_TOKEN) == "a"


def test_a_token_expires_at_its_second(file: Path):
    past, _ = add_token(file, "late", [Role.INFER], datetime.now(UTC) - timedelta(seconds=1))
    soon, _ = add_token(file, "early", [Role.INFER], datetime.now(UTC) + timedelta(minutes=1))
    access = Access(file)
    with pytest.raises(UnauthenticatedError, match=r"^the token of late expired on \d{4}-\d\d-\d\d \d\d:\d\d UTC$"):
        access.require(bearer(past), Role.INFER)
    assert access.require(bearer(soon), Role.INFER) == "early"


def test_two_tokens_may_have_one_name_while_one_follows_the_other(file: Path):
    texts = [add_token(file, "camera", [Role.INFER], None)[0] for _ in range(2)]
    assert [Access(file).require(bearer(text), Role.INFER) for text in texts] == ["camera", "camera"]


def test_no_role_includes_another(file: Path):
    text, _ = add_token(file, "ops", [Role.ADMIN], None)
    with pytest.raises(NotAllowedError, match="needs a token with the role infer, the one of ops has admin"):
        Access(file).require(bearer(text), Role.INFER)


def test_a_token_that_is_added_or_deleted_counts_from_the_next_look(file: Path):
    first, _ = add_token(file, "a", [Role.INFER], None)
    access = Access(file)
    second, added = add_token(file, "b", [Role.INFER], None)
    with pytest.raises(UnauthenticatedError):
        access.require(bearer(second), Role.INFER)
    access.refresh()
    assert access.require(bearer(second), Role.INFER) == "b"
    file.write_text(added.to_line())
    access.refresh()
    with pytest.raises(UnauthenticatedError, match="must be one of this server's"):
        access.require(bearer(first), Role.INFER)


@pytest.mark.parametrize("spoil", [Path.unlink, lambda file: file.write_text("nonsense")])
def test_a_file_that_cannot_be_used_any_more_changes_nothing(file: Path, caplog: pytest.LogCaptureFixture, spoil):
    text, _ = add_token(file, "a", [Role.INFER], None)
    access = Access(file)
    spoil(file)
    for _ in range(2):
        access.refresh()
        assert access.require(bearer(text), Role.INFER) == "a"
    [record] = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert record.getMessage().startswith(f"the tokens from before go on to count: {file}")


def test_a_file_that_is_mended_without_being_written_counts_from_the_next_look(
    file: Path, caplog: pytest.LogCaptureFixture
):
    add_token(file, "a", [Role.INFER], None)
    access = Access(file)
    text, _ = add_token(file, "b", [Role.INFER], None)
    file.chmod(0o666)
    access.refresh()
    with pytest.raises(UnauthenticatedError):
        access.require(bearer(text), Role.INFER)
    assert "must not be writable by everybody" in caplog.text
    file.chmod(0o600)
    access.refresh()
    assert access.require(bearer(text), Role.INFER) == "b"


def test_a_file_that_is_spoilt_again_is_said_again(file: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture):
    add_token(file, "a", [Role.INFER], None)
    access = Access(file)
    for _ in range(2):
        file.rename(tmp_path / "away")
        access.refresh()
        (tmp_path / "away").rename(file)
        access.refresh()
    assert len([record for record in caplog.records if record.levelno == logging.ERROR]) == 2


def test_a_file_that_is_missing_stops_the_start(file: Path):
    with pytest.raises(StartError, match=r"tokens\.txt must be a file of tokens that can be read: No such file"):
        Access(file)


def test_a_file_without_a_token_is_said(file: Path, caplog: pytest.LogCaptureFixture):
    file.write_text("# nobody yet\n")
    with pytest.raises(UnauthenticatedError):
        Access(file).require(bearer("a"), Role.INFER)
    assert "holds no token" in caplog.text
