"""Choosing by ``Accept`` and ``Accept-Encoding`` (RFC 9110, section 12): quality first, then our own order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

ANY = "*"
# Weights have at most three decimals; a header of more choices than these is no browser's and no library's.
_MAX_CHOICES = 64


def choose_media_type(accept: str, offered: Sequence[str]) -> str | None:
    """The best of ``offered`` (the first where the client likes several equally); ``None`` where it accepts none.

    An empty header accepts everything. The most specific range of a type decides its weight.
    """
    if not accept.strip():
        return offered[0]
    weights = _weights(accept)
    return _best(offered, [_weight_of_type(each, weights) for each in offered])


def choose_coding(accept_encoding: str, offered: Sequence[str]) -> str | None:
    """The best of ``offered`` content codings; ``None``, the body as it is, where that is liked more or none is."""
    weights = _weights(accept_encoding)
    rest = weights.get(ANY, 0.0)
    chosen = _best(offered, [weights.get(each, rest) for each in offered])
    if chosen and weights.get("identity", 0.0) > weights.get(chosen, rest):
        return None
    return chosen


def _best(offered: Sequence[str], weights: Sequence[float]) -> str | None:
    best = max(range(len(offered)), key=lambda i: (weights[i], -i))
    return offered[best] if weights[best] > 0 else None


def _weight_of_type(media_type: str, weights: Mapping[str, float]) -> float:
    kind = media_type.partition("/")[0]
    for wanted in (media_type, f"{kind}/*", "*/*"):
        if wanted in weights:
            return weights[wanted]
    return 0.0


def _weights(header: str) -> dict[str, float]:
    """Each choice's weight from 0 to 1; a weight that is none counts as 0, other parameters are left out."""
    weights: dict[str, float] = {}
    for choice in header.lower().split(",", _MAX_CHOICES)[:_MAX_CHOICES]:
        name, *parameters = (part.strip() for part in choice.split(";"))
        if name:
            weights[name] = _weight(parameters)
    return weights


def _weight(parameters: Sequence[str]) -> float:
    for parameter in parameters:
        key, _, value = parameter.partition("=")
        if key.strip() == "q":
            try:
                weight = float(value)
            except ValueError:
                return 0.0
            return weight if 0 <= weight <= 1 else 0.0  # NaN too is none
    return 1.0
