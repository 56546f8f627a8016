import gc
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from pipelines.loader import load_package
from pipelines.specs import Pad
from serving.deploy import Batching, Deploy, Runtime
from serving.metrics import Metrics
from serving.served import ServedModel, rows_for, rows_per_run
from tests.builders import image_spec
from tests.graphs import classifier_graph
from tests.packages import make_package


@contextmanager
def served(folder: Path, *, row_s: float | None, deploy: Deploy, identical_rows: int = 8) -> Iterator[ServedModel]:
    """A package as if its golden replay had taken ``row_s`` a row; ``None``: as if it was not replayed."""
    loaded = load_package(folder)
    assert loaded.golden
    golden = None if row_s is None else replace(loaded.golden, row_s=row_s, identical_rows=identical_rows)
    with ServedModel(replace(loaded, golden=golden), deploy, Metrics().model("classes", 1), cores=1) as model:
        yield model


@pytest.mark.parametrize(
    ("row_s", "rows"),
    [(None, 8), (0.0, 8), (0.001, 8), (0.00625, 8), (0.0063, 7), (0.016, 3), (0.026, 1), (0.3, 1), (9.0, 1)],
)
def test_a_run_takes_as_many_rows_as_fit_50_ms_and_at_most_8(row_s: float | None, rows: int):
    assert rows_per_run(row_s) == rows


@pytest.mark.parametrize(("row_s", "rows"), [(None, 32), (0.001, 32), (0.0016, 16), (0.01, 4), (0.02, 1), (0.3, 1)])
def test_on_a_gpu_a_run_takes_up_to_32_rows_and_a_number_that_is_not_padded(row_s: float | None, rows: int):
    sizes = (1, 4, 8, 16, 32)
    on_gpu = SimpleNamespace(
        provider="CUDAExecutionProvider", sizes=lambda most: tuple(size for size in sizes if size < 2 * most)
    )
    assert rows_for(on_gpu, row_s) == rows


@pytest.mark.parametrize(("row_s", "rows"), [(0.016, 3), (0.3, 1), (None, 8)])
async def test_the_golden_replay_sizes_the_batches_where_the_operator_does_not(
    folders: dict[str, Path], row_s: float | None, rows: int
):
    with served(folders["classes"], row_s=row_s, deploy=Deploy()) as model:
        assert model.policy.max_size == rows


async def test_the_operators_batch_size_wins(folders: dict[str, Path]):
    with served(folders["classes"], row_s=0.3, deploy=Deploy(batching=Batching(max_size=16))) as model:
        assert model.policy.max_size == 16


@pytest.mark.parametrize(
    ("deploy", "group_size"),
    [
        (Deploy(), 8),
        (Deploy(batching=Batching(max_size=1)), 1),
        (Deploy(batching=Batching(max_size=4)), 4),
        (Deploy(batching=Batching(max_size=16)), 16),
        (Deploy(batching=Batching(max_delay_ms=5)), 0),
    ],
)
async def test_on_a_cpu_one_thread_does_everything_for_images_unless_they_wait_for_others(
    folders: dict[str, Path], deploy: Deploy, group_size: int
):
    with served(folders["classes"], row_s=0.001, deploy=deploy) as model:
        assert model.policy.group_size == group_size


@pytest.mark.parametrize(
    ("row_s", "identical_rows", "group_size"),
    [(0.0125, 8, 8), (0.016, 8, 6), (0.045, 8, 2), (0.06, 8, 1), (0.3, 2, 1), (0.001, 0, 1), (0.001, 3, 3)],
)
async def test_images_go_together_only_where_a_batch_was_seen_to_give_the_same_bits(
    folders: dict[str, Path], row_s: float, identical_rows: int, group_size: int
):
    with served(folders["classes"], row_s=row_s, deploy=Deploy(), identical_rows=identical_rows) as model:
        assert model.policy.group_size == group_size


async def test_images_go_alone_where_the_graphs_batch_is_fixed_whatever_the_operator_asks_for(tmp_path: Path):
    graph = classifier_graph()
    for value in (*graph.graph.input, *graph.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = 1
    folder = make_package(tmp_path / "tiny", graph=graph)
    with served(folder, row_s=0.001, deploy=Deploy(batching=Batching(max_size=4))) as model:
        assert (model.policy.group_size, model.policy.max_size) == (1, 1)


async def test_images_of_a_model_that_was_not_replayed_go_alone(folders: dict[str, Path]):
    with served(folders["classes"], row_s=None, deploy=Deploy()) as model:
        assert model.policy.group_size == 1


@pytest.mark.parametrize(("deploy", "group_size"), [(Deploy(), 1), (Deploy(batching=Batching(max_size=4)), 0)])
async def test_where_rows_have_the_shapes_of_their_images_only_rows_batch(
    tmp_path: Path, deploy: Deploy, group_size: int
):
    fit = Pad(kind="pad", multiple_of=32, pad_value=0, max_longer=None)
    folder = make_package(tmp_path / "tiny", image=image_spec(fit=fit))
    with served(folder, row_s=0.001, deploy=deploy) as model:
        assert model.policy.group_size == group_size


async def test_a_model_that_is_served_no_more_is_freed_without_the_garbage_collector(folders: dict[str, Path]):
    meter = Metrics().model("classes", 1)
    gc.collect()
    gc.disable()
    try:
        model = ServedModel(load_package(folders["classes"]), Deploy(), meter, cores=1)
        model.show()
        with model:
            seen = weakref.ref(model)
        del model
        assert seen() is None
    finally:
        gc.enable()


async def test_fewer_runs_than_cores_are_fed_by_the_other_cores(folders: dict[str, Path]):
    loaded = load_package(folders["classes"])
    deploy = Deploy(runtime=Runtime(instances=1))
    with ServedModel(loaded, deploy, Metrics().model("classes", 1), cores=2) as model:
        assert model.policy.group_size == 0
