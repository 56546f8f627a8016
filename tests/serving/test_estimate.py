import pytest

from serving.estimate import FRESH_S, SAMPLES, SPREAD, ServiceTimes


def times_of(*, slots: int = 2, max_size: int = 8, pixel_threads: int = 2) -> ServiceTimes:
    return ServiceTimes(slots=slots, max_size=max_size, pixel_threads=pixel_threads)


def test_before_the_first_run_nothing_is_known_and_nothing_is_fresh():
    times = times_of()
    assert (times.run_s(1), times.least_s(1, image=True)) == (0, 0)
    assert times.answer_s(1, image=True, rows_ahead=100, rows_running=8) == 0
    assert not times.is_fresh(0)


def test_one_slow_run_does_not_move_the_estimate():
    times = times_of()
    for seconds in (0.01, 0.011, 0.009, 0.01, 5.0):
        times.ran(1, seconds, now=0)
    assert times.run_s(1) == pytest.approx(0.01)


def test_a_change_of_load_shows_once_half_of_the_samples_are_new():
    times = times_of()
    for _ in range(SAMPLES):
        times.ran(1, 0.01, now=0)
    for _ in range(SAMPLES // 2 + 1):
        times.ran(1, 0.03, now=0)
    assert times.run_s(1) == 0.03


def test_runs_of_other_sizes_are_known_apart_and_the_nearest_stands_in():
    times = times_of()
    times.ran(1, 0.010, now=0)
    times.ran(8, 0.040, now=0)
    assert times.run_s(1) == 0.010
    assert times.run_s(8) == pytest.approx(0.040)
    assert times.run_s(4) == pytest.approx(0.020)  # by the row of a run of 8, the nearer class


def test_an_estimate_that_nothing_confirms_goes_stale():
    times = times_of()
    times.ran(1, 0.01, now=100)
    assert times.is_fresh(100 + FRESH_S / 2)
    assert not times.is_fresh(100 + FRESH_S)


def test_an_answer_waits_for_the_rows_ahead_and_half_of_those_that_run():
    times = times_of(slots=2, max_size=1)
    times.ran(1, 0.1, now=0)
    assert times.answer_s(1, image=False, rows_ahead=6, rows_running=2) == pytest.approx((6 + 1) * 0.1 / 2 + 0.1)


def test_an_image_takes_its_decoding_and_its_end_too():
    times = times_of(slots=1, max_size=1)
    times.ran(1, 0.1, now=0)
    times.pixels(prepare_s=0.02, finish_s=0.01)
    assert times.answer_s(1, image=True, rows_ahead=0, rows_running=0) == pytest.approx(0.13)
    assert times.least_s(1, image=True) == pytest.approx(0.13)
    assert times.least_s(1, image=False) == pytest.approx(0.1)


def test_where_decoding_is_slower_than_running_it_sets_the_pace():
    times = times_of(slots=2, max_size=8, pixel_threads=2)
    times.ran(8, 0.008, now=0)
    times.pixels(prepare_s=0.1, finish_s=0)
    assert times.answer_s(1, image=True, rows_ahead=10, rows_running=0) == pytest.approx(10 * 0.1 / 2 + 0.1 + 0.006)


def test_more_rows_than_the_slots_take_at_once_run_one_round_after_the_other():
    times = times_of(slots=2, max_size=4)
    times.ran(4, 0.4, now=0)
    assert times.answer_s(16, image=False, rows_ahead=0, rows_running=0) == pytest.approx(2 * 0.4)


def test_its_own_run_is_taken_to_last_as_long_as_nearly_all_do():
    times = times_of(slots=1, max_size=1)
    for seconds in (0.010, 0.010, 0.010, 0.010, 0.018, 0.5):
        times.ran(1, seconds, now=0)
    assert times.answer_s(1, image=False, rows_ahead=0, rows_running=0) == pytest.approx(0.018)
    assert times.answer_s(1, image=False, rows_ahead=3, rows_running=0) == pytest.approx(3 * 0.010 + 0.018)


def test_durations_that_vary_without_end_do_not_refuse_everybody():
    times = times_of(slots=1, max_size=1)
    for seconds in (0.010, 0.010, 0.010, 2.0, 2.0):
        times.ran(1, seconds, now=0)
    assert times.reliable_left_s(1, image=False) == pytest.approx(SPREAD * 0.010)


def test_what_follows_an_images_run_is_part_of_what_it_has_left_to_do():
    times = times_of(slots=1, max_size=1)
    times.ran(1, 0.1, now=0)
    times.pixels(prepare_s=0.02, finish_s=0.01)
    assert times.reliable_left_s(1, image=True) == pytest.approx(0.11)
    assert times.reliable_left_s(1, image=False) == pytest.approx(0.1)


def test_a_row_behind_others_runs_with_its_share_of_them():
    times = times_of(slots=2, max_size=8)
    times.ran(1, 0.010, now=0)
    times.ran(4, 0.032, now=0)
    assert times.answer_s(1, image=False, rows_ahead=6, rows_running=0) == pytest.approx(6 * 0.008 / 2 + 0.032)


def test_a_whole_image_waits_for_all_that_is_done_for_those_ahead():
    times = ServiceTimes(slots=2, max_size=8, pixel_threads=2, whole_images=True)
    times.ran(1, 0.03, now=0)
    times.pixels(prepare_s=0.01, finish_s=0.02)
    assert times.answer_s(1, image=True, rows_ahead=4, rows_running=2) == pytest.approx(5 * 0.06 / 2 + 0.06)
    assert times.reliable_image_s == pytest.approx(0.06)


def test_a_whole_image_takes_what_rows_took_lately_whatever_the_size_of_their_runs():
    times = ServiceTimes(slots=1, max_size=8, pixel_threads=1, whole_images=True)
    times.ran(1, 1.0, now=0)
    for _ in range(40):
        times.ran(8, 0.08, now=0)
    assert times.reliable_image_s == pytest.approx(0.01)
    assert times.least_s(1, image=True) == pytest.approx(0.01)
