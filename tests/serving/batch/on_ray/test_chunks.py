"""Entries on their way to other processes: in order, few at a time, with their bytes where they are read in turn."""

from __future__ import annotations

import pickle
import tarfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from pipelines.errors import ImageDecodeError
from serving.batch.on_ray import chunks as module
from serving.batch.on_ray.chunks import Ticket, chunks, without_bytes
from serving.batch.on_ray.ledger import Ledger
from serving.batch.shard import WHOLE, Shard
from serving.batch.sources import Sources
from tests.serving.batch.jobs import image, image_folder, run


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with closing(Ledger(tmp_path / "journal.sqlite", None)) as ledger:
        yield ledger


def sent(source: Path, ledger: Ledger, shard: Shard = WHOLE) -> list[list[Ticket]]:
    """Chunks as another process gets them."""
    sources = Sources((bytes(source),))
    found: list[list[Ticket]] = pickle.loads(pickle.dumps(list(chunks(sources, shard, ledger))))
    return found


def test_entries_keep_their_places_and_come_32_at_a_time(tmp_path: Path, ledger: Ledger):
    folder = image_folder(tmp_path / "in", 70)
    found = sent(folder, ledger)
    assert [len(chunk) for chunk in found] == [32, 32, 6]
    tickets = [ticket for chunk in found for ticket in chunk]
    assert [(one.index, one.position) for one in tickets] == [(i, i) for i in range(70)]
    assert tickets[33].entry.load() == image(33)


def test_a_shard_keeps_the_indices_of_the_whole(tmp_path: Path, ledger: Ledger):
    folder = image_folder(tmp_path / "in", 40)
    tickets = [ticket for chunk in sent(folder, ledger, Shard(1, 2)) for ticket in chunk]
    assert [one.position for one in tickets] == list(range(len(tickets)))
    assert 5 < len(tickets) < 35
    assert [Path(one.entry.text).stem for one in tickets] == [f"{one.index:04}" for one in tickets]


@pytest.mark.parametrize("mode", ["w", "w:gz"])
def test_members_of_a_shard_can_be_loaded_elsewhere(tmp_path: Path, ledger: Ledger, mode: str):
    folder = image_folder(tmp_path / "in", 3)
    suffix = ".tar.gz" if mode == "w:gz" else ".tar"
    with tarfile.open(tmp_path / f"shard{suffix}", mode) as tar:  # type: ignore[call-overload]
        tar.add(folder, arcname="")
    (chunk,) = sent(tmp_path / f"shard{suffix}", ledger)
    assert sorted(ticket.entry.load() for ticket in chunk) == sorted(image(i) for i in range(3))


def test_large_images_that_are_read_in_turn_make_small_chunks(
    tmp_path: Path, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
):
    folder = image_folder(tmp_path / "in", 4)
    with tarfile.open(tmp_path / "shard.tar.gz", "w:gz") as tar:
        tar.add(folder, arcname="")
    monkeypatch.setattr(module, "MOST_BYTES", 1)
    assert [len(chunk) for chunk in sent(tmp_path / "shard.tar.gz", ledger)] == [1, 1, 1, 1]


def test_an_image_in_turn_that_cannot_be_read_fails_where_it_is_loaded(
    tmp_path: Path, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
):
    folder = image_folder(tmp_path / "in", 1)
    with tarfile.open(tmp_path / "shard.tar.gz", "w:gz") as tar:
        tar.add(folder, arcname="")

    def fail(*_: object) -> bytes:
        raise ImageDecodeError("a damaged frame")

    monkeypatch.setattr("serving.batch.sources.shard_tar._in_turn", fail)
    ((ticket,),) = sent(tmp_path / "shard.tar.gz", ledger)
    with pytest.raises(ImageDecodeError, match="a damaged frame"):
        ticket.entry.load()


def test_what_an_earlier_run_computed_is_not_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    folder = image_folder(tmp_path / "in", 2)
    with tarfile.open(tmp_path / "shard.tar.gz", "w:gz") as tar:
        tar.add(folder, arcname="")
    run(tmp_path / "out", tmp_path / "shard.tar.gz")
    monkeypatch.setattr("serving.batch.sources.shard_tar._in_turn", lambda *_: pytest.fail("was read"))
    with closing(Ledger(tmp_path / "out" / ".ocella" / "journal.sqlite", None)) as ledger:
        (chunk,) = sent(tmp_path / "shard.tar.gz", ledger)
    assert [ticket.entry.load() for ticket in chunk] == [b"", b""]


def test_a_ticket_goes_back_without_its_bytes(tmp_path: Path, ledger: Ledger):
    folder = image_folder(tmp_path / "in", 1)
    ((ticket,),) = sent(folder, ledger)
    back = pickle.loads(pickle.dumps(without_bytes(ticket)))
    assert (back.index, back.entry.name, back.entry.stamp) == (0, ticket.entry.name, ticket.entry.stamp)
    with pytest.raises(AssertionError, match="loaded once"):
        back.entry.load()
