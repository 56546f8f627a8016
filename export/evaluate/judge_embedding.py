"""Measuring an embedding by telling identities apart."""

from __future__ import annotations

from functools import partial

import numpy as np

from export.data.dataset import Dataset, DatasetError, IdentityTarget, Sample
from export.evaluate import curves
from export.evaluate.measured import Measured, Table, Worst
from export.evaluate.predictor import Settings
from export.metrics.verification import VerificationReport, verification_report
from pipelines.types import AnyArray, Embedding, FloatArray, Result


class EmbeddingJudge:
    """Compares every image with every other by cosine."""

    def __init__(self, dataset: Dataset, settings: Settings) -> None:
        self._labels, self._settings = dataset.labels, settings

    def judge(self, sample: Sample, result: Result) -> FloatArray:
        """Keep the vector."""
        assert isinstance(result, Embedding)
        return result.vector

    def measure(self, samples: tuple[Sample, ...], rows: tuple[FloatArray, ...]) -> Measured:
        """Compare all pairs; raises DatasetError where they are all of one kind."""
        identities = np.array([_identity(sample) for sample in samples])
        try:
            report = verification_report(np.stack(rows), identities, fars=self._settings.fars, seed=self._settings.seed)
        except ValueError as error:
            raise DatasetError(f"verification cannot be measured: {error}") from error
        genuine = int(report.pairs.genuine.sum())
        impostor = len(report.pairs.genuine) - genuine
        return Measured(
            metrics=report.headline(),
            intervals=_intervals(report),
            notes=(
                f"every pair of {len(samples)} images of {len(set(identities.tolist()))} identities, by cosine: "
                f"{genuine:,} genuine and {impostor:,} impostor pairs",
                "wilson is the interval of independent pairs, which these are not: people share pairs; bootstrap "
                "draws people anew",
                *(
                    f"FAR {point.far:g} needs {1 / point.far:,.0f} impostor pairs, there are {impostor:,}: "
                    "its row says no more than FAR 0"
                    for point in report.points
                    if not point.resolved
                ),
            ),
            tables=(_points(report),),
            figures={
                "roc": partial(curves.roc, report),
                "det": partial(curves.det, report),
                "scores": partial(curves.pair_scores, report),
            },
            worst=self._worst(samples, report),
        )

    def _worst(self, samples: tuple[Sample, ...], report: VerificationReport) -> tuple[Worst, ...]:
        """The least alike pairs of one identity, and the most alike of two, in turns."""
        pairs, half = report.pairs, (self._settings.num_worst + 1) // 2
        order = np.argsort(pairs.scores, kind="stable")
        lowest = [i for i in order.tolist() if pairs.genuine[i]][:half]
        highest = [i for i in order[::-1].tolist() if not pairs.genuine[i]][:half]
        return tuple(
            self._pair(samples, pairs.images[i], float(pairs.scores[i]))
            for two in zip(lowest, highest, strict=False)
            for i in two
        )

    def _pair(self, samples: tuple[Sample, ...], images: AnyArray, score: float) -> Worst:
        first, second = (samples[i] for i in images.tolist())
        names = self._labels[_identity(first)], self._labels[_identity(second)]
        who = f"both {names[0]}" if names[0] == names[1] else f"{names[0]} and {names[1]}"
        return Worst((first, second), f"{who}: cosine {score:.3f}", (None, None))


def _points(report: VerificationReport) -> Table:
    columns = ("far", "tar", "threshold", "wilson_low", "wilson_high", "bootstrap_low", "bootstrap_high")
    nothing = (float("nan"), float("nan"))
    return Table(
        "true accept rate at false accept rate",
        columns,
        tuple(
            (point.far, point.tar, point.threshold, *point.wilson, *(point.bootstrap or nothing))
            for point in report.points
        ),
    )


def _intervals(report: VerificationReport) -> dict[str, tuple[float, float]]:
    names = [name for name in report.headline() if name.startswith("tar_at_far")]
    resolved = [point for point in report.points if point.resolved]
    found = {name: point.bootstrap or point.wilson for name, point in zip(names, resolved, strict=True)}
    return found | ({"auc": report.auc_bootstrap} if report.auc_bootstrap else {})


def _identity(sample: Sample) -> int:
    assert isinstance(sample.target, IdentityTarget)
    return sample.target.identity
