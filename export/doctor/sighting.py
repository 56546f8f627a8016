"""What a graph was seen to answer: each output's values for a few rows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from pipelines.types import AnyArray


@dataclass(frozen=True, eq=False)
class Seen:
    """One output.

    Attributes:
        name: in the graph.
        values: what it answered for each probe, without the batch axis.
    """

    name: str
    values: tuple[AnyArray, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the first answer."""
        return self.values[0].shape

    @property
    def rank(self) -> int:
        """Number of axes without the batch."""
        return len(self.shape)

    @property
    def first(self) -> AnyArray:
        """The answer for the first probe: an image where there was one."""
        return self.values[0]

    def always(self, holds: Callable[[AnyArray], bool]) -> bool:
        """Whether something holds for the answer to every probe."""
        return all(holds(value) for value in self.values)


@dataclass(frozen=True, kw_only=True)
class Said:
    """What the file itself says about its model, beside the graph.

    Attributes:
        by: where it says so, in words.
        task: in our words, or ``None``.
        labels: class names by index.
        keypoints: number of points and whether each has a score.
        turns: boxes have an angle.
        masks: objects have masks.
        feed: flags of the image part; empty where it does not say.
    """

    by: str
    task: str | None
    labels: tuple[str, ...]
    keypoints: tuple[int, bool] | None
    turns: bool
    masks: bool
    feed: dict[str, object]


@dataclass(frozen=True, kw_only=True, eq=False)
class Sighting:
    """What the doctor looks at.

    Attributes:
        row_hw: of the rows that were run.
        fixed_hw: whether the graph takes rows of no other size.
        layout: of the input, ``chw`` or ``hwc``.
        channels: of the input.
        dtype: of the input.
        outputs: each floating point output, in the graph's order.
        whole: each whole-number output: labels, counts, maps of classes.
        producer: the tool that wrote the file, as it says.
        num_labels: class names that are known, else ``None``.
        said: what the file says of itself, or ``None``.
    """

    row_hw: tuple[int, int]
    fixed_hw: bool
    layout: str
    channels: int
    dtype: str
    outputs: tuple[Seen, ...]
    whole: tuple[Seen, ...]
    producer: str
    num_labels: int | None
    said: Said | None

    def of_rank(self, rank: int) -> tuple[Seen, ...]:
        """Outputs of so many axes without the batch."""
        return tuple(seen for seen in self.outputs if seen.rank == rank)
