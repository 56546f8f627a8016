"""The serving engine against its goals: ``python -m benchmarks.serving [--quick] [--only PART]... [--out FILE]``.

Each figure is the median of several short rounds, each beside the floor of the same minute: the same work in one
process without a server. The load comes from one process on the same machine, whose own CPU time is reported. On a
machine that others use, no figure says anything. Models are made once and kept in the cache.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from benchmarks.engine.bare import bare_server, mean_of, measure_bare
from benchmarks.engine.goals import Figure, table, to_json
from benchmarks.engine.packages import EFFICIENTNET, MOBILENET, RESNET, TINY_HW, exported, photos, pulled, tiny
from benchmarks.engine.steady import (
    Pace,
    added_latency,
    cpu_figure,
    flatness,
    measure_package,
    rate_figure,
    tail,
    tensor_figures,
)
from benchmarks.engine.trouble import overload, reloads
from benchmarks.memory import growth
from serving.bench.machine import machine
from serving.bench.messages import tensor_messages
from serving.bench.report import document, rows_of, table_text
from serving.bench.rounds import Measured
from serving.bench.server_process import own_server
from serving.cpu import usable_cores

FULL, QUICK = Pace(load_s=2.0, rounds=7), Pace(load_s=2.0, rounds=3, requests=2000, shapes=100)
RESULTS = Path(__file__).parent / "results"


@dataclass
class Report:
    """What was measured so far; the only thing here that grows.

    Attributes:
        figures: beside their goals.
        tables: the loads of each model, as documents.
    """

    figures: list[Figure]
    tables: list[dict[str, Any]]

    def loads(self, model: str, measured: Measured) -> None:
        """Show and keep the loads of one model."""
        print(f"\n{model}\n{table_text(rows_of(measured.loads, measured.floor))}", flush=True)
        self.tables.append(document(model, measured.loads, measured.floor, {}))

    def add(self, *figures: Figure) -> None:
        """Show and keep figures."""
        self.figures += figures
        print(table(figures), flush=True)


def resnet(report: Report, pace: Pace) -> None:
    """The big model: CPU, rate, latency, tail, and the same cost at each load."""
    measured = measure_package(exported(RESNET), photos(), (1, 8, 32, 128), pace)
    report.loads(RESNET, measured)
    report.add(
        cpu_figure(RESNET, measured, goal=1.05),
        rate_figure(RESNET, measured, goal=0.98, cores=usable_cores()),
        added_latency(RESNET, measured),
        tail(RESNET, measured),
        *flatness(RESNET, measured),
    )


def small(report: Report, pace: Pace) -> None:
    """Two small models, where everything around the run counts."""
    efficient = measure_package(pulled(EFFICIENTNET), photos(), (1, 8, 32), pace)
    report.loads(EFFICIENTNET, efficient)
    report.add(cpu_figure(EFFICIENTNET, efficient, goal=1.10))
    mobile = measure_package(exported(MOBILENET), photos(), (1, 8, 32), pace)
    report.loads(MOBILENET, mobile)
    report.add(
        cpu_figure(MOBILENET, mobile, goal=1.25),
        rate_figure(MOBILENET, mobile, goal=0.80, cores=usable_cores()),
        added_latency(MOBILENET, mobile),
    )


def tensors(report: Report, pace: Pace) -> None:
    """Requests that are all transport."""
    with tempfile.TemporaryDirectory() as root, bare_server() as bare:
        messages = tensor_messages("tiny", "image", np.zeros((3, *TINY_HW), np.float32))
        before = measure_bare(bare, messages, duration_s=pace.load_s)
        measured = measure_package(tiny(Path(root)), photos(), (1, 8, 32), pace, tensor=True)
        after = measure_bare(bare, messages, duration_s=pace.load_s)
    cost = mean_of((before, after))
    report.loads("tiny tensors", measured)
    print(cost)
    report.tables.append({"model": "bare grpc.aio server", **vars(cost)})
    report.add(*tensor_figures(measured, cost.cpu_s))


def overloaded(report: Report, pace: Pace) -> None:
    """Twice as much as can be carried."""
    report.add(*overload(exported(RESNET), photos(), pace).figures())


def reloaded(report: Report, pace: Pace) -> None:
    """Models replaced under load."""
    with tempfile.TemporaryDirectory() as root:
        report.add(*reloads(exported(RESNET), photos(), Path(root), pace).figures())


def remembered(report: Report, pace: Pace) -> None:
    """Memory over requests of many shapes."""
    name = f"{pace.requests:,} requests over {pace.shapes} shapes: growth of resident memory after warm-up"
    report.add(Figure(name, growth(requests=pace.requests, shapes=pace.shapes), "<=", 0.05))


def started(report: Report, pace: Pace) -> None:
    """From nothing to a model that answers."""
    package, seconds = pulled(EFFICIENTNET), []
    for _ in range(pace.rounds):
        with own_server(package) as server:
            seconds.append(server.start_s)
    report.add(Figure("from process start to ready, 19 MB model", median(seconds), "<=", 1.5, "s"))


PARTS: Mapping[str, Callable[[Report, Pace], None]] = {
    "resnet": resnet,
    "small": small,
    "tensors": tensors,
    "overload": overloaded,
    "reload": reloaded,
    "memory": remembered,
    "start": started,
}


def main() -> None:
    """Read the command line, measure, and write the document."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="shorter rounds, fewer of them")
    parser.add_argument("--only", action="append", choices=PARTS, help="a part; may be repeated")
    parser.add_argument("--out", type=Path, help="JSON document; default, where all ran: results/serving.json")
    given = parser.parse_args()
    report, pace = Report([], []), QUICK if given.quick else FULL
    for name in given.only or PARTS:
        PARTS[name](report, pace)
    print(f"\n{table(report.figures)}")
    out = given.out or (None if given.only else RESULTS / "serving.json")
    if out is not None:
        whole = {
            "machine": machine(),
            "pace": vars(pace),
            "figures": to_json(report.figures),
            "loads": [{key: value for key, value in one.items() if key != "machine"} for one in report.tables],
        }
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(json.dumps(whole, indent=1) + "\n")


if __name__ == "__main__":
    main()
