"""Measuring a model on a data set: answer every image, judge each answer, join what was judged."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from export.data.dataset import Dataset, DatasetError, Problem, Sample
from export.evaluate.judge_classification import ClassificationJudge
from export.evaluate.judge_detection import DetectionJudge
from export.evaluate.judge_embedding import EmbeddingJudge
from export.evaluate.judge_segmentation import SegmentationJudge
from export.evaluate.measured import Judge, Measured, Table
from export.evaluate.predictor import Predictor, Settings
from export.evaluate.promised import compare
from pipelines.errors import ImageDecodeError, ImageTooLargeError
from pipelines.manifest import ModelManifest

CONCURRENT = 4  # images at once: enough to keep the pixels of one and the graph of another busy on a small machine
WINDOW = 16 * CONCURRENT


@dataclass(frozen=True, eq=False, kw_only=True)
class Evaluation:
    """What was measured, of whom, on what.

    Attributes:
        model: name and version, or the results file.
        dataset: without the images that failed; its problems name them.
        measured: the metrics.
        promised: measured beside promised, or ``None``.
    """

    model: str
    dataset: Dataset
    measured: Measured
    promised: Table | None


def evaluate(
    predictor: Predictor,
    manifest: ModelManifest,
    dataset: Dataset,
    *,
    settings: Settings,
    on_error: Literal["skip", "refuse"] = "skip",
    report: Callable[[int], None] = lambda _: None,
) -> Evaluation:
    """Answer every image through ``predictor`` and measure; ``report`` is told how many are done.

    An image that cannot be decoded is left out and named, or refused; every other error is raised.

    Raises:
        DatasetError: model and data do not fit, or a bad image is refused.
        OcellaError: what the model or the server raises.
    """
    judge = judge_of(manifest, dataset, settings)
    kept: list[Sample] = []
    rows: list[Any] = []
    problems: list[Problem] = []

    def one(sample: Sample) -> Any:
        try:
            return judge.judge(sample, predictor.answer(sample.path.read_bytes()))
        except (ImageDecodeError, ImageTooLargeError, OSError) as error:
            return Problem(sample.path, "image", " ".join(str(error).split()))

    with ThreadPoolExecutor(CONCURRENT) as pool:
        for done, (sample, row) in enumerate(_in_order(pool, one, dataset.samples), start=1):
            if isinstance(row, Problem):
                if on_error == "refuse":
                    raise DatasetError(f"{row} (left out with --on-error skip, or data.on_error of a config)")
                problems.append(row)
            else:
                kept.append(sample)
                rows.append(row)
            report(done)
    used = replace(dataset, samples=tuple(kept), problems=(*dataset.problems, *problems))
    measured = judge.measure(used.samples, tuple(rows))
    return Evaluation(
        model=f"{manifest.name} {manifest.version}",
        dataset=used,
        measured=measured,
        promised=compare(measured.metrics, manifest.provenance.metrics),
    )


def evaluate_results(found: tuple[Any, ...], dataset: Dataset, *, settings: Settings, name: Path) -> Evaluation:
    """Measure boxes that are there already, one of ``found`` a sample."""
    measured = DetectionJudge(dataset, None, settings).measure(dataset.samples, found)
    return Evaluation(model=str(name), dataset=dataset, measured=measured, promised=None)


def judge_of(manifest: ModelManifest, dataset: Dataset, settings: Settings) -> Judge:
    """The judge of the model's task; raises DatasetError where the data is for another."""
    task = manifest.head.task
    if task != dataset.task:
        raise DatasetError(
            f"{manifest.name} is a {task} model and cannot be measured on {dataset.root}, which is {dataset.format} "
            f"for {dataset.task}"
        )
    if task == "classification":
        return ClassificationJudge(dataset, manifest, settings)
    if task == "detection":
        return DetectionJudge(dataset, manifest, settings)
    if task == "segmentation":
        return SegmentationJudge(dataset, manifest, settings)
    return EmbeddingJudge(dataset, settings)


def _in_order(
    pool: ThreadPoolExecutor, run: Callable[[Sample], Any], samples: Iterable[Sample]
) -> Iterator[tuple[Sample, Any]]:
    """Samples with their rows, in order; at most a window of them is in work, so that an error stops soon."""
    iterator = iter(samples)
    while window := [sample for _, sample in zip(range(WINDOW), iterator, strict=False)]:
        yield from zip(window, pool.map(run, window), strict=True)
