"""Measuring a classifier."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np

from export.data.dataset import ClassTarget, Dataset, Sample
from export.evaluate import curves
from export.evaluate.labels import match_labels
from export.evaluate.measured import Measured, Table, Worst
from export.evaluate.predictor import TOP_K, Settings
from export.metrics.classification import classification_report
from pipelines.manifest import ModelManifest
from pipelines.specs import ClassificationHead
from pipelines.types import Classification, Result


@dataclass(frozen=True)
class Answer:
    """The five best of one image, in the data set's numbering; ``best`` is the first by the model's own name."""

    class_ids: tuple[int, ...]
    scores: tuple[float, ...]
    best: str


class ClassificationJudge:
    """Compares a classifier's best classes with the folders that the images came from."""

    def __init__(self, dataset: Dataset, manifest: ModelManifest, settings: Settings) -> None:
        self._labels, self._settings = dataset.labels, settings
        self._map = match_labels(dataset, manifest.labels)
        assert isinstance(manifest.head, ClassificationHead)
        self._logarithmic = manifest.head.activation == "log_softmax"
        self._num_other = len(manifest.labels) - len(dataset.labels)

    def judge(self, sample: Sample, result: Result) -> Answer:
        """Keep the five best; fewer are filled up with none of the classes."""
        assert isinstance(result, Classification)
        ids = self._map(result.class_ids[:TOP_K]).tolist()
        scores = result.scores[:TOP_K].astype(np.float64)
        kept = (np.exp(scores) if self._logarithmic else scores).tolist()
        fill = TOP_K - len(ids)
        names = result.labels or tuple(f"class {class_id}" for class_id in result.class_ids)
        best = names[0] if names else "nothing"
        return Answer((*ids, *[len(self._labels)] * fill), (*kept, *[0.0] * fill), best)

    def measure(self, samples: tuple[Sample, ...], rows: tuple[Answer, ...]) -> Measured:
        """Join the answers of all images."""
        truth = np.array([_class_id(sample) for sample in samples])
        ranked, scores = np.array([row.class_ids for row in rows]), np.array([row.scores for row in rows])
        report = classification_report(truth, ranked, scores, len(self._labels))
        counts = report.confusion.sum(axis=1)
        per_class = zip(
            self._labels,
            counts.tolist(),
            report.precision.tolist(),
            report.recall.tolist(),
            report.f1.tolist(),
            strict=True,
        )
        figures = {"confusion": partial(curves.confusion, report.confusion, self._labels)}
        if report.reliability is not None:
            figures["calibration"] = partial(curves.calibration, report.reliability)
        notes = [
            "precision, recall and F1 are 0 where undefined, macro is the mean of classes that occur or were answered"
        ]
        if self._num_other > 0:
            notes.append(f"the model knows {self._num_other} more classes; an answer that is one of them is wrong")
        if report.reliability is None:
            notes.append("scores are no probabilities, so there is no calibration error")
        return Measured(
            metrics=report.headline(),
            notes=tuple(notes),
            tables=(Table("by class", ("class", "images", "precision", "recall", "f1"), tuple(per_class)),),
            figures=figures,
            worst=self._worst(samples, rows),
        )

    def _worst(self, samples: tuple[Sample, ...], rows: tuple[Answer, ...]) -> tuple[Worst, ...]:
        """Wrong answers, the surest first."""
        wrong = [
            (row.scores[0], sample, row)
            for sample, row in zip(samples, rows, strict=True)
            if row.class_ids[0] != _class_id(sample)
        ]
        wrong.sort(key=lambda one: -one[0])
        return tuple(
            Worst((sample,), f"is {self._labels[_class_id(sample)]}, answered {row.best} ({score:.1%})", (None,))
            for score, sample, row in wrong[: self._settings.num_worst]
        )


def _class_id(sample: Sample) -> int:
    assert isinstance(sample.target, ClassTarget)
    return sample.target.class_id
