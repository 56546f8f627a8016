"""The onnxruntime side of the export gate, repeated from what a package stores: no torch, on any machine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipelines.agreement import compare_results
from pipelines.arrays_file import read_arrays
from pipelines.errors import GoldenMismatchError, ModelOutputError, ModelRunError, PackageError
from pipelines.golden import DECODED, RAW, as_predict_options, cuts_of, sample_index
from pipelines.grid import RUNTIMES, Case, CaseInput, Runtime, case_from_json, case_input
from pipelines.image import ImageLimits
from pipelines.manifest import GRAPH_FILE, GoldenOptions, ModelManifest, RawTolerance
from pipelines.raw_agreement import compare_raw
from pipelines.result_record import from_arrays, to_arrays
from pipelines.session import CPU, OnnxSession, split_rows
from pipelines.tasks import build_pipeline
from pipelines.types import AnyArray, Result

GATE_RECORD = "gate/expected.npz"
GATE_TEXT = "gate/report.txt"
PARITY_KEY = "gate"
_DEFAULTS = GoldenOptions(score_threshold=None, iou_threshold=None)


@dataclass(frozen=True)
class GridReport:
    """What a repeated gate compared; that it exists means that everything agreed.

    Attributes:
        cases: batches and row sizes.
        runtimes: ways of running the graph.
        raw_ratio: largest difference of a raw output as a part of its tolerance.
        compared: decoded results compared.
        excluded: decoded results left out as near-ties.
    """

    cases: int
    runtimes: int
    raw_ratio: float
    compared: int
    excluded: int


def record_case(index: int, outputs: Mapping[str, AnyArray], result: Result | None) -> dict[str, AnyArray]:
    """What is kept of a case: a fixed sample of each output ``(B, ...)``, its shape, and one decoded result."""
    record: dict[str, AnyArray] = {}
    for name, value in outputs.items():
        kept = sample_index(value.ravel())
        record[f"case/{index}/raw/{name}/shape"] = np.array(value.shape, np.int64)
        record[f"case/{index}/raw/{name}/index"] = kept
        record[f"case/{index}/raw/{name}/values"] = value.ravel()[kept].astype(np.float32)
    if result is not None:
        record |= {f"case/{index}/decoded/{field}": values for field, values in to_arrays(result).items()}
    return record


def has_grid(manifest: ModelManifest) -> bool:
    """Whether a package stores what its gate expected, and was not recorded anew since."""
    parity = manifest.provenance.parity or {}
    return manifest.golden.reference == "torch" and PARITY_KEY in parity and GATE_RECORD in manifest.files


def replay_grid(
    manifest: ModelManifest, folder: Path, *, provider: str = CPU, runtimes: Sequence[Runtime] = RUNTIMES
) -> GridReport:
    """Repeat every case of the gate on every runtime; raises GoldenMismatchError naming case, step and difference.

    Compared is what :func:`record_case` kept: a sample of the raw values, and decoded results of batches of 1. The
    gate's limit on near-ties is not applied, as these are a few of what it counted. Raises PackageError where the
    stored expectation cannot be read.
    """
    cases = _cases(manifest)
    record = read_arrays(folder / GATE_RECORD, what="a record of the gate")
    front = build_pipeline(manifest)
    images = [front.decode((folder / sample.image).read_bytes(), ImageLimits()) for sample in manifest.golden.samples]
    if provider not in manifest.golden.tolerance.raw:
        raise PackageError(f"golden.tolerance.raw must name {provider}")
    tolerance = manifest.golden.tolerance.raw[provider]
    given = [case_input(manifest, images, case) for case in cases]
    ratio, compared, excluded = 0.0, 0, 0
    for runtime in runtimes:
        with OnnxSession(folder / GRAPH_FILE, runtime.options(provider), outputs=manifest.head.output_names) as session:
            for i, (case, rows) in enumerate(zip(cases, given, strict=True)):
                where = f"gate, {case.label}; {runtime.label}"
                try:
                    outputs = session.run({session.inputs[0].name: rows.batch})
                except ModelRunError as error:
                    raise GoldenMismatchError(f"{where}: {RAW} failed: {error}", step=RAW) from error
                ratio = max(ratio, _compare_raw(record, i, outputs, tolerance, where))
                found = _compare_decoded(record, i, manifest, rows, outputs, where)
                compared, excluded = compared + found[0], excluded + found[1]
    if compared == 0:
        raise GoldenMismatchError("the gate must compare decoded results, it has none", step=DECODED)
    return GridReport(len(cases), len(runtimes), ratio, compared, excluded)


def _cases(manifest: ModelManifest) -> list[Case]:
    parity: Mapping[str, Any] = manifest.provenance.parity or {}
    try:
        cases = [case_from_json(raw) for raw in parity[PARITY_KEY]["grid"]]
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise PackageError(f"provenance.parity.{PARITY_KEY}.grid is not a list of cases: {error!r}") from error
    if any(not 0 <= case.sample < len(manifest.golden.samples) for case in cases):
        raise PackageError(f"provenance.parity.{PARITY_KEY}.grid names a sample that the package does not have")
    return cases


def _compare_raw(
    record: Mapping[str, AnyArray], index: int, outputs: Mapping[str, AnyArray], tolerance: RawTolerance, where: str
) -> float:
    expected, got = {}, {}
    for name, value in outputs.items():
        start = f"case/{index}/raw/{name}"
        if f"{start}/values" not in record:
            continue  # an output that only the package's graph has; its decoded result is compared
        if tuple(record[f"{start}/shape"].tolist()) != value.shape:
            text = f"{name} has shape {value.shape}, the record {tuple(record[f'{start}/shape'].tolist())}"
            raise GoldenMismatchError(f"{where}: {RAW} differ: {text}", step=RAW)
        expected[name] = record[f"{start}/values"][None]
        got[name] = value.ravel()[record[f"{start}/index"]][None]
    found = compare_raw(expected, got, tolerance)
    if found.problem:
        raise GoldenMismatchError(f"{where}: {RAW} differ: {found.problem}", step=RAW)
    return found.ratio


def _compare_decoded(
    record: Mapping[str, AnyArray],
    index: int,
    manifest: ModelManifest,
    rows: CaseInput,
    outputs: Mapping[str, AnyArray],
    where: str,
) -> tuple[int, int]:
    start = f"case/{index}/decoded/"
    arrays = {name.removeprefix(start): values for name, values in record.items() if name.startswith(start)}
    if not arrays:
        return 0, 0
    try:
        expected = from_arrays(manifest.head.task, arrays)
    except ValueError as error:
        raise PackageError(f"{where}: the recorded result is not a {manifest.head.task} result: {error}") from error
    try:
        first = split_rows(outputs, expected_rows=len(rows.batch))[0]
        got = rows.pipeline.postprocess(first, rows.affines[0], as_predict_options(_DEFAULTS))
    except (ModelOutputError, ModelRunError) as error:
        raise GoldenMismatchError(f"{where}: {DECODED} failed: {error}", step=DECODED) from error
    agreement = compare_results(expected, got, manifest.golden.tolerance, cuts_of(manifest, _DEFAULTS))
    if agreement.problem:
        raise GoldenMismatchError(f"{where}: {DECODED} differs: {agreement.problem}", step=DECODED)
    return agreement.compared, agreement.excluded
