import itertools

import pytest

from export.gate.grid import cases_of, other_sizes, telling_side
from pipelines.grid import Case


def test_every_sample_runs_alone_and_the_first_one_in_batches():
    assert cases_of(samples=2, max_batch=8, sizes=()) == (Case(0, 1), Case(1, 1), Case(0, 2), Case(0, 8))


def test_every_batch_runs_at_every_size():
    sizes = ((33, 40), (50, 34))
    cases = cases_of(samples=1, max_batch=4, sizes=sizes)
    assert [(case.size_hw, case.batch) for case in cases] == list(itertools.product((None, *sizes), (1, 2, 4)))


def test_further_sizes_take_turns_with_the_samples():
    cases = cases_of(samples=2, max_batch=1, sizes=((33, 40), (50, 34), (34, 70)))
    assert cases[2:] == (Case(0, 1, (33, 40)), Case(1, 1, (50, 34)), Case(0, 1, (34, 70)))


def test_a_fixed_batch_of_one_is_asked_for_nothing_else():
    assert cases_of(samples=2, max_batch=1, sizes=()) == (Case(0, 1), Case(1, 1))


def test_the_largest_batch_of_two_runs_once():
    assert [case.batch for case in cases_of(samples=1, max_batch=2, sizes=((33, 40),))] == [1, 2, 1, 2]


def test_a_learnt_detector_is_shown_three_quarters_of_its_own_rows():
    assert telling_side((256, 336)) == telling_side((336, 256)) == 192


def test_a_fixed_size_has_no_other():
    assert other_sizes((224, 224), multiple_of=None, least=32) == ()


def test_free_sides_are_tried_odd_not_square_and_off_multiples():
    sizes = other_sizes((224, 224), multiple_of=1, least=64)
    assert all(height != width for height, width in sizes)
    assert any(height % 2 and width % 2 for height, width in sizes)
    assert any(height % 32 and width % 32 for height, width in sizes)
    assert {height < width for height, width in sizes} == {True, False}


@pytest.mark.parametrize(("multiple", "least"), [(8, 32), (32, 96), (32, 32)])
def test_multiples_are_kept_in_portrait_and_landscape(multiple, least):
    sizes = other_sizes((640, 640), multiple_of=multiple, least=least)
    assert all(side % multiple == 0 and side >= least for size in sizes for side in size)
    assert {height < width for height, width in sizes} == {True, False}
