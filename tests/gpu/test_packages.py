"""Packages on CUDA: their golden samples, and the CPU's answers within the manifest's tolerance."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from pipelines.agreement import compare_results
from pipelines.errors import GoldenMismatchError
from pipelines.golden import cuts_of
from pipelines.image import ImageLimits
from pipelines.loader import load_package
from pipelines.manifest import GoldenOptions, read_manifest
from pipelines.options import PredictOptions
from pipelines.tasks import predict
from serving.repository import embedded_repository
from tests.gpu.conftest import CUDA, MODELS, ON_CUDA

BUILT_IN = sorted(folder.parent.name for folder in embedded_repository().glob("*/1"))
NO_OPTIONS = GoldenOptions(score_threshold=None, iou_threshold=None)


@pytest.mark.parametrize("name", BUILT_IN)
def test_a_built_in_package_replays_its_golden_samples(name: str) -> None:
    with load_package(embedded_repository() / name / "1", options=ON_CUDA) as model:
        assert model.session.provider == CUDA
        assert model.golden is not None
        assert model.golden.raw_ratio < 0.1  # without TF32 a thousandth of what TF32 would be allowed
        assert model.golden.excluded == 0


@pytest.mark.parametrize("name", BUILT_IN)
def test_channels_last_replay_the_golden_samples_too(name: str) -> None:
    options = replace(ON_CUDA, provider_options={CUDA: {"prefer_nhwc": "1"}})
    with load_package(embedded_repository() / name / "1", options=options) as model:
        assert model.session.provider == CUDA


def test_a_package_whose_answers_tf32_moves_too_far_is_refused_with_the_difference() -> None:
    """Crowns' scores move by 0.0027, 0.002 is allowed: twice the speed is not worth other answers unasked."""
    options = replace(ON_CUDA, provider_options={CUDA: {"use_tf32": "1"}})
    with pytest.raises(GoldenMismatchError, match=r"a detection has score 0\.53\d+, the reference 0\.53607"):
        load_package(embedded_repository() / "trees" / "1", options=options)


@pytest.mark.parametrize("name", MODELS)
def test_decoded_results_are_those_of_the_cpu(folders: dict[str, Path], photos: list[bytes], name: str) -> None:
    manifest = read_manifest(folders[name])
    with load_package(folders[name]) as on_cpu, load_package(folders[name], options=ON_CUDA) as on_cuda:
        for data in photos:
            image = on_cpu.pipeline.decode(data, ImageLimits())
            (expected,) = predict(on_cpu.pipeline, on_cpu.session, [image], PredictOptions())
            (got,) = predict(on_cuda.pipeline, on_cuda.session, [image], PredictOptions())
            found = compare_results(expected, got, manifest.golden.tolerance, cuts_of(manifest, NO_OPTIONS))
            assert found.problem is None
            assert found.compared > found.excluded
