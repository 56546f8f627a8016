"""Curves as PNG: drawn by matplotlib without its global state, in colours that colour-blind people tell apart."""

from __future__ import annotations

import io
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from export.metrics.calibration import Reliability
from export.metrics.detection import RECALLS, DetectionReport
from export.metrics.verification import VerificationReport
from pipelines.draw import PALETTE
from pipelines.errors import MissingExtraError
from pipelines.types import AnyArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLORS = tuple("#{:02x}{:02x}{:02x}".format(*color) for color in PALETTE)
INK, GRID = "#1d2733", "#dde3ea"
SIZE_IN = (5.6, 4.4)
DPI = 130
MAX_CURVES = 7
MAX_NAMED_CELLS = 25
LEAST_RATE = 1e-4


def _figure(*, x: str, y: str, size_in: tuple[float, float] = SIZE_IN) -> tuple[Figure, Axes]:
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtraError("install 'ocella[export]' to draw curves (matplotlib)") from error
    figure = Figure(figsize=size_in, dpi=DPI, layout="constrained")
    axes = figure.add_subplot()
    axes.set_xlabel(x, color=INK)
    axes.set_ylabel(y, color=INK)
    axes.grid(color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(GRID)
    axes.tick_params(colors=INK, length=0)
    return figure, axes


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph")  # a letter that the font has not is drawn as a box.
        figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def precision_recall(report: DetectionReport, labels: Sequence[str]) -> bytes:
    """Precision over recall at IoU 0.50: the classes with most objects, and the mean of all."""
    figure, axes = _figure(x="recall", y="precision at IoU 0.50")
    known = [i for i in range(len(labels)) if np.isfinite(report.precision[i]).any()]
    chosen = sorted(known, key=lambda i: -report.num_boxes[i])[:MAX_CURVES]
    for color, i in zip(COLORS, chosen, strict=False):
        name = f"{_short(labels[i])}  AP50 {report.class_ap50[i]:.3f}"
        axes.step(RECALLS, report.precision[i], where="pre", color=color, linewidth=1.8, label=name)
    if len(known) > 1:
        mean = np.nanmean(report.precision[known], axis=0)
        axes.plot(RECALLS, mean, color=INK, linewidth=2.4, label=f"all {len(known)} classes  AP50 {report.ap50:.3f}")
    axes.set(xlim=(0, 1.005), ylim=(0, 1.02))
    if known:
        axes.legend(frameon=False, fontsize=8, loc="best")
    return _png(figure)


def confusion(counts: AnyArray, labels: Sequence[str]) -> bytes:
    """Rows of true classes as parts of 1; the last column, none of the classes, only where it is not empty."""
    shown = counts if counts[:, -1].any() else counts[:, :-1]
    names = [*labels, "none of them"][: shown.shape[1]]
    shares = shown / np.maximum(shown.sum(axis=1, keepdims=True), 1)
    side = min(11.0, max(4.4, 0.42 * len(names) + 2))
    figure, axes = _figure(x="answered", y="is", size_in=(side + 0.6, side))
    axes.grid(visible=False)
    image = axes.imshow(shares, vmin=0, vmax=1, cmap="Blues", aspect="equal")
    figure.colorbar(image, ax=axes, shrink=0.75).outline.set_visible(False)
    if len(names) <= MAX_NAMED_CELLS:
        axes.set_xticks(range(len(names)), [_short(name) for name in names], rotation=45, ha="right", fontsize=8)
        axes.set_yticks(range(len(labels)), [_short(name) for name in labels], fontsize=8)
        for (row, column), share in np.ndenumerate(shares):
            if shown[row, column]:
                text = f"{shown[row, column]:,}" if shown.max() < 10_000 else f"{share:.1%}"
                axes.text(
                    column, row, text, ha="center", va="center", fontsize=7, color="white" if share > 0.5 else INK
                )
    return _png(figure)


def calibration(bins: Reliability) -> bytes:
    """Accuracy by confidence with the number of samples behind each bar; a calibrated model is on the diagonal."""
    figure, axes = _figure(x="confidence of the best class", y="part that is right")
    filled = bins.counts > 0
    middles, width = (bins.edges[:-1] + bins.edges[1:]) / 2, bins.edges[1] - bins.edges[0]
    axes.bar(middles[filled], bins.accuracy[filled], width=width * 0.92, color=COLORS[2], label="accuracy")
    axes.plot([0, 1], [0, 1], color=INK, linewidth=1, linestyle="--", label="calibrated")
    axes.scatter(
        bins.confidence[filled], bins.accuracy[filled], color=COLORS[3], s=16, zorder=3, label="mean confidence"
    )
    for x, height, count in zip(middles[filled], bins.accuracy[filled], bins.counts[filled], strict=True):
        axes.text(x, height + 0.01, f"{count:,}", ha="center", fontsize=7, color=INK)
    axes.set(xlim=(0, 1), ylim=(0, 1.08))
    axes.set_title(f"expected calibration error {bins.expected_error:.4f}", fontsize=9, color=INK)
    axes.legend(frameon=False, fontsize=8, loc="upper left")
    return _png(figure)


def iou_histogram(scores: AnyArray) -> bytes:
    """How many images reach which IoU."""
    figure, axes = _figure(x="IoU of an image", y="images")
    axes.hist(scores, bins=np.linspace(0, 1, 21).tolist(), color=COLORS[0], rwidth=0.92)
    axes.axvline(float(np.mean(scores)), color=COLORS[3], linewidth=2, label=f"mean {np.mean(scores):.3f}")
    axes.set_xlim(0, 1)
    axes.legend(frameon=False, fontsize=8, loc="upper left")
    return _png(figure)


def roc(report: VerificationReport) -> bytes:
    """True accepts over false accepts, the latter by powers of ten, with the working points."""
    figure, axes = _figure(x="false accept rate", y="true accept rate")
    axes.step(np.maximum(report.roc.far, LEAST_RATE), report.roc.tar, where="post", color=COLORS[5], linewidth=2)
    for color, point in zip(COLORS, report.points, strict=False):
        name = f"TAR {point.tar:.3f} at FAR {point.far:g}" + ("" if point.resolved else " (too few pairs)")
        axes.scatter([max(point.far, LEAST_RATE)], [point.tar], color=color, zorder=3, label=name)
    axes.set(xscale="log", xlim=(LEAST_RATE, 1), ylim=(0, 1.02))
    axes.set_title(f"AUC {report.roc.auc:.4f}, EER {report.roc.eer:.4f}", fontsize=9, color=INK)
    axes.legend(frameon=False, fontsize=8, loc="lower right")
    return _png(figure)


def det(report: VerificationReport) -> bytes:
    """False rejects over false accepts, both by powers of ten; the equal error rate is where it meets the diagonal."""
    figure, axes = _figure(x="false accept rate", y="false reject rate")
    far, frr = np.maximum(report.roc.far, LEAST_RATE), np.maximum(1 - report.roc.tar, LEAST_RATE)
    axes.step(far, frr, where="post", color=COLORS[5], linewidth=2)
    axes.plot([LEAST_RATE, 1], [LEAST_RATE, 1], color=INK, linewidth=1, linestyle="--")
    equal = max(report.roc.eer, LEAST_RATE)
    axes.scatter([equal], [equal], color=COLORS[3], zorder=3, label=f"EER {report.roc.eer:.4f}")
    axes.set(xscale="log", yscale="log", xlim=(LEAST_RATE, 1), ylim=(LEAST_RATE, 1))
    axes.legend(frameon=False, fontsize=8, loc="lower left")
    return _png(figure)


def pair_scores(report: VerificationReport) -> bytes:
    """The cosines of pairs of one identity and of two, each as parts of their own number."""
    figure, axes = _figure(x="cosine", y="part of the pairs")
    edges = np.linspace(min(-0.0, float(report.pairs.scores.min())), 1, 41)
    for color, name, chosen in (
        (COLORS[0], "one identity", report.pairs.genuine),
        (COLORS[3], "two", ~report.pairs.genuine),
    ):
        scores = report.pairs.scores[chosen]
        weights = np.full(len(scores), 1 / len(scores))
        axes.hist(
            scores, bins=edges.tolist(), weights=weights, color=color, alpha=0.65, label=f"{name} ({len(scores):,})"
        )
    axes.legend(frameon=False, fontsize=8, loc="upper left")
    return _png(figure)


def _short(name: str) -> str:
    """At most 18 letters, and none of them a formula's: matplotlib would set what stands between two dollars."""
    return (name if len(name) <= 18 else name[:17] + "…").replace("$", r"\$")
