import numpy as np
import pytest

from pipelines.grid import RUNTIMES, Case, case_from_json, variants
from pipelines.session import CPU


@pytest.mark.parametrize("case", [Case(1, 4), Case(0, 2, (33, 48))])
def test_a_case_survives_json(case):
    assert case_from_json(case.to_json()) == case


def test_every_optimisation_level_runs_with_one_and_two_threads_the_served_one_first():
    options = [runtime.options(CPU) for runtime in RUNTIMES]
    assert len({(one.optimization, one.intra_op_threads) for one in options}) == len(options) == 6
    assert (options[0].optimization, options[0].intra_op_threads) == ("all", 1)


def test_variants_of_an_image_all_differ_and_the_first_is_the_image():
    image = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    made = variants(image, 4)
    np.testing.assert_array_equal(made[0], image)
    assert len({one.tobytes() for one in made}) == 4
    assert {one.shape for one in made} == {image.shape}
