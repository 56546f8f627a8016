"""What every reader does alike: problems are skipped or refused, sizes read from headers, boxes put in order."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np

from export.data.class_map import MaskValues
from export.data.dataset import BoxesTarget, DatasetError, Problem
from pipelines.errors import ImageTooLargeError, OcellaError
from pipelines.image import ImageLimits
from pipelines.image_header import read_header

OnError: TypeAlias = Literal["skip", "refuse"]
SUFFIXES = frozenset({".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})
TURNED = range(5, 9)
"""EXIF orientations that swap width and height."""
CLIP_NOTE_PX = 1.0
"""Boxes that reach further out of their image than this are named; less is rounding."""


@dataclass(frozen=True, kw_only=True)
class ReadOptions:
    """How a data set is read.

    Attributes:
        on_error: leave out what is broken and name it, or refuse the data set at the first.
        labels: class names by index, or ``None``: as the data set says itself.
        images: folder that the names of images are relative to, or ``None``: where the format has it.
        mask_values: of mask files; ``None``: ``classes`` where there are labels, else ``foreground``.
    """

    on_error: OnError = "skip"
    labels: tuple[str, ...] | None = None
    images: Path | None = None
    mask_values: MaskValues | None = None


@dataclass(frozen=True)
class RawBox:
    """A box as a file gives it.

    Attributes:
        xyxy: pixels of the image, not yet checked.
        class_id: index into the labels.
        crowd: as in BoxesTarget.
        area: of the outline, or ``None``: of the box.
    """

    xyxy: tuple[float, float, float, float]
    class_id: int
    crowd: bool = False
    area: float | None = None


class Collector:
    """Takes the problems of one reading; raises at the first where they are refused."""

    def __init__(self, on_error: OnError) -> None:
        self._on_error = on_error
        self._problems: list[Problem] = []

    @property
    def problems(self) -> tuple[Problem, ...]:
        """All so far, in the order of finding."""
        return tuple(self._problems)

    def add(self, path: Path, kind: Literal["image", "box", "clipped"], reason: str) -> None:
        """Note a problem; raises DatasetError where it is refused (a clipped box never is)."""
        problem = Problem(path, kind, " ".join(reason.split()))
        if self._on_error == "refuse" and kind != "clipped":
            raise DatasetError(f"{problem} (left out with --on-error skip, or data.on_error of a config)")
        self._problems.append(problem)

    def size(self, path: Path) -> tuple[int, int] | None:
        """Height and width of an image as it is shown, or ``None`` and a problem; pixels are not decoded."""
        try:
            return shown_size(path)
        except FileNotFoundError:
            self.add(path, "image", "the image is missing")
        except OSError as error:
            self.add(path, "image", f"the image cannot be read: {error.strerror or error}")
        except OcellaError as error:
            self.add(path, "image", str(error))
        return None

    def boxes(self, raw: Sequence[RawBox], size_hw: tuple[int, int], path: Path) -> BoxesTarget:
        """Check each box and clip it to its image; one that has no pixel in it is a problem."""
        kept = [(box, inside) for box in raw if (inside := self._inside(box, size_hw, path)) is not None]
        corners = np.array([inside for _, inside in kept], np.float32).reshape(-1, 4)
        sides = corners[:, 2:] - corners[:, :2]
        areas = [
            area if box.area is None else box.area for (box, _), area in zip(kept, sides.prod(axis=1), strict=True)
        ]
        return BoxesTarget(
            boxes=corners,
            class_ids=np.array([box.class_id for box, _ in kept], np.int64),
            crowd=np.array([box.crowd for box, _ in kept], np.bool_),
            areas=np.array(areas, np.float32),
        )

    def _inside(self, box: RawBox, size_hw: tuple[int, int], path: Path) -> tuple[float, float, float, float] | None:
        x1, y1, x2, y2 = box.xyxy
        height, width = size_hw
        shown = ", ".join(f"{value:g}" for value in box.xyxy)
        if not all(map(math.isfinite, box.xyxy)):
            self.add(path, "box", f"a box must have finite corners, got ({shown})")
        elif x2 <= x1 or y2 <= y1:
            self.add(path, "box", f"a box must have an area above 0, got ({shown})")
        elif x2 <= 0 or y2 <= 0 or x1 >= width or y1 >= height:
            self.add(path, "box", f"a box must lie in its image of {width} x {height}, got ({shown})")
        else:
            if max(-x1, -y1, x2 - width, y2 - height) > CLIP_NOTE_PX:
                self.add(
                    path, "clipped", f"a box reached out of its image of {width} x {height} and was cut: ({shown})"
                )
            return max(x1, 0.0), max(y1, 0.0), min(x2, float(width)), min(y2, float(height))
        return None


def shown_size(path: Path) -> tuple[int, int]:
    """Height and width of an image file with its EXIF orientation applied, from its header.

    Raises:
        OSError: the file cannot be read.
        OcellaError: it is no whole image of an allowed format, or too large.
    """
    limits = ImageLimits()
    if path.stat().st_size > limits.max_bytes:
        raise ImageTooLargeError(f"image has {path.stat().st_size:,} bytes, the limit is {limits.max_bytes:,}")
    header = read_header(path.read_bytes())
    height, width = header.size_hw
    if height * width > limits.max_pixels:
        raise ImageTooLargeError(f"image has {height * width:,} pixels, the limit is {limits.max_pixels:,}")
    return (width, height) if header.orientation in TURNED else (height, width)


def image_files(folder: Path) -> Iterator[Path]:
    """Every image file below a folder, by its suffix, in the order of names; hidden files and folders are left out."""
    for path in sorted(folder.rglob("*")):
        hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        if path.suffix.lower() in SUFFIXES and not hidden and path.is_file():
            yield path


def require_folder(path: Path) -> Path:
    """The path, if it is a folder; raises DatasetError."""
    if not path.is_dir():
        raise DatasetError(f"{path} must be a folder, {'it is a file' if path.exists() else 'it does not exist'}")
    return path


def inside(folder: Path, name: str) -> Path:
    """``folder/name``; raises ValueError where a name leads out of the folder."""
    joined = folder / name.replace("\\", "/")
    if not name or not joined.resolve().is_relative_to(folder.resolve()):
        raise ValueError(f"a file name must stay inside {folder}, got {name!r}")
    return joined


def read_text(path: Path) -> str:
    """A text file in UTF-8; raises DatasetError."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise DatasetError(f"{path} must be text in UTF-8: {error.reason} at byte {error.start:,}") from error
    except OSError as error:
        raise DatasetError(f"{path} cannot be read: {error.strerror}") from error


def read_labels(path: Path) -> tuple[str, ...]:
    """Class names, one a line in the order of their index; raises DatasetError where one is empty or there twice."""
    names = [line.strip() for line in read_text(path).rstrip().splitlines()]
    for number, name in enumerate(names, start=1):
        if not name:
            raise DatasetError(f"{path} must name a class on every line, line {number} is empty")
        if name in names[: number - 1]:
            raise DatasetError(f"{path} must name each class once, line {number} names {name!r} again")
    if not names:
        raise DatasetError(f"{path} must name at least one class")
    return tuple(names)
