"""Choices of ``deploy.toml`` in onnxruntime's words; what they do on a GPU is tested in ``tests/gpu``."""

from pathlib import Path
from typing import Any

import pytest

from serving.accelerators import Cuda, TensorRt
from serving.deploy import Deploy, DeployError, Runtime, read_deploy
from serving.providers import cuda_options, session_options, tensorrt_options

CPU, CUDA, TENSORRT = "CPUExecutionProvider", "CUDAExecutionProvider", "TensorrtExecutionProvider"
FOLDER = Path("/models/faces")


def deploy_of(tmp_path: Path, text: str) -> Deploy:
    (tmp_path / "deploy.toml").write_text(text)
    return read_deploy(tmp_path)


def test_the_order_of_the_providers_is_the_operators():
    providers = (TENSORRT, CUDA, CPU)
    options = session_options(Runtime(providers=providers), model_folder=FOLDER)
    assert options.providers == providers
    assert list(options.provider_options) == [CUDA, TENSORRT]
    assert options.require


def test_a_cpu_session_gets_no_options_of_a_gpu():
    options = session_options(Runtime(intra_op_threads=3, arena=False), model_folder=FOLDER)
    assert (options.providers, options.provider_options) == ((CPU,), {})
    assert (options.intra_op_threads, options.arena) == (3, False)


@pytest.mark.parametrize(
    ("cuda", "options"),
    [
        (
            Cuda(),
            {
                "device_id": "0",
                "cudnn_conv_algo_search": "HEURISTIC",
                "prefer_nhwc": "0",
                "use_tf32": "0",
                "arena_extend_strategy": "kSameAsRequested",
            },
        ),
        (
            Cuda(device_id=1, memory_limit_mb=2, conv_search="DEFAULT", tf32=True, nhwc=True),
            {
                "device_id": "1",
                "cudnn_conv_algo_search": "DEFAULT",
                "prefer_nhwc": "1",
                "gpu_mem_limit": "2097152",
                "use_tf32": "1",
                "arena_extend_strategy": "kSameAsRequested",
            },
        ),
    ],
)
def test_cuda_options_are_told_in_the_providers_words(cuda: Cuda, options: dict[str, str]):
    assert cuda_options(cuda) == options


def test_shapes_that_are_kept_ready_are_the_operators():
    assert session_options(Runtime(providers=(CUDA,)), model_folder=FOLDER).most_shapes == 8
    assert session_options(Runtime(providers=(CUDA,), cuda=Cuda(shapes=3)), model_folder=FOLDER).most_shapes == 3


def test_tensorrt_builds_engines_anew_where_nothing_is_said():
    assert tensorrt_options(TensorRt(), model_folder=FOLDER) == {"device_id": "0", "trt_fp16_enable": "0"}


@pytest.mark.parametrize(("cache", "folder"), [("engines", "/models/faces/engines"), ("/var/engines", "/var/engines")])
def test_tensorrt_keeps_engines_where_it_is_told_to(cache: str, folder: str):
    options = tensorrt_options(TensorRt(engine_cache=cache), model_folder=FOLDER)
    assert (options["trt_engine_cache_enable"], options["trt_engine_cache_path"]) == ("1", folder)
    assert (options["trt_timing_cache_enable"], options["trt_timing_cache_path"]) == ("1", folder)


def test_a_shape_profile_is_told_for_each_input(tmp_path: Path):
    deploy = deploy_of(
        tmp_path,
        f"""
        [runtime]
        providers = ["{TENSORRT}", "{CPU}"]
        [runtime.tensorrt]
        fp16 = true
        workspace_mb = 1
        min_shapes = {{ image = [1, 3, 32, 32], mask = [1, 1] }}
        opt_shapes = {{ image = [4, 3, 224, 224], mask = [4, 1] }}
        max_shapes = {{ image = [8, 3, 640, 640], mask = [8, 1] }}
        """,
    )
    assert session_options(deploy.runtime, model_folder=FOLDER).provider_options[TENSORRT] == {
        "device_id": "0",
        "trt_fp16_enable": "1",
        "trt_max_workspace_size": "1048576",
        "trt_profile_min_shapes": "image:1x3x32x32,mask:1x1",
        "trt_profile_opt_shapes": "image:4x3x224x224,mask:4x1",
        "trt_profile_max_shapes": "image:8x3x640x640,mask:8x1",
    }


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[runtime.cuda]\n", "cuda acts only where providers names CUDAExecutionProvider"),
        ("[runtime.tensorrt]\n", "tensorrt acts only where providers names TensorrtExecutionProvider"),
        (f'[runtime]\nproviders = ["{CUDA}"]\n[runtime.cuda]\ndevice = 1\n', r"runtime\.cuda\.device"),
        (f'[runtime]\nproviders = ["{CUDA}"]\n[runtime.cuda]\nconv_search = "FAST"\n', r"runtime\.cuda\.conv_search"),
        (
            f'[runtime]\nproviders = ["{TENSORRT}"]\n[runtime.tensorrt]\nmin_shapes = {{ image = [1] }}\n',
            "must name the same inputs",
        ),
        (
            f'[runtime]\nproviders = ["{TENSORRT}"]\n[runtime.tensorrt]\nmin_shapes = {{ image = [2] }}\n'
            "opt_shapes = { image = [1] }\nmax_shapes = { image = [4] }\n",
            "not shrink from min to opt to max",
        ),
    ],
)
def test_what_cannot_act_is_refused(tmp_path: Path, text: str, said: Any):
    with pytest.raises(DeployError, match=said):
        deploy_of(tmp_path, text)
