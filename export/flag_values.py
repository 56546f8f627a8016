"""The values of flags that are texts: each is read here, or refused by the name of its flag."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from pathlib import Path

from export.foreign.whole_detector import Parts
from pipelines.errors import RecipeError
from pipelines.manifest import NAME_PATTERN, Metric


class FlagError(RecipeError):
    """A flag is missing, has no effect, or has a bad value."""


def labels_from(file: Path | None, labels: Sequence[str]) -> tuple[str, ...]:
    """Names from ``--labels FILE`` (one a line) or from repeated ``--label NAME``."""
    if file is not None and labels:
        raise FlagError("--labels and --label exclude each other")
    if file is None:
        return tuple(labels)
    try:
        return tuple(line.strip() for line in file.read_text(encoding="utf-8").splitlines() if line.strip())
    except (OSError, UnicodeDecodeError) as error:
        raise FlagError(f"--labels: {file} cannot be read: {error}") from error


def metrics_from(texts: Sequence[str]) -> dict[str, Metric]:
    """``--metric top1=0.76@val`` as name, value and split."""
    metrics = {}
    for text in texts:
        parts = re.fullmatch(r"([^=]+)=([^@]+)@(.+)", text)
        try:
            if parts is None or not math.isfinite(float(parts[2])):
                raise ValueError
        except ValueError as error:
            raise FlagError(f"--metric must be NAME=VALUE@SPLIT, got {text!r}") from error
        metrics[parts[1]] = Metric(value=float(parts[2]), split=parts[3])
    return metrics


def parts_from(text: str | None) -> Parts | None:
    """``--join BOXES,SCORES,CLASSES``: three outputs by name."""
    if text is None:
        return None
    names = text.split(",")
    if len(names) != 3 or not all(names):
        raise FlagError(f"--join must be BOXES,SCORES,CLASSES, three outputs by name, got {text!r}")
    return Parts(*names)


def name_from(name: str | None, model: Path) -> str:
    """``--name``, or the file's own where it can be a model's name."""
    chosen = name if name is not None else model.stem.lower()
    if not re.fullmatch(NAME_PATTERN, chosen):
        raise FlagError(f"--name must be up to 64 of a-z, 0-9, '.', '_' and '-', got {chosen!r}")
    return chosen


def size_from(text: str) -> tuple[int, int]:
    """``HEIGHTxWIDTH`` in pixels."""
    parts = re.fullmatch(r"(\d+)x(\d+)", text)
    if parts is None:
        raise FlagError(f"--size must be HEIGHTxWIDTH, as 224x224, got {text!r}")
    return int(parts[1]), int(parts[2])


def skeleton_from(text: str) -> tuple[tuple[int, int], ...]:
    """Pairs of keypoints, as ``0-1,1-2``."""
    pairs = [re.fullmatch(r"(\d+)-(\d+)", part) for part in text.split(",")]
    if not all(pairs):
        raise FlagError(f"--skeleton must be pairs of keypoints, as 0-1,1-2, got {text!r}")
    return tuple((int(pair[1]), int(pair[2])) for pair in pairs if pair)


def numbers_from(flag: str, text: str) -> tuple[float, ...]:
    """Numbers with commas between them."""
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError as error:
        raise FlagError(f"{flag} must be numbers with commas between them, got {text!r}") from error
