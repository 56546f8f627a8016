import tomllib
from pathlib import Path

import pytest

from serving.deploy import Batching, Deploy, Runtime, Warmup, read_deploy
from serving.tune.deploy_file import TuneError, compose, difference, place_of, write
from serving.tune.search import Choice, Found, Point, Trial

CHOICE = Choice(instances=2, intra_op_threads=1, max_size=4, max_delay_ms=0.0)
BEST = Point(concurrency=8, rate=120.0, p99_s=0.08)
TRIAL = Trial(CHOICE, (BEST, Point(concurrency=16, rate=121.0, p99_s=0.2, failed=3)), BEST)
FOUND = Found(TRIAL, (TRIAL,), (Choice(instances=1, intra_op_threads=2, max_size=4),))
MACHINE = {"cores": 2, "processor": "x86_64", "onnxruntime": "1.31"}


def composed(deploy: Deploy | None = None) -> str:
    return compose(deploy or Deploy(), FOUND, goal_s=0.1, machine=MACHINE)


def test_the_file_holds_the_choice_and_what_the_operator_chose_before(tmp_path: Path):
    before = Deploy(
        versions=(1, 3),
        batching=Batching(max_size=64, max_queue=7),
        runtime=Runtime(intra_op_threads=2, memory_mb=300),
        warmup=Warmup(runs=2),
    )
    (tmp_path / "deploy.toml").write_text(composed(before))
    after = read_deploy(tmp_path)
    assert after.batching == Batching(max_size=4, max_queue=7)
    assert after.runtime == Runtime(instances=2, intra_op_threads=1, memory_mb=300)
    assert (after.versions, after.warmup) == ((1, 3), Warmup(runs=2))


def test_options_of_an_accelerator_stay(tmp_path: Path):
    (tmp_path / "deploy.toml").write_text(
        '[runtime]\nproviders = ["TensorrtExecutionProvider", "CUDAExecutionProvider"]\n'
        "[runtime.cuda]\nmemory_limit_mb = 100\n"
        '[runtime.tensorrt.min_shapes]\n"images.0" = [1, 3, 32, 32]\n'
        '[runtime.tensorrt.opt_shapes]\n"images.0" = [1, 3, 64, 64]\n'
        '[runtime.tensorrt.max_shapes]\n"images.0" = [8, 3, 64, 64]\n'
    )
    before = read_deploy(tmp_path)
    (tmp_path / "deploy.toml").write_text(composed(before))
    after = read_deploy(tmp_path)
    assert (after.runtime.cuda, after.runtime.tensorrt) == (before.runtime.cuda, before.runtime.tensorrt)
    assert after.runtime.tensorrt is not None


def test_the_evidence_stands_in_comments_without_a_date():
    text = composed()
    comments = [line for line in text.splitlines() if line.startswith("#")]
    assert any("120.0" in line and "80.0" in line and "<- chosen" in line for line in comments)
    assert any("121.0" in line and "3 without a result" in line for line in comments)
    assert any("not tried" in line and "1 x 2" in line for line in comments)
    assert set(tomllib.loads(text)) == {"batching", "runtime"}
    assert composed() == text


def test_nothing_found_says_how_quick_the_quickest_was():
    slow = Trial(CHOICE, (Point(concurrency=1, rate=5, p99_s=0.25),), None)
    with pytest.raises(TuneError, match=r"within 100 ms, the quickest took 250\.0 ms"):
        compose(Deploy(), Found(None, (slow,), ()), goal_s=0.1, machine=MACHINE)


def test_a_file_that_is_there_stays_unless_forced(tmp_path: Path):
    path = tmp_path / "deploy.toml"
    path.write_text("# mine\n")
    with pytest.raises(TuneError, match="--force replaces it"):
        write(path, composed(), force=False)
    assert path.read_text() == "# mine\n"
    write(path, composed(), force=True)
    assert path.read_text() == composed()
    assert [child.name for child in tmp_path.iterdir()] == ["deploy.toml"]


def test_the_difference_shows_what_would_go_and_come(tmp_path: Path):
    path = tmp_path / "deploy.toml"
    path.write_text("[batching]\nmax_size = 64\n")
    lines = difference(path, composed()).splitlines()
    assert "-max_size = 64" in lines
    assert "+max_size = 4" in lines
    path.write_text(composed())
    assert difference(path, composed()) == ""


def test_a_package_in_a_repository_has_its_place(tmp_path: Path):
    package = tmp_path / "tiny" / "1"
    package.mkdir(parents=True)
    assert place_of(package, name="tiny", version=1) == tmp_path / "tiny" / "deploy.toml"
    assert place_of(package, name="other", version=1) is None
