import pytest

from benchmarks.scaling import Cost, Need, need, read_cost, table


@pytest.mark.parametrize(
    ("images_per_s", "cpu_s", "cores", "wanted"),
    [
        (1000, 0.007, 10, Need(10, 2)),  # 7 busy cores, 10 with head room, one machine and a spare
        (1000, 0.0071, 10, Need(11, 3)),
        (1, 0.001, 16, Need(1, 2)),
        (5000, 0.035, 16, Need(250, 17)),
    ],
)
def test_cores_follow_rate_time_and_head_room_and_one_machine_is_spare(
    images_per_s: float, cpu_s: float, cores: int, wanted: Need
):
    assert need(images_per_s, cpu_s, cores_per_machine=cores, headroom=0.7) == wanted


def test_the_least_time_of_all_loads_counts():
    loads = [{"server_cpu_s": 0.02}, {"server_cpu_s": 0.01}, {"server_cpu_s": None}]
    assert read_cost({"model": "cats", "loads": loads}) == Cost("cats", 0.01)


def test_a_measurement_without_cpu_time_is_refused():
    with pytest.raises(ValueError, match="loads of cats must have server_cpu_s"):
        read_cost({"model": "cats", "loads": [{"server_cpu_s": None}]})


def test_the_table_has_cores_and_machines_for_each_rate():
    text = table([Cost("cats", 0.007)], [100, 1000], cores_per_machine=10)
    assert text.splitlines()[-1] == "| cats | 7.00 | 1 / 2 | 10 / 2 |"


def test_a_cell_follows_from_the_time_that_is_printed():
    (*_, line) = table([Cost("cats", 0.0196004)], [5000], cores_per_machine=16).splitlines()
    assert line == "| cats | 19.60 | 140 / 10 |"  # 5000 * 0.0196 / 0.7; with the digits not shown, 141
