"""What a replay reports beside that everything agreed."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from pipelines.golden import replay, rows_within
from pipelines.loader import load_package
from pipelines.session import Session
from pipelines.types import AnyArray
from tests.packages import make_package


class Nudged:
    """A session whose batches differ from its lone rows by less than any tolerance."""

    def __init__(self, session: Session, *, by: float) -> None:
        self.inputs, self.outputs, self.provider = session.inputs, session.outputs, session.provider
        self.rows: list[int] = []
        self._session, self._by = session, by

    def run(self, feeds: Mapping[str, AnyArray]) -> dict[str, AnyArray]:
        outputs = self._session.run(feeds)
        self.rows.append(len(next(iter(feeds.values()))))
        return {name: value + np.float32(self._by * (self.rows[-1] > 1)) for name, value in outputs.items()}

    def close(self) -> None:
        self._session.close()


@pytest.mark.parametrize(("by", "identical"), [(0.0, True), (1e-6, False)])
def test_a_replay_tells_whether_a_batch_gives_the_bits_of_its_rows_alone(
    tmp_path: Path, by: float, *, identical: bool
) -> None:
    folder = make_package(tmp_path / "tiny")
    with load_package(folder) as model:
        session = Nudged(model.session, by=by)
        report = replay(model.manifest, folder, model.pipeline, session)
    assert report.identical_rows == (max(session.rows) if identical else 0)
    assert max(session.rows) > 1


@pytest.mark.parametrize(("row_s", "rows"), [(0.0, 8), (0.0125, 8), (0.016, 6), (0.045, 2), (0.06, 1), (0.3, 1)])
def test_as_many_rows_as_fit_a_time_and_at_least_one(row_s: float, rows: int) -> None:
    assert rows_within(0.1, row_s, 8) == rows
