import math
from pathlib import Path

import pytest

from serving.cpu import Allowance
from serving.cpu_plan import plan_model, plan_text
from serving.deploy import Deploy, Runtime
from serving.repository import Candidate


def candidate(**runtime: object) -> Candidate:
    return Candidate("faces", 3, Path("faces/3"), Deploy(runtime=Runtime(**runtime)))


@pytest.mark.parametrize(
    ("affinity", "quota", "cores"), [(8, math.inf, 8), (8, 1.5, 2), (8, 0.2, 1), (2, 6.0, 2), (4, 4.0, 4)]
)
def test_the_cores_are_those_of_the_mask_or_fewer_by_the_quota(affinity: int, quota: float, cores: int):
    assert Allowance(affinity, quota).cores == cores


def test_without_a_choice_each_core_gets_a_run_of_one_thread():
    plan = plan_model(Runtime(), cores=6)
    assert (plan.runs, plan.intra_op_threads, len(plan.reasons)) == (6, 1, 2)


def test_a_gpu_gets_two_runs_however_many_cores_there_are():
    plan = plan_model(Runtime(providers=("CUDAExecutionProvider", "CPUExecutionProvider")), cores=16)
    assert plan.runs == 2
    assert plan.reasons[0].startswith("on a GPU")
    assert plan_model(Runtime(providers=("CUDAExecutionProvider",), instances=5), cores=16).runs == 5


def test_a_model_that_fell_back_to_the_cpu_gets_all_cores():
    asked = Runtime(providers=("CUDAExecutionProvider", "CPUExecutionProvider"), require=False)
    assert plan_model(asked, cores=6, provider="CPUExecutionProvider") == plan_model(Runtime(), cores=6)


def test_the_operators_choice_holds_and_is_named_as_the_reason():
    plan = plan_model(Runtime(instances=3, intra_op_threads=2), cores=6)
    assert (plan.runs, plan.intra_op_threads) == (3, 2)
    assert all("deploy.toml says so" in reason for reason in plan.reasons)


def test_more_threads_than_cores_are_said():
    assert (
        "4 runs of 2 threads are more than the 6 cores"
        in plan_model(Runtime(instances=4, intra_op_threads=2), cores=6).reasons[-1]
    )
    assert len(plan_model(Runtime(instances=3, intra_op_threads=2), cores=6).reasons) == 2


def test_the_text_names_mask_quota_and_every_model():
    text = plan_text([candidate(), candidate(instances=1)], allowance=Allowance(8, 3.5))
    assert text.splitlines()[:3] == [
        "cores: 4 (affinity mask of 8, a quota of 3.5 cores)",
        "pixel threads: 4, shared by all models: one for each core, OpenCV's own threads are off",
        "faces 3 on CPUExecutionProvider:",
    ]
    assert "  runs at once: 4 (one for each core" in text
    assert "  runs at once: 1 (deploy.toml says so)" in text


@pytest.mark.parametrize(("cores", "said"), [(6, False), (7, True), (16, True)])
def test_more_cores_than_one_process_keeps_busy_are_said(cores: int, said: bool):
    text = plan_text([candidate()], allowance=Allowance(cores, math.inf))
    assert (f"--processes {math.ceil(cores / 4)} uses the others" in text) == said


def test_processes_share_the_cores():
    text = plan_text([candidate()], processes=3, allowance=Allowance(8, math.inf))
    assert "processes: 3, with 2 of the cores each" in text
    assert "no quota" in text
    assert "  runs at once: 2 (" in text
