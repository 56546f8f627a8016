"""From what a user names to an evaluation: a package, a model on a server, or results in a file."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from export.data.collect import ReadOptions
from export.data.dataset import Dataset, DatasetError, Task
from export.data.detect_format import read_dataset
from export.data.published import PUBLISHED, fetch_published
from export.evaluate.coco_results import read_coco_results
from export.evaluate.evaluate import Evaluation, evaluate, evaluate_results
from export.evaluate.predictor import Models, Predictor, Settings, predict_options
from pipelines.errors import InvalidRequestError
from pipelines.manifest import CascadeManifest

Progress = Callable[[str, int, int], None]
"""Told a line, and how many images of how many are done."""


@dataclass(frozen=True, kw_only=True)
class Subject:
    """What is measured: a model (on ``server``, or a package folder without one), or boxes in a file."""

    model: str | None = None
    server: str | None = None
    results: Path | None = None


@dataclass(frozen=True, kw_only=True)
class Reading:
    """Which data, and how it is read.

    Attributes:
        data: a folder or COCO file, or the name of a published data set and its split: ``digits/test``.
        cache: where published data sets are kept.
        format_: name of a reader, or ``None``: as the files show.
        options: of the reader.
    """

    data: str
    cache: Path
    format_: str | None
    options: ReadOptions


@contextmanager
def evaluated(
    models: Models, subject: Subject, reading: Reading, settings: Settings, *, progress: Progress
) -> Iterator[tuple[Evaluation, Predictor | None]]:
    """Measure, and keep the model open so that its worst answers can be drawn.

    Raises:
        OcellaError: data and model cannot be read, do not fit, or fail.
    """
    if subject.results is not None:
        dataset = read(reading, task="detection", progress=progress)
        found = read_coco_results(subject.results, dataset, max_detections=settings.max_detections)
        yield evaluate_results(found, dataset, settings=settings, name=subject.results), None
        return
    if subject.model is None:
        raise InvalidRequestError("there must be a model or a file of results to measure")
    manifest = models.manifest(subject.model, server=subject.server)
    if isinstance(manifest, CascadeManifest):
        raise DatasetError(f"{manifest.name} is a cascade: measure its members, each on data of its own task")
    dataset = read(reading, task=manifest.head.task, progress=progress)
    options = predict_options(manifest, settings)
    with models.open(subject.model, server=subject.server, options=options) as predictor:
        evaluation = evaluate(
            predictor,
            manifest,
            dataset,
            settings=settings,
            on_error=reading.options.on_error,
            report=lambda done: progress("measuring", done, len(dataset)),
        )
        yield evaluation, predictor


def read(reading: Reading, *, task: Task, progress: Progress) -> Dataset:
    """Read the data, fetching it where it has a published name and there is no such path; raises DatasetError."""
    root = Path(reading.data)
    name, _, split = reading.data.partition("/")
    if not root.exists() and name in PUBLISHED:
        folder = fetch_published(name, reading.cache, report=lambda line: progress(line, 0, 0))
        if split not in ("train", "test"):
            raise DatasetError(f"{name} must be measured on a split: {name}/test or {name}/train")
        return read_dataset(folder / split, format_=reading.format_ or PUBLISHED[name].format, options=reading.options)
    return read_dataset(root, format_=reading.format_, task=task, options=reading.options)
