"""Golden samples: recording a model's reference results, and replaying them step by step."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pipelines.agreement import compare_results
from pipelines.arrays_file import read_arrays
from pipelines.boxes import diou_matrix, iou_matrix
from pipelines.errors import GoldenMismatchError, ModelOutputError, ModelRunError, PackageError
from pipelines.image import ImageLimits
from pipelines.manifest import Golden, GoldenOptions, GoldenTolerance, ModelManifest, RawTolerance
from pipelines.near_ties import Cuts
from pipelines.options import PredictOptions
from pipelines.preprocess import fit_pixels, fixed_row_shape, normalize
from pipelines.result_record import from_arrays, to_arrays
from pipelines.session import CPU, Session, run_one, split_rows
from pipelines.specs import ClassificationHead, DetectionHead, DiouNms, MaskNms
from pipelines.types import AnyArray, Result

if TYPE_CHECKING:
    from pipelines.tasks import Pipeline

PIXELS, RAW, DECODED = "pixels", "raw outputs", "decoded result"
SAMPLE_SIZE = 4096
# Rows of the batch that is replayed: a few, and on a CPU as many as a server takes at once of quick ones.
_FEW_ROWS, MOST_ROWS, GROUP_S = 3, 8, 0.1


@dataclass(frozen=True)
class GoldenReport:
    """What a replay compared; that it exists means that everything agreed.

    Attributes:
        reference: ``torch``, ``upstream`` or ``onnxruntime``.
        provider: execution provider of the replay.
        pixel_levels: largest difference of a uint8 row value.
        pixel_fraction: largest part of the row values that differ.
        raw_ratio: largest difference of a raw output as a part of its tolerance.
        compared: decoded values compared.
        excluded: decoded values left out as near-ties.
        row_s: seconds of the fastest run of one row, the first one aside where there are several.
        identical_rows: of a batch in which each row's raw outputs were those of the row alone, to the bit; 0: they were
            not, or no batch ran.
    """

    reference: str
    provider: str
    pixel_levels: int
    pixel_fraction: float
    raw_ratio: float
    compared: int
    excluded: int
    row_s: float
    identical_rows: int

    @property
    def meaning(self) -> str:
        """What this replay proves, in one sentence."""
        if self.reference == "onnxruntime":
            return "recorded with onnxruntime itself: proves stability, not correctness"
        return f"recorded with {self.reference}: proves correctness on the samples"


def record_sample(
    pipeline: Pipeline, session: Session, data: bytes, options: Sequence[GoldenOptions]
) -> dict[str, AnyArray]:
    """Run an encoded image and keep what a replay needs: sampled row values, sampled raw outputs, decoded results."""
    spec = pipeline.manifest.image
    pixels, affine = fit_pixels(pipeline.decode(data, ImageLimits()), spec)
    outputs = run_one(session, normalize(pixels, spec))
    results = [pipeline.postprocess(outputs, affine, as_predict_options(option)) for option in options]
    return record_arrays(pixels, outputs, results)


def record_arrays(pixels: AnyArray, outputs: Mapping[str, AnyArray], results: Sequence[Result]) -> dict[str, AnyArray]:
    """Lay out a record from a uint8 row ``(h, w, c)``, raw outputs without batch axis, and one result an option."""
    index = sample_index(np.zeros(pixels.size, np.float32))
    record: dict[str, AnyArray] = {"row_index": index, "row_values": pixels.ravel()[index]}
    for name, value in outputs.items():
        index = sample_index(value.ravel())
        record[f"raw/{name}/index"] = index
        record[f"raw/{name}/values"] = value.ravel()[index].astype(np.float32)
    for i, result in enumerate(results):
        record |= {f"decoded/{i}/{field}": values for field, values in to_arrays(result).items()}
    return record


def as_predict_options(options: GoldenOptions) -> PredictOptions:
    """The request options that a recorded decode used."""
    return PredictOptions(score_threshold=options.score_threshold, iou_threshold=options.iou_threshold)


def replay(manifest: ModelManifest, folder: Path, pipeline: Pipeline, session: Session) -> GoldenReport:
    """Replay every golden sample on the session; raises GoldenMismatchError naming the step and the difference."""
    golden = manifest.golden
    tolerance = _raw_tolerance(golden, session.provider)
    levels, fraction, ratio, compared, excluded = 0, 0.0, 0.0, 0, 0
    rows: list[tuple[AnyArray, dict[str, AnyArray]]] = []
    seconds: list[float] = []
    for sample in golden.samples:
        where = f"golden sample {sample.image}"
        record = read_record(folder / sample.record)
        pixels, affine = fit_pixels(
            pipeline.decode((folder / sample.image).read_bytes(), ImageLimits()), manifest.image
        )
        found = _compare_pixels(pixels, record, golden.tolerance, where)
        levels, fraction = max(levels, found[0]), max(fraction, found[1])
        row = normalize(pixels, manifest.image)
        start = time.monotonic()
        outputs = _run(session, row, where)
        seconds.append(time.monotonic() - start)
        rows.append((row, outputs))
        for name in outputs:
            ratio = max(ratio, _compare_raw(name, outputs[name], record, tolerance, where))
        for i, option in enumerate(golden.options):
            expected = read_result(manifest.head.task, record, i, where)
            try:
                got = pipeline.postprocess(outputs, affine, as_predict_options(option))
            except ModelOutputError as error:
                raise GoldenMismatchError(f"{where}: {DECODED} failed: {error}", step=DECODED) from error
            agreement = compare_results(expected, got, golden.tolerance, cuts_of(manifest, option))
            if agreement.problem:
                raise GoldenMismatchError(
                    f"{where}: {DECODED} differs: {agreement.problem} (tolerance: {golden.tolerance.reason})",
                    step=DECODED,
                )
            compared, excluded = compared + agreement.compared, excluded + agreement.excluded
    if compared == 0 or excluded > compared:
        text = f"golden samples must hold more decoded results than near-ties, got {compared} and {excluded}"
        raise GoldenMismatchError(text, step=DECODED)
    on_cpu = session.provider == CPU
    # The first run allocates; elsewhere the first of each shape is slow, and each sample may have another one.
    if not on_cpu or (len(seconds) == 1 and seconds[0] < GROUP_S):
        start = time.monotonic()
        run_one(session, rows[-1][0])
        seconds.append(time.monotonic() - start)
    row_s = min(seconds[1:] or seconds)
    may_group = on_cpu and fixed_row_shape(manifest.image) is not None
    at_least = rows_within(GROUP_S, row_s, MOST_ROWS) if may_group else 1
    batch_ratio, identical_rows = _compare_batch(session, rows, tolerance, at_least=at_least)
    return GoldenReport(
        golden.reference,
        session.provider,
        levels,
        fraction,
        max(ratio, batch_ratio),
        compared,
        excluded,
        row_s,
        identical_rows,
    )


def rows_within(seconds: float, row_s: float, most: int) -> int:
    """Rows of ``row_s`` that take so long one by one: 1 to ``most``."""
    return most if row_s * most <= seconds else max(1, int(seconds / row_s))


def sample_index(values: AnyArray) -> AnyArray:
    """Flat indices to keep: all of a small array, else a fixed random part and the largest values."""
    if values.size <= SAMPLE_SIZE:
        return np.arange(values.size, dtype=np.int64)
    chosen = np.random.default_rng(0).choice(values.size, SAMPLE_SIZE * 3 // 4, replace=False)
    largest = np.argpartition(-np.abs(values.astype(np.float32)), SAMPLE_SIZE // 4)[: SAMPLE_SIZE // 4]
    return np.union1d(chosen, largest).astype(np.int64)


def _raw_tolerance(golden: Golden, provider: str) -> RawTolerance:
    if provider not in golden.tolerance.raw:
        raise PackageError(f"golden.tolerance.raw must name {provider}, it names {sorted(golden.tolerance.raw)}")
    return golden.tolerance.raw[provider]


def read_record(path: Path, *, needed: Sequence[str] = ("row_index", "row_values")) -> dict[str, AnyArray]:
    """Read the arrays of a golden record; raises PackageError where it is none, or one of ``needed`` is missing."""
    record = read_arrays(path, what="a golden record")
    if missing := [name for name in needed if name not in record]:
        raise PackageError(f"{path} is not a golden record: {missing[0]} is missing")
    return record


def read_result(task: str, record: Mapping[str, AnyArray], index: int, where: str) -> Result:
    """Read the recorded result of option ``index``; raises PackageError where it is not one of ``task``."""
    start = f"decoded/{index}/"
    try:
        return from_arrays(
            task, {name.removeprefix(start): values for name, values in record.items() if name.startswith(start)}
        )
    except ValueError as error:
        raise PackageError(f"{where}: recorded result {index} is not a {task} result: {error}") from error


def cuts_of(manifest: ModelManifest, options: GoldenOptions) -> Cuts:
    """The thresholds in force for a decode with ``options``: where a detection or label can appear or vanish."""
    head = manifest.head
    if not isinstance(head, ClassificationHead | DetectionHead):
        return Cuts()
    score, iou = options.score_threshold, options.iou_threshold
    score = head.score_threshold if score is None else score
    if isinstance(head, ClassificationHead):
        return Cuts(score_threshold=score)
    if iou is None:
        iou = getattr(head.nms, "iou_threshold", None)
    return Cuts(
        score_threshold=score,
        iou_threshold=iou,
        overlap=diou_matrix if isinstance(head.nms, DiouNms) else iou_matrix,
        by_mask=isinstance(head.nms, MaskNms),
        max_detections=head.max_detections,
    )


def _run(session: Session, row: AnyArray, where: str) -> dict[str, AnyArray]:
    try:
        return run_one(session, row)
    except ModelRunError as error:
        raise GoldenMismatchError(f"{where}: {RAW} failed: {error}", step=RAW) from error


def _compare_pixels(
    pixels: AnyArray, record: Mapping[str, AnyArray], tolerance: GoldenTolerance, where: str
) -> tuple[int, float]:
    index, expected = record["row_index"], record["row_values"]
    if pixels.size <= int(index.max(initial=0)):
        raise GoldenMismatchError(f"{where}: {PIXELS} differ: the row has shape {pixels.shape}", step=PIXELS)
    difference = np.abs(pixels.ravel()[index].astype(np.int16) - expected)
    levels, fraction = int(difference.max(initial=0)), float(np.count_nonzero(difference) / max(1, difference.size))
    if levels > tolerance.pixel_levels or fraction > tolerance.pixel_fraction:
        raise GoldenMismatchError(
            f"{where}: {PIXELS} differ by up to {levels} levels on {fraction:.1%} of the values, "
            f"at most {tolerance.pixel_levels} on {tolerance.pixel_fraction:.1%} is allowed",
            step=PIXELS,
        )
    return levels, fraction


def _compare_raw(
    name: str, got: AnyArray, record: Mapping[str, AnyArray], tolerance: RawTolerance, where: str
) -> float:
    index, expected = record.get(f"raw/{name}/index"), record.get(f"raw/{name}/values")
    if index is None or expected is None:
        raise PackageError(f"{where}: the record has no output {name!r}")
    if got.size <= int(index.max(initial=0)):
        raise GoldenMismatchError(f"{where}: {RAW} differ: {name} has shape {got.shape}", step=RAW)
    return _raw_ratio(name, got.ravel()[index], expected, tolerance, where)


def _raw_ratio(name: str, got: AnyArray, expected: AnyArray, tolerance: RawTolerance, where: str) -> float:
    """Largest difference as a part of the tolerance; raises GoldenMismatchError above 1 (and for NaN)."""
    a, b = got.astype(np.float64), expected.astype(np.float64)
    difference = np.abs(a - b)
    ratio = difference / (tolerance.atol + tolerance.rtol * np.abs(b))
    worst = float(ratio.max(initial=0))
    if not worst <= 1:  # also true for NaN
        raise GoldenMismatchError(
            f"{where}: {RAW} differ: {name} by up to {float(difference.max()):.3g}, "
            f"allowed is {tolerance.atol:.1e} + {tolerance.rtol:.1e} of the value",
            step=RAW,
        )
    return worst


def _compare_batch(
    session: Session, rows: Sequence[tuple[AnyArray, dict[str, AnyArray]]], tolerance: RawTolerance, *, at_least: int
) -> tuple[float, int]:
    """Prove that a row's answer does not depend on its batch mates; a graph of fixed batch 1 has nothing to prove.

    Returns:
        The largest difference as a part of its tolerance, and ``GoldenReport.identical_rows``.
    """
    if session.inputs[0].shape[0] == 1:
        return 0.0, 0
    alike = [one for one in rows if one[0].shape == rows[0][0].shape]
    size = max(at_least, min(1 + len(alike), _FEW_ROWS))
    mates = [alike[i % len(alike)] for i in range(size - 1)]
    mirrored = np.ascontiguousarray(rows[0][0][..., ::-1, :])
    where = f"golden samples as a batch of {size}"
    try:
        outputs = session.run({session.inputs[0].name: np.stack([mirrored, *(row for row, _ in mates)])})
        answers = split_rows(outputs, expected_rows=size)[1:]
    except ModelRunError as error:
        raise GoldenMismatchError(f"{where}: {RAW} failed: {error}", step=RAW) from error
    against = f"{where}, row 1 against itself alone"
    alone = mates[0][1]
    ratio = max(_raw_ratio(name, answers[0][name].ravel(), alone[name].ravel(), tolerance, against) for name in alone)
    identical = all(
        np.array_equal(answer[name], expected[name], equal_nan=True)
        for answer, (_, expected) in zip(answers, mates, strict=True)
        for name in expected
    )
    return ratio, size if identical else 0
