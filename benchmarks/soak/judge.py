"""Whether client, log and metrics tell the same story, every error explains itself, and memory stays flat."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import median

from benchmarks.soak.evidence import Row, Scraped, counts_of, frames_of, requests_of
from benchmarks.soak.outcome import Outcome

MIB = 1024 * 1024
# Before, each model has not seen each shape, nor the allocator each size.
WARM_UP_PART, WARM_UP_S = 0.3, 30.0  # of the whole, but never less: caches fill and arenas grow for half a minute
# Memory may seem to grow by so much over what was measured: the pages of one load more or less at its ends.
MOST_GROWTH, LEAST_TOLERANCE_BYTES = 0.03, 16 * MIB
# What is written of a time has six digits behind the point.
ROUNDING_S = 0.5e-6
# Errors of the log that the soak itself causes.
OWN_FAULTS = frozenset({"model_load_failed"})
_SHOWN = 5


@dataclass(frozen=True)
class Check:
    """One thing that must hold.

    Attributes:
        name: what.
        figure: what was seen, in words.
        misses: what does not hold, some of it in words; empty where all does.
    """

    name: str
    figure: str
    misses: tuple[str, ...] = ()


def check_errors(outcomes: Sequence[Outcome], rows: Sequence[Row]) -> Check:
    """Each client got what its request explains, and the log holds no error that the soak did not cause."""
    strange = [f"{each.request_id}: {each.method} {each.code}: {each.words}" for each in outcomes if not each.explained]
    strange += [
        f"log: {row['event']}: {row.get('message', row.get('error', ''))}"
        for row in rows
        if (row["level"] in ("error", "critical") and row["event"] not in OWN_FAULTS) or "traceback" in row
    ]
    return Check("unexplained errors", f"{len(strange)} of {len(outcomes):,} requests", _some(strange))


def check_log_against_client(outcomes: Sequence[Outcome], rows: Sequence[Row]) -> Check:
    """Each request that a client waited for has one line that says the same; each that it left, one at most."""
    lines: dict[str, list[Row]] = defaultdict(list)
    for row in requests_of(rows):
        lines[row["request_id"]].append(row)
    misses = []
    for outcome in outcomes:
        found = lines.pop(outcome.request_id, [])
        if not found and outcome.left:
            continue
        if len(found) != 1 or found[0]["method"] != outcome.method:
            misses.append(f"{outcome.request_id}: {len(found)} lines of {outcome.method}")
        elif found[0]["code"] not in outcome.logged:
            misses.append(f"{outcome.request_id}: {outcome.code} to its client, {found[0]['code']} in the log")
        elif outcome.frames and Counter(outcome.frames) != frames_of(found[0]):
            misses.append(
                f"{outcome.request_id}: {dict(outcome.frames)} to its client, {frames_of(found[0])} in the log"
            )
    misses += [f"{request_id}: in the log alone" for request_id in lines]
    misses += [f"log: {row['message']}" for row in rows if row["event"] == "log_dropped"]
    return Check("client = log", f"{len(outcomes) - len(misses):,} requests, by their ids", _some(misses))


def check_metrics_against_log(rows: Sequence[Row], scraped: Scraped) -> Check:
    """Requests by method and code, and their seconds, are the same in both."""
    logged = counts_of(rows)
    misses = [
        f"{method} {code}: {logged[method, code]} in the log, {scraped.requests[method, code]} in the metrics"
        for method, code in sorted(logged.keys() | scraped.requests.keys())
        if logged[method, code] != scraped.requests[method, code]
    ]
    by_method: dict[str, list[float]] = defaultdict(list)
    for row in requests_of(rows):
        if row["event"] == "request":
            by_method[row["method"]].append(row["total_s"])
    for method, seconds in by_method.items():
        total_s, measured_s = sum(seconds), scraped.seconds.get(method, 0.0)
        if abs(total_s - measured_s) > ROUNDING_S * (len(seconds) + 1):
            misses.append(f"{method}: {total_s:.6f} s in the log, {measured_s:.6f} s in the metrics")
    dropped = sum(int(row.get("frames_dropped", 0)) for row in rows)
    if dropped != scraped.dropped:
        misses.append(f"dropped: {dropped} in the log, {scraped.dropped} in the metrics")
    return Check("log = metrics", f"{logged.total():,} answers by method and code", _some(misses))


def check_memory(seen: Sequence[tuple[float, float]]) -> Check:
    """Resident memory after the warm-up has no slope; the median of all slopes is moved by no single step."""
    end_s = seen[-1][0]
    warm = [each for each in seen if each[0] >= max(min(WARM_UP_S, end_s / 2), WARM_UP_PART * end_s)]
    slopes = [(b - a) / (t - s) for (s, a), (t, b) in combinations(warm, 2) if t > s]
    span_s = warm[-1][0] - warm[0][0]
    held = median(each for _, each in warm)
    growth = median(slopes) * span_s if slopes else float("inf")
    most = max(LEAST_TOLERANCE_BYTES, MOST_GROWTH * held)
    figure = f"{held / MIB:.0f} MiB, {growth / MIB:+.1f} MiB over {span_s:.0f} s"
    missed = f"may grow by {most / MIB:.1f} MiB, grew by {growth / MIB:.1f}"
    return Check("memory", figure, (missed,) if growth > most else ())


def check_reloads(outcomes: Sequence[Outcome]) -> Check:
    """Good loads and broken ones both happened."""
    loads = Counter(each.code for each in outcomes if each.method == "RepositoryModelLoad")
    missing = [f"no load was answered {code}" for code in ("OK", "UNAVAILABLE") if not loads[code]]
    return Check("reloads", ", ".join(f"{count} {code}" for code, count in sorted(loads.items())), tuple(missing))


def _some(misses: Sequence[str]) -> tuple[str, ...]:
    more = len(misses) - _SHOWN
    return (*misses[:_SHOWN], *([f"and {more:,} more"] if more > 0 else []))
