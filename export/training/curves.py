"""Learning curves as one PNG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

_HIDDEN = ("epoch", "step", "seconds")
_WIDTH, _HEIGHT, _COLUMNS, _DPI = 4.2, 3.0, 3, 110


def draw_curves(path: Path, rows: Sequence[Mapping[str, float | int]]) -> None:
    """Draw every number of the rows over the epochs, one small plot each, losses and rate first."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    names = [name for name in dict.fromkeys(key for row in rows for key in row) if name not in _HIDDEN]
    lines = -(-len(names) // _COLUMNS)
    figure = Figure(figsize=(_WIDTH * _COLUMNS, _HEIGHT * lines), dpi=_DPI)
    FigureCanvasAgg(figure)
    for i, name in enumerate(names):
        points = [(row["epoch"], row[name]) for row in rows if name in row]
        axes = figure.add_subplot(lines, _COLUMNS, i + 1)
        axes.plot(*zip(*points, strict=True), marker="o" if len(points) < 30 else "", markersize=3)
        axes.set_title(name)
        axes.set_xlim(0.5, rows[-1]["epoch"] + 0.5)  # one scale for all, also for what one epoch alone measured.
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=8))
        axes.set_xlabel("epoch")
        axes.grid(alpha=0.3)
    figure.subplots_adjust(left=0.06, right=0.98, bottom=0.18 / lines, top=1 - 0.1 / lines, hspace=0.55, wspace=0.25)
    figure.savefig(path)
