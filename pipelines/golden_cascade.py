"""Golden samples of a cascade: recording the nested results, and replaying them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.agreement import compare_cascades
from pipelines.errors import GoldenMismatchError, ModelOutputError, ModelRunError
from pipelines.golden import DECODED, GoldenReport, as_predict_options, cuts_of, read_record, read_result
from pipelines.image import ImageLimits
from pipelines.manifest import GoldenOptions
from pipelines.result_record import to_arrays
from pipelines.types import AnyArray, CascadeResult

if TYPE_CHECKING:
    from pipelines.near_ties import Cuts
    from pipelines.tasks.cascade import CascadePipeline, CascadeSessions


_AS_RECORDED = GoldenOptions(score_threshold=None, iou_threshold=None)


def record_cascade(
    pipeline: CascadePipeline, sessions: CascadeSessions, data: bytes, options: Sequence[GoldenOptions]
) -> dict[str, AnyArray]:
    """Answer an encoded image once with each of ``options`` and lay out the nested results."""
    record: dict[str, AnyArray] = {}
    for i, option in enumerate(options):
        result = _answer(pipeline, sessions, data, option)
        record |= {f"decoded/{i}/{field}": values for field, values in to_arrays(result).items()}
    return record


def replay_cascade(
    folder: Path, pipeline: CascadePipeline, sessions: CascadeSessions, members: Sequence[GoldenReport]
) -> GoldenReport:
    """Replay the nested results of every golden sample; raises GoldenMismatchError with what differs.

    Args:
        folder: of the cascade.
        pipeline: of the cascade.
        sessions: of its members.
        members: their own replays, which say how pixels and raw outputs compare.
    """
    golden = pipeline.manifest.golden
    compared = excluded = nested = 0
    for sample in golden.samples:
        where = f"golden sample {sample.image}"
        record = read_record(folder / sample.record, needed=())
        for i, option in enumerate(golden.options):
            expected = read_result("cascade", record, i, where)
            try:
                got = _answer(pipeline, sessions, (folder / sample.image).read_bytes(), option)
            except (ModelOutputError, ModelRunError) as error:
                raise GoldenMismatchError(f"{where}: {DECODED} failed: {error}", step=DECODED) from error
            assert isinstance(expected, CascadeResult), "read as one"
            agreement = compare_cascades(
                expected,
                got,
                pipeline.detector.manifest.golden.tolerance,
                _cuts(pipeline, option),
                objects=(golden.tolerance, cuts_of(pipeline.second.manifest, _AS_RECORDED)),
            )
            if agreement.problem:
                raise GoldenMismatchError(
                    f"{where}: {DECODED} differs: {agreement.problem} (tolerance: {golden.tolerance.reason})",
                    step=DECODED,
                )
            compared, excluded = compared + agreement.compared, excluded + agreement.excluded
            nested += len(got)
    if nested == 0 or excluded > compared:
        text = (
            f"golden samples must hold objects, and more results than near-ties, got {nested}, {compared}, {excluded}"
        )
        raise GoldenMismatchError(text, step=DECODED)
    return replace(
        members[0],
        reference=golden.reference,
        pixel_levels=max(member.pixel_levels for member in members),
        pixel_fraction=max(member.pixel_fraction for member in members),
        raw_ratio=max(member.raw_ratio for member in members),
        compared=compared,
        excluded=excluded,
    )


def _answer(pipeline: CascadePipeline, sessions: CascadeSessions, data: bytes, option: GoldenOptions) -> CascadeResult:
    from pipelines.tasks.predict import predict  # the tasks import the record's side of this package

    return predict(pipeline, sessions, [pipeline.decode(data, ImageLimits())], as_predict_options(option))[0]


def _cuts(pipeline: CascadePipeline, option: GoldenOptions) -> Cuts:
    """Where an object may appear or vanish: the detector's cuts, and those of the cascade."""
    head = pipeline.manifest.head
    detector = cuts_of(pipeline.detector.manifest, option)
    most = min(head.max_objects, detector.max_detections or head.max_objects)
    return replace(detector, max_detections=most, min_size_px=head.min_size_px or None)
