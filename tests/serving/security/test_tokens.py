from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.errors import InvalidRequestError
from serving.security.roles import Role
from serving.security.tokens import PREFIX, Token, TokenTable, digest_of, make_token, read_tokens
from serving.settings import StartError

LINE = f"camera infer,metrics 2027-01-31T12:00:00Z sha256:{'ab' * 32}"


@settings(max_examples=30)
@given(
    name=st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}", fullmatch=True),
    roles=st.frozensets(st.sampled_from(Role), min_size=1),
    expires=st.none() | st.datetimes(datetime(1971, 1, 1), datetime(9000, 1, 1)),
)
def test_a_line_is_read_as_it_was_written(tmp_path_factory: pytest.TempPathFactory, name, roles, expires):
    file = tmp_path_factory.getbasetemp() / "one-line.txt"
    expires = expires and expires.replace(tzinfo=UTC, microsecond=0)
    _, token = make_token(name, roles, expires)
    file.write_text(token.to_line() + "\n")
    assert read_tokens(file) == (token,)


def test_texts_differ_and_are_not_in_what_is_kept():
    texts = {make_token("a", [Role.INFER], None)[0] for _ in range(100)}
    assert len(texts) == 100
    text, token = make_token("a", [Role.INFER], None)
    assert text.startswith(PREFIX)
    assert len(text) >= len(PREFIX) + 43  # 256 bits in base64
    assert text not in token.to_line() + repr(token)
    assert token.digest.hex() not in repr(token)


def test_comments_and_empty_lines_say_nothing(tmp_path: Path):
    file = tmp_path / "tokens.txt"
    file.write_text(f"# head\n\n   \n  # more\n{LINE}\n")
    assert read_tokens(file) == (
        Token(
            name="camera",
            roles=frozenset({Role.INFER, Role.METRICS}),
            expires=datetime(2027, 1, 31, 12, tzinfo=UTC),
            digest=bytes.fromhex("ab" * 32),
        ),
    )


def test_an_expiry_without_a_zone_is_in_utc(tmp_path: Path):
    file = tmp_path / "tokens.txt"
    file.write_text(LINE.replace("12:00:00Z", "12:00:00"))
    assert read_tokens(file)[0].expires == datetime(2027, 1, 31, 12, tzinfo=UTC)


def test_an_expiry_of_another_zone_is_told_in_utc(tmp_path: Path):
    file = tmp_path / "tokens.txt"
    file.write_text(LINE.replace("12:00:00Z", "12:00:00+05:30"))
    assert f"{read_tokens(file)[0].expires:%H:%M %Z}" == "06:30 UTC"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("camera infer never", "line 2 must be NAME ROLE.*, it has 3 words"),
        (f"{LINE} more", "it has 5 words"),
        (LINE.replace("camera", "-camera"), "line 2: a name must match"),
        (LINE.replace("infer", "root"), "line 2: roles must be among infer, admin, metrics, faces, got 'root'"),
        (LINE.replace("infer,", "infer,,"), "roles must be among"),
        (LINE.replace("2027-01-31", "2027-02-31"), "line 2: an expiry must be never or such as"),
        (
            LINE.replace("2027-01-31T12:00:00Z", "0001-01-01T00:00:00+09:00"),
            "line 2: an expiry must be never or such as",
        ),
        (LINE.replace("sha256:", "md5:"), "line 2: the last word must be sha256: and 64 hexadecimal digits"),
        (LINE[:-1], "the last word must be sha256: and 64 hexadecimal digits"),
        (f"{LINE}\n{LINE.replace('camera', 'other')}", "must hold each token once, one of other is there twice"),
    ],
)
def test_a_bad_line_is_named_and_its_hash_is_not(tmp_path: Path, line: str, message: str):
    file = tmp_path / "tokens.txt"
    file.write_text(f"# head\n{line}\n")
    with pytest.raises(StartError, match=message) as raised:
        read_tokens(file)
    assert "abab" not in str(raised.value)


def test_a_file_that_everybody_may_write_is_refused(tmp_path: Path):
    file = tmp_path / "tokens.txt"
    file.write_text(LINE)
    file.chmod(0o666)
    with pytest.raises(StartError, match=r"must not be writable by everybody, its mode is 666: chmod o-w "):
        read_tokens(file)


def test_a_token_is_found_by_its_whole_hash():
    text, token = make_token("a", [Role.INFER], None)
    twin = Token(name="b", roles=token.roles, expires=None, digest=token.digest[:16] + bytes(16))
    table = TokenTable([twin, token])
    assert table.find(text) is token
    assert table.find(text + "x") is None
    assert len(table) == 2
    assert digest_of(text) == token.digest


@pytest.mark.parametrize(("name", "roles"), [("", [Role.INFER]), ("two words", [Role.INFER]), ("a", [])])
def test_a_token_without_a_name_or_role_is_not_made(name: str, roles: list[Role]):
    with pytest.raises(InvalidRequestError):
        make_token(name, roles, None)
