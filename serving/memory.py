"""Whether there is room for one more model: what it will take, against what the machine and the operator allow."""

from __future__ import annotations

import os
from pathlib import Path

from pipelines.errors import OcellaError

MIB = 1024 * 1024
# Weights once in the graph and once packed for the CPU's kernels, and what a session takes besides: a least, since no
# file's size tells what its activations take. Growth by one load with golden replay: page orientation 50 MiB for a file
# of 6.5 MiB, CenterFace 64 for 7, but U2-Net-p 878 for 4.4.
GRAPH_FACTOR = 2.5
GRAPH_BASE = 32 * MIB
_CGROUPS, _MEMBERSHIP = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")
_MEMINFO, _STATM = Path("/proc/meminfo"), Path("/proc/self/statm")


class MemoryShortageError(OcellaError):
    """A load would take more memory than there is or than it may take; the text has the numbers."""


def resident_bytes(statm: Path = _STATM) -> int:
    """What this process holds in memory; 0 where the system does not say."""
    words = _text(statm).split()
    return int(words[1]) * os.sysconf("SC_PAGE_SIZE") if len(words) > 1 else 0


def available_bytes(
    *, cgroups: Path = _CGROUPS, membership: Path = _MEMBERSHIP, meminfo: Path = _MEMINFO
) -> int | None:
    """What can still be had: the least that the machine and the process's cgroups (v1 or v2) leave.

    Pages of files that a cgroup counts and could drop count as available. ``None`` where the system does not say.
    """
    rooms = [_cgroup_room(folder) for folder in _cgroup_folders(cgroups, membership)]
    for line in _text(meminfo).splitlines():
        if line.startswith("MemAvailable:"):
            rooms.append(int(line.split()[1]) * 1024)
    known = [room for room in rooms if room is not None]
    return min(known) if known else None


def limit_bytes(*, cgroups: Path = _CGROUPS, membership: Path = _MEMBERSHIP) -> int | None:
    """The least limit of the process's cgroups (v1 or v2); ``None`` where they set none."""
    files = ("memory.max", "memory.limit_in_bytes")
    said = (_text(folder / name).strip() for folder in _cgroup_folders(cgroups, membership) for name in files)
    # v1 writes "no limit" as the largest multiple of a page that a signed number holds.
    return min((int(text) for text in said if text.isdigit() and int(text) < 2**62), default=None)


def graph_bytes(folder: Path) -> int:
    """Size of a package's graph files; raises OSError."""
    return sum(path.stat().st_size for path in folder.rglob("*.onnx"))


def needed_bytes(file_bytes: int) -> int:
    """What loading graph files takes at the least, from their size; large activations come on top."""
    return int(GRAPH_FACTOR * file_bytes) + GRAPH_BASE


def check_room(needed: int, *, available: int | None, resident: int, budget: int | None) -> None:
    """Raise MemoryShortageError unless ``needed`` bytes fit what is ``available`` and the process's ``budget``."""
    if available is not None and needed > available:
        raise MemoryShortageError(
            f"loading needs about {needed // MIB} MiB of memory, {available // MIB} MiB are available"
        )
    if budget is not None and resident + needed > budget:
        raise MemoryShortageError(
            f"loading needs about {needed // MIB} MiB of memory, the server holds {resident // MIB} MiB "
            f"of its budget of {budget // MIB} MiB"
        )


def _cgroup_folders(cgroups: Path, membership: Path) -> list[Path]:
    """The folders of the process's memory cgroup and its parents; inside a container often only the root exists."""
    folders: list[Path] = []
    for line in _text(membership).splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers and "memory" not in controllers.split(","):
            continue
        root = cgroups / "memory" if controllers else cgroups
        folder = root / path.lstrip("/")
        folders += [folder, *(parent for parent in folder.parents if parent.is_relative_to(root))]
    return folders


def _cgroup_room(folder: Path) -> int | None:
    for limit_file, usage_file in (
        ("memory.max", "memory.current"),
        ("memory.limit_in_bytes", "memory.usage_in_bytes"),
    ):
        limit, usage = _text(folder / limit_file).strip(), _text(folder / usage_file).strip()
        if limit.isdigit() and usage.isdigit():
            return max(0, int(limit) - int(usage) + _droppable(folder))
    return None


def _droppable(folder: Path) -> int:
    for line in _text(folder / "memory.stat").splitlines():
        name, _, value = line.partition(" ")
        if name == "inactive_file":
            return int(value)
    return 0


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
