"""One HTML file that shows an evaluation: it needs no other file and no network."""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping, Sequence
from html import escape

from export.data.summary import summary
from export.evaluate.document import cell_text
from export.evaluate.evaluate import Evaluation
from export.evaluate.measured import Table
from export.evaluate.pictures import Picture

STYLE = """
:root { --ink: #1d2733; --soft: #5b6b7d; --line: #dde3ea; --paper: #ffffff; --ground: #f4f6f9; --accent: #0072b2;
  --bad: #b3401a; }
* { box-sizing: border-box; }
body { margin: 0; background: var(--ground); color: var(--ink); line-height: 1.5;
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", sans-serif; }
main { max-width: 1120px; margin: 0 auto; padding: 32px 24px 64px; }
h1 { font-size: 26px; margin: 0 0 2px; } h2 { font-size: 18px; margin: 36px 0 12px; }
p.sub { color: var(--soft); margin: 0; overflow-wrap: anywhere; }
.tiles { display: grid; grid-template-columns: repeat(auto-fill, minmax(168px, 1fr)); gap: 12px; margin-top: 24px; }
.tile, .card { background: var(--paper); border: 1px solid var(--line); border-radius: 10px; }
.tile { padding: 12px 16px; } .tile b { display: block; font-size: 25px; font-variant-numeric: tabular-nums; }
.tile span { color: var(--soft); font-size: 13px; } .tile small { display: block; color: var(--soft); }
.card { padding: 16px; overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { padding: 6px 12px; border-bottom: 1px solid var(--line); text-align: right; white-space: nowrap; }
th { color: var(--soft); font-weight: 600; font-size: 13px; } tr:last-child td { border-bottom: 0; }
th.text, td.text { text-align: left; } td.drop { color: var(--bad); font-weight: 700; }
.figures { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(440px, 100%), 528px)); gap: 16px; }
.figures img { width: 100%; height: auto; max-height: 620px; object-fit: contain; display: block; }
.worst { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(460px, 100%), 1fr)); gap: 16px; }
.worst .images { display: flex; gap: 8px; } .worst figure { margin: 0; flex: 1; min-width: 0; }
.worst img { width: 100%; height: auto; max-height: 360px; object-fit: contain; border-radius: 6px;
  background: var(--ground); display: block; image-rendering: auto; }
.worst figcaption, .worst .file { color: var(--soft); font-size: 12px; overflow-wrap: anywhere; }
.worst strong { display: block; margin-top: 8px; }
ul { margin: 0; padding-left: 20px; color: var(--soft); } details { margin-top: 12px; } li { overflow-wrap: anywhere; }
"""


def report_html(evaluation: Evaluation, *, figures: Mapping[str, bytes], pictures: Sequence[Picture]) -> str:
    """Join everything into one page; names of files and classes are escaped."""
    measured, dataset = evaluation.measured, evaluation.dataset
    lines = summary(dataset)
    parts = [
        f"<h1>{escape(evaluation.model)}</h1>",
        f'<p class="sub">{escape(dataset.task)} on {escape(lines[0])}</p>',
        _tiles(measured.metrics, measured.intervals),
    ]
    if evaluation.promised:
        parts += ["<h2>Measured now and promised by the package</h2>", _table(evaluation.promised)]
    if figures:
        shown = "".join(
            f'<div class="card"><img alt="{escape(name)}" src="data:image/png;base64,'
            f'{base64.b64encode(png).decode()}"></div>'
            for name, png in figures.items()
        )
        parts += ["<h2>Curves</h2>", f'<div class="figures">{shown}</div>']
    for table in measured.tables:
        parts += [f"<h2>{escape(table.title[:1].upper() + table.title[1:])}</h2>", _table(table)]
    if pictures:
        parts += ["<h2>The worst</h2>", f'<div class="worst">{"".join(map(_picture, pictures))}</div>']
    parts += ["<h2>How it was measured</h2>", _list(measured.notes), _problems(evaluation)]
    body = "\n".join(parts)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(evaluation.model)}: evaluation</title><style>{STYLE}</style></head>\n"
        f"<body><main>\n{body}\n</main></body></html>\n"
    )


def _tiles(metrics: Mapping[str, float], intervals: Mapping[str, tuple[float, float]]) -> str:
    tiles = []
    for name, value in metrics.items():
        bounds = intervals.get(name)
        more = f"<small>95 %: {bounds[0]:.3f} to {bounds[1]:.3f}</small>" if bounds else ""
        shown = f"{value:.4f}" if math.isfinite(value) else "-"
        tiles.append(f'<div class="tile"><span>{escape(name)}</span><b>{shown}</b>{more}</div>')
    return f'<div class="tiles">{"".join(tiles)}</div>'


def _table(table: Table) -> str:
    texts = [isinstance(cell, str) for cell in table.rows[0]] if table.rows else [True] * len(table.columns)
    head = "".join(
        f"<th{_class('text' if text else '')}>{escape(name)}</th>"
        for name, text in zip(table.columns, texts, strict=True)
    )
    rows = "".join(
        "<tr>"
        + "".join(
            f"<td{_class(' '.join(['text'] * text + ['drop'] * (cell == 'drop')))}>{escape(cell_text(cell))}</td>"
            for cell, text in zip(row, texts, strict=True)
        )
        + "</tr>"
        for row in table.rows
    )
    return f'<div class="card"><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>'


def _class(names: str) -> str:
    return f' class="{names}"' if names else ""


def _picture(picture: Picture) -> str:
    images = "".join(
        f'<figure><img alt="{escape(shown or picture.caption)}" src="{address}"><figcaption>{escape(shown)}'
        "</figcaption></figure>"
        for shown, address in picture.images
    )
    names = "<br>".join(map(escape, picture.names))
    return (
        f'<div class="card"><div class="images">{images}</div><strong>{escape(picture.caption)}</strong>'
        f'<div class="file">{names}</div></div>'
    )


def _list(lines: Sequence[str]) -> str:
    return f"<ul>{''.join(f'<li>{escape(line)}</li>' for line in lines)}</ul>"


def _problems(evaluation: Evaluation) -> str:
    problems = evaluation.dataset.problems
    if not problems:
        return ""
    title = f"{len(problems)} left out or changed while reading"
    return f"<details><summary>{title}</summary>{_list([str(problem) for problem in problems])}</details>"
