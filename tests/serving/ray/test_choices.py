from pathlib import Path

import pytest

from serving.deploy import DeployError, read_deploy
from serving.ray.choices import RayChoices


def test_a_model_has_one_replica_at_least_and_four_at_most_where_nothing_is_said(tmp_path: Path):
    choices = read_deploy(tmp_path).ray
    assert (choices.min_replicas, choices.max_replicas) == (1, 4)


def test_choices_are_read_from_the_deploy_file(tmp_path: Path):
    (tmp_path / "deploy.toml").write_text("[ray]\nmin_replicas = 0\nmax_replicas = 9\nnum_gpus = 0.5\n")
    assert read_deploy(tmp_path).ray == RayChoices(min_replicas=0, max_replicas=9, num_gpus=0.5)


def test_fewest_beyond_most_are_refused_with_both(tmp_path: Path):
    (tmp_path / "deploy.toml").write_text("[ray]\nmin_replicas = 9\n")
    with pytest.raises(DeployError, match="min_replicas must be at most max_replicas, got 9 and 4"):
        read_deploy(tmp_path)


@pytest.mark.parametrize(("num_cpus", "cores"), [(0.0, 1), (0.5, 1), (1.0, 1), (3.9, 3), (8.0, 8)])
def test_a_replica_computes_with_whole_cores_and_at_least_one(num_cpus: float, cores: int):
    assert RayChoices(num_cpus=num_cpus).cores == cores
