"""One worker computes each content; one that is asked for twice by the same entry has cost a process."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from serving.batch.draw import Overlays
from serving.batch.journal import Journal
from serving.batch.on_ray.ledger import Ledger, Standing
from tests.serving.batch.jobs import image_folder, rows, run

ONE, TWO = "01" * 32, "02" * 32


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    return tmp_path / "journal.sqlite"


@pytest.fixture
def ledger(journal: Path) -> Iterator[Ledger]:
    with closing(Ledger(journal, None)) as ledger:
        yield ledger


def test_the_first_entry_of_a_content_has_it_and_later_ones_leave_it(ledger: Ledger):
    assert ledger.claim([(ONE, 7), (TWO, 8), (ONE, 9)]) == [Standing.MINE, Standing.MINE, Standing.ELSEWHERE]
    assert ledger.claim([(TWO, 2)]) == [Standing.ELSEWHERE]


def test_an_entry_that_asks_again_is_under_suspicion(ledger: Ledger):
    ledger.claim([(ONE, 7)])
    assert ledger.claim([(ONE, 7), (TWO, 8)]) == [Standing.SUSPECT, Standing.MINE]


def test_what_an_earlier_process_died_on_is_under_suspicion_at_once(journal: Path):
    with Journal(journal) as before:
        before.suspect([ONE])
    with closing(Ledger(journal, None)) as ledger:
        assert ledger.claim([(ONE, 0), (TWO, 1)]) == [Standing.SUSPECT, Standing.MINE]


def test_what_an_earlier_run_computed_is_known_by_name_and_by_content(tmp_path: Path):
    folder = image_folder(tmp_path / "in", 2)
    run(tmp_path / "out", folder)
    (row, _) = rows(tmp_path / "out")
    journal = tmp_path / "out" / ".ocella" / "journal.sqlite"
    status = (folder / "0000.png").stat()
    entry = (bytes(folder / "0000.png"), b"%d:%d:%d" % (status.st_size, status.st_mtime_ns, status.st_ino))
    with closing(Ledger(journal, None)) as ledger:
        assert ledger.known([entry, (entry[0], b"changed"), (b"new", b"1:2:3")]) == [row["sha256"], "", ""]
        assert ledger.claim([(row["sha256"], 5), (TWO, 6)]) == [Standing.ELSEWHERE, Standing.MINE]


def test_a_result_without_the_overlay_that_is_wanted_is_computed_again(tmp_path: Path):
    run(tmp_path / "out", image_folder(tmp_path / "in", 1))
    (row,) = rows(tmp_path / "out")
    with closing(Ledger(tmp_path / "out" / ".ocella" / "journal.sqlite", Overlays(tmp_path))) as ledger:
        assert ledger.claim([(row["sha256"], 0)]) == [Standing.MINE]
