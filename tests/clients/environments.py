"""Other people's clients in environments and processes of their own: their ``inference.*`` collides with any other."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import venv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent
TRITON = ("tritonclient[grpc,http]==2.73.0", "protobuf<7")
KSERVE = ("kserve==0.21.0",)
SCRIPT_TIMEOUT_S = 240


def environment(requirements: Sequence[str]) -> Path:
    """The Python of an environment with ``requirements``, made once and kept in the cache folder."""
    cache = Path(os.environ.get("OCELLA_CACHE", Path.home() / ".cache" / "ocella")) / "environments"
    key = hashlib.sha256("\n".join((sys.version, *requirements)).encode()).hexdigest()[:16]
    folder = cache / key
    python = folder / "bin" / "python"
    if not (folder / "complete").exists():
        venv.create(folder, with_pip=True, clear=True)
        install = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *requirements]
        subprocess.run(install, check=True, capture_output=True)
        (folder / "complete").touch()
    return python


def run_script(requirements: Sequence[str], script: str, *arguments: str) -> dict[str, Any]:
    """Run a script of this folder; what it prints is one JSON document."""
    done = subprocess.run(
        [str(environment(requirements)), str(HERE / script), *arguments],
        cwd=HERE,
        capture_output=True,
        text=True,
        timeout=SCRIPT_TIMEOUT_S,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return dict(json.loads(done.stdout.splitlines()[-1]))
