"""What was read, in lines for a person and as JSON values."""

from __future__ import annotations

from typing import Any

from export.data.dataset import BoxesTarget, Dataset

MAX_NAMED = 10
_NOUNS = {"embedding": ("identity", "identities")}


def summary(dataset: Dataset) -> list[str]:
    """Images, objects by class, and what was left out with its reasons (the first ten by name)."""
    boxes = sum(int((~target.crowd).sum()) for target in _boxes(dataset))
    crowds = sum(int(target.crowd.sum()) for target in _boxes(dataset))
    objects = f", {_count(boxes, 'box', 'boxes')}" if dataset.task == "detection" else ""
    objects += f", {_count(crowds, 'crowd', 'crowds')}" if crowds else ""
    lines = [
        f"{dataset.format}: {_count(len(dataset), 'image', 'images')}{objects}, "
        f"{_count(len(dataset.labels), *_NOUNS.get(dataset.task, ('class', 'classes')))} ({dataset.root})"
    ]
    counts = sorted(dataset.counts().items(), key=lambda row: -row[1])
    if counts:
        more = f" and {len(counts) - MAX_NAMED} more" if len(counts) > MAX_NAMED else ""
        lines.append("  " + ", ".join(f"{label} {count}" for label, count in counts[:MAX_NAMED]) + more)
    for kind, words in (("image", "left out"), ("box", "left out"), ("clipped", "cut to their image")):
        named = [problem for problem in dataset.problems if problem.kind == kind]
        noun = _count(len(named), "image", "images") if kind == "image" else _count(len(named), "box", "boxes")
        if named:
            lines.append(f"{noun} {words}:")
            lines += [f"  {problem}" for problem in named[:MAX_NAMED]]
        if len(named) > MAX_NAMED:
            lines.append(f"  and {len(named) - MAX_NAMED} more")
    return lines


def summary_json(dataset: Dataset) -> dict[str, Any]:
    """The same as JSON values, every problem included."""
    return {
        "format": dataset.format,
        "root": str(dataset.root),
        "task": dataset.task,
        "images": len(dataset),
        "boxes": sum(len(target) for target in _boxes(dataset)),
        "labels": list(dataset.labels),
        "counts": dataset.counts(),
        "problems": [
            {"file": str(problem.path), "kind": problem.kind, "reason": problem.reason} for problem in dataset.problems
        ],
    }


def _boxes(dataset: Dataset) -> list[BoxesTarget]:
    return [sample.target for sample in dataset.samples if isinstance(sample.target, BoxesTarget)]


def _count(count: int, one: str, many: str) -> str:
    return f"{count:,} {one if count == 1 else many}"
