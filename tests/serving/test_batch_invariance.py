"""Whatever the batch mates: each answer of concurrent requests equals the offline answer to its image alone.

Equal to the bit: with one thread inside a run, onnxruntime's CPU kernels sum each row in the same order in a batch as
alone (measured on AVX-512 for these graphs, MobileNetV3 and ResNet-18 at 2, 3, 4 and 8 rows; it is not promised).
"""

import asyncio
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipelines.types import Result, identical
from serving.dataplane import PredictCall
from tests.serving.servers import Offline, running_server

MODELS = ("classes", "things", "masks", "vectors")


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(order=st.lists(st.tuples(st.sampled_from(MODELS), st.integers(0, 14)), min_size=1, max_size=40))
def test_concurrent_answers_equal_the_offline_answers(
    repository: Path, offline: Offline, photos: list[bytes], order: list[tuple[str, int]]
):
    async def main() -> list[Result]:
        async with running_server(repository) as server:
            calls = [PredictCall(model=model, image=photos[index]) for model, index in order]
            answers = await asyncio.gather(*(server.plane.predict(call, lambda answer: answer) for call in calls))
            return [answer.result for answer in answers]

    for (model, index), result in zip(order, asyncio.run(main()), strict=True):
        assert identical(result, offline(model, photos[index]))


@pytest.mark.parametrize("model", MODELS)
async def test_batches_of_one_model_form_and_stay_apart(
    repository: Path, offline: Offline, photos: list[bytes], model: str
):
    async with running_server(repository) as server:
        calls = [PredictCall(model=model, image=image) for image in photos * 3]
        answers = await asyncio.gather(*(server.plane.predict(call, lambda answer: answer) for call in calls))
    for image, answer in zip(photos * 3, answers, strict=True):
        assert identical(answer.result, offline(model, image))
