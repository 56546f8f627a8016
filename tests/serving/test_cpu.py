import os
from pathlib import Path

import pytest

from serving.cpu import usable_cores

ALLOWED = len(os.sched_getaffinity(0))


def cores(tmp_path: Path, membership: str, files: dict[str, str]) -> int:
    """Cores seen where ``/proc/self/cgroup`` holds ``membership`` and the cgroup tree holds ``files``."""
    (tmp_path / "membership").write_text(membership)
    for name, text in files.items():
        path = tmp_path / "fs" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return usable_cores(cgroups=tmp_path / "fs", membership=tmp_path / "membership")


def test_without_a_quota_the_affinity_mask_counts(tmp_path: Path):
    assert cores(tmp_path, "0::/\n", {"cpu.max": "max 100000\n"}) == ALLOWED


def test_without_cgroups_the_affinity_mask_counts(tmp_path: Path):
    assert usable_cores(cgroups=tmp_path, membership=tmp_path / "none") == ALLOWED


@pytest.mark.parametrize(
    ("membership", "files"),
    [
        pytest.param("0::/\n", {"cpu.max": "50000 100000\n"}, id="version 2, seen from inside a container"),
        pytest.param("0::/a/b\n", {"a/b/cpu.max": "100000 100000\n"}, id="version 2, own group"),
        pytest.param(
            "0::/a/b\n", {"a/cpu.max": "100000 100000\n", "a/b/cpu.max": "max 100000\n"}, id="version 2, a parent's"
        ),
        pytest.param(
            "4:cpu,cpuacct:/a\n",
            {"cpu/a/cpu.cfs_quota_us": "100000\n", "cpu/a/cpu.cfs_period_us": "100000\n"},
            id="version 1",
        ),
    ],
)
def test_a_quota_of_at_most_one_core_leaves_one(tmp_path: Path, membership: str, files: dict[str, str]):
    assert cores(tmp_path, membership, files) == 1


def test_an_unlimited_quota_of_version_1_limits_nothing(tmp_path: Path):
    files = {"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}
    assert cores(tmp_path, "4:cpu:/\n", files) == ALLOWED


def test_a_quota_above_the_affinity_mask_adds_no_cores(tmp_path: Path):
    assert cores(tmp_path, "0::/\n", {"cpu.max": f"{(ALLOWED + 5) * 100_000} 100000\n"}) == ALLOWED
