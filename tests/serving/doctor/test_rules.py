from pathlib import Path
from typing import Any

import pytest

from serving.cpu import Allowance
from serving.doctor.facts import Folder, Gpu, Gpus
from serving.doctor.report import must_fix
from serving.doctor.rules import RULES, findings
from serving.doctor.versions import parse_requirements
from tests.serving.doctor.environments import GIB, SOUND, environment

CPU, CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"
H100 = Gpu("NVIDIA H100", 80 * GIB)
READY = Gpus(driver="580.65", cuda=(13, 0), devices=(H100,), kernel=True, session="")
ON_GPU: dict[str, Any] = {
    "packages": {"onnxruntime-gpu": "1.31.1", "opencv-python-headless": "5.0.0", "protobuf": "6.33.5"},
    "providers": (CUDA, CPU),
    "onnxruntime_cuda": "13.0",
    "gpus": READY,
}


def test_a_sound_environment_has_no_findings():
    assert findings(SOUND) == []


def test_a_sound_gpu_environment_has_no_findings():
    assert findings(environment(**ON_GPU)) == []


@pytest.mark.parametrize(
    ("over", "level", "what", "do"),
    [
        ({"packages": {"protobuf": "6.33.5"}, "providers": ()}, "fix", "onnxruntime is not installed", "ocella[cpu]"),
        (
            {"packages": {**SOUND.packages, "onnxruntime-gpu": "1.31.1"}},
            "fix",
            "onnxruntime and onnxruntime-gpu are installed over each other",
            "pip uninstall --yes onnxruntime onnxruntime-gpu && pip install 'ocella[cpu]'",
        ),
        (
            {"packages": {**SOUND.packages, "opencv-python": "4.11"}},
            "fix",
            "opencv-python and opencv-python-headless are installed over each other",
            "pip install opencv-python-headless",
        ),
        (
            {"packages": {**SOUND.packages, "protobuf": "5.29.3"}},
            "fix",
            "protobuf must be <8,>=6.33.5, got 5.29.3",
            "pip install 'protobuf<8,>=6.33.5'",
        ),
        (
            {"packages": {"onnxruntime": "1.31"}},
            "fix",
            "protobuf is not installed",
            "pip install 'protobuf<8,>=6.33.5'",
        ),
        ({"broken_imports": {"cv2": "libGL.so.1: cannot open"}}, "fix", "cv2 cannot be imported", "headless"),
        ({"broken_imports": {"grpc": "libstdc++.so.6"}}, "fix", "grpc cannot be imported", "what the message names"),
        ({**ON_GPU, "gpus": Gpus()}, "note", "there is no GPU: models run on the CPU", "ocella[cpu]"),
        ({**ON_GPU, "gpus": Gpus(kernel=True)}, "fix", "this process sees no GPU", "--gpus all"),
        (
            {**ON_GPU, "gpus": Gpus(kernel=True, problem="mismatch")},
            "fix",
            "the NVIDIA driver answers: mismatch",
            "update",
        ),
        ({"gpus": READY}, "note", "NVIDIA H100 is not used: this is onnxruntime's CPU build", "ocella[gpu]"),
        (
            {**ON_GPU, "gpus": Gpus(driver="550.1", cuda=(12, 4), devices=(H100,))},
            "fix",
            "onnxruntime is built for CUDA 13.0, the driver 550.1 runs 12.4",
            "a driver for CUDA 13",
        ),
        (
            {**ON_GPU, "gpus": Gpus(cuda=(13, 0), devices=(H100,), session="libcudnn.so.9 is missing")},
            "fix",
            "no session starts on the GPU: libcudnn.so.9 is missing",
            "cuDNN",
        ),
        ({"memory_bytes": 100 * 1024**2}, "fix", "100 MiB of memory are available", "memory limit"),
        ({"open_files": (64, 128)}, "fix", "128 files may be open", "ulimit -Hn 65536"),
        ({"open_files": (1024, 4096)}, "note", "4096 files may be open at once, the default limits", "LimitNOFILE"),
        ({"temporary": Folder(Path("/tmp"), False, GIB)}, "fix", "/tmp must be writable", "tmpfs"),
        ({"temporary": Folder(Path("/tmp"), True, 0)}, "fix", "/tmp has 0 MiB left", "free space"),
        ({"cache": Folder(Path("/cache"), False, 0)}, "note", "/cache is not writable", "OCELLA_CACHE"),
        ({"shared_memory_bytes": None}, "note", "/dev/shm is not there", "--shm-size"),
        ({"shared_memory_bytes": 1024**2}, "note", "/dev/shm has 1 MiB left", "--shm-size"),
        ({"built_in_models": ()}, "note", "no models are built in", "--models"),
        ({"unknown_variables": ("OCELLA_PROT",)}, "note", "OCELLA_PROT is set, and nothing reads it", "operations.md"),
        ({"clock_synchronised": False}, "note", "clock is not synchronised", "NTP"),
        ({"clock_behind_s": 3600.0}, "fix", "the clock is 3,600 s behind the files of this install", "set it"),
        ({"allowance": Allowance(4, 1.5)}, "note", "grants 1.5 cores: 2 threads stand still", "grant 2 cores"),
        ({"glibc": ""}, "note", "the C library is not glibc", "glibc"),
    ],
)
def test_each_trouble_is_one_finding_with_its_remedy(over: dict[str, Any], level: str, what: str, do: str):
    (finding,) = findings(environment(**over))
    assert finding.level == level
    assert what in finding.what
    assert do in finding.do


def test_a_version_that_only_an_extra_wants_is_a_note():
    asked = parse_requirements(["torch<2.15,>=2.9; extra == 'export'"])
    (finding,) = findings(environment(requirements=asked, packages={**SOUND.packages, "torch": "2.5.1"}))
    assert (finding.level, finding.what) == ("note", "torch must be <2.15,>=2.9, got 2.5.1")


def test_an_extra_that_is_not_installed_is_no_finding():
    assert findings(environment(requirements=parse_requirements(["torch>=2.9; extra == 'export'"]))) == []


def test_what_must_be_fixed_comes_first():
    levels = [
        f.level for f in findings(environment(shared_memory_bytes=None, memory_bytes=0, unknown_variables=("A",)))
    ]
    assert levels == ["fix", "note", "note"]


def test_notes_alone_need_no_fixing():
    assert not must_fix(findings(environment(shared_memory_bytes=None)))
    assert must_fix(findings(environment(memory_bytes=0)))


def test_no_quota_is_no_finding():
    assert findings(environment(allowance=Allowance(4, float("inf")))) == []


@pytest.mark.parametrize("limits", [(-1, -1), (1024, -1), (1024, 1_048_576)])
def test_files_that_the_server_may_open_are_no_finding(limits: tuple[int, int]):
    assert findings(environment(open_files=limits)) == []


def test_every_rule_is_in_the_table_once():
    assert len(set(RULES)) == len(RULES)
