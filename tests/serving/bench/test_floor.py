"""The floor does the work that a server does, and counts it."""

import threading
from pathlib import Path

import numpy as np
import pytest

from pipelines.loader import load_model
from serving.bench.floor import image_work, measure_floor, tensor_work


def test_images_of_one_size_run_together(
    folders: dict[str, Path], photos: list[bytes], monkeypatch: pytest.MonkeyPatch
):
    with load_model(folders["classes"]) as loaded:
        seen, finished = [], []
        run, finish = loaded.session.run, loaded.pipeline.postprocess
        monkeypatch.setattr(loaded.session, "run", lambda feeds: seen.append(_rows(feeds)) or run(feeds))
        monkeypatch.setattr(type(loaded.pipeline), "postprocess", lambda self, *a: finished.append(a) or finish(*a))
        image_work(loaded, photos)(8)
    assert seen == [8]
    assert len(finished) == 8


def test_rows_of_different_sizes_run_apart(
    folders: dict[str, Path], photos: list[bytes], monkeypatch: pytest.MonkeyPatch
):
    with load_model(folders["things"]) as loaded:
        seen, run = [], loaded.session.run
        monkeypatch.setattr(loaded.session, "run", lambda feeds: seen.append(_rows(feeds)) or run(feeds))
        image_work(loaded, photos[:2])(4)
    assert sorted(seen) == [2, 2]


def test_tensors_run_in_the_number_of_rows_asked_for(folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch):
    with load_model(folders["classes"]) as loaded:
        seen, run = [], loaded.session.run
        monkeypatch.setattr(loaded.session, "run", lambda feeds: seen.append(_rows(feeds)) or run(feeds))
        tensor_work(loaded.session, np.zeros((3, 96, 128), np.float32))(8)
    assert seen == [8]


def test_the_best_size_of_a_run_counts_and_every_thread_works():
    lock, threads = threading.Lock(), set()

    def work(rows: int) -> None:
        with lock:  # one at a time: two rows cost what one costs
            threads.add(threading.current_thread().name)

    floor = measure_floor(work, threads=3, duration_s=0.05, rows=(1, 2000))
    assert floor.rows == 2000
    assert threads == {"MainThread", "floor-0", "floor-1", "floor-2"}
    assert floor.threads == 3


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_thread_that_fails_is_no_figure():
    def work(rows: int) -> None:
        if threading.current_thread() is not threading.main_thread():
            raise RuntimeError("broken")

    with pytest.raises(RuntimeError, match="2 of 2 threads of the floor failed"):
        measure_floor(work, threads=2, duration_s=0.01)


def _rows(feeds: dict[str, np.ndarray]) -> int:
    return len(next(iter(feeds.values())))
