"""Carrying out a Dockerfile in folders: debootstrap makes its base, chroot runs its steps. Needs root."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from deploy.image.dockerfile import DockerfileError, Stage, Step, assigned, declared, substitute

# What the slim images leave out of a minimal Debian, too.
LEFT_OUT = (
    "usr/share/doc",
    "usr/share/man",
    "usr/share/locale",
    "usr/share/info",
    "var/cache/apt",
    "var/lib/apt/lists",
)
CERTIFICATES = "/run/certificates.crt"
_ONLY_SAID = {"CMD", "ENTRYPOINT", "EXPOSE", "HEALTHCHECK", "LABEL", "STOPSIGNAL", "USER"}


def base_root(image: str, cache: Path, say: Callable[[str], None]) -> Path:
    """The root of ``debian:<suite>-slim`` as a tar in ``cache``, made once by debootstrap."""
    name, _, tag = image.partition(":")
    suite, _, variant = tag.partition("-")
    if name != "debian" or variant != "slim":
        raise DockerfileError(f"the base must be debian:<suite>-slim, got {image}")
    archive = cache / f"debian-{suite}.tar"
    if archive.exists():
        return archive
    say(f"debootstrap {suite}")
    cache.mkdir(parents=True, exist_ok=True)
    root = cache / f"debian-{suite}.part"
    shutil.rmtree(root, ignore_errors=True)
    run(["debootstrap", "--variant=minbase", suite, str(root)])
    for left_out in LEFT_OUT:
        shutil.rmtree(root / left_out, ignore_errors=True)
    part = archive.with_suffix(".tar.part")
    run(["tar", "--create", "--file", str(part), "--directory", str(root), "."])
    part.rename(archive)
    shutil.rmtree(root)
    return archive


@dataclass(frozen=True)
class Building:
    """Folders and values that all stages of one build share.

    Attributes:
        context: folder that ``COPY`` takes files from.
        work: folder that the roots are made in.
        cache: folder of finished bases.
        arguments: of the build.
        say: told of each step.
    """

    context: Path
    work: Path
    cache: Path
    arguments: Mapping[str, str]
    say: Callable[[str], None]

    def carry_out(self, stage: Stage, earlier: Mapping[str, Path]) -> Path:
        """The root that a stage makes; ``earlier`` are the roots of the stages before it, by their names."""
        root = self.work / (stage.name or "image")
        root.mkdir()
        run(["tar", "--extract", "--file", str(base_root(stage.base, self.cache, self.say)), "--directory", str(root)])
        lent = _lend(root)
        folder, known = "/", dict[str, str]()
        for step in stage.steps:
            self.say(f"{step.name} {step.text}")
            match step.name:
                case "ARG":
                    known |= declared(step, self.arguments)
                case "ENV":
                    known |= assigned(step, known | {"PATH": os.defpath})
                case "WORKDIR":
                    folder = step.text
                    (root / folder.lstrip("/")).mkdir(parents=True, exist_ok=True)
                case "COPY":
                    self._copy(step, root, folder, known, earlier)
                case "RUN":
                    _inside(root, folder, known, step)
                case name if name not in _ONLY_SAID:
                    raise DockerfileError(f"{name} is not carried out here")
        for path in lent:
            path.unlink()
        return root

    def _copy(self, step: Step, root: Path, folder: str, known: Mapping[str, str], earlier: Mapping[str, Path]) -> None:
        *sources, target = substitute(step.text, known).split()
        origin = self.context
        if sources[0].startswith("--from="):
            origin = earlier[sources.pop(0).removeprefix("--from=")]
        into = root / os.path.join(folder, target).lstrip("/")  # noqa: PTH118, a target may be absolute
        for source in sources:
            path = origin / source.lstrip("/")
            if path.is_dir():
                ignored = shutil.ignore_patterns("__pycache__") if origin == self.context else None
                shutil.copytree(path, into, symlinks=True, ignore=ignored, dirs_exist_ok=True)
            else:
                shutil.copy2(path, into / path.name if target.endswith("/") else into)


def run(words: list[str], environment: Mapping[str, str] | None = None) -> None:
    """Run a command, in its own environment or in ours; raises RuntimeError with its last words where it fails."""
    done = subprocess.run(
        words, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(words)} ended with {done.returncode}:\n{done.stdout[-4000:]}")


def _lend(root: Path) -> list[Path]:
    """Give a root the host's resolver, as every builder does, and the certificates of its pip; say where they lie."""
    lent = []
    for source, place in (("/etc/resolv.conf", "/etc/resolv.conf"), (os.environ.get("PIP_CERT", ""), CERTIFICATES)):
        path = root / place.lstrip("/")
        if Path(source).is_file() and not path.exists():
            shutil.copy2(source, path)
            lent.append(path)
    return lent


def _inside(root: Path, folder: str, known: Mapping[str, str], step: Step) -> None:
    """Run a step in its root, in namespaces of its own, so that nothing stays mounted and nothing goes on."""
    path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    trusted = {"PIP_CERT": CERTIFICATES} if (root / CERTIFICATES.lstrip("/")).exists() else {}
    environment = {"PATH": path, "HOME": "/root", "DEBIAN_FRONTEND": "noninteractive", **trusted, **known}
    alone = ["unshare", "--mount", "--pid", "--fork", "--kill-child"]
    there = [f"--root={root}", f"--wd={folder}", "--mount-proc=/proc"]
    run([*alone, *there, "/bin/sh", "-c", step.text], environment)
