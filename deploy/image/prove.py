"""Proves the Dockerfile where no container engine runs: `sudo python -m deploy.image.prove` from the project's root."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from stat import S_ISGID, S_ISUID

from deploy.image.build import Building, run
from deploy.image.container import Container, running
from deploy.image.dockerfile import image_of, read_stages

PROJECT = Path(__file__).parents[2]
TOOLS = ("debootstrap", "unshare", "nsenter", "chroot", "ip", "tar", "gzip")
NOT_INSIDE = ("pip", "pip3", "gcc", "cc", "g++", "make", "git", "curl", "wget")
NOT_IMPORTABLE = ("pip", "setuptools", "torch", "onnx")
MODEL, SAMPLE = "digits", "models/digits/1/golden/digit-3.png"
READY_S, STOP_S = 60.0, 45.0
# Scores on the same machine by two installs, which may hold two releases of onnxruntime: float32 sums in another order.
SCORE_TOLERANCE = 1e-4


class ProofError(Exception):
    """The image does not do what it must."""


@dataclass(frozen=True)
class Sizes:
    """Of the image's root, in bytes: unpacked, and as a tar packed by gzip, as registries keep and send it."""

    unpacked: int
    packed: int


def missing() -> str | None:
    """Why the proof cannot run here; ``None`` where it can."""
    if os.geteuid():
        return "the image's proof needs root: it mounts, and changes its root"
    absent = [tool for tool in TOOLS if shutil.which(tool) is None]
    return f"the image's proof needs {', '.join(absent)} (apt-get install debootstrap iproute2)" if absent else None


def prove(*, arguments: dict[str, str], cache: Path, say: Callable[[str], None]) -> Sizes:
    """Build the image in a folder, run it, ask it, stop it; raises ProofError at the first thing that is not so."""
    stages = read_stages((PROJECT / "Dockerfile").read_text(), arguments)
    with tempfile.TemporaryDirectory(prefix="ocella-image-") as folder:
        building = Building(PROJECT, Path(folder), cache, arguments, say)
        roots: dict[str, Path] = {}
        for stage in stages:
            roots[stage.name] = building.carry_out(stage, roots)
        root = roots[stages[-1].name]
        image = image_of(stages[-1])
        holds_no_build_tools(root)
        nobody_becomes_another(root)
        with (Path(folder) / "log").open("w+") as log, running(root, image, log=log) as container:
            try:
                for line in checked(container):
                    say(f"ok: {line}")
            except ProofError as error:
                log.seek(0)
                raise ProofError(f"{error}\nthe container printed:\n{log.read()}") from error
        return sizes_of(root)


def checked(container: Container) -> Iterator[str]:
    """Hold a running container to what the image promises; a line for each promise that it keeps."""
    seconds = wait_until_healthy(container)
    yield f"HEALTHCHECK exits with 0, {seconds:.1f} s after the start"
    uid = (Path("/proc") / str(container.pid) / "status").read_text().partition("\nUid:\t")[2].split("\t")[0]
    hold(uid == container.image.user.partition(":")[0], f"the server must run as {container.image.user}, got {uid}")
    yield f"the server runs as uid {uid}"
    for path in ("/written", "/opt/ocella/written", "/models/written"):
        hold(container.inside(["touch", path]).returncode != 0, f"nobody may write {path}")
    hold(container.inside(["touch", "/tmp/written"]).returncode == 0, "/tmp must be writable")
    yield "the root is read-only, /tmp is not"
    for module in NOT_IMPORTABLE:
        hold(container.inside(["python3", "-c", f"import {module}"]).returncode != 0, f"{module} must not be inside")
    yield f"inside is none of {', '.join(NOT_IMPORTABLE)}"
    report = container.inside(["ocella", "doctor"])
    hold(report.returncode == 0, f"`ocella doctor` must find nothing to fix:\n{report.stdout}{report.stderr}")
    yield "`ocella doctor` finds nothing to fix"
    compare_answers(container)
    yield f"{MODEL} answers a client outside as the package does offline"
    stop_under_requests(container)
    yield f"{container.image.stop_signal} under requests ends it with 0, and loses none that was taken in"


def wait_until_healthy(container: Container) -> float:
    """Seconds until ``HEALTHCHECK`` first exits with 0."""
    start = time.monotonic()
    while time.monotonic() - start < READY_S:
        if container.inside(container.image.healthcheck).returncode == 0:
            return time.monotonic() - start
        hold(container.process.poll() is None, "the server must go on running")
        time.sleep(0.2)
    raise ProofError(f"HEALTHCHECK must exit with 0 within {READY_S:.0f} s")


def compare_answers(container: Container) -> None:
    """The same photo by the server, asked from outside, and by the package without any server."""
    ocella = [sys.executable, "-m", "ocella", "predict"]
    asked = container.beside([*ocella, "--server", "127.0.0.1:8001", MODEL, str(PROJECT / SAMPLE), "--json"])
    hold(asked.returncode == 0, f"a client outside must get an answer: {asked.stderr}")
    offline = subprocess.run(
        [*ocella, str(PROJECT / "models" / MODEL / "1"), str(PROJECT / SAMPLE), "--json"],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    served, expected = (json.loads(text)[0]["result"]["classes"] for text in (asked.stdout, offline))
    for got, wanted in zip(served, expected, strict=True):
        hold(
            got["label"] == wanted["label"] and abs(got["score"] - wanted["score"]) < SCORE_TOLERANCE,
            f"the server must answer {wanted}, got {got}",
        )


def stop_under_requests(container: Container) -> None:
    """Stop it while a client asks: every request is answered until the first that is refused as UNAVAILABLE."""
    ask = [sys.executable, "-m", "deploy.image.caller", "127.0.0.1:8001", MODEL, str(PROJECT / SAMPLE)]
    with container.start_beside(ask) as caller:
        assert caller.stdout is not None
        hold(caller.stdout.readline() == "asking\n", "the client beside must get its first answer")
        try:
            code = container.stop(timeout_s=STOP_S)
        except subprocess.TimeoutExpired as error:
            caller.kill()
            raise ProofError(f"{container.image.stop_signal} must end the server within {STOP_S:.0f} s") from error
        outcome = caller.stdout.readline().strip()
    hold(code == 0, f"{container.image.stop_signal} must end the server with 0, got {code}")
    hold(outcome == "stopped", f"no request that was taken in may be lost by a stop, got {outcome}")


def holds_no_build_tools(root: Path) -> None:
    """Raise ProofError where a compiler, an installer or a downloader lies on the image's path."""
    folders = [root / name for name in ("usr/bin", "usr/local/bin", "opt/ocella/bin")]
    found = [tool for tool in NOT_INSIDE for folder in folders if (folder / tool).exists()]
    hold(not found, f"the image must hold no build tools, got {', '.join(found)}")


def nobody_becomes_another(root: Path) -> None:
    """Raise ProofError where a program runs with rights of its owner or group."""
    programs = (path for path in root.rglob("*") if path.is_file() and not path.is_symlink())
    found = [str(path.relative_to(root)) for path in programs if path.stat().st_mode & (S_ISUID | S_ISGID)]
    hold(not found, f"no program may change its user, got {', '.join(found)}")


def sizes_of(root: Path) -> Sizes:
    """Measure a root that nothing is mounted in."""
    archive = root.with_suffix(".tar")
    run(["tar", "--create", "--file", str(archive), "--directory", str(root), "."])
    run(["gzip", str(archive)])
    unpacked = subprocess.run(["du", "--summarize", "--block-size=1", str(root)], capture_output=True, check=True)
    return Sizes(int(unpacked.stdout.split()[0]), archive.with_suffix(".tar.gz").stat().st_size)


def hold(is_so: bool, promise: str) -> None:
    """Raise ProofError with the promise that does not hold."""
    if not is_so:
        raise ProofError(promise)


def main() -> int:
    """Prove it, print each step and the sizes; 1 where a promise does not hold, 2 where it cannot be tried here."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runtime", choices=("cpu", "gpu"), default="cpu", help="build argument RUNTIME")
    parser.add_argument("--json", action="store_true", help="print the sizes as JSON in the last line")
    asked = parser.parse_args()
    if reason := missing():
        print(f"error: {reason}", file=sys.stderr)
        return 2
    cache = Path(os.environ.get("OCELLA_CACHE", Path.home() / ".cache" / "ocella")) / "image"
    try:
        sizes = prove(arguments={"RUNTIME": asked.runtime}, cache=cache, say=lambda line: print(line, flush=True))
    except (ProofError, RuntimeError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    megabytes = f"{sizes.unpacked / 1e6:.0f} MB unpacked, {sizes.packed / 1e6:.0f} MB packed"
    print(json.dumps(asdict(sizes)) if asked.json else megabytes)
    return 0


if __name__ == "__main__":
    sys.exit(main())
