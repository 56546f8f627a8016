import os
from collections.abc import Callable
from pathlib import Path

import pytest

from serving.deploy import Batching, Deploy, DeployError, Runtime, chosen_versions, read_deploy


def deploy_of(tmp_path: Path, text: str) -> Deploy:
    (tmp_path / "deploy.toml").write_text(text)
    return read_deploy(tmp_path)


def test_a_model_without_deploy_toml_gets_the_defaults(tmp_path: Path):
    assert read_deploy(tmp_path) == Deploy()


def test_every_key_is_read(tmp_path: Path):
    deploy = deploy_of(
        tmp_path,
        """
        versions = [1, 3]
        [batching]
        max_size = 4
        max_delay_ms = 2.5
        max_queue = 9
        [runtime]
        providers = ["CUDAExecutionProvider", "CPUExecutionProvider"]
        instances = 2
        intra_op_threads = 3
        arena = false
        """,
    )
    assert deploy == Deploy(
        versions=(1, 3),
        batching=Batching(max_size=4, max_delay_ms=2.5, max_queue=9),
        runtime=Runtime(
            providers=("CUDAExecutionProvider", "CPUExecutionProvider"), instances=2, intra_op_threads=3, arena=False
        ),
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        pytest.param("[batching]\nmax_sise = 4", "batching.max_sise", id="a key that does not exist"),
        pytest.param("[batching]\nmax_size = 0", "batching.max_size", id="a value out of range"),
        pytest.param("[batching]\nmax_delay_ms = nan", "batching.max_delay_ms", id="not a number"),
        pytest.param("[batching]\nmax_size = '4'", "batching.max_size", id="a value of another type"),
        pytest.param("versions = 'newest'", "versions", id="a policy that does not exist"),
        pytest.param("versions = []", "versions", id="no version at all"),
        pytest.param("[batching]\nmax_queue_bytes = 0", "batching.max_queue_bytes", id="no byte at all"),
        pytest.param(
            "[runtime]\nshrink_arena = true\narena = false", "shrink_arena acts only", id="no arena to shrink"
        ),
        pytest.param("[runtime]\ngpu_memory_mb = 9", "gpu_memory_mb acts only", id="no card to have memory"),
        pytest.param("[runtime]\nproviders = []", "runtime.providers", id="no provider at all"),
        pytest.param("[runtime]\ninstances = 1979-05-27", "runtime.instances", id="a date"),
        pytest.param("versions = ", "not TOML", id="a file that is not TOML"),
        pytest.param(f"versions = {'[' * 100_000}", "not TOML", id="lists in lists in lists"),
    ],
)
def test_a_bad_file_is_one_error_that_names_the_key(tmp_path: Path, text: str, said: str):
    with pytest.raises(DeployError, match=said) as caught:
        deploy_of(tmp_path, text)
    assert "deploy.toml" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("value", "shown"),
    [("[0]", ", got [0]"), ("[]", ", got []"), ("[1, true]", ", got [1, True]"), ("'newest'", " (got 'newest')")],
)
def test_versions_say_what_may_stand_there(tmp_path: Path, value: str, shown: str):
    with pytest.raises(DeployError) as caught:
        deploy_of(tmp_path, f"versions = {value}")
    wanted = 'versions: must be "latest", "all" or numbers from 1 such as [1, 3]'
    assert str(caught.value) == f"{tmp_path / 'deploy.toml'}: {wanted}{shown}"


def test_a_file_that_is_not_text_is_one_error(tmp_path: Path):
    (tmp_path / "deploy.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(DeployError, match="not TOML"):
        read_deploy(tmp_path)


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo], ids=["a folder", "a pipe"])
def test_what_is_no_file_in_its_place_is_one_error(tmp_path: Path, make: Callable[[Path], None]):
    make(tmp_path / "deploy.toml")
    with pytest.raises(DeployError, match=r"deploy\.toml must be a regular file, it is something else"):
        read_deploy(tmp_path)


@pytest.mark.parametrize(
    ("policy", "chosen"),
    [("latest", (10,)), ("all", (1, 2, 10)), ((2,), (2,)), ((10, 1, 1), (1, 10))],
)
def test_the_policy_chooses_the_versions(policy: str | tuple[int, ...], chosen: tuple[int, ...]):
    assert chosen_versions(Deploy(versions=policy), (2, 10, 1), model_folder=Path("faces")) == chosen


def test_a_listed_version_that_is_not_there_is_refused_with_the_file():
    with pytest.raises(DeployError, match=r"^faces/deploy\.toml: versions must be among \[1, 2\], got 3$"):
        chosen_versions(Deploy(versions=(1, 3)), (2, 1), model_folder=Path("faces"))
