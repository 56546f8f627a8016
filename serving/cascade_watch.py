"""What watches over a cascade while it serves: both members' runs, and the golden samples of all three packages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pipelines.golden import GoldenReport
from pipelines.golden_cascade import replay_cascade
from pipelines.loader import Loaded, LoadedCascade, LoadedModel
from pipelines.session import RunControl
from pipelines.types import AnyArray
from serving.canary import Canary, golden_in_memory
from serving.watched import WatchedSession


class WatchedPair(WatchedSession):
    """The detector's session, whose hung runs are those of both members."""

    def __init__(self, detector: WatchedSession, second: WatchedSession) -> None:
        """Pass everything on to ``detector``; both are watched already."""
        super().__init__(detector)
        self._detector, self._second = detector, second

    def run(
        self, feeds: Mapping[str, AnyArray], *, outputs: Sequence[str] | None = None, control: RunControl | None = None
    ) -> dict[str, AnyArray]:
        """Run the detector."""
        return self._detector.run(feeds, outputs=outputs, control=control)

    def hung(self, longer_than_s: float) -> list[RunControl]:
        """The runs of either member that have been under way for longer than that."""
        return self._detector.hung(longer_than_s) + self._second.hung(longer_than_s)


class CascadeCanary(Canary):
    """The members' golden samples and the cascade's own, replayed on the sessions that serve."""

    def __init__(self, loaded: LoadedCascade) -> None:
        """Read the samples of all three; raises OSError where one cannot be read."""
        super().__init__(loaded.detector)
        self._second = Canary(loaded.second)
        self._cascade = loaded
        self._nested: Path = golden_in_memory(loaded.folder, loaded.manifest.golden.samples)

    @property
    def row_s_at_load(self) -> float | None:
        """As ``Canary.row_s_at_load``, of both models together."""
        first_s, second_s = super().row_s_at_load, self._second.row_s_at_load
        return None if first_s is None or second_s is None else first_s + second_s

    @property
    def members(self) -> tuple[Canary, ...]:
        """The detector's, and the second model's."""
        return self, self._second

    def replay(self) -> GoldenReport:
        """Replay as ``Canary.replay``; what is compared is the cascade's result, after its members'.

        Its row takes what a row of each member takes.
        """
        reports = (super().replay(), self._second.replay())
        loaded = self._cascade
        report = replay_cascade(self._nested, loaded.pipeline, loaded.session, reports)
        return replace(report, row_s=sum(member.row_s for member in reports))


@dataclass(frozen=True, eq=False)
class Watched:
    """A loaded package that is watched over.

    Attributes:
        loaded: its sessions watched.
        session: says which runs hang.
        canary: its golden samples, in memory.
    """

    loaded: Loaded
    session: WatchedSession
    canary: Canary


def watch_over(loaded: Loaded) -> Watched:
    """Watch a package's sessions and read its golden samples; raises OSError where one cannot be read."""
    if isinstance(loaded, LoadedModel):
        session = WatchedSession(loaded.session)
        model = replace(loaded, session=session)
        return Watched(model, session, Canary(model))
    first, other = WatchedSession(loaded.detector.session), WatchedSession(loaded.second.session)
    detector, second = replace(loaded.detector, session=first), replace(loaded.second, session=other)
    pair = replace(loaded, detector=detector, second=second)
    return Watched(pair, WatchedPair(first, other), CascadeCanary(pair))
