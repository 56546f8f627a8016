"""An image's root run as a container would run it: not root, nothing writable but /tmp, a network of its own."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from deploy.image.dockerfile import Image

# The root is mounted over itself, read-only; what is mounted here is gone with the namespace.
_PREPARE = """
set -e
ip link set lo up
mount --bind "$0" "$0"
mount --options remount,bind,ro "$0"
mount --types tmpfs --options nosuid,nodev,size=64m tmpfs "$0/tmp"
mount --types proc proc "$0/proc"
mount --types tmpfs --options size=1m,mode=755 tmpfs "$0/dev"
for device in null zero full random urandom; do
    touch "$0/dev/$device"
    mount --bind "/dev/$device" "$0/dev/$device"
done
mkdir "$0/dev/shm"
mount --types tmpfs --options nosuid,nodev,size=64m tmpfs "$0/dev/shm"
user="$1"
shift
exec chroot --userspec="$user" "$0" /usr/bin/env --ignore-environment "$@"
"""


@dataclass(frozen=True)
class Container:
    """A running container.

    Attributes:
        image: what it was started with.
        pid: of its first process, as seen from outside.
        process: that which waits for it and ends with its code.
    """

    image: Image
    pid: int
    process: subprocess.Popen[str]

    def inside(self, words: Sequence[str]) -> subprocess.CompletedProcess[str]:
        """Run a command in it, as its user, as ``HEALTHCHECK`` does."""
        user, _, group = self.image.user.partition(":")
        enter = ["nsenter", f"--target={self.pid}", "--mount", "--net", "--pid", "--root", "--wd=/"]
        owner = [f"--setuid={user}", f"--setgid={group}"]
        command = [*enter, *owner, "/usr/bin/env", "--ignore-environment", *_variables(self.image), *words]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    def beside(self, words: Sequence[str]) -> subprocess.CompletedProcess[str]:
        """Run a command of this machine that reaches the container's ports over loopback."""
        return subprocess.run(self._beside(words), capture_output=True, text=True, check=False)

    def start_beside(self, words: Sequence[str]) -> subprocess.Popen[str]:
        """Start such a command; its output is to be read from ``stdout``."""
        return subprocess.Popen(self._beside(words), stdout=subprocess.PIPE, text=True)

    def _beside(self, words: Sequence[str]) -> list[str]:
        return ["nsenter", f"--target={self.pid}", "--net", *words]

    def stop(self, *, timeout_s: float) -> int:
        """Send the image's stop signal and return the exit code."""
        subprocess.run(["kill", "-s", self.image.stop_signal, str(self.pid)], check=True)
        return self.process.wait(timeout_s)


@contextmanager
def running(root: Path, image: Image, *, log: IO[str]) -> Iterator[Container]:
    """The image's command in its root; what it prints goes to ``log``; leaving ends it by force."""
    alone = ["unshare", "--mount", "--net", "--pid", "--ipc", "--uts", "--fork", "--kill-child"]
    command = [*alone, "/bin/sh", "-c", _PREPARE, str(root), image.user, *_variables(image), *image.command]
    with subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, text=True) as process:
        try:
            yield Container(image, _child_of(process), process)
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGKILL)


def _variables(image: Image) -> list[str]:
    return [f"{name}={value}" for name, value in image.environment.items()]


def _child_of(process: subprocess.Popen[str]) -> int:
    """The process that ``unshare`` forked; it comes a moment after ``unshare`` itself."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    while process.poll() is None:
        if found := children.read_text().split():
            return int(found[0])
    raise RuntimeError(f"the container ended with {process.returncode} before it began")
