"""Golden samples kept in memory, replayed on the live session to see whether it still answers as it did."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import cast

import numpy as np

from pipelines.golden import GoldenReport, replay
from pipelines.image import ImageLimits
from pipelines.loader import LoadedModel
from pipelines.manifest import GoldenSample
from pipelines.shaped_session import batch_sizes
from pipelines.types import AnyArray


class Canary:
    """One model version's golden samples, read once: the folder may hold another package by the time of a replay."""

    def __init__(self, loaded: LoadedModel) -> None:
        """Read the samples of a package; raises OSError where one cannot be read."""
        self._loaded = loaded
        self._files = golden_in_memory(loaded.folder, loaded.manifest.golden.samples)

    def replay(self) -> GoldenReport:
        """Replay on the session that serves; raises GoldenMismatchError, or whatever the session raises.

        It blocks for as long as the runs take, which is for ever where one hangs.
        """
        loaded = self._loaded
        return replay(loaded.manifest, self._files, loaded.pipeline, loaded.session)

    @property
    def row_s_at_load(self) -> float | None:
        """Seconds of the fastest row when the package was loaded; ``None`` where its samples were not replayed."""
        return self._loaded.golden.row_s if self._loaded.golden else None

    @property
    def members(self) -> tuple[Canary, ...]:
        """One for each model of the package."""
        return (self,)

    def warm_up(self, *, most: int, runs: int) -> None:
        """Run the first sample: each size of batch whose first run is slow, once, then ``runs`` full batches.

        Raises whatever the session raises.
        """
        session = self._loaded.session
        sizes = (*batch_sizes(session, most), *[most] * runs)
        if not sizes:
            return
        row = self._first_row()
        for size in sizes:
            session.run({session.inputs[0].name: np.repeat(row[np.newaxis], size, axis=0)})

    def _first_row(self) -> AnyArray:
        """The first sample as a row of the graph, without batch axis."""
        pipeline = self._loaded.pipeline
        image = (self._files / self._loaded.manifest.golden.samples[0].image).read_bytes()
        return pipeline.preprocess(pipeline.decode(image, ImageLimits()))[0]


def golden_in_memory(folder: Path, samples: Iterable[GoldenSample]) -> Path:
    """The golden files as an archive in memory; ``zipfile.Path`` opens and reads as ``Path`` does."""
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        for sample in samples:
            for name in (sample.image, sample.record):
                archive.writestr(name, (folder / name).read_bytes())
    return cast(Path, zipfile.Path(zipfile.ZipFile(data)))
