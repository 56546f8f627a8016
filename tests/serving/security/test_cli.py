import re
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

import ocella
from serving.security.tokens import TokenTable, read_tokens


def test_a_token_is_printed_once_and_only_its_hash_is_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    file = tmp_path / "tokens.txt"
    words = ["token", str(file), "--name", "camera-1", "--role", "infer", "--role", "faces", "--days", "90"]
    assert ocella.main(words) == 0
    out, err = capsys.readouterr()
    text = out.strip()
    token = TokenTable(read_tokens(file)).find(text)
    assert token is not None
    assert (token.name, sorted(token.roles)) == ("camera-1", ["faces", "infer"])
    assert token.expires is not None
    assert abs(token.expires - datetime.now(UTC) - timedelta(days=90)) < timedelta(minutes=5)
    assert text not in err + file.read_text()
    assert re.search(r"camera-1 \(faces, infer\), until \d{4}-", err)


def test_a_file_of_tokens_is_for_its_owner_alone(tmp_path: Path):
    file = tmp_path / "tokens.txt"
    ocella.main(["token", str(file), "--name", "a", "--role", "infer"])
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_tokens_are_added_behind_what_is_there(tmp_path: Path):
    file = tmp_path / "tokens.txt"
    ocella.main(["token", str(file), "--name", "a", "--role", "infer", "--never-expires"])
    file.write_text(file.read_text().rstrip("\n"))
    ocella.main(["token", str(file), "--name", "b", "--role", "admin"])
    assert [token.name for token in read_tokens(file)] == ["a", "b"]
    assert read_tokens(file)[0].expires is None


def test_a_damaged_file_is_not_added_to(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    file = tmp_path / "tokens.txt"
    file.write_text("nonsense\n")
    assert ocella.main(["token", str(file), "--name", "a", "--role", "infer"]) == 1
    assert "line 1 must be NAME ROLE" in capsys.readouterr().err
    assert file.read_text() == "nonsense\n"


def test_a_role_that_there_is_not_is_a_usage_error(tmp_path: Path):
    assert ocella.main(["token", str(tmp_path / "tokens.txt"), "--name", "a", "--role", "root"]) == 2
