"""ROC, DET and histograms of a calibration as SVG, and the page that shows them; needs nothing installed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from typing import Any

WIDTH, HEIGHT = 460, 340
LEFT, RIGHT, TOP, BOTTOM = 62, 14, 14, 46
INK, SOFT, LINE = "#1d2733", "#5b6b7d", "#dde3ea"
GENUINE, IMPOSTOR, CURVE, MARK = "#0072b2", "#d55e00", "#0072b2", "#d55e00"
LEAST = 1e-4  # left end of rates drawn by powers of ten
STYLE = (
    "body{margin:32px auto;max-width:1000px;padding:0 20px;color:#1d2733;font:15px/1.5 system-ui,sans-serif}"
    "h1{font-size:24px;margin:0 0 8px}figure{display:inline-block;margin:16px 12px 0 0}figcaption{color:#5b6b7d}"
    "table{border-collapse:collapse;margin-top:16px}th,td{padding:5px 14px 5px 0;border-bottom:1px solid #dde3ea;"
    "text-align:left;font-variant-numeric:tabular-nums}"
)
Points = Sequence[tuple[float, float]]


def roc_svg(evidence: dict[str, Any]) -> str:
    """True match rate over false match rate, the latter by powers of ten, with the threshold's point."""
    curve = [(_log(far), tar) for far, tar in _rates(evidence)]
    chosen = evidence["calibration"]
    mark = (_log(chosen["fmr"]["value"]), 1 - chosen["fnmr"]["value"])
    return _plot(
        _line(curve) + _dot(mark), x="false match rate", y="true match rate", x_ticks=_powers(), y_ticks=_fifths()
    )


def det_svg(evidence: dict[str, Any]) -> str:
    """False non-match rate over false match rate, both by powers of ten."""
    curve = [(_log(far), _log(1 - tar)) for far, tar in _rates(evidence)]
    chosen = evidence["calibration"]
    mark = (_log(chosen["fmr"]["value"]), _log(chosen["fnmr"]["value"]))
    return _plot(
        _line(curve) + _dot(mark), x="false match rate", y="false non-match rate", x_ticks=_powers(), y_ticks=_powers()
    )


def histogram_svg(evidence: dict[str, Any]) -> str:
    """The cosines of pairs of one person and of two, each as parts of their own number, with both thresholds."""
    edges, drawn = evidence["histogram"]["edges"], ""
    low, high = edges[0], edges[-1]
    shares = {
        name: [count / max(1, sum(evidence["histogram"][name])) for count in evidence["histogram"][name]]
        for name in ("impostor", "genuine")
    }
    top = max(max(values) for values in shares.values()) or 1.0
    for name, color in (("impostor", IMPOSTOR), ("genuine", GENUINE)):
        for i, share in enumerate(shares[name]):
            x0, y0 = _place(((edges[i] - low) / (high - low), share / top))
            x1, y1 = _place(((edges[i + 1] - low) / (high - low), 0.0))
            if share:
                drawn += (
                    f'<rect x="{x0:.1f}" y="{y0:.1f}" width="{x1 - x0:.1f}" height="{y1 - y0:.1f}" fill="{color}" '
                    'fill-opacity="0.6"/>'
                )
    for key in ("same", "different"):
        at = (evidence["calibration"]["thresholds"][key] - low) / (high - low)
        (x, y0), (_, y1) = _place((at, 0.0)), _place((at, 1.0))
        drawn += f'<path d="M{x:.1f} {y0:.1f}V{y1:.1f}" stroke="{INK}" stroke-dasharray="4 3"/>'
        drawn += f'<text x="{x + 4:.1f}" y="{y1 + 10:.1f}" font-size="10" fill="{INK}">{key}</text>'
    ticks = [(i / 4, f"{low + (high - low) * i / 4:.2f}") for i in range(5)]
    return _plot(drawn, x="cosine", y="part of the pairs", x_ticks=ticks, y_ticks=[(1.0, f"{top:.2f}")])


def page(evidence: dict[str, Any], *, title: str) -> str:
    """One HTML file with the figures and the numbers; it needs no other file and no network."""
    chosen = evidence["calibration"]
    rows = [
        ("threshold of same", chosen["thresholds"]["same"], (chosen["same_low"], chosen["same_high"])),
        ("threshold of different", chosen["thresholds"]["different"], None),
        *(
            (
                f"{name} ({chosen[key]['events']:,} of {chosen[key]['pairs']:,} pairs)",
                chosen[key]["value"],
                (chosen[key]["low"], chosen[key]["high"]),
            )
            for name, key in (
                ("false match rate", "fmr"),
                ("false non-match rate", "fnmr"),
                ("genuine pairs called different", "missed"),
            )
        ),
        ("equal error rate", chosen["eer"], None),
        ("area under the ROC curve", chosen["auc"], None),
    ]
    table = "".join(
        f"<tr><td>{escape(name)}</td><td>{value:.6g}</td><td>"
        f"{'' if interval is None else f'{interval[0]:.6g} to {interval[1]:.6g}'}</td></tr>"
        for name, value, interval in rows
    )
    figures = "".join(
        f"<figure>{svg}<figcaption>{name}</figcaption></figure>"
        for name, svg in (
            ("ROC", roc_svg(evidence)),
            ("DET", det_svg(evidence)),
            ("scores: blue one person, orange two", histogram_svg(evidence)),
        )
    )
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f"<style>{STYLE}</style></head><body><h1>{escape(title)}</h1><p>{chosen['images']:,} images of "
        f"{chosen['people']:,} people; the target false match rate is {chosen['target_fmr']:g}. Intervals are 95 %.</p>"
        f"<table><tr><th></th><th>measured</th><th>interval</th></tr>{table}</table>{figures}</body></html>\n"
    )


def _rates(evidence: dict[str, Any]) -> list[tuple[float, float]]:
    return list(zip(evidence["roc"]["far"], evidence["roc"]["tar"], strict=True))


def _log(rate: float) -> float:
    """A rate between ``LEAST`` and 1 as a place between 0 and 1."""
    return 1 - math.log10(max(rate, LEAST)) / math.log10(LEAST)


def _powers() -> list[tuple[float, str]]:
    return [(_log(10.0**-power), f"{10.0**-power:g}") for power in range(4, -1, -1)]


def _fifths() -> list[tuple[float, str]]:
    return [(i / 5, f"{i / 5:.1f}") for i in range(6)]


def _place(point: tuple[float, float]) -> tuple[float, float]:
    x, y = (min(1.0, max(0.0, value)) for value in point)
    return LEFT + x * (WIDTH - LEFT - RIGHT), HEIGHT - BOTTOM - y * (HEIGHT - TOP - BOTTOM)


def _line(points: Points) -> str:
    """Steps: a rate holds until the next threshold."""
    places = [_place(point) for point in points]
    path = f"M{places[0][0]:.1f} {places[0][1]:.1f}" + "".join(f"H{x:.1f}V{y:.1f}" for x, y in places[1:])
    return f'<path d="{path}" fill="none" stroke="{CURVE}" stroke-width="2"/>'


def _dot(point: tuple[float, float]) -> str:
    x, y = _place(point)
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4.5" fill="{MARK}"/>'


def _plot(
    drawn: str, *, x: str, y: str, x_ticks: Sequence[tuple[float, str]], y_ticks: Sequence[tuple[float, str]]
) -> str:
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" font-family="system-ui">']
    for at, text in x_ticks:
        (px, bottom), (_, top) = _place((at, 0.0)), _place((at, 1.0))
        parts.append(f'<path d="M{px:.1f} {bottom:.1f}V{top:.1f}" stroke="{LINE}"/>')
        parts.append(_text(px, bottom + 16, text, SOFT))
    for at, text in y_ticks:
        (left, py), (right, _) = _place((0.0, at)), _place((1.0, at))
        parts.append(f'<path d="M{left:.1f} {py:.1f}H{right:.1f}" stroke="{LINE}"/>')
        parts.append(_text(left - 26, py + 4, text, SOFT))
    parts.append(_text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 8, x, INK))
    middle = (TOP + HEIGHT - BOTTOM) / 2
    parts.append(f'<g transform="rotate(-90 12 {middle})">{_text(12, middle + 4, y, INK)}</g>')
    return "".join((*parts, drawn, "</svg>"))


def _text(x: float, y: float, text: str, color: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" font-size="11" fill="{color}" text-anchor="middle">{escape(text)}</text>'
