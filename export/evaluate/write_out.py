"""Writing an evaluation to a folder: metrics.json, curves, report.html."""

from __future__ import annotations

import json
from pathlib import Path

from export.evaluate.document import to_json
from export.evaluate.evaluate import Evaluation
from export.evaluate.pictures import picture
from export.evaluate.predictor import Predictor
from export.evaluate.report_html import report_html


def write_out(evaluation: Evaluation, folder: Path, *, predictor: Predictor | None) -> None:
    """Write ``metrics.json``, ``<curve>.png`` and ``report.html``; the worst images are answered once more to be drawn.

    Raises:
        MissingExtraError: matplotlib is not installed.
        OSError: the folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    measured = evaluation.measured
    text = json.dumps(to_json(evaluation), indent=2, ensure_ascii=False, allow_nan=False)
    (folder / "metrics.json").write_text(text + "\n", encoding="utf-8")
    figures = {name: draw() for name, draw in measured.figures.items()}
    for name, png in figures.items():
        (folder / f"{name}.png").write_bytes(png)
    pictures = [
        picture(worst, predictor, root=evaluation.dataset.root, score_threshold=measured.shown_threshold)
        for worst in measured.worst
    ]
    page = report_html(evaluation, figures=figures, pictures=pictures)
    (folder / "report.html").write_text(page, encoding="utf-8")
