"""``summary.html``: one page that needs nothing but itself and the contact sheet beside it."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence

from serving.batch.facts import BINS
from serving.batch.summary import Summary

MOST_CLASSES = 30
TIME = "decode to result"
_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #1d2733; margin: 2rem auto; max-width: 1100px; padding: 0 1rem; }
h1 { font-size: 1.5rem; margin-bottom: .2rem; } h2 { font-size: 1.1rem; margin: 2rem 0 .5rem; }
.state { display: inline-block; padding: .15rem .6rem; border-radius: 1rem; color: #fff; font-weight: 600; }
.good { background: #00795a; } .bad { background: #b3261e; }
.figures { display: flex; flex-wrap: wrap; gap: 1rem; margin: 1rem 0; }
.figure { border: 1px solid #d6dde5; border-radius: .5rem; padding: .5rem 1rem; }
.figure b { display: block; font-size: 1.4rem; } .figure span { color: #51606f; }
table { border-collapse: collapse; width: 100%; } td, th { text-align: left; padding: .25rem .6rem .25rem 0;
border-bottom: 1px solid #e7ecf1; vertical-align: top; overflow-wrap: anywhere; } td.n, th.n { text-align: right;
white-space: nowrap; } .bar { background: #0072b2; height: .8rem; border-radius: .2rem; min-width: 1px; }
td.w { width: 50%; } svg text { font: 12px system-ui, sans-serif; fill: #51606f; } img { max-width: 100%; }
code { overflow-wrap: anywhere; color: #51606f; }
"""


def to_html(summary: Summary) -> str:
    """The page."""
    state = ("good", "complete") if summary.complete else ("bad", "not complete")
    problem = f"<p>{_text(summary.problem)}</p>" if summary.problem else ""
    return "\n".join(
        [
            '<!doctype html><html lang="en"><head><meta charset="utf-8">',
            f"<title>{_text(summary.model)}: batch job</title><style>{_STYLE}</style></head><body>",
            f'<h1>{_text(summary.model)} <span class="state {state[0]}">{state[1]}</span></h1>',
            f"{problem}<code>shard {summary.shard}, package {summary.package_sha256}</code>",
            _figures(summary),
            *_classes(summary),
            *_histogram(summary.tally.classes.by_score()),
            *_failed(summary),
            *_slowest(summary),
            *(['<h2>Contact sheet</h2><img src="contact_sheet.png" alt="results"/>'] if summary.has_sheet else []),
            "</body></html>",
            "",
        ]
    )


def _figures(summary: Summary) -> str:
    tally = summary.tally
    figures = [
        (f"{tally.rows:,}", "images"),
        (f"{tally.ok:,}", "with a result"),
        (f"{tally.failed:,}", "failed"),
        (f"{summary.computed:,}", "computed by this run"),
        (f"{summary.seconds:,.1f} s", f"{summary.images_per_s:,.1f} images/s"),
    ]
    cells = "".join(f'<div class="figure"><b>{value}</b><span>{name}</span></div>' for value, name in figures)
    return f'<div class="figures">{cells}</div>'


def _classes(summary: Summary) -> list[str]:
    counts = summary.tally.classes.by_class()
    if not counts:
        return []
    most = max(counts.values())
    rows = (
        f'<tr><td>{_text(label)}</td><td class="n">{count:,}</td>'
        f'<td class="w"><div class="bar" style="width:{count / most:.1%}"></div></td></tr>'
        for label, count in list(counts.items())[:MOST_CLASSES]
    )
    rest = len(counts) - MOST_CLASSES
    more = [f"<p>and {rest:,} classes more, see summary.json</p>"] if rest > 0 else []
    return ["<h2>Counts by class</h2>", _table((), rows), *more]


def _histogram(scores: Sequence[int]) -> list[str]:
    most = max(scores)
    if not most:
        return []
    width, height, base = 70, 160, 184
    bars = []
    for i, count in enumerate(scores):
        tall, left = round(height * count / most), 10 + i * width
        bars.append(f'<rect x="{left}" y="{base - tall}" width="{width - 6}" height="{tall}" rx="2" fill="#0072b2"/>')
        middle = left + (width - 6) / 2
        bars.append(f'<text x="{middle}" y="{base - tall - 5}" text-anchor="middle">{count:,}</text>')
        bars.append(
            f'<text x="{middle}" y="{base + 16}" text-anchor="middle">{i / BINS:.1f}-{(i + 1) / BINS:.1f}</text>'
        )
    size = f'viewBox="0 0 {BINS * width + 20} {base + 24}" width="100%" role="img" aria-label="score histogram"'
    return ["<h2>Scores</h2>", f"<svg {size}>{''.join(bars)}</svg>"]


def _failed(summary: Summary) -> list[str]:
    tally = summary.tally
    if not tally.failed:
        return []
    rows = (
        f"<tr><td>{_text(one.source)}</td><td>{_text(one.reason)}</td><td>{_text(one.message)}</td></tr>"
        for one in tally.failures
    )
    shown = f", the first {len(tally.failures)}" if tally.failed > len(tally.failures) else ""
    return [
        f"<h2>Failed images ({tally.failed:,}{shown})</h2>",
        _table(("image", "reason", "message"), rows),
        "<p>All of them: errors.jsonl</p>" if summary.complete else "",
    ]


def _slowest(summary: Summary) -> list[str]:
    rows = (
        f'<tr><td>{_text(one.source)}</td><td class="n">{one.seconds * 1000:,.1f} ms</td></tr>'
        for one in summary.tally.slowest()
    )
    return ["<h2>Slowest images</h2>", _table(("image", TIME), rows)] if summary.tally.ok else []


def _table(head: Sequence[str], rows: Iterable[str]) -> str:
    names = "".join(f"<th{' class=n' if name == TIME else ''}>{name}</th>" for name in head)
    return f"<table>{f'<tr>{names}</tr>' if names else ''}{''.join(rows)}</table>"


def _text(value: str) -> str:
    return html.escape(value.encode("utf-8", "backslashreplace").decode().replace("\n", "\\n"))
