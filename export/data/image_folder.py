"""Image folders by class: ``ROOT/cat/1.jpg`` shows a cat."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from export.data.collect import SUFFIXES, Collector, ReadOptions, require_folder
from export.data.dataset import ClassTarget, Dataset, DatasetError, IdentityTarget, Sample, Target, Task


def read_class_folders(root: Path, options: ReadOptions) -> Dataset:
    """Read ``ROOT/<class>/**/<image>``; the classes are the folders' names, sorted, or the labels that were given."""
    return _read(root, options, format_="class-folders", task="classification", target=ClassTarget)


def read_identity_folders(root: Path, options: ReadOptions) -> Dataset:
    """Read ``ROOT/<person>/**/<image>``: whom each image shows."""
    return _read(root, options, format_="identity-folders", task="embedding", target=IdentityTarget)


def _read(root: Path, options: ReadOptions, *, format_: str, task: Task, target: Callable[[int], Target]) -> Dataset:
    """Take each folder below ``root`` as one label; nested folders belong to it, hidden ones are left out.

    Raises:
        DatasetError: there is no folder, or a name that the labels do not have, or two that differ in case only.
    """
    collector = Collector(options.on_error)
    folders = sorted(path for path in require_folder(root).iterdir() if path.is_dir() and not path.name.startswith("."))
    labels = options.labels or tuple(folder.name for folder in folders)
    _check_names(root, [folder.name for folder in folders])
    samples = []
    for path in sorted(root.iterdir()):
        if path.suffix.lower() in SUFFIXES and path.is_file() and not path.name.startswith("."):
            collector.add(path, "image", "an image must lie in the folder of its class or person")
    for folder in folders:
        if folder.name not in labels:
            collector.add(folder, "image", f"the folder must be named as one of the labels: {', '.join(labels[:8])}")
            continue
        label = labels.index(folder.name)
        for path in sorted(folder.rglob("*")):
            if path.is_dir() or any(part.startswith(".") for part in path.relative_to(folder).parts):
                continue
            if path.suffix.lower() not in SUFFIXES:
                collector.add(path, "image", f"an image's name must end in one of {', '.join(sorted(SUFFIXES))}")
            elif size_hw := collector.size(path):
                samples.append(Sample(path, target(label), size_hw))
    return Dataset(
        format=format_,
        root=root,
        task=task,
        labels=labels,
        samples=tuple(samples),
        problems=collector.problems,
    )


def _check_names(root: Path, names: list[str]) -> None:
    if not names:
        raise DatasetError(f"{root} must hold a folder for each class or person, it holds none")
    seen: dict[str, str] = {}
    for name in names:
        if name.casefold() in seen:
            raise DatasetError(f"{root} must name each class once, got {seen[name.casefold()]!r} and {name!r}")
        seen[name.casefold()] = name
