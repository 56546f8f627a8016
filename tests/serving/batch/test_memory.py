"""Memory does not grow with the number of entries."""

from __future__ import annotations

import subprocess
import sys
import tracemalloc
from pathlib import Path

import pytest

from tests.serving.batch.jobs import image_folder, run

MIB = 1024 * 1024


def peak(tmp_path: Path, count: int) -> int:
    """Most bytes that Python held at once during a job over a list of ``count`` entries of 20 images."""
    listing = tmp_path / "in" / f"{count}.txt"
    listing.write_text("".join(f"{i % 20:04}.png\n" for i in range(count)))
    tracemalloc.start()
    summary = run(tmp_path / str(count), listing)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert summary.tally.ok == count
    return most


def test_a_list_eight_times_as_long_takes_no_more_memory(tmp_path: Path):
    image_folder(tmp_path / "in", 20)
    peak(tmp_path, 500)  # what is imported and cached once
    # Of two, since threads that other tests left behind may take memory in between.
    short, long = peak(tmp_path, 1000), min(peak(tmp_path, 8000), peak(tmp_path, 8001))
    assert long - short < 300_000, "43 bytes for each entry more; its row in the outputs alone has 300"


@pytest.mark.slow
def test_a_list_of_a_million_entries_fits_in_what_a_list_of_a_thousand_takes(tmp_path: Path):
    image_folder(tmp_path / "in", 20)
    code = (
        "import resource, sys\n"
        "from pathlib import Path\n"
        "from tests.serving.batch.jobs import run\n"
        "summary = run(Path(sys.argv[2]), Path(sys.argv[1]))\n"
        "print(summary.tally.ok, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)\n"
    )
    sizes = {}
    for count in (1000, 1_000_000):
        listing = tmp_path / "in" / f"{count}.txt"
        with listing.open("w") as file:
            file.writelines(f"{i % 20:04}.png\n" for i in range(count))
        words = [sys.executable, "-c", code, str(listing), str(tmp_path / str(count))]
        done = subprocess.run(words, capture_output=True, text=True, check=True, timeout=1800)
        rows, sizes[count] = map(int, done.stdout.split())
        assert rows == count
    assert sizes[1_000_000] - sizes[1000] < 40 * MIB, "40 bytes an entry"
