"""Versions against the ranges that a distribution's metadata asks for; packaging is no dependency of serving."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from operator import eq, ge, gt, le, lt, ne

from serving.doctor.facts import Requirement

_REQUIREMENT = re.compile(r"([A-Za-z0-9._-]+)\s*(?:\[[^\]]*\])?\s*([^;]*)(?:;\s*(.*))?")
_EXTRA = re.compile(r"""extra\s*==\s*['"]([^'"]+)['"]""")
_BOUND = re.compile(r"(<=|>=|==|!=|<|>)\s*([0-9.]+)")
_HOLDS: Mapping[str, Callable[[tuple[int, ...], tuple[int, ...]], bool]] = {
    "<": lt,
    "<=": le,
    "==": eq,
    "!=": ne,
    ">": gt,
    ">=": ge,
}


def parse_requirements(lines: Iterable[str]) -> tuple[Requirement, ...]:
    """The requirements in ``Requires-Dist`` lines (PEP 508), of every install and of each extra."""
    found = []
    for line in lines:
        match = _REQUIREMENT.match(line)
        assert match is not None, line
        extra = _EXTRA.search(match[3] or "")
        specifier = match[2].strip().strip("()")
        found.append(Requirement(name=spelled(match[1]), specifier=specifier, extra=extra[1] if extra else ""))
    return tuple(found)


def spelled(name: str) -> str:
    """A distribution's name as registries compare it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def meets(version: str, specifier: str) -> bool:
    """Whether a release lies in a range such as ``<8,>=6.33.5``; a pre-release counts as its release."""
    have = _numbers(version)
    return all(_HOLDS[operator](*_equally_long(have, _numbers(bound))) for operator, bound in _BOUND.findall(specifier))


def _numbers(version: str) -> tuple[int, ...]:
    leading = re.match(r"[0-9]+(?:\.[0-9]+)*", version)
    return tuple(map(int, leading[0].split("."))) if leading else ()


def _equally_long(a: tuple[int, ...], b: tuple[int, ...]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """8 and 8.0 are one version."""
    length = max(len(a), len(b))
    return a + (0,) * (length - len(a)), b + (0,) * (length - len(b))
