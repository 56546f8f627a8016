"""``deploy.toml`` with the evidence of a search: composed, compared, written."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipelines.errors import OcellaError
from serving.deploy import DEPLOY_FILE, Batching, Deploy, Runtime
from serving.tune.search import Choice, Found, Trial


class TuneError(OcellaError):
    """A search found nothing, or its result may not be written; the text says why."""


def with_choice(deploy: Deploy, choice: Choice) -> Deploy:
    """The operator's other choices stay."""
    batching: dict[str, Any] = {"max_size": choice.max_size, "max_delay_ms": choice.max_delay_ms}
    runtime: dict[str, Any] = {"instances": choice.instances, "intra_op_threads": choice.intra_op_threads}
    return deploy.model_copy(
        update={
            "batching": Batching.model_validate(deploy.batching.model_dump() | batching),
            "runtime": Runtime.model_validate(deploy.runtime.model_dump() | runtime),
        }
    )


def compose(deploy: Deploy, found: Found, *, goal_s: float, machine: Mapping[str, Any]) -> str:
    """The file's text: the measurements as comments, then every key that is not the default or was searched for.

    Raises TuneError where nothing was found.
    """
    if found.best is None or found.best.best is None:
        raise TuneError(_nothing(found, goal_s))
    point = found.best.best
    lines = [
        f"# ocella tune: most results a second with 99 % within {goal_s * 1000:g} ms.",
        f"# Best: {point.rate:.1f} results/s, p99 {point.p99_s * 1000:.1f} ms at {point.concurrency} concurrent.",
        f"# On {machine['cores']} cores, {machine['processor']}.",
        "# " + ", ".join(f"{name} {value}" for name, value in machine.items() if name not in ("cores", "processor")),
        "#",
        "# runs x threads  max_size  delay ms  concurrent  results/s   p99 ms",
        *(line for trial in found.trials for line in _rows(trial, is_best=trial is found.best)),
    ]
    lines += [f"# not tried, the time was over: {_named(choice)}" for choice in found.untried]
    return "\n".join([*lines, "", *toml_of(with_choice(deploy, found.best.choice))]).rstrip() + "\n"


def difference(path: Path, text: str) -> str:
    """What would change, as a unified diff without its comments' lines; empty where nothing would."""
    before = path.read_text(encoding="utf-8") if path.exists() else ""
    return "\n".join(difflib.unified_diff(before.splitlines(), text.splitlines(), str(path), "tuned", lineterm="", n=1))


def write(path: Path, text: str, *, force: bool) -> None:
    """Write the file in one step; raises TuneError where it is there and ``force`` is false."""
    if path.exists() and not force:
        raise TuneError(f"{path} is there and was left as it is: --force replaces it")
    part = path.with_name(f".{path.name}.part")
    part.write_text(text, encoding="utf-8")
    part.replace(path)


def place_of(package: Path, *, name: str, version: int) -> Path | None:
    """Where the package's ``deploy.toml`` belongs; ``None`` where it does not lie in a repository."""
    folder = package.resolve()
    in_repository = (folder.parent.name, folder.name) == (name, str(version))
    return folder.parent / DEPLOY_FILE if in_repository else None


def _rows(trial: Trial, *, is_best: bool) -> list[str]:
    choice = trial.choice
    return [
        f"# {choice.instances:>4} x {choice.intra_op_threads:<7}  {choice.max_size:>8}  {choice.max_delay_ms:>8g}  "
        f"{point.concurrency:>10}  {point.rate:>9.1f}  {point.p99_s * 1000:>7.1f}"
        + (f"  {point.failed} without a result" if point.failed else "")
        + ("  <- chosen" if is_best and point is trial.best else "")
        for point in trial.points
    ]


def _named(choice: Choice) -> str:
    return (
        f"{choice.instances} x {choice.intra_op_threads}, max_size {choice.max_size}, "
        f"max_delay_ms {choice.max_delay_ms:g}"
    )


def _nothing(found: Found, goal_s: float) -> str:
    fastest = min((point.p99_s for trial in found.trials for point in trial.points), default=float("nan"))
    return (
        f"no choice answers 99 % within {goal_s * 1000:g} ms, the quickest took {fastest * 1000:.1f} ms: "
        "give more with --latency-ms"
    )


def toml_of(deploy: Deploy) -> list[str]:
    """Keys in TOML: those that differ from the defaults, and those that were searched for."""
    searched = {"batching": {"max_size", "max_delay_ms"}, "runtime": {"instances", "intra_op_threads"}}
    values = json.loads(deploy.model_dump_json(exclude_none=True))
    defaults = json.loads(Deploy().model_dump_json())
    lines = [f"versions = {json.dumps(values['versions'])}"] if values["versions"] != defaults["versions"] else []
    for table, keys in values.items():
        if isinstance(keys, dict):
            lines += _table(table, keys, defaults[table], searched.get(table, set()))
    return lines


def _table(name: str, keys: dict[str, Any], defaults: dict[str, Any], always: set[str]) -> list[str]:
    plain = [
        f"{_key(key)} = {json.dumps(value)}"
        for key, value in keys.items()
        if not isinstance(value, dict) and (key in always or value != defaults.get(key))
    ]
    inner = [
        line
        for key, value in keys.items()
        if isinstance(value, dict)
        for line in _table(f"{name}.{_key(key)}", value, defaults.get(key) or {}, {*value})
    ]
    return [*([f"[{name}]", *plain, ""] if plain else []), *inner]


def _key(name: str) -> str:
    """A key of TOML: as it is, or in quotes, such as an input's name with a dot."""
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else json.dumps(name)
