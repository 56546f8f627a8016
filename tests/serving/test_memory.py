from pathlib import Path

import pytest

from serving.memory import (
    MIB,
    MemoryShortageError,
    available_bytes,
    check_room,
    limit_bytes,
    needed_bytes,
    resident_bytes,
)


def machine(tmp_path: Path, *, files: dict[str, str], membership: str, available_kb: int = 1000) -> dict[str, Path]:
    """A machine's files as the kernel lays them out."""
    for name, text in files.items():
        path = tmp_path / "cgroup" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (tmp_path / "membership").write_text(membership)
    (tmp_path / "meminfo").write_text(f"MemTotal: 9999 kB\nMemAvailable:    {available_kb} kB\n")
    return {
        "cgroups": tmp_path / "cgroup",
        "membership": tmp_path / "membership",
        "meminfo": tmp_path / "meminfo",
    }


def test_without_a_limit_the_machines_memory_counts(tmp_path: Path):
    files = {"memory.max": "max\n", "memory.current": "5\n"}
    assert available_bytes(**machine(tmp_path, files=files, membership="0::/\n")) == 1000 * 1024


@pytest.mark.parametrize(
    ("files", "membership"),
    [
        ({"a/b/memory.max": "900\n", "a/b/memory.current": "200\n"}, "0::/a/b\n"),
        ({"a/memory.max": "900\n", "a/memory.current": "200\n", "a/b/memory.max": "max\n"}, "0::/a/b\n"),
        ({"memory.max": "900\n", "memory.current": "200\n"}, "0::/not/seen/from/inside\n"),
        ({"memory/a/memory.limit_in_bytes": "900\n", "memory/a/memory.usage_in_bytes": "200\n"}, "4:memory:/a\n"),
        (
            {"memory.max": "900\n", "memory.current": "500\n", "memory.stat": "anon 7\ninactive_file 300\n"},
            "0::/\n",
        ),
    ],
    ids=["own", "parent", "container", "v1", "droppable pages"],
)
def test_the_smallest_room_of_a_cgroup_counts(tmp_path: Path, files: dict[str, str], membership: str):
    assert available_bytes(**machine(tmp_path, files=files, membership=membership)) == 700


def test_a_cgroup_over_its_limit_has_no_room(tmp_path: Path):
    files = {"memory.max": "900\n", "memory.current": "1000\n"}
    assert available_bytes(**machine(tmp_path, files=files, membership="0::/\n")) == 0


@pytest.mark.parametrize(
    ("files", "membership", "least"),
    [
        ({"memory.max": "max\n"}, "0::/\n", None),
        ({"a/memory.max": "900\n", "a/b/memory.max": "800\n"}, "0::/a/b\n", 800),
        ({"memory/memory.limit_in_bytes": "9223372036854771712\n"}, "4:memory:/\n", None),
        ({"memory/a/memory.limit_in_bytes": "900\n"}, "4:memory:/a\n", 900),
    ],
    ids=["none", "child", "none in v1", "v1"],
)
def test_the_least_limit_of_the_cgroups_is_told(
    tmp_path: Path, files: dict[str, str], membership: str, least: int | None
):
    places = machine(tmp_path, files=files, membership=membership)
    assert limit_bytes(cgroups=places["cgroups"], membership=places["membership"]) == least


def test_a_system_that_does_not_say_is_not_guessed_at(tmp_path: Path):
    none = tmp_path / "none"
    assert available_bytes(cgroups=none, membership=none, meminfo=none) is None
    assert resident_bytes(none) == 0


def test_this_process_holds_memory():
    assert resident_bytes() > MIB


def test_a_larger_graph_needs_more():
    assert needed_bytes(100 * MIB) - needed_bytes(0) > 100 * MIB


@pytest.mark.parametrize(
    ("available", "budget"), [(None, None), (10 * MIB, None), (None, 30 * MIB), (10 * MIB, 30 * MIB)]
)
def test_what_fits_is_let_through(available: int | None, budget: int | None):
    check_room(10 * MIB, available=available, resident=20 * MIB, budget=budget)


@pytest.mark.parametrize(
    ("available", "budget", "said"),
    [
        (10 * MIB, None, "loading needs about 11 MiB of memory, 10 MiB are available"),
        (None, 30 * MIB, "loading needs about 11 MiB of memory, the server holds 20 MiB of its budget of 30 MiB"),
    ],
)
def test_what_does_not_fit_is_refused_with_the_numbers(available: int | None, budget: int | None, said: str):
    with pytest.raises(MemoryShortageError, match=f"^{said}$"):
        check_room(11 * MIB, available=available, resident=20 * MIB, budget=budget)
