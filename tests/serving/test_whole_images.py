import asyncio
import gc
import weakref

import numpy as np
import pytest

from pipelines.errors import OverloadedError, RunTerminatedError
from serving.executor import Run
from serving.image_group import GroupImage
from tests.serving.by_hand import Job, Models
from tests.serving.test_batcher import RUN_S, row, settle, submit


async def test_images_that_wait_go_together_and_each_gets_its_own_answer():
    models = Models()
    answers = models.send(1, 2, 3)
    await settle()
    models.threads.work()
    assert await asyncio.gather(*answers) == [1, 2, 3]
    assert models.sizes == [3]


async def test_idle_threads_share_the_images_evenly():
    models = Models(slots=2)
    answers = models.send(*range(6))
    await settle()
    models.threads.work(2)
    await settle()
    assert models.sizes == [3, 2]
    models.threads.work(2)
    await asyncio.gather(*answers)
    assert models.sizes == [3, 2, 1]


async def test_a_thread_finds_its_next_group_without_the_loop():
    models = Models(group_size=2)
    answers = models.send(*range(4))
    await settle()
    models.threads.work(2)  # nothing of the loop happens in between
    assert models.sizes == [2, 2]
    assert await asyncio.gather(*answers) == [0, 1, 2, 3]


async def test_no_more_threads_are_asked_than_could_be_busy_twice():
    models = Models(slots=2)
    answers = models.send(*range(30))
    await settle()
    assert len(models.threads.jobs) == 4
    while models.threads.jobs:
        models.threads.work()
        await settle()
    assert await asyncio.gather(*answers) == list(range(30))


async def test_a_group_counts_as_one_run_of_its_images():
    models = Models()
    answers = models.send(1, 2, 3)
    await settle()
    models.threads.work()
    await asyncio.gather(*answers)
    assert models.seen.sizes == [3]
    assert (models.seen.seconds, models.seen.wasted_s) == (RUN_S, 0)


async def test_what_a_run_did_for_those_who_left_is_wasted():
    models = Models()
    answers = models.send(1, 2, 3, 4)
    await settle()
    waiting = list(models.whole._images._queue)
    models.in_run = lambda run: waiting[0].answer.cancel()
    models.threads.work()
    assert await asyncio.gather(*answers[1:]) == [2, 3, 4]
    assert models.seen.wasted_s == RUN_S / 4


async def test_who_leaves_a_group_does_not_end_it_and_the_last_one_does():
    models, states = Models(), []
    images = [asyncio.create_task(models.answer(Job(value))) for value in (1, 2)]
    await settle()
    group_images = list(models.whole._images._queue)

    def leave(run: Run) -> None:
        for image in group_images:
            image.leave()
            states.append(run.terminated)
        raise RunTerminatedError("ended")

    models.in_run = leave
    models.threads.work()
    await settle()
    assert states == [False, True]
    assert all(isinstance(image.exception(), RunTerminatedError) for image in images)


async def test_who_leaves_while_waiting_is_not_begun():
    models = Models()
    jobs = [Job(1), Job(2)]
    answers = [asyncio.create_task(models.answer(job)) for job in jobs]
    await settle()
    answers[0].cancel()
    await settle()
    models.threads.work(2)
    assert await answers[1] == 2
    assert [job.prepared for job in jobs] == [False, True]
    assert models.batcher.inside == 0


async def test_rows_begin_once_no_group_holds_or_awaits_their_slot():
    models = Models(group_size=1)
    answers = models.send(1, 2)
    await settle()
    rows = submit(models.batcher, row(1))
    await settle()
    for begun in ([[], []], [[], [], [1]]):
        models.threads.work()
        await settle()
        assert models.threads.values == begun
    assert await asyncio.gather(*answers) == [1, 2]
    models.threads.answer(2)
    await asyncio.gather(*rows)
    assert models.batcher.is_idle


async def test_threads_that_are_left_behind_fail_what_they_took_and_what_waits():
    models = Models(group_size=2)
    answers = models.send(*range(6))
    await settle()
    models.threads.jobs.clear()
    for _, done in models.threads.batches:
        done.set_exception(RunTerminatedError("left behind"))
    models.threads.closed = True
    got = await asyncio.gather(*answers, return_exceptions=True)
    assert [type(error) for error in got] == [RunTerminatedError] * 6
    assert models.batcher.inside == 0


async def test_waiting_images_are_not_yet_in_a_run_and_taken_ones_are():
    models = Models(group_size=2)
    answers = models.send(*range(4))
    await settle()
    running = []
    models.in_run = lambda run: running.append(len(models.whole))
    assert (len(models.whole), models.batcher.admission._running_rows) == (4, 0)
    models.threads.work()
    assert running == [2]
    answers += models.send(4)
    await settle()
    assert models.batcher.admission._running_rows == 0  # those two are over
    while models.threads.jobs:
        models.threads.work()
        await settle()
    assert await asyncio.gather(*answers) == [0, 1, 2, 3, 4]


async def test_images_are_counted_as_running_once_a_thread_has_taken_all_of_its_group():
    models = Models()
    answers = models.send(*range(4))
    await settle()
    queue = models.whole._images._queue
    pop = queue.pop

    def pop_while_the_loop_looks() -> GroupImage:
        models.whole._ask_threads()
        return pop()

    queue.pop = pop_while_the_loop_looks  # type: ignore[method-assign]
    models.threads.work()
    models.whole._ask_threads()
    assert models.batcher.admission._running_rows == 4
    assert await asyncio.gather(*answers) == [0, 1, 2, 3]


async def test_a_full_server_sends_a_waiting_image_away_and_no_thread_takes_it():
    models = Models(group_size=1)
    jobs = [Job(i) for i in range(3)]
    answers = [asyncio.create_task(models.answer(job)) for job in jobs]
    await settle()
    (*_, newest) = models.whole._images._queue
    assert newest.place.waiter is not None
    newest.place.waiter.set_exception(OverloadedError("its place went to another", retry_after_s=1, reason="shed"))
    await settle()
    while models.threads.jobs:
        models.threads.work()
        await settle()
    got = await asyncio.gather(*answers, return_exceptions=True)
    assert [type(one) for one in got] == [float, float, OverloadedError]
    assert not jobs[2].prepared


async def test_images_and_tensors_take_turns():
    models = Models(group_size=1)
    answers = models.send(*range(6))
    await settle()
    rows = submit(models.batcher, row(1), row(2, shape=(1,)), row(3, shape=(2,)))
    order = ""
    for _ in range(12):
        await settle()
        index = next((i for i, (_, done) in enumerate(models.threads.batches) if not done.done()), None)
        if index is None:
            break
        if models.threads.batches[index][0]:
            order += "t"
            models.threads.answer(index)
        else:
            order += "i"
            models.threads.work()
    await asyncio.gather(*answers, *rows)
    assert order.count("i") == 6
    assert "tt" not in order
    assert order.index("t") <= 2


async def test_closed_threads_take_no_image():
    models = Models()
    models.threads.closed = True
    with pytest.raises(RuntimeError, match="closed"):
        await models.answer(Job(1))
    assert (models.batcher.inside, models.batcher.is_idle) == (0, True)


async def test_threads_that_close_meanwhile_fail_what_waits():
    models = Models(group_size=1)
    answers = models.send(1, 2, 3)
    await settle()
    models.threads.closed = True
    models.threads.work(2)
    got = await asyncio.gather(*answers, return_exceptions=True)
    assert got[:2] == [1, 2]
    assert isinstance(got[2], RuntimeError)


async def test_an_answered_image_is_kept_alive_by_nothing():
    models = Models()
    jobs = [Job(1), Job(2)]
    jobs[1].finish = lambda *_: 1 / 0  # type: ignore[assignment, method-assign]
    seen = [weakref.ref(job) for job in jobs]
    gc.collect()
    gc.disable()
    try:
        answers = [asyncio.create_task(models.answer(job)) for job in jobs]
        jobs.clear()
        await settle()
        models.threads.work(2)
        await asyncio.gather(*answers, return_exceptions=True)
        answers.clear()
        await settle()
        assert [ref() for ref in seen] == [None, None]
    finally:
        gc.enable()


async def test_tensors_and_images_leave_nothing_inside():
    models = Models(slots=2)
    answers = [*models.send(1, 2, 3), *submit(models.batcher, np.zeros((1,), np.float32))]
    await settle()
    answers[1].cancel()
    while models.threads.jobs:
        models.threads.work()
        await settle()
    for index, (rows, done) in enumerate(models.threads.batches):
        if rows and not done.done():
            models.threads.answer(index)
    await asyncio.gather(*answers, return_exceptions=True)
    await settle()
    assert (models.batcher.inside, models.batcher.queue_depth, models.batcher.admission.in_window) == (0, 0, 0)
