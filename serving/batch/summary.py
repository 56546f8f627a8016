"""What a run did, told after it: ``summary.json`` and ``summary.html``."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from serving.batch.tally import Tally


@dataclass(frozen=True, kw_only=True)
class Summary:
    """One run of a job.

    Attributes:
        complete: whether every image has its row and the outputs are in place.
        problem: why not; empty where it is.
        model: name and version.
        package_sha256: of the package's manifest.
        shard: ``i/n``.
        tally: what was counted.
        computed: contents that this run computed.
        seconds: of this run, from its first image to its last output.
        outputs: what lies in the output folder.
        has_sheet: whether a contact sheet does.
    """

    complete: bool
    problem: str
    model: str
    package_sha256: str
    shard: str
    tally: Tally
    computed: int
    seconds: float
    outputs: tuple[str, ...]
    has_sheet: bool

    @property
    def images_per_s(self) -> float:
        """Rows by second of this run, those that an earlier run computed included."""
        return self.tally.rows / self.seconds if self.seconds > 0 else 0.0

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        tally = self.tally
        return {
            "complete": self.complete,
            "problem": self.problem or None,
            "model": self.model,
            "package_sha256": self.package_sha256,
            "shard": self.shard,
            "images": tally.rows,
            "ok": tally.ok,
            "failed": tally.failed,
            "computed": self.computed,
            "seconds": round(self.seconds, 3),
            "images_per_s": round(self.images_per_s, 2),
            "reasons": dict(tally.reasons.most_common()),
            "classes": tally.classes.by_class(),
            "scores": tally.classes.by_score(),
            "slowest": [asdict(slow) for slow in tally.slowest()],
            "failures": [asdict(failed) for failed in tally.failures],
            "outputs": list(self.outputs),
        }

    def line(self) -> str:
        """In one line."""
        tally = self.tally
        failed = f", {tally.failed:,} failed" if tally.failed else ""
        return (
            f"{tally.rows:,} images: {tally.ok:,} with a result{failed}; {self.computed:,} computed "
            f"in {self.seconds:.1f} s ({self.images_per_s:,.1f} images/s)"
        )
