"""What a run must remember to go on as if it had never stopped."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from export.training.checkpoint import read_tensors, write_atomically
from pipelines.errors import RecipeError

STATE_FILE = "state.pt"
_NUMBERS = ("epoch", "step", "best", "stale", "sums", "kept", "kept_epoch")
_KEYS = (*_NUMBERS, "config", "history", "module", "optimizer")


@dataclass(kw_only=True)
class Progressed:
    """How far a run is; the loop moves it on.

    What is random needs no place here: it is drawn anew from the seed for each epoch, step and sample.

    Attributes:
        epoch: epochs that are done.
        step: steps of the next one that are done: the sampler's position.
        best: the main metric of the best evaluation so far, or ``None``.
        stale: evaluations since then.
        sums: of the losses of the epoch under way.
        kept: metrics of the model that was kept last.
        kept_epoch: when that was; 0: none was.
        history: one row an epoch.
    """

    epoch: int = 0
    step: int = 0
    best: float | None = None
    stale: int = 0
    sums: dict[str, float] = field(default_factory=dict)
    kept: dict[str, float] = field(default_factory=dict)
    kept_epoch: int = 0
    history: list[dict[str, float | int]] = field(default_factory=list)


def save_state(path: Path, progressed: Progressed, *, config: str, parts: Mapping[str, Any]) -> None:
    """Write the state in one step; ``config`` is the run's, as JSON, ``parts`` the tensors of module and optimiser."""
    numbers = {key: getattr(progressed, key) for key in _NUMBERS}
    write_atomically(path, {"config": config, **numbers, "history": json.dumps(progressed.history), **parts})


def load_state(path: Path, *, config: str) -> tuple[Progressed, dict[str, Any]]:
    """Read the state and the tensors beside it; raises RecipeError where it is of another config."""
    raw = read_tensors(path)
    if not set(_KEYS) <= raw.keys():
        raise RecipeError(f"{path} must be a {STATE_FILE} that `ocella train` wrote, it holds {sorted(raw)[:5]}")
    if raw["config"] != config:
        raise RecipeError(
            f"a run can only be resumed as it was begun: {path} was written with another {_difference(raw, config)}"
        )
    progressed = Progressed(**{key: raw[key] for key in _NUMBERS}, history=json.loads(raw["history"]))
    return progressed, raw


def _difference(raw: Mapping[str, Any], config: str) -> str:
    """The first key that differs, as ``loop.epochs (20, now 30)``."""
    before, after = json.loads(raw["config"]), json.loads(config)
    path = []
    while isinstance(before, dict) and isinstance(after, dict):
        key = next((key for key in {**before, **after} if before.get(key) != after.get(key)), None)
        if key is None:
            break
        path.append(key)
        before, after = before.get(key), after.get(key)
    return f"{'.'.join(path)} ({before}, now {after})"
