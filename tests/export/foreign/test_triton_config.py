import tomllib
from pathlib import Path

import pytest

import ocella
from export.foreign.triton_config import TritonConfig, check_tensors, read_labels, to_deploy
from pipelines.errors import GraphMismatchError, RecipeError
from serving.deploy import Deploy, read_deploy
from tests.builders import tensor

TEXT = """
name: "my_net"
platform: "onnxruntime_onnx"
max_batch_size: 16
input [ { name: "image" data_type: TYPE_FP32 format: FORMAT_NCHW dims: [ 3, -1, -1 ] } ]
output [ { name: "logits", data_type: TYPE_FP32, dims: [ 10 ], label_filename: "labels.txt" } ]
instance_group [ { count: 2 kind: KIND_CPU } ]
dynamic_batching {
  preferred_batch_size: [ 4, 8 ]  # a comment
  max_queue_delay_microseconds: 500
  default_queue_policy { max_queue_size: 64 }
}
optimization { graph { level: 1 } execution_accelerators < gpu_execution_accelerator: [ { name: "tensorrt" } ] > }
version_policy: { specific { versions: [ 1, 3 ] } }
"""
INPUT, OUTPUT = tensor("image", 3, "height", "width"), tensor("logits", 10)


def config_of(tmp_path: Path, text: str = TEXT) -> TritonConfig:
    path = tmp_path / "config.pbtxt"
    path.write_text(text)
    return ocella.Models().triton_config(path)


def test_tensors_are_read_and_checked(tmp_path: Path) -> None:
    config = config_of(tmp_path)
    assert [(one.name, one.dtype, one.dims) for one in config.inputs] == [("image", "FP32", (3, -1, -1))]
    check_tensors(config, [INPUT], [OUTPUT])


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (("logits", "scores"), r"names output 'scores', the graph has \['logits'\]"),
        (("TYPE_FP32, dims: [ 10 ]", "TYPE_FP16, dims: [ 10 ]"), "output 'logits' is FP16, in the graph it is float32"),
        (("dims: [ 10 ]", "dims: [ 11 ]"), r"has \[11\] behind the batch, in the graph it has \['batch', 10\]"),
        (("max_batch_size: 16", "max_batch_size: 0"), r"input 'image' has \[3, -1, -1\], in the graph"),
    ],
)
def test_a_tensor_that_differs_from_the_graph_is_named(tmp_path: Path, change: tuple[str, str], problem: str) -> None:
    with pytest.raises(GraphMismatchError, match=problem):
        check_tensors(config_of(tmp_path, TEXT.replace(*change)), [INPUT], [OUTPUT])


def test_the_settings_are_a_deploy_toml_that_the_server_reads(tmp_path: Path) -> None:
    (tmp_path / "deploy.toml").write_text(to_deploy(config_of(tmp_path)).toml)
    deploy = read_deploy(tmp_path)
    assert deploy.versions == (1, 3)
    assert (deploy.batching.max_size, deploy.batching.max_delay_ms, deploy.batching.max_queue) == (16, 0.5, 64)
    assert (deploy.runtime.instances, deploy.runtime.providers) == (2, ("CPUExecutionProvider",))


def test_a_gpu_group_asks_for_cuda(tmp_path: Path) -> None:
    toml = to_deploy(config_of(tmp_path, "instance_group [ { count: 1 kind: KIND_GPU gpus: [ 0 ] } ]")).toml
    assert tomllib.loads(toml)["runtime"]["providers"][0] == "CUDAExecutionProvider"


def test_without_dynamic_batching_each_request_runs_alone(tmp_path: Path) -> None:
    deploy = to_deploy(config_of(tmp_path, "max_batch_size: 8"))
    assert tomllib.loads(deploy.toml) == {"batching": {"max_size": 1}}
    assert "max_batch_size: 8 without dynamic_batching" in deploy.left_out[0]


def test_an_empty_configuration_sets_nothing(tmp_path: Path) -> None:
    assert Deploy.model_validate(tomllib.loads(to_deploy(config_of(tmp_path, "")).toml)) == Deploy()


def test_what_has_no_equivalent_is_listed_wherever_it_stands(tmp_path: Path) -> None:
    assert to_deploy(config_of(tmp_path)).left_out == (
        "dynamic_batching.preferred_batch_size: 4",
        "dynamic_batching.preferred_batch_size: 8",
        "optimization.graph.level: 1",
        'optimization.execution_accelerators.gpu_execution_accelerator.name: "tensorrt"',
    )


def test_labels_come_from_the_file_beside_it(tmp_path: Path) -> None:
    (tmp_path / "labels.txt").write_text("cat\n\ndog\n")
    assert read_labels(config_of(tmp_path), tmp_path) == ("cat", "dog")


@pytest.mark.parametrize(
    ("name", "problem"), [("../labels.txt", "must lie beside config.pbtxt"), ("nothing.txt", "cannot be read")]
)
def test_a_label_file_elsewhere_or_nowhere_is_refused(tmp_path: Path, name: str, problem: str) -> None:
    config = config_of(tmp_path, TEXT.replace("labels.txt", name))
    with pytest.raises(RecipeError, match=problem):
        read_labels(config, tmp_path)


def test_text_that_is_no_configuration_is_refused_with_its_line(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"is no config.pbtxt: 2:"):
        config_of(tmp_path, 'name: "a"\nmax_batch_size: many')
