"""How many cores this process may use."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from pathlib import Path

_UNLIMITED = math.inf


@dataclass(frozen=True)
class Allowance:
    """The processor time that this process may use.

    Attributes:
        affinity: cores of its affinity mask.
        quota: cores' worth of time that its cgroups (v1 or v2) grant; infinite where they grant all.
    """

    affinity: int
    quota: float

    @property
    def cores(self) -> int:
        """Threads that can be at work at once, at least 1: with 1.5 cores two can, only not all of the time."""
        return max(1, min(self.affinity, math.ceil(min(self.affinity, self.quota))))


def affinity() -> list[int]:
    """The numbers of the cores that this process may run on, ascending; none where the system does not tell."""
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []


def read_allowance(
    *, cgroups: Path = Path("/sys/fs/cgroup"), membership: Path = Path("/proc/self/cgroup")
) -> Allowance:
    """Read the affinity mask and the quotas of the process's cgroup and its parents."""
    allowed = len(affinity()) or os.cpu_count() or 1
    return Allowance(allowed, _quota_cores(cgroups, membership))


def usable_cores(*, cgroups: Path = Path("/sys/fs/cgroup"), membership: Path = Path("/proc/self/cgroup")) -> int:
    """Threads that can be at work at once, see ``Allowance.cores``."""
    return read_allowance(cgroups=cgroups, membership=membership).cores


def _quota_cores(cgroups: Path, membership: Path) -> float:
    """The smallest quota of the process's cgroup and its parents, in cores."""
    quotas = [_UNLIMITED]
    for line in _lines(membership):
        _, controllers, path = line.split(":", 2)
        if not controllers:
            quotas += [_v2_quota(folder) for folder in _up(cgroups, path)]
        elif "cpu" in controllers.split(","):
            quotas += [_v1_quota(folder) for folder in _up(cgroups / "cpu", path)]
    return min(quotas)


def _up(root: Path, path: str) -> list[Path]:
    """``root/a/b``, ``root/a``, ``root``. Inside a container only ``root`` may exist: the rest reads as unlimited."""
    folder = root / path.lstrip("/")
    return [folder, *(parent for parent in folder.parents if parent.is_relative_to(root))]


def _v2_quota(folder: Path) -> float:
    for line in _lines(folder / "cpu.max"):
        quota, period = line.split()
        return _UNLIMITED if quota == "max" else int(quota) / int(period)
    return _UNLIMITED


def _v1_quota(folder: Path) -> float:
    quota, period = _lines(folder / "cpu.cfs_quota_us"), _lines(folder / "cpu.cfs_period_us")
    if not quota or not period or int(quota[0]) <= 0:  # -1 is unlimited
        return _UNLIMITED
    return int(quota[0]) / int(period[0])


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except OSError:
        return []
