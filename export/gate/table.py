"""The gate's report as a table to read."""

from __future__ import annotations

import io
from collections.abc import Iterable

from rich.console import Console
from rich.table import Table

from export.gate.report import CaseResult, GateReport


def as_text(report: GateReport, *, width: int = 110) -> str:
    """The report as plain text, without colours."""
    console = Console(file=io.StringIO(), width=width, color_system=None)
    print_report(report, console)
    file = console.file
    assert isinstance(file, io.StringIO)
    return "\n".join(line.rstrip() for line in file.getvalue().splitlines()) + "\n"


def print_report(report: GateReport, console: Console) -> None:
    """Print one line a case, the worst of all runtimes in it, then what was allowed and the answer."""
    table = Table(title=f"{report.exporter}, {report.precision}, dynamic: {', '.join(report.dynamic) or 'nothing'}")
    for heading in ("case", "runs", "raw", "allowed", "decoded", "ties", "result"):
        table.add_column(heading, justify="left" if heading in ("case", "result") else "right", no_wrap=True)
    for label, results in _by_case(report.results):
        miss = any(one.problem for one in results)
        table.add_row(
            label,
            str(len(results)),
            f"{max(one.max_difference for one in results):.1e}",
            f"{max(one.raw_ratio for one in results):.1%}",
            f"{sum(one.compared for one in results):,}",
            str(sum(one.excluded for one in results)),
            "differs" if miss else "equal",
        )
    console.print(table)
    for line in lines(report):
        console.print(line, soft_wrap=True, markup=False, highlight=False)


def lines(report: GateReport) -> list[str]:
    """What stands below the table."""
    tolerance = report.tolerance
    raw = ", ".join(f"{one.atol:.0e} + {one.rtol:.0e} of the value ({name})" for name, one in tolerance.raw.items())
    found = ", ".join(f"{name.replace('_', ' ')} {value:g}" for name, value in report.coverage.items())
    return [
        "runs: optimisation levels x threads; raw: largest difference, and its part of what is allowed",
        f"allowed: raw {raw}",
        f"allowed: score {tolerance.score:g}, box IoU {tolerance.box_iou:g}, mask IoU {tolerance.mask_iou:g}, "
        f"cosine {tolerance.cosine:g}, point {tolerance.point_px:g} px",
        f"because: {tolerance.reason}",
        f"decoded results hold: {found or 'nothing'}",
        *(f"scaled, since the weights are random: {line}" for line in report.scaled),
        report.sentence,
    ]


def _by_case(results: Iterable[CaseResult]) -> list[tuple[str, list[CaseResult]]]:
    groups: dict[str, list[CaseResult]] = {}
    for result in results:
        groups.setdefault(result.case.label, []).append(result)
    return list(groups.items())
