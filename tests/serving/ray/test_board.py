from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from serving.ray.board import SILENCE_S, Board


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def told(*, answered: int, waiting: int) -> str:
    registry = CollectorRegistry()
    Counter("ocella_images_total", "Images.", registry=registry).inc(answered)
    Gauge("ocella_queue_depth", "Rows.", registry=registry).set(waiting)
    return generate_latest(registry).decode()


async def scraped(board: Board) -> tuple[float, float]:
    values = {
        sample.name: sample.value
        for family in text_string_to_metric_families(await board.scrape())
        for sample in family.samples
    }
    return values["ocella_images_total"], values.get("ocella_queue_depth", 0.0)


async def test_a_scrape_adds_up_what_all_members_told_last():
    board = Board()
    await board.put("a", told(answered=1, waiting=1))
    await board.put("a", told(answered=3, waiting=2))
    await board.put("b", told(answered=4, waiting=5))
    assert await scraped(board) == (7, 7)


async def test_the_counts_of_a_member_that_leaves_stay_and_its_gauges_go():
    board = Board()
    await board.put("a", told(answered=3, waiting=2))
    await board.put("b", told(answered=4, waiting=5))
    await board.leave("a", told(answered=10, waiting=2))
    assert await scraped(board) == (14, 5)


async def test_a_member_that_was_killed_counts_as_one_that_left():
    clock = Clock()
    board = Board(clock)
    await board.put("a", told(answered=3, waiting=2))
    clock.now = SILENCE_S + 1
    await board.put("b", told(answered=4, waiting=5))
    assert await scraped(board) == (7, 5)
    assert await scraped(board) == (7, 5)  # and is counted once
