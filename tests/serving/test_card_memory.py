"""What a card has left, against the stand-in of ``test_gpus`` for NVML and one for CUDA's own count of the cards."""

import os

import pytest

from serving.card_memory import Card, card_now, check_card, cuda_uuid, grown
from serving.memory import MIB, MemoryShortageError
from tests.serving.test_gpus import FakeNvml, Gpu, install

CARD = Card(device=1, name="NVIDIA H100", total=81_559 * MIB, free=300 * MIB, own=None)


@pytest.fixture(autouse=True)
def other_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """CUDA's device 0 is the second card of the bus, its device 1 the first; there are no others."""
    monkeypatch.setattr("serving.card_memory.cuda_uuid", {0: "1", 1: "0"}.get)


def held(own: int | None, *, free: int) -> Card:
    return Card(device=0, name="", total=10_000, free=free, own=own)


def test_the_card_is_the_one_that_cuda_means_by_the_number(monkeypatch: pytest.MonkeyPatch):
    install(monkeypatch, FakeNvml(Gpu(used=1_000, total=8_000), Gpu(used=7_000, total=16_000)))
    assert card_now(0) == Card(device=0, name="NVIDIA H100", total=16_000, free=9_000, own=None)
    assert card_now(1) == Card(device=1, name="NVIDIA H100", total=8_000, free=7_000, own=None)


def test_a_slice_of_a_card_is_asked_by_its_own_name(monkeypatch: pytest.MonkeyPatch):
    install(monkeypatch, FakeNvml(Gpu(), Gpu(used=10, total=90, kind="MIG")))
    assert card_now(0) == Card(device=0, name="NVIDIA H100", total=90, free=80, own=None)


def test_what_this_process_holds_is_told_where_nvml_lists_it(monkeypatch: pytest.MonkeyPatch):
    install(monkeypatch, FakeNvml(Gpu(processes={os.getpid(): 700, 1: 5}), Gpu(processes={1: 5})))
    mine, others = card_now(1), card_now(0)
    assert mine is not None
    assert others is not None
    assert (mine.own, others.own) == (700, None)


@pytest.mark.parametrize(
    ("nvml", "device"),
    [(None, 0), (FakeNvml(Gpu(), Gpu(), has_driver=False), 0), (FakeNvml(Gpu(), Gpu()), 2), (FakeNvml(Gpu()), 0)],
    ids=["no module", "no driver", "no such device", "unknown to nvml"],
)
def test_what_nobody_tells_is_not_guessed_at(monkeypatch: pytest.MonkeyPatch, nvml: FakeNvml | None, device: int):
    install(monkeypatch, nvml)
    assert card_now(device) is None


def test_nvml_is_shut_down_after_each_look(monkeypatch: pytest.MonkeyPatch):
    nvml = FakeNvml(Gpu(), Gpu())
    install(monkeypatch, nvml)
    card_now(0)
    assert nvml.open == 0


@pytest.mark.parametrize(
    ("before", "after", "shared", "taken"),
    [
        (held(100, free=900), held(350, free=100), True, 250),
        (held(None, free=900), held(350, free=100), True, 350),
        (held(None, free=900), held(None, free=100), False, 800),
        (held(None, free=900), held(None, free=100), True, None),
        (held(None, free=100), held(None, free=900), False, 0),
    ],
    ids=["its own", "its first", "the card's", "the card's, shared", "others freed more"],
)
def test_a_load_took_what_its_process_holds_more_or_else_what_the_card_does(
    before: Card, after: Card, shared: bool, taken: int | None
):
    assert grown(before, after, shared=shared) == taken


def test_what_does_not_fit_a_card_is_refused_with_the_numbers_and_its_name():
    said = r"^loading needs about 301 MiB of memory on GPU 1 \(NVIDIA H100\), 300 of 81559 MiB are free$"
    with pytest.raises(MemoryShortageError, match=said):
        check_card(301 * MIB, CARD)
    check_card(300 * MIB, CARD)


def test_a_device_that_no_machine_has_is_not_known():
    assert cuda_uuid(4096) is None
